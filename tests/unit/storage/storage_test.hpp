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

#include "tests/support/bytes.hpp"
#include "tests/support/errors.hpp"

namespace pageserver::test {

inline std::vector<std::byte> filled(std::size_t length, int value) {
  return std::vector<std::byte>(length, static_cast<std::byte>(value));
}

inline void make_file(const std::string& path, std::size_t size, char fill = 'x') {
  std::ofstream file{path, std::ios::binary};
  file << std::string(size, fill);
}

}  // namespace pageserver::test
