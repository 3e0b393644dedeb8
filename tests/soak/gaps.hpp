// What the soak would do, and the daemon can't take yet. The one place: a name that is taken out here is done from then
// on, and its result checked. Names are those of the tables in file_cases.cpp and disturbances.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

namespace pageserver::test::soak {

inline constexpr std::array<std::string_view, 5> gaps{
    "backup copied over the image",             // mixed with the log, in silence
    "image removed while served",               // a flush still succeeds, and the stop says 0
    "log removed while served",                 // nothing says anything
    "image moved away and back while served",   // how a flush fails meanwhile
    "folder moved away and back while served",  // likewise
};

/// With PAGESERVER_SOAK_ALL nothing is one: for trying out what a change closes.
inline bool is_gap(std::string_view name) {
  return std::getenv("PAGESERVER_SOAK_ALL") == nullptr && std::find(gaps.begin(), gaps.end(), name) != gaps.end();
}

}  // namespace pageserver::test::soak
