// Paths that lead to a home beyond this machine, `ceph:POOL/NAME[?KEYS]`. Keys belong to the whole path: they stay
// behind its last component.
#pragma once

#include <string_view>

namespace pageserver::base {

inline constexpr std::string_view home_prefix = "ceph:";

inline bool is_home_path(std::string_view path) noexcept { return path.starts_with(home_prefix); }

}  // namespace pageserver::base
