// The event loops that serve sessions: as many as there are processors, however many stores there are.
//
// A thread of a loop may be stuck in a call, since a session's reads and writes go to its disk there: to hand each to
// another thread would cost more than most of them take. The ticker sees a thread that is inside the same call for some
// milliseconds and waits there, and lends the loop a thread of the pool, which serves the loop's other sessions until
// the first one is back. A session is served by one thread at a time, see Turn.
#pragma once

#include <atomic>
#include <cstddef>
#include <list>
#include <memory>
#include <vector>

#include "server/runtime/blocking_pool.hpp"
#include "server/runtime/ticker.hpp"
#include "server/runtime/worker.hpp"

namespace pageserver::server {

class Loops final : private Ticked {
public:
  /// All outlive the loops. Throws std::system_error when there are no threads or descriptors to be had.
  Loops(std::size_t count, Ticker& ticker, BlockingPool& pool, Log& log);
  /// Stops and joins. What is posted later is dropped.
  ~Loops() override;

  std::size_t count() const noexcept { return workers_.size(); }
  const std::shared_ptr<Worker>& at(std::size_t index) const noexcept { return workers_[index % workers_.size()]; }
  /// Every loop but `index`, in turn; that one where there is no other.
  const std::shared_ptr<Worker>& beside(std::size_t index, std::size_t turn) const noexcept;
  /// For who needs any one of them, in turn.
  std::size_t next() noexcept { return next_++ % workers_.size(); }

private:
  /// A thread that is lent to a loop, while it is.
  struct Helper {
    explicit Helper(BlockingPool& pool) : strand(pool) {}
    std::atomic<bool> lent{false};
    Strand strand;
  };

  bool look() noexcept override;
  void lend_thread(Worker& worker);

  Ticker& ticker_;
  BlockingPool& pool_;
  std::vector<std::shared_ptr<Worker>> workers_;
  std::atomic<std::size_t> next_{0};
  std::list<Helper> helpers_;  ///< of the ticker's thread
};

/// The threads that all stores share.
struct SharedThreads {
  /// `readers_max`: so many threads read one store at a time. One more, so that its writer has none of them.
  /// Throws std::runtime_error, which says what to raise, when the system does not give them.
  SharedThreads(std::size_t readers_max, BlockingPool::Options options, Log& log);

  Ticker ticker;
  BlockingPool disk;
  Loops loops;
};

/// For a machine with so many processors.
BlockingPool::Options pool_options(std::size_t processors, std::size_t threads_max) noexcept;

}  // namespace pageserver::server
