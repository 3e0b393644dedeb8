#include "server/runtime/blocking_pool.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "server/runtime/thread_state.hpp"

namespace pageserver::server {

BlockingPool::BlockingPool(Ticker& ticker, Options options) : ticker_{ticker}, options_{options} {
  looked_at_.reserve(options_.threads_max);
  ticker_.add(*this);
  try {
    add_thread();
  } catch (...) {
    ticker_.remove(*this);
    throw;
  }
}

BlockingPool::~BlockingPool() {
  ticker_.remove(*this);
  {
    Lock lock{mutex_};
    stopping_ = true;
    for (Thread& thread : threads_) thread.changed.notify_one();
    last_ended_.wait(lock, [this]() PAGESERVER_REQUIRES(mutex_) { return threads_.empty() && begun_.empty(); });
  }
  for (Thread& thread : ended_) thread.thread.join();
}

BlockingPool::Load BlockingPool::load() const {
  const Lock lock{mutex_};
  return {threads_.size(), running_, ready_.size()};
}

Stuck BlockingPool::stuck() const {
  Stuck found;
  const auto now = std::chrono::steady_clock::now();
  const Lock lock{mutex_};
  for (const Thread& thread : threads_)
    if (thread.strand != nullptr && thread.strand->told_) found.add(now - thread.strand->begun_);
  return found;
}

std::size_t Strand::waiting() const {
  const Lock lock{pool_.mutex_};
  return tasks_.size();
}

Stuck Strand::stuck() const {
  Stuck found;
  const auto now = std::chrono::steady_clock::now();
  const Lock lock{pool_.mutex_};
  if (running_) found.add(now - begun_);
  return found;
}

// The ticker makes the threads, and nobody who submits: that takes long, and may fail.
Ticked::Looked BlockingPool::look() noexcept {
  std::list<Thread> ended;
  std::size_t more = 0;
  bool any = false;
  Thread* woken = nullptr;
  {
    const Lock lock{mutex_};
    ended.splice(ended.end(), ended_);
    any = !ready_.empty();
    more = threads_due();
    if (any && !idle_.empty() && std::chrono::steady_clock::now() - ready_.front()->ready_since_ >= options_.stuck)
      woken = take_idle();
  }
  if (woken != nullptr) woken->changed.notify_one();
  try {
    if (more != 0 && is_held_up())
      for (; more != 0; --more) add_thread();
  } catch (const std::exception&) {
    // Those that are there go on. The next look tries again.
  }
  for (Thread& thread : ended) thread.thread.join();
  const Lock lock{mutex_};
  unused_.splice(unused_.end(), ended);
  return any ? Looked::held : Looked::quiet;
}

std::size_t BlockingPool::threads_due() const noexcept {
  if (ready_.empty() || !idle_.empty()) return 0;
  const auto now = std::chrono::steady_clock::now();
  const std::size_t threads = threads_.size() + begun_.size();
  if (threads < options_.threads_at_once) return std::min(1 + ready_.size() / 4, options_.threads_at_once - threads);
  if (impatient_ == 0) return now - last_begun_ >= options_.patience && threads < options_.threads_max ? 1 : 0;
  const bool waits = now - ready_.front()->ready_since_ >= options_.stuck;
  const bool stuck = waits && now - last_begun_ >= options_.stuck;
  const std::size_t bound = stuck ? options_.threads_max : waits ? options_.threads_slow : options_.threads_at_once;
  return threads < bound ? std::min(1 + impatient_ / 4, bound - threads) : 0;
}

bool BlockingPool::is_held_up() noexcept {
  std::size_t active = 0;
  looked_at_.clear();
  {
    const auto now = std::chrono::steady_clock::now();
    const Lock lock{mutex_};
    if (threads_.size() + begun_.size() < options_.threads_at_once) return true;
    active = begun_.size();
    for (const Thread& thread : threads_) {
      if (!thread.inside.load(std::memory_order_relaxed))
        ++active;
      else if (now - thread.strand->begun_ < told_as_stuck)
        looked_at_.push_back(thread.id);
    }
  }
  for (auto id = looked_at_.begin(); id != looked_at_.end() && active < options_.threads_at_once; ++id)
    if (!waits_in_kernel(*id)) ++active;
  return active < options_.threads_at_once;
}

void BlockingPool::add_thread() {
  std::list<Thread> one;
  {
    const Lock lock{mutex_};
    if (!unused_.empty()) one.splice(one.end(), unused_, unused_.begin());
  }
  if (one.empty()) one.emplace_back();
  const auto place = one.begin();
  Thread& self = *place;
  {
    const Lock lock{mutex_};
    begun_.splice(begun_.end(), one);
  }
  try {
    self.thread = std::thread([this, &self] { run(self); });
  } catch (...) {
    const Lock lock{mutex_};
    unused_.splice(unused_.end(), begun_, place);
    throw;
  }
}

void BlockingPool::run(Thread& self) noexcept {
  ::pthread_setname_np(::pthread_self(), "disk");
  const auto move = [&self](std::list<Thread>& from, std::list<Thread>& to) {
    to.splice(to.end(), from, std::find_if(from.begin(), from.end(), [&](Thread& one) { return &one == &self; }));
  };
  Lock lock{mutex_};
  self.id = ::gettid();
  move(begun_, threads_);
  while (wait_for_work(self)) run_one(self);
  move(threads_, ended_);
  if (threads_.empty() && begun_.empty()) last_ended_.notify_one();
}

bool BlockingPool::wait_for_work(Thread& self) {
  while (ready_.empty()) {
    if (stopping_) return false;
    idle_.splice(idle_.end(), self.place);
    // Who wakes it takes it out of there.
    const auto due = [&]() PAGESERVER_REQUIRES(mutex_) { return !self.place.empty() || stopping_; };
    const bool one_of_few = threads_.size() <= threads_min;
    if (one_of_few)
      self.changed.wait(mutex_, due);
    else
      self.changed.wait_for(mutex_, options_.idle, due);
    if (!self.place.empty()) continue;
    self.place.splice(self.place.end(), idle_, std::find(idle_.begin(), idle_.end(), &self));
    if (!one_of_few && threads_.size() > threads_min) return false;
  }
  return true;
}

bool BlockingPool::is_held_back(const Strand& strand) const noexcept {
  return strand.group_ != nullptr && strand.group_->running_ >= options_.threads_max - kept_for_others();
}

void BlockingPool::run_one(Thread& self) {
  Strand& strand = *ready_.front();
  if (is_held_back(strand)) {
    // Whoever of its group ends next brings it back.
    StrandGroup& group = *strand.group_;
    return leave(group.held_back_, ready_.begin());
  }
  leave(strand.place_, ready_.begin());
  strand.running_ = true;
  ++running_;
  if (strand.group_ != nullptr) ++strand.group_->running_;
  last_begun_ = std::chrono::steady_clock::now();
  strand.begun_ = last_begun_;
  self.strand = &strand;
  self.inside.store(true, std::memory_order_relaxed);
  Strand::Ready task;
  task.splice(task.end(), strand.tasks_, strand.tasks_.begin());
  {
    const Unlocked unlocked{mutex_};
    task.front()();
    task.clear();  // what it holds is released outside the lock too
    self.inside.store(false, std::memory_order_relaxed);
  }
  --running_;
  self.strand = nullptr;
  if (StrandGroup* const group = strand.group_; group != nullptr) {
    --group->running_;
    if (!group->held_back_.empty()) enter(group->held_back_, group->held_back_.begin());
  }
  strand.running_ = false;
  if (strand.ends_ != nullptr) return strand.ends_->notify_one();
  if (strand.tasks_.empty()) {
    strand.patient_ = true;
    return;
  }
  strand.ready_since_ = std::chrono::steady_clock::now();
  enter(strand.place_, strand.place_.begin());  // this thread takes what is first now
}

void BlockingPool::enter(std::list<Strand*>& from, std::list<Strand*>::iterator place) noexcept {
  if (!(*place)->patient_) ++impatient_;
  (*place)->is_ready_ = true;
  ready_.splice(ready_.end(), from, place);
}

void BlockingPool::leave(std::list<Strand*>& to, std::list<Strand*>::iterator place) noexcept {
  if (!(*place)->patient_) --impatient_;
  (*place)->is_ready_ = false;
  to.splice(to.end(), ready_, place);
}

BlockingPool::Thread* BlockingPool::make_ready(Strand& strand, bool at_once) noexcept {
  strand.ready_since_ = std::chrono::steady_clock::now();
  enter(strand.place_, strand.place_.begin());
  // What is patient is done by the threads that are awake, where they are some. The ticker looks whether they get on.
  const bool enough = !at_once && threads_.size() - idle_.size() >= options_.threads_at_once;
  return idle_.empty() || enough ? nullptr : take_idle();
}

BlockingPool::Thread* BlockingPool::take_idle() noexcept {
  Thread* const idle = idle_.back();
  idle->place.splice(idle->place.end(), idle_, std::prev(idle_.end()));
  return idle;
}

void BlockingPool::submit(Strand& strand, Strand::Ready&& task, bool at_once) noexcept {
  Thread* woken = nullptr;
  {
    const Lock lock{mutex_};
    const bool idle = !strand.running_ && strand.tasks_.empty();
    strand.tasks_.splice(strand.tasks_.end(), task);
    if (at_once && std::exchange(strand.patient_, false) && strand.is_ready_) ++impatient_;
    if (!idle || strand.ends_ != nullptr) return;
    woken = make_ready(strand, at_once);
  }
  if (woken != nullptr)
    woken->changed.notify_one();
  else
    ticker_.wake();
}

void BlockingPool::finish(Strand& strand) noexcept {
  CondVar changed;
  Lock lock{mutex_};
  strand.ends_ = &changed;
  if (strand.place_.empty()) {
    const auto place = std::find(ready_.begin(), ready_.end(), &strand);
    if (place != ready_.end()) {
      leave(strand.place_, place);
    } else {
      auto& held_back = strand.group_->held_back_;
      strand.place_.splice(strand.place_.end(), held_back, std::find(held_back.begin(), held_back.end(), &strand));
    }
  }
  changed.wait(lock, [&] { return !strand.running_; });
  while (!strand.tasks_.empty()) {
    Strand::Ready task;
    task.splice(task.end(), strand.tasks_, strand.tasks_.begin());
    lock.unlock();
    task.front()();
    task.clear();
    lock.lock();
  }
}

}  // namespace pageserver::server
