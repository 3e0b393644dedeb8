// A connection to a cluster, as everything here has it.
#pragma once

#include <rados/librados.h>

#include "storage/objects/object_pool.hpp"

namespace pageserver::storage {

/// Returns an errno. Takes 10 s at most. Calls on the connection then wait for as long as their OSD does not answer.
int connect_rados(const PoolName& name, rados_t& connected);

}  // namespace pageserver::storage
