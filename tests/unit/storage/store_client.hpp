// Calls of a store's interface as a test wants them: answers as values and exceptions.
#pragma once

#include "tests/support/catch.hpp"

#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/store.hpp"

namespace pageserver::test {

inline storage::SessionRequest session_request(Access access, std::string name = "", bool wait = false) {
  storage::SessionRequest request;
  request.access = access;
  request.name = std::move(name);
  request.address = "127.0.0.1:4000";
  request.opened_unix_ms = 1'795'405'765'000;  // 2026-11-23T03:49:25Z
  request.opened_ms = 1'000;
  request.wait_in_line = wait;
  return request;
}

/// What an open_session() came to.
struct Opening {
  std::uint64_t place = 0;
  int calls = 0;
  std::unique_ptr<storage::StoreSession> session;
  std::exception_ptr error;
};

/// The answer arrives in the result, now or later.
inline std::shared_ptr<Opening> start_opening(storage::Store& store, storage::SessionRequest request) {
  auto opening = std::make_shared<Opening>();
  opening->place = store.open_session(
      std::move(request), [opening](std::unique_ptr<storage::StoreSession> session, std::exception_ptr error) {
        ++opening->calls;
        opening->session = std::move(session);
        opening->error = error;
      });
  return opening;
}

/// A session that opens at once, or its error thrown.
inline std::unique_ptr<storage::StoreSession> open_now(storage::Store& store, storage::SessionRequest request) {
  const auto opening = start_opening(store, std::move(request));
  REQUIRE(opening->calls == 1);
  CHECK(opening->place == 0);
  if (opening->error) std::rethrow_exception(opening->error);
  return std::move(opening->session);
}

/// What a flush came to; `calls` is 0 until it is done.
struct Flushing {
  int calls = 0;
  std::exception_ptr error;
  Version version;
};

inline std::shared_ptr<Flushing> start_flush(storage::StoreSession& session) {
  auto flushing = std::make_shared<Flushing>();
  session.flush([flushing](std::exception_ptr error, const Version& version) {
    ++flushing->calls;
    flushing->version = version;
    flushing->error = error;
  });
  return flushing;
}

/// A flush that is answered at once, or its error thrown.
inline void flush_now(storage::StoreSession& session) {
  const auto flushing = start_flush(session);
  REQUIRE(flushing->calls == 1);
  if (flushing->error) std::rethrow_exception(flushing->error);
}

inline std::vector<std::byte> read_from(storage::StoreSession& session, std::uint64_t offset, std::size_t length) {
  std::vector<std::byte> bytes(length);
  session.read(offset, bytes);
  return bytes;
}

}  // namespace pageserver::test
