// What a call throws, and what its text has to say.
#pragma once

#include <initializer_list>
#include <string_view>
#include <utility>

#include <pageserver/error.hpp>

#include "tests/support/catch.hpp"

namespace pageserver::test {

/// The error that `call` throws; fails the test when it throws none.
template <class Call>
MemoryError thrown_by(Call&& call) {
  try {
    std::forward<Call>(call)();
  } catch (const MemoryError& error) {
    return error;
  }
  FAIL("no MemoryError was thrown");
  return {Errc::provider_error, ""};
}

template <class Call>
Errc errc_of(Call&& call) {
  return thrown_by(std::forward<Call>(call)).errc();
}

/// Checks code and the parts that the text must have.
inline void check_error(const MemoryError& error, Errc code, std::initializer_list<std::string_view> parts) {
  INFO(error.what());
  CHECK(to_string(error.errc()) == to_string(code));
  for (const auto part : parts) {
    INFO("expected in the text: " << part);
    CHECK(std::string_view{error.what()}.find(part) != std::string_view::npos);
  }
}

}  // namespace pageserver::test
