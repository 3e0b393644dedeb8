#include "storage/engine/home_calls.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cstdint>
#include <list>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace pageserver::storage {
namespace {

using std::chrono::milliseconds;

/// A thread that has nothing to do ends after so long.
constexpr std::chrono::seconds idle_time{5};
/// So often, at least, flushes are looked at.
constexpr milliseconds look_interval_max{250};

/// The process's signals are for threads that expect them. Throws std::system_error where no thread is to be had.
template <class Run>
void begin_thread(Run run) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread{std::move(run)}.detach();
  } catch (...) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace

/// What the threads use, which may outlive the store.
struct HomeCalls::Shared {
  std::function<std::exception_ptr()> late;  ///< while `looking`
  milliseconds time{};

  Mutex mutex;
  CondVar less;  ///< is under way, or the look is over
  bool stopping PAGESERVER_GUARDED_BY(mutex) = false;

  // Calls.
  CondVar more;
  std::list<CallRef> waiting PAGESERVER_GUARDED_BY(mutex);  ///< for the threads that are idle
  std::size_t idle PAGESERVER_GUARDED_BY(mutex) = 0;
  std::size_t under_way PAGESERVER_GUARDED_BY(mutex) = 0;

  // Flushes.
  CondVar flushes;
  std::vector<std::weak_ptr<SessionState>> watched PAGESERVER_GUARDED_BY(mutex);
  std::uint64_t begun PAGESERVER_GUARDED_BY(mutex) = 0;
  bool has_thread PAGESERVER_GUARDED_BY(mutex) = false;
  bool looking PAGESERVER_GUARDED_BY(mutex) = false;
  bool sleeps PAGESERVER_GUARDED_BY(mutex) = false;  ///< since there was no flush

  void run_calls(CallRef call) noexcept {
    for (;;) {
      call->run();
      call.reset();
      Lock lock{mutex};
      --under_way;
      less.notify_all();
      ++idle;
      const bool some =
          more.wait_for(lock, idle_time, [this]() PAGESERVER_REQUIRES(mutex) { return stopping || !waiting.empty(); });
      --idle;
      if (!some || waiting.empty()) return;
      call = std::move(waiting.front());
      waiting.pop_front();
    }
  }

  void watch_flushes() noexcept {
    const auto interval = std::clamp(time / 20, milliseconds{5}, look_interval_max);
    Lock lock{mutex};
    while (!stopping) {
      const std::uint64_t seen = begun;
      if (look_at_flushes() || begun != seen) {
        flushes.wait_for(lock, interval, [this]() PAGESERVER_REQUIRES(mutex) { return stopping; });
        continue;
      }
      sleeps = true;
      flushes.wait_for(lock, idle_time, [this]() PAGESERVER_REQUIRES(mutex) { return stopping || !sleeps; });
      if (std::exchange(sleeps, false)) break;
    }
    has_thread = false;
  }

  /// Whether there are any.
  bool look_at_flushes() noexcept PAGESERVER_REQUIRES(mutex) {
    std::erase_if(watched, [](const auto& one) { return one.expired(); });
    const auto now = Clock::now();
    bool any = false;
    // Only this thread takes sessions out, and others add them at the end.
    for (std::size_t i = 0; i < watched.size() && !stopping; ++i) {
      SessionRef state = watched[i].lock();
      if (state == nullptr) continue;
      looking = true;
      {
        // Callbacks run without a lock, and this reference may become the last one.
        const Unlocked unlocked{mutex};
        any = state->callbacks.done_awaited() || any;
        if (state->callbacks.is_late(now - time)) state->callbacks.expire(now - time, late());
        state.reset();
      }
      looking = false;
      less.notify_all();
    }
    return any;
  }
};

void HomeCalls::Call::run() noexcept {
  std::exception_ptr error;
  try {
    body_();
  } catch (...) {
    error = std::current_exception();
  }
  body_ = nullptr;  // with all that it owns
  const Lock lock{mutex_};
  error_ = std::move(error);
  ended_ = true;
  changed_.notify_all();
}

bool HomeCalls::Call::wait_until(Clock::time_point deadline) {
  Lock lock{mutex_};
  return changed_.wait_until(lock, deadline, [this]() PAGESERVER_REQUIRES(mutex_) { return ended_; });
}

bool HomeCalls::Call::has_ended() {
  const Lock lock{mutex_};
  return ended_;
}

void HomeCalls::Call::check() {
  const Lock lock{mutex_};
  if (error_) std::rethrow_exception(error_);
}

HomeCalls::HomeCalls(milliseconds time, std::function<std::exception_ptr()> late)
    : time_{time}, shared_{std::make_shared<Shared>()} {
  shared_->late = std::move(late);
  shared_->time = time;
}

HomeCalls::~HomeCalls() { stop(); }

void HomeCalls::stop() noexcept {
  Lock lock{shared_->mutex};
  shared_->stopping = true;
  shared_->more.notify_all();
  shared_->flushes.notify_all();
  shared_->less.wait(
      lock, [this]() PAGESERVER_REQUIRES(shared_->mutex) { return shared_->under_way == 0 && !shared_->looking; });
}

HomeCalls::CallRef HomeCalls::begin(std::function<void()> body) {
  auto call = std::make_shared<Call>();
  call->body_ = std::move(body);
  std::list<CallRef> one{call};
  {
    const Lock lock{shared_->mutex};
    ++shared_->under_way;
    if (shared_->idle > shared_->waiting.size()) {
      shared_->waiting.splice(shared_->waiting.end(), one);
      shared_->more.notify_one();
      return call;
    }
  }
  try {
    begin_thread([shared = shared_, call] { shared->run_calls(call); });
  } catch (const std::exception&) {
    call->run();
    const Lock lock{shared_->mutex};
    --shared_->under_way;
    shared_->less.notify_all();
  }
  return call;
}

void HomeCalls::watch(const SessionRef& state) {
  const Lock lock{shared_->mutex};
  if (!state->watched) shared_->watched.push_back(state);
  state->watched = true;
  ++shared_->begun;
  if (!shared_->has_thread) {
    try {
      begin_thread([shared = shared_] { shared->watch_flushes(); });
      shared_->has_thread = true;
    } catch (const std::system_error&) {
      // The next flush tries again; this one is answered by the home.
    }
  } else if (std::exchange(shared_->sleeps, false)) {
    shared_->flushes.notify_one();
  }
}

}  // namespace pageserver::storage
