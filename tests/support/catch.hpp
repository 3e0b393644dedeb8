// Catch2 as it is installed: 2.13, one large header, or 3, a library. Tests include this and know no difference.
#pragma once

#include <string>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

namespace pageserver::test {

/// Matches a text that has `part` somewhere. Catch2 3 gave the name to lists.
inline auto Contains(const std::string& part) {
#if __has_include(<catch2/catch_all.hpp>)
  return Catch::Matchers::ContainsSubstring(part);
#else
  return Catch::Matchers::Contains(part);
#endif
}

}  // namespace pageserver::test
