// Values of the wire as those of the library, and back: for the daemon and for clients in C++.
//
// Where both say the same, messages.hpp takes the library's type. What is left are reports, whose texts are views on
// the wire and strings in the library, and the codes of errors. Each is one table, so that a new field or code is one
// line here.
#pragma once

#include <pageserver/administration.hpp>
#include <pageserver/error.hpp>
#include <pageserver/session.hpp>

#include "proto/messages.hpp"

namespace pageserver::proto {

/// Texts are views of the argument's.
Holder to_wire(const HolderStat& holder);
Recovery to_wire(const pageserver::Recovery& recovery);
StatAnswer to_wire(const Stat& stat);

HolderStat from_wire(const Holder& holder);
pageserver::Recovery from_wire(const Recovery& recovery);
Stat from_wire(const StatAnswer& answer);
SessionReport from_wire(const SessionEntry& entry);

/// connection_lost says nothing about a store and is provider_error.
Status status_of(Errc code) noexcept;
/// Unknown statuses, and ok, are provider_error; stopping, kicked and a session that can't
/// be resumed are connection_lost, a request that can't be repeated is protocol_error.
Errc errc_of(Status status) noexcept;

}  // namespace pageserver::proto
