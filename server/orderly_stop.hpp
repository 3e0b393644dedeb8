// The stop of a daemon that serves, step by step, within the grace period.
//
//   begin() ──> no more connections; those that are there end ──> the last has ended ──> the stores are closed ──> over
//                     │ half of the grace period                            │ all of it
//                     └──> they are cut off                                 └──> given up: as by a kill
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "server/connection/connections.hpp"
#include "server/runtime/later.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/worker.hpp"
#include "server/stores/catalog.hpp"

namespace pageserver::server {

/// On the front worker, but for the calls that say otherwise.
class OrderlyStop {
public:
  struct Steps {
    /// It has begun.
    std::function<void()> begun;
    /// No more connections come. Is called again.
    std::function<void()> close_doors;
    /// Each store is closed, or it was tried: the end.
    std::function<void()> over;
    /// The grace period is over, for this reason: ends the process.
    std::function<void(std::string_view why)> give_up;
  };

  /// `stopping` is set when it begins. All of them outlive it.
  OrderlyStop(std::chrono::milliseconds grace, Log& log, Worker& front, Catalog& catalog,
              const Connections& connections, std::atomic<bool>& stopping, Steps steps)
      : grace_(grace),
        log_(log),
        front_(front),
        catalog_(catalog),
        connections_(connections),
        stopping_(stopping),
        steps_(std::move(steps)),
        patience_(front) {}

  /// Once; `why` is for the log.
  void begin(std::string_view why);
  /// Whatever a step threw, all of it is gone through once more: what is done already is not done again. Nothing where
  /// it has not begun.
  void go_on();
  /// Any thread: the last connection has ended.
  void none_left() noexcept;
  /// Any thread: the process's exit status, once it is over: 1 where a store could not be closed.
  int status() const noexcept { return status_; }

private:
  void out_of_patience();
  void close_stores();
  void stores_closed();

  const std::chrono::milliseconds grace_;
  Log& log_;
  Worker& front_;
  Catalog& catalog_;
  const Connections& connections_;
  std::atomic<bool>& stopping_;
  const Steps steps_;
  Later patience_;
  bool half_over_ = false;  ///< the grace period
  bool closing_stores_ = false;
  std::atomic<int> status_{0};
  Mutex mutex_;
  std::vector<std::string> failures_ PAGESERVER_GUARDED_BY(mutex_);
  // What must be said even without memory.
  PostRoom none_left_;
  PostRoom stores_closed_;
};

}  // namespace pageserver::server
