// The event loops that serve sessions: as many as there are processors for readers, and as many for writers, however
// many stores there are. A write to a log that takes long is in no reader's way, of whichever store.
//
// A thread of a loop may be stuck in a call, since a session's reads and writes go to its disk there: to hand each to
// another thread would cost more than most of them take. The ticker sees a thread that is inside the same call for some
// milliseconds and waits there, and lends the loop a thread of the pool, which serves the loop's other sessions until
// the first one is back. A session is served by one thread at a time, see Turn. What many sessions of one store are
// stuck in must not take all threads, so that a few of them are, and the others wait, see wait_for_calls().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "base/mutex.hpp"
#include "server/runtime/blocking_pool.hpp"
#include "server/runtime/thread_room.hpp"
#include "server/runtime/ticker.hpp"
#include "server/runtime/worker.hpp"

namespace pageserver::server {

class Loops;

struct GiveBackCalls {
  Loops* loops;
  void operator()(StuckCalls* calls) const noexcept;
};
using HeldCalls = std::unique_ptr<StuckCalls, GiveBackCalls>;

class Loops final : private Ticked {
public:
  /// `each`: so many loops for readers, and as many for writers, which append to logs and reserve room there.
  /// `one_processor`: they all share one, so that writers give way. All outlive the loops. Throws std::system_error
  /// when there are no threads or descriptors to be had.
  Loops(std::size_t each, Ticker& ticker, BlockingPool& pool, Log& log, bool one_processor = false);
  /// Stops and joins. What is posted later is dropped.
  ~Loops() override;

  std::size_t readers_max() const noexcept { return each_; }
  const std::shared_ptr<Worker>& reader(std::size_t index) const noexcept { return workers_[index % each_]; }
  const std::shared_ptr<Worker>& writer(std::size_t index) const noexcept { return workers_[each_ + index % each_]; }
  struct Waiting;
  /// Work that waits until fewer threads are stuck: a list of one node, made beforehand.
  using Wait = std::list<Waiting>;
  struct Waiting {
    StuckCalls* calls = nullptr;
    std::shared_ptr<void> object;
    /// Gets the node back. May neither wait nor throw.
    void (*begin)(Wait node) = nullptr;
  };

  /// Any thread: what threads of the loops are stuck in, on behalf of a store, or of all where `calls` is null.
  Stuck stuck(const StuckCalls* calls) const noexcept;
  /// How much waits until fewer of them are.
  std::size_t waiting(const StuckCalls* calls) noexcept;

  /// For who needs any one of them, in turn.
  std::size_t next() noexcept { return next_++; }

  /// A disk, by the device number of its file system: what is stuck there is stuck together.
  struct Disk {
    StuckCalls calls;
    StrandGroup strands;
  };
  /// Lives as long as the loops. Throws std::bad_alloc.
  Disk& disk(std::uint64_t device);
  /// For a store on that disk, or on one that is not known. Throws std::bad_alloc.
  HeldCalls take_calls(Disk* disk = nullptr);
  /// True: `wait` waits, taken over, until further threads may be stuck in `calls`: at most as many as the pool still
  /// has room for, so that none of the stores that hang has more than half of it. One each has in any case, unless
  /// stores of the same disk have what there is but for the last eighth, and there are other disks.
  bool wait_for_calls(StuckCalls& calls, Wait& wait) noexcept;

private:
  /// A thread that is lent to a loop, while it is.
  struct Helper {
    explicit Helper(BlockingPool& pool) : room(make_thread_room()), strand(pool, nullptr, false) {}
    std::atomic<bool> lent{false};
    ThreadRoomPtr room;
    Strand strand;
  };
  struct Calls : StuckCalls {
    std::list<Calls>::iterator place;
    Wait waiting;  ///< in the order in which they came
  };

  friend struct GiveBackCalls;

  Looked look() noexcept override;
  void give_back(StuckCalls& calls) noexcept;
  void lend_thread(Worker& worker);
  bool may_begin(const StuckCalls& calls, std::size_t more) const noexcept;
  void begin_those_that_may() noexcept;
  void begin_waiting() noexcept;
  static void begin_each(Wait due) noexcept;

  Ticker& ticker_;
  BlockingPool& pool_;
  const std::size_t each_;
  std::vector<std::shared_ptr<Worker>> workers_;  ///< those of readers first
  std::atomic<std::size_t> next_{0};
  std::list<Helper> helpers_;  ///< of the ticker's thread
  Mutex calls_mutex_;
  std::map<std::uint64_t, Disk> disks_ PAGESERVER_GUARDED_BY(calls_mutex_);
  std::list<Calls> calls_ PAGESERVER_GUARDED_BY(calls_mutex_);
  std::list<Calls> calls_unused_ PAGESERVER_GUARDED_BY(calls_mutex_);
  std::list<Calls> with_waiting_ PAGESERVER_GUARDED_BY(calls_mutex_);  ///< those of `calls_` for which somebody waits
  std::atomic<bool> any_wait_{false};
  bool ending_ PAGESERVER_GUARDED_BY(calls_mutex_) = false;
};

/// The threads that all stores share.
struct SharedThreads {
  /// `readers_max`: so many threads read one store at a time.
  /// Throws std::runtime_error, which says what to raise, when the system does not give them.
  SharedThreads(std::size_t readers_max, BlockingPool::Options options, Log& log, bool one_processor = false);

  Ticker ticker;
  BlockingPool disk;
  Loops loops;
};

/// For a machine with so many processors.
BlockingPool::Options pool_options(std::size_t processors, std::size_t threads_max) noexcept;

}  // namespace pageserver::server
