// What a status on the wire means to a program.
#pragma once

#include <string>
#include <string_view>

#include <pageserver/error.hpp>

#include "proto/wire.hpp"

namespace pageserver::client {

/// Unknown statuses, and ok, are provider_error; stopping is connection_lost.
Errc errc_of(proto::Status status);

/// "CONTEXT: OPERATION: MESSAGE"; the operation only where the message does not begin with it.
std::string error_text(std::string_view context, std::string_view operation, std::string_view message);

/// The system's words for an errno.
std::string system_text(int error);

}  // namespace pageserver::client
