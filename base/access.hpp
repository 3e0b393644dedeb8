// What messages, logs and reports call an access, a right, and what a session waits for.
#pragma once

#include <array>
#include <string_view>

#include <pageserver/administration.hpp>
#include <pageserver/session.hpp>

namespace pageserver::base {

constexpr std::string_view name_of(Access access) noexcept {
  switch (access) {
    case Access::read: return "read";
    case Access::write: return "write";
    case Access::fork: return "fork";
  }
  return "unknown";
}

struct NamedRight {
  std::string_view name;  ///< as in the configuration
  Right right;
};
inline constexpr std::array rights_by_name{NamedRight{"read", Right::read},     NamedRight{"fork", Right::fork},
                                           NamedRight{"write", Right::write},   NamedRight{"create", Right::create},
                                           NamedRight{"remove", Right::remove}, NamedRight{"admin", Right::admin}};

/// Empty: a later version's.
constexpr std::string_view name_of(WaitsFor waits_for) noexcept {
  switch (waits_for) {
    case WaitsFor::nothing: return "nothing";
    case WaitsFor::directory: return "directory";
    case WaitsFor::store: return "store";
    case WaitsFor::lease: return "lease";
    case WaitsFor::flush: return "flush";
    case WaitsFor::room: return "room";
    case WaitsFor::disk: return "disk";
    case WaitsFor::turn: return "turn";
  }
  return {};
}

}  // namespace pageserver::base
