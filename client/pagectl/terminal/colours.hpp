// Colours, where they may be: on a terminal that has them, unless NO_COLOR says that somebody wants none.
#pragma once

namespace pageserver::pagectl {

/// Whether what is written to `descriptor` may be coloured: by https://no-color.org, and by TERM.
bool takes_colours(int descriptor) noexcept;

inline constexpr const char* red = "\033[1;31m";
inline constexpr const char* green = "\033[32m";
inline constexpr const char* yellow = "\033[33m";
inline constexpr const char* colour_end = "\033[0m";

}  // namespace pageserver::pagectl
