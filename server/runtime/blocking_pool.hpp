// Threads for calls that may take as long as a disk likes, shared by all stores.
//
//   strand A: a1 a2      ┐
//   strand B: b1         ├─▶ strands that are ready ─▶ threads: one task of one strand at a time
//   strand C: c1 c2 c3   ┘        A, B, C
//
// A strand's tasks run one at a time and in order; which thread runs them changes. A few threads do the work of any
// number of stores as long as calls come back. The pool grows while they don't: a ticker looks whether strands that are
// ready have waited for long, and adds threads, a few while others go on and up to a bound where nothing does. Tasks
// that wait because others compute, or because the processor is busy, are not helped by more threads and get none.
// Patient tasks, such as a look at each of 10,000 stores, get one thread at a time, and only where no task ended for
// some time: calls that a disk holds up must not keep the others from their turn for ever.
// Threads that had nothing to do for some time end.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <thread>
#include <vector>

#include "base/mutex.hpp"
#include "server/runtime/stuck.hpp"
#include "server/runtime/ticker.hpp"

namespace pageserver::server {

class Strand;

/// Strands whose calls are stuck together, since one disk answers them. Where there are several disks, all of one have
/// at most seven eighths of the pool's threads: the others' have the rest.
class StrandGroup {
public:
  StrandGroup() = default;
  StrandGroup(const StrandGroup&) = delete;
  StrandGroup& operator=(const StrandGroup&) = delete;

private:
  friend class BlockingPool;
  // Guarded by the pool's mutex.
  std::size_t running_ = 0;
  std::list<Strand*> held_back_;  ///< ready, in the order in which they came to be
};

class BlockingPool final : private Ticked {
public:
  struct Options {
    std::size_t threads_at_once = 4;         ///< so many are made as soon as there is work for them
    std::size_t threads_slow = 32;           ///< so many where work waits although some of it is done
    std::size_t threads_max = 256;           ///< so many where none of it is done
    std::chrono::milliseconds stuck{2};      ///< work that waits for longer waits for calls that are slow or stuck
    std::chrono::milliseconds patience{20};  ///< the same for patient tasks
    std::chrono::milliseconds idle{5000};    ///< a thread without work ends after so long, but for the last ones
  };
  struct Load {
    std::size_t threads = 0;
    std::size_t running = 0;  ///< tasks
    std::size_t waiting = 0;  ///< strands that are ready
  };

  /// `ticker` outlives the pool. Throws std::system_error when there is not even a first thread to be had. Where
  /// there is none later, those that are there go on, and it is tried again.
  BlockingPool(Ticker& ticker, Options options);
  /// No strand is left. Joins.
  ~BlockingPool() override;

  Load load() const;
  std::size_t threads_max() const noexcept { return options_.threads_max; }
  /// Tasks of all strands.
  Stuck stuck() const;
  /// How many more threads there may be beside those that have a task. Any thread, without a lock.
  std::size_t room() const noexcept {
    const std::size_t running = running_;
    return running < options_.threads_max ? options_.threads_max - running : 0;
  }

  /// How many threads are left for others when all of one group are stuck; 0 while there is one group.
  std::size_t kept_for_others() const noexcept { return groups_ > 1 ? options_.threads_max / 8 : 0; }
  /// There is one more group.
  void note_group() noexcept { ++groups_; }

private:
  friend class Strand;
  struct Thread {
    Thread() { place.push_back(this); }
    CondVar changed;
    const Strand* strand = nullptr;   ///< whose task it runs
    std::atomic<bool> inside{false};  ///< that task, and not before or behind it
    pid_t id = 0;
    std::list<Thread*> place;  ///< its node, while it is not idle
    std::thread thread;
  };

  static constexpr std::size_t threads_min = 2;

  Looked look() noexcept override;
  std::size_t threads_due() const noexcept PAGESERVER_REQUIRES(mutex_);
  /// So few of the threads do something that the others' calls hold up what is ready.
  bool is_held_up() noexcept;
  /// Not under the lock, which to make a thread would hold for long. One thread at a time calls it.
  void add_thread();
  void run(Thread& self) noexcept;
  /// False: nothing came, and this thread is one too many.
  bool wait_for_work(Thread& self) PAGESERVER_REQUIRES(mutex_);
  void run_one(Thread& self) PAGESERVER_REQUIRES(mutex_);
  /// Its group has as many threads as it may have.
  bool is_held_back(const Strand& strand) const noexcept PAGESERVER_REQUIRES(mutex_);
  // Everything that comes into `ready_` and leaves it.
  void enter(std::list<Strand*>& from, std::list<Strand*>::iterator place) noexcept PAGESERVER_REQUIRES(mutex_);
  void leave(std::list<Strand*>& to, std::list<Strand*>::iterator place) noexcept PAGESERVER_REQUIRES(mutex_);
  /// The thread to be woken once it is not held any more, or null: the ticker has to look.
  Thread* make_ready(Strand& strand, bool at_once) noexcept PAGESERVER_REQUIRES(mutex_);
  Thread* take_idle() noexcept PAGESERVER_REQUIRES(mutex_);
  void submit(Strand& strand, std::list<std::function<void()>>&& task, bool at_once) noexcept;
  void finish(Strand& strand) noexcept;

  Ticker& ticker_;
  const Options options_;
  std::vector<pid_t> looked_at_;  ///< of the ticker's thread, with room for all
  mutable Mutex mutex_;
  std::list<Thread> threads_ PAGESERVER_GUARDED_BY(mutex_);
  std::list<Thread> begun_ PAGESERVER_GUARDED_BY(mutex_);  ///< made, or about to be; each moves itself from there
  std::list<Thread> ended_ PAGESERVER_GUARDED_BY(mutex_);  ///< to be joined
  std::list<Thread> unused_
      PAGESERVER_GUARDED_BY(mutex_);  ///< kept, since who woke one up may be about to say so still
  CondVar last_ended_;
  std::list<Thread*> idle_
      PAGESERVER_GUARDED_BY(mutex_);  ///< the one that has been for the shortest time is woken first
  std::list<Strand*> ready_ PAGESERVER_GUARDED_BY(mutex_);   ///< in the order in which they came to be
  std::size_t impatient_ PAGESERVER_GUARDED_BY(mutex_) = 0;  ///< of these
  std::atomic<std::size_t> running_{0};
  std::atomic<std::size_t> groups_{0};
  std::chrono::steady_clock::time_point last_begun_ PAGESERVER_GUARDED_BY(mutex_);  ///< when a task was last taken
  bool stopping_ PAGESERVER_GUARDED_BY(mutex_) = false;
};

/// Runs tasks on the pool's threads: one at a time, in the order given, never inside submit().
class Strand {
public:
  /// A task with the memory that its place takes.
  using Ready = std::list<std::function<void()>>;

  /// `group`, which may be null, outlives it. `told`: a task that goes on for long is stuck.
  explicit Strand(BlockingPool& pool, StrandGroup* group = nullptr, bool told = true)
      : pool_{pool}, group_{group}, told_{told} {
    place_.push_back(this);
  }
  Strand(const Strand&) = delete;
  Strand& operator=(const Strand&) = delete;
  /// Waits for the task that runs, then runs what is left on the calling thread: a pool that is stuck holds up no
  /// end. Not from inside one of its tasks; nothing may be submitted any more except by them.
  ~Strand() { pool_.finish(*this); }

  /// Any thread, also inside a task. `task` must not throw.
  void submit(std::function<void()> task) {
    Ready ready;
    ready.push_back(std::move(task));
    submit_ready(std::move(ready));
  }
  /// The same without an allocation.
  void submit_ready(Ready task) noexcept { pool_.submit(*this, std::move(task), true); }
  /// The same for what may wait a little: of many such tasks a few threads do one after the other.
  void submit_patient(std::function<void()> task) {
    Ready ready;
    ready.push_back(std::move(task));
    pool_.submit(*this, std::move(ready), false);
  }

  /// How many tasks have not begun.
  std::size_t waiting() const;
  Stuck stuck() const;

private:
  friend class BlockingPool;
  BlockingPool& pool_;
  StrandGroup* const group_;
  const bool told_;
  // Guarded by the pool's mutex.
  Ready tasks_;
  std::list<Strand*> place_;  ///< its node, while it is not in the pool's list
  std::chrono::steady_clock::time_point ready_since_;
  std::chrono::steady_clock::time_point begun_;  ///< the task that runs
  bool running_ = false;
  bool is_ready_ = false;    ///< in the pool's list
  bool patient_ = true;      ///< all tasks that have not begun may wait
  CondVar* ends_ = nullptr;  ///< of who waits for the task that runs
};

}  // namespace pageserver::server
