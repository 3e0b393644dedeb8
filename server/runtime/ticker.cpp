#include "server/runtime/ticker.hpp"

#include <pthread.h>

#include <algorithm>

namespace pageserver::server {

namespace {

// So many looks in a row at which nobody had anything, then the thread sleeps.
constexpr int quiet_looks_max = 8;

}  // namespace

Ticker::Ticker(std::chrono::microseconds step) : step_{step}, thread_{[this] { run(); }} {}

Ticker::~Ticker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Ticker::add(Ticked& ticked) {
  {
    const std::lock_guard lock(ticked_mutex_);
    ticked_.push_back(&ticked);
  }
  wake();
}

void Ticker::remove(Ticked& ticked) noexcept {
  const std::lock_guard lock(ticked_mutex_);
  ticked_.erase(std::remove(ticked_.begin(), ticked_.end(), &ticked), ticked_.end());
}

void Ticker::wake_up() noexcept {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

bool Ticker::look_at_all() {
  bool any = false;
  const std::lock_guard lock(ticked_mutex_);
  for (Ticked* const ticked : ticked_) any = ticked->look() || any;
  return any;
}

void Ticker::run() {
  ::pthread_setname_np(::pthread_self(), "ticker");
  int quiet_looks = 0;
  for (;;) {
    quiet_looks = look_at_all() ? 0 : quiet_looks + 1;
    if (quiet_looks >= quiet_looks_max) {
      // Who begins from here on sees it and wakes this thread; who began before is seen by this look.
      asleep_ = true;
      if (look_at_all()) {
        quiet_looks = 0;
        asleep_ = false;
      }
    }
    std::unique_lock lock(mutex_);
    const auto due = [this] { return stopping_ || woken_; };
    if (asleep_) {
      changed_.wait(lock, due);
      quiet_looks = 0;
      asleep_ = false;
    } else {
      changed_.wait_for(lock, step_, due);
    }
    woken_ = false;
    if (stopping_) return;
  }
}

}  // namespace pageserver::server
