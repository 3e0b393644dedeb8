// What a cluster says of its health, asked for by a thread of its own: a monitor may not answer.
#pragma once

#include <rados/librados.h>

#include <chrono>
#include <string>

#include "base/mutex.hpp"

namespace pageserver::storage {

/// Lives for as long as the process does, once text() was called. Threads: any, and in the process alone that made it.
class ClusterHealth {
public:
  /// `cluster` is connected, and stays so.
  explicit ClusterHealth(rados_t cluster) : cluster_{cluster} {}
  ClusterHealth(const ClusterHealth&) = delete;
  ClusterHealth& operator=(const ClusterHealth&) = delete;

  /// One line, as of when somebody asked last; it is asked anew where that is some seconds ago. Empty: not known yet.
  /// Waits for `time` at most, and only for the first answer.
  std::string text(std::chrono::milliseconds time);

private:
  using Clock = std::chrono::steady_clock;
  void begin() PAGESERVER_REQUIRES(mutex_);
  void run();
  std::string ask() const;

  const rados_t cluster_;
  Mutex mutex_;
  CondVar changed_;
  bool running_ PAGESERVER_GUARDED_BY(mutex_) = false;
  bool wanted_ PAGESERVER_GUARDED_BY(mutex_) = false;
  Clock::time_point asked_at_ PAGESERVER_GUARDED_BY(mutex_);
  Clock::time_point answered_at_ PAGESERVER_GUARDED_BY(mutex_);
  std::string text_ PAGESERVER_GUARDED_BY(mutex_);  ///< empty: there was no answer yet
};

}  // namespace pageserver::storage
