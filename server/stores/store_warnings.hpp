// What the log says of a store that is not as it should be: loudly, and each thing once. A file that others touch or a
// disk that fails is for people to see to.
#pragma once

#include <string>
#include <utility>

#include <pageserver/session.hpp>

#include "base/mutex.hpp"
#include "server/runtime/log.hpp"

namespace pageserver::server {

/// Threads: any.
class StoreWarnings {
public:
  /// `log` outlives it.
  StoreWarnings(Log& log, std::string store) : log_{log}, store_{std::move(store)} {}

  /// The store was opened anew: what is wrong is said again.
  void begin_anew() noexcept {
    const Lock lock{mutex_};
    warning_.clear();
    sync_error_.clear();
  }
  void say(const Stat& stat) {
    const Lock lock{mutex_};
    if (stat.image_warning != warning_ && !stat.image_warning.empty())
      log_.warn("store", {{"store", store_}, {"warning", stat.image_warning}});
    if (stat.last_sync_error != sync_error_ && !stat.last_sync_error.empty())
      log_.error("sync failed", {{"store", store_}, {"error", stat.last_sync_error}});
    warning_ = stat.image_warning;
    sync_error_ = stat.last_sync_error;
  }

private:
  Log& log_;
  const std::string store_;
  Mutex mutex_;
  // As said:
  std::string warning_ PAGESERVER_GUARDED_BY(mutex_);
  std::string sync_error_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
