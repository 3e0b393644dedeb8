// Small things that the tests of storage/ share.
#pragma once

#include "tests/support/catch.hpp"

#include <cstddef>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <pageserver/error.hpp>

namespace pageserver::test {

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span{text});
  return {bytes.begin(), bytes.end()};
}

inline std::vector<std::byte> filled(std::size_t length, int value) {
  return std::vector<std::byte>(length, static_cast<std::byte>(value));
}

/// The error that `call` throws; fails the test when it throws none.
template <class Call>
MemoryError thrown_by(Call&& call) {
  try {
    call();
  } catch (const MemoryError& error) {
    return error;
  }
  FAIL("no MemoryError was thrown");
  return {Errc::provider_error, ""};
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

inline void make_file(const std::string& path, std::size_t size, char fill = 'x') {
  std::ofstream file{path, std::ios::binary};
  file << std::string(size, fill);
}

}  // namespace pageserver::test
