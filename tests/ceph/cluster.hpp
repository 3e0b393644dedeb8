// The cluster that `tests/ceph/cluster.sh with` has begun for this program.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

namespace pageserver::test {

/// Its folder; empty where there is none.
inline std::string cluster_folder() {
  const char* const folder = std::getenv("PAGESERVER_CEPH_CLUSTER");
  return folder == nullptr ? std::string{} : folder;
}

/// The keys of a path, with a namespace that nobody else has.
inline std::string new_home_keys() {
  static std::atomic<int> number{0};
  return "?conf=" + cluster_folder() + "/ceph.conf&id=pages&namespace=t" + std::to_string(::getpid()) + "-" +
         std::to_string(++number);
}

inline std::string home_path(const std::string& name, const std::string& keys) { return "ceph:pages/" + name + keys; }

}  // namespace pageserver::test
