// The assertion of fuzz targets.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace pageserver::fuzz {

/// As assert, but in every build.
inline void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

}  // namespace pageserver::fuzz
