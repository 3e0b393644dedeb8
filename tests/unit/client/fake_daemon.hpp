// A daemon of the test's own behind a real loopback listener: an image in memory, or a script of frames.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <pageserver/remote_provider.hpp>

#include "base/unique_fd.hpp"
#include "proto/codec.hpp"
#include "tests/unit/client/wire_peer.hpp"

namespace pageserver::test {

/// The daemon's end of one connection. Blocking; no wait is longer than 30 s. Throws when the script is not followed.
class FakePeer {
public:
  explicit FakePeer(UniqueFd fd) : fd_{std::move(fd)} {}

  /// The next request; nothing at the end of the stream.
  std::optional<Request> next();
  Request expect(proto::Operation operation);
  void send(std::span<const std::byte> bytes);
  template <class Message>
  void answer(const Request& request, const Message& message) {
    proto::Bytes bytes;
    proto::encode(bytes, request.header.request_id, message);
    send(bytes);
  }
  void error(const Request& request, proto::Status status, std::string_view text);
  void notice(proto::Operation operation, proto::Status status, std::string_view text);
  /// Answers hello and open.
  void greet(const Limits& limits, std::uint64_t pages, std::uint64_t incarnation = 9);
  void close() { fd_.reset(); }
  void reset();
  /// Returns once the client has closed.
  void wait_for_end();
  int fd() const { return fd_.get(); }

  bool change_failed = false;  ///< error() answered a write, zero or grow
  /// Changes what is sent next, and goes then.
  std::function<void(proto::Bytes&)> twist;

private:
  UniqueFd fd_;
  proto::Bytes input_;
};

/// An image that answers every session operation, and counts them.
class FakeImage {
public:
  Limits limits;
  std::vector<std::byte> bytes;
  proto::Access access = proto::Access::write;
  /// Called before each request is carried out; true: it was answered already.
  std::function<bool(FakePeer&, const Request&)> before;

  /// Serves one connection to its end.
  void serve(FakePeer& peer);
  std::uint64_t count(proto::Operation operation) const { return counts_.at(static_cast<std::size_t>(operation)); }
  std::uint64_t total() const;
  /// Flushes and commits that succeeded.
  std::uint64_t published() const { return published_; }
  proto::OpenRequest opened;  ///< without its texts
  std::string opened_name;
  std::string opened_store;

private:
  void carry_out(FakePeer& peer, const Request& request);
  bool in_bounds(FakePeer& peer, const Request& request, std::uint64_t offset, std::uint64_t length);

  std::array<std::atomic<std::uint64_t>, 256> counts_{};
  std::uint64_t version_ = 1;
  std::atomic<std::uint64_t> published_{0};
};

/// Accepts connections one after the other and runs the script for each on a thread of its own.
class FakeDaemon {
public:
  explicit FakeDaemon(std::function<void(FakePeer&)> script);
  explicit FakeDaemon(FakeImage& image);
  FakeDaemon(const FakeDaemon&) = delete;
  FakeDaemon& operator=(const FakeDaemon&) = delete;
  ~FakeDaemon();

  std::uint16_t port() const { return port_; }
  RemoteOptions options(Access access = Access::write) const;
  std::string uri(std::string_view query = {}) const;
  /// Waits until the first script has returned; throws what it threw.
  void join();

private:
  void run(const std::function<void(FakePeer&)>& script);

  UniqueFd listener_;
  UniqueFd stop_read_;
  UniqueFd stop_write_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t served_ = 0;
  std::exception_ptr failed_;
  std::thread thread_;
};

}  // namespace pageserver::test
