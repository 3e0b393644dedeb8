// A connection to a daemon for commands that need no session.
#pragma once

#include <memory>

#include "client/uri/uri.hpp"
#include "client/wire/connection.hpp"

namespace pageserver::pagectl {

std::unique_ptr<client::Connection> dial(const client::Uri& uri);

}  // namespace pageserver::pagectl
