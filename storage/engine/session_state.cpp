#include "storage/engine/session_state.hpp"

#include <utility>

namespace pageserver::storage {

void SessionCallbacks::set_done(StoreSession::Done done) {
  const RecursiveLock lock{mutex_};
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
  if (!ended_ && done) guarded([&] { done(error, version); });
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
