#include "server/runtime/ticker.hpp"

#include <pthread.h>

#include <algorithm>

namespace pageserver::server {

namespace {

// After so many steps in which nobody had anything the thread sleeps.
constexpr int quiet_steps_max = 500;

}  // namespace

Ticker::Ticker(std::chrono::microseconds step) : step_{step}, thread_{[this] { run(); }} {}

Ticker::~Ticker() {
  {
    const Lock lock{mutex_};
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Ticker::add(Ticked& ticked) {
  {
    const Lock lock{ticked_mutex_};
    ticked_.push_back(&ticked);
  }
  wake();
}

void Ticker::remove(Ticked& ticked) noexcept {
  const Lock lock{ticked_mutex_};
  ticked_.erase(std::remove(ticked_.begin(), ticked_.end(), &ticked), ticked_.end());
}

void Ticker::wake_up() noexcept {
  {
    const Lock lock{mutex_};
    woken_ = true;
  }
  changed_.notify_one();
}

Ticked::Looked Ticker::look_at_all() {
  auto found = Ticked::Looked::quiet;
  const Lock lock{ticked_mutex_};
  for (Ticked* const ticked : ticked_) found = std::max(found, ticked->look());
  return found;
}

void Ticker::run() {
  using Looked = Ticked::Looked;
  ::pthread_setname_np(::pthread_self(), "ticker");
  int steps = 1;
  int quiet_steps = 0;
  for (;;) {
    Looked found = look_at_all();
    if (found == Looked::quiet && quiet_steps >= quiet_steps_max) {
      // Who begins from here on sees it and wakes this thread; who began before is seen by this look.
      pace_ = Pace::asleep;
      found = look_at_all();
    }
    if (found != Looked::quiet) {
      quiet_steps = 0;
      pace_ = Pace::fast;
    }
    steps = found == Looked::held ? 1 : std::min(2 * steps, slow_steps);
    Lock lock{mutex_};
    const auto due = [this]() PAGESERVER_REQUIRES(mutex_) { return stopping_ || woken_; };
    if (pace_ == Pace::asleep) {
      changed_.wait(lock, due);
    } else {
      if (steps > 2) pace_ = Pace::slow;
      changed_.wait_for(lock, steps * step_, due);
      quiet_steps += steps;
    }
    if (woken_) {
      steps = 1;
      quiet_steps = 0;
      pace_ = Pace::fast;
    }
    woken_ = false;
    if (stopping_) return;
  }
}

}  // namespace pageserver::server
