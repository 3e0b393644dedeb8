#include "storage/engine/session_state.hpp"

#include <utility>

namespace pageserver::storage {

void SessionCallbacks::set_done(StoreSession::Done done, Moment since) {
  const RecursiveLock lock{mutex_};
  since_ = since;
  done_ = std::move(done);
  done_awaited_ = true;
}

void SessionCallbacks::set_notice(StoreSession::Notice notice) {
  const RecursiveLock lock{mutex_};
  notice_ = std::move(notice);
}

void SessionCallbacks::set_room(std::function<void()> room) {
  const RecursiveLock lock{mutex_};
  room_ = std::move(room);
}

namespace {

template <class Call>
void guarded(const Call& call) noexcept {
  try {
    call();
  } catch (...) {
    // See SessionCallbacks.
  }
}

}  // namespace

void SessionCallbacks::run_done(const std::exception_ptr& error, const Version& version) noexcept {
  const RecursiveLock lock{mutex_};
  const auto done = std::exchange(done_, nullptr);
  done_awaited_ = false;
  overdue_.store(false, std::memory_order_release);
  if (!ended_ && done) guarded([&] { done(error, version); });
}

bool SessionCallbacks::is_late(Moment moment) noexcept {
  const RecursiveLock lock{mutex_};
  return done_ && since_ < moment;
}

void SessionCallbacks::expire(Moment moment, const std::exception_ptr& error) noexcept {
  const RecursiveLock lock{mutex_};
  if (!done_ || since_ >= moment) return;
  const auto done = std::exchange(done_, nullptr);
  done_awaited_ = false;
  overdue_.store(true, std::memory_order_release);
  if (!ended_) guarded([&] { done(error, Version{}); });
}

void SessionCallbacks::run_notice(const MemoryError& reason) noexcept {
  const RecursiveLock lock{mutex_};
  const auto notice = std::exchange(notice_, nullptr);
  if (!ended_ && notice) guarded([&] { notice(reason); });
}

void SessionCallbacks::run_room() noexcept {
  const RecursiveLock lock{mutex_};
  const auto room = std::exchange(room_, nullptr);
  if (!ended_ && room) guarded(room);
}

void SessionCallbacks::end() noexcept {
  const RecursiveLock lock{mutex_};
  ended_ = true;
  done_ = nullptr;
  notice_ = nullptr;
  room_ = nullptr;
}

}  // namespace pageserver::storage
