// Which stores a daemon has.
#pragma once

#include <vector>

#include <pageserver/daemon.hpp>

#include "client/wire/connection.hpp"

namespace pageserver::client {

/// All of them, in rising byte order of their names; asks as often as it takes. Throws what Connection::call() does,
/// and protocol_error where the list makes no progress.
std::vector<ListedStore> list_stores(Connection& connection);

}  // namespace pageserver::client
