// Between the structs of the protocol and those of the public interface.
#pragma once

#include <pageserver/session.hpp>

#include "proto/messages.hpp"

namespace pageserver::client {

// The numbers are the same in both; the compiler holds us to it.
static_assert(static_cast<int>(Access::read) == static_cast<int>(proto::Access::read) &&
              static_cast<int>(Access::write) == static_cast<int>(proto::Access::write) &&
              static_cast<int>(Access::fork) == static_cast<int>(proto::Access::fork));
static_assert(static_cast<int>(View::live) == static_cast<int>(proto::View::live) &&
              static_cast<int>(View::pinned) == static_cast<int>(proto::View::pinned));
static_assert(static_cast<int>(Publish::on_write) == static_cast<int>(proto::Publish::on_write) &&
              static_cast<int>(Publish::on_flush) == static_cast<int>(proto::Publish::on_flush));

inline proto::Access to_proto(Access access) { return static_cast<proto::Access>(access); }
inline proto::View to_proto(View view) { return static_cast<proto::View>(view); }
inline proto::Publish to_proto(Publish publish) { return static_cast<proto::Publish>(publish); }

inline Version from_proto(const proto::Version& version) { return {version.incarnation, version.number}; }
HolderStat from_proto(const proto::Holder& holder);
Refreshed from_proto(const proto::RefreshAnswer& answer);
Stat from_proto(const proto::StatAnswer& answer);

}  // namespace pageserver::client
