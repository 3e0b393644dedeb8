// What a client may need a right for: the one table of it. An operation that has no line here is refused to everybody.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include <pageserver/administration.hpp>

#include "base/access.hpp"
#include "proto/messages.hpp"

namespace pageserver::server {

/// A set of rights.
using Rights = std::uint32_t;
constexpr Rights bit(Right right) { return static_cast<Rights>(right); }

using base::rights_by_name;
inline constexpr Rights all_rights = bit(Right::read) | bit(Right::fork) | bit(Right::write) | bit(Right::create) |
                                     bit(Right::remove) | bit(Right::admin);

/// "read, fork"; "nothing".
std::string text_of(Rights rights);

/// What an operation needs.
enum class Need : std::uint8_t {
  forbidden,  ///< nobody may: the table does not know it
  nothing,    ///< everybody may; what it shows of stores is only what one may see
  access,     ///< the right of the session's access: read, fork or write
  create,     ///< of the store that it names
  remove,     ///< of the store that it names
  admin,      ///< of the session's store, or of the one that it names
  admin_any,  ///< of some store; what it shows and ends is only on those
};

struct OperationNeed {
  proto::Operation operation;
  Need need;
};

inline constexpr std::array operation_needs{
    OperationNeed{proto::Operation::hello, Need::nothing},  OperationNeed{proto::Operation::ping, Need::nothing},
    OperationNeed{proto::Operation::list, Need::nothing},   OperationNeed{proto::Operation::create, Need::create},
    OperationNeed{proto::Operation::remove, Need::remove},  OperationNeed{proto::Operation::open, Need::access},
    OperationNeed{proto::Operation::size, Need::access},    OperationNeed{proto::Operation::grow, Need::access},
    OperationNeed{proto::Operation::read, Need::access},    OperationNeed{proto::Operation::write, Need::access},
    OperationNeed{proto::Operation::zero, Need::access},    OperationNeed{proto::Operation::data_ranges, Need::access},
    OperationNeed{proto::Operation::flush, Need::access},   OperationNeed{proto::Operation::commit, Need::access},
    OperationNeed{proto::Operation::discard, Need::access}, OperationNeed{proto::Operation::refresh, Need::access},
    OperationNeed{proto::Operation::stat, Need::access},    OperationNeed{proto::Operation::break_lease, Need::admin},
    OperationNeed{proto::Operation::close, Need::nothing},  OperationNeed{proto::Operation::sessions, Need::admin_any},
    OperationNeed{proto::Operation::kick, Need::admin_any}, OperationNeed{proto::Operation::whoami, Need::nothing},
    OperationNeed{proto::Operation::faults, Need::access},  OperationNeed{proto::Operation::ring, Need::nothing},
    OperationNeed{proto::Operation::takeover, Need::admin},
};

/// The same by number, since it is looked at for each request.
inline constexpr auto need_by_number = [] {
  std::array<Need, 128> needs{};
  for (const OperationNeed& each : operation_needs) needs[static_cast<std::size_t>(each.operation)] = each.need;
  return needs;
}();

constexpr Need need_of(proto::Operation operation) {
  const auto number = static_cast<std::size_t>(operation);
  return number < need_by_number.size() ? need_by_number[number] : Need::forbidden;
}

constexpr Rights right_of(proto::Access access) {
  switch (access) {
    case proto::Access::read: return bit(Right::read);
    case proto::Access::fork: return bit(Right::fork);
    case proto::Access::write: return bit(Right::write);
  }
  return 0;
}

/// The right that it takes; 0 where none is needed, or none is enough.
constexpr Rights right_for(proto::Operation operation, proto::Access access) {
  switch (need_of(operation)) {
    case Need::forbidden:
    case Need::nothing: return 0;
    case Need::access: return right_of(access);
    case Need::create: return bit(Right::create);
    case Need::remove: return bit(Right::remove);
    case Need::admin:
    case Need::admin_any: return bit(Right::admin);
  }
  return 0;
}

/// May a client do this that has these rights on the store in question? With admin_any `rights` are those that it has
/// on some store.
constexpr bool is_allowed(proto::Operation operation, proto::Access access, Rights rights) {
  const Need need = need_of(operation);
  return need == Need::nothing || (need != Need::forbidden && (rights & right_for(operation, access)) != 0);
}

/// One of the configuration's rules. What none allows is refused.
struct Rule {
  std::string origin;  ///< "rules[1]": where it was said
  std::string who;     ///< an identity or a pattern of some; "anyone" is everybody
  std::string stores;  ///< a name or a pattern of some
  Rights may = 0;
};

}  // namespace pageserver::server
