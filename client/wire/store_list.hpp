// Which stores a daemon has.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/wire/connection.hpp"

namespace pageserver::client {

struct ListedStore {
  std::string name;
  std::uint64_t pages = 0;
  bool read_only = false;
  bool open = false;  ///< the daemon has it open
};

/// All of them, in rising byte order of their names; asks as often as it takes. Throws what Connection::call() does,
/// and protocol_error where the list makes no progress.
std::vector<ListedStore> list_stores(Connection& connection);

}  // namespace pageserver::client
