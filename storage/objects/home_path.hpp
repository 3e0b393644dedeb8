// The path of a file in a pool: ceph:POOL/NAME[?conf=FILE&id=CLIENT&namespace=NAME].
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "storage/objects/object_pool.hpp"

namespace pageserver::storage {

struct HomePath {
  PoolName pool;
  std::string name;  ///< empty: the pool's folder itself
};

/// Nothing where the text is no such path. Values of keys may have %XX.
std::optional<HomePath> parse_home_path(std::string_view path);

}  // namespace pageserver::storage
