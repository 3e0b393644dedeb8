// What messages, logs and reports call an access.
#pragma once

#include <string_view>

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

}  // namespace pageserver::base
