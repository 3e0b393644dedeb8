// What was recovered since the daemon started, by store: a store of the directory is closed when nobody uses it, and
// what its opening found is to be asked for afterwards too.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include <pageserver/session.hpp>

#include "base/mutex.hpp"

namespace pageserver::server {

/// Thread-safe. Of many stores the oldest are forgotten.
class Recoveries {
public:
  static constexpr std::size_t stores_max = 4096;

  void note(const std::string& store, Recovery recovery);
  std::optional<Recovery> find(const std::string& store) const;
  void forget(const std::string& store);

private:
  mutable Mutex mutex_;
  std::map<std::string, Recovery> of_store_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
