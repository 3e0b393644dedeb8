#include "storage/objects/lease_keeper.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <new>
#include <utility>

namespace pageserver::storage {

/// One lease. Its time counts from before it was asked for, and ends a third earlier than the pool's: what was answered
/// within it is older than whatever another can do.
struct LeaseKeeper::Kept : std::enable_shared_from_this<LeaseKeeper::Kept> {
  std::shared_ptr<ObjectFolder> folder;
  ObjectOwnerRef owner;
  std::uint32_t lease_ms = 0;
  std::atomic<bool> asked{false};
  std::atomic<std::int64_t> ends_ns{0};  ///< in the pool, at the earliest
  std::shared_ptr<ObjectWatch> watch;    ///< of the keeper's thread, after keep()

  /// Hears who wants the lock.
  void listen() {
    if (watch && watch->works()) return;
    watch.reset();
    if (!owner->exclusive || owner->lease->lost()) return;
    watch = folder->pool->watch(lock_object(owner->image), [lease = owner->lease](const std::string& message) {
      if (message.starts_with(lock_wanted)) lease->ask_for(message.substr(lock_wanted.size()));
    });
  }

  static constexpr std::int64_t ns_per_ms = 1'000'000;

  void renewed(std::int64_t asked_ns) noexcept {
    ends_ns = asked_ns + lease_ms * ns_per_ms;
    owner->lease->renew(asked_ns + lease_ms * ns_per_ms * 2 / 3);
  }

  void ask() {
    if (owner->lease->lost() || asked.exchange(true)) return;
    const std::int64_t now = HomeLease::now_ns();
    folder->pool->take_lock(lock_object(owner->image), owner->exclusive, owner->cookie, owner->cookie, lease_ms,
                            [self = shared_from_this(), now](int error) { self->answered(error, now); });
  }

  void answered(int error, std::int64_t asked_ns) {
    if (error == EBUSY)
      owner->lease->lose("the lease ran out, and another has the lock");
    else if (error == ESHUTDOWN)
      owner->lease->lose("the cluster shut this client out (blocklist)");
    else if (error == 0 && asked_ns <= ends_ns)
      renewed(asked_ns);
    else if (error == 0 && owner->guarded())
      return look_at_epoch(asked_ns);
    else if (error == 0)
      owner->lease->lose("the lease ran out, and others may have had the lock since");
    asked = false;
  }

  /// The lease had ended, and another may have had it meanwhile. The epoch tells.
  void look_at_epoch(std::int64_t asked_ns) {
    ObjectChange change;
    change.compares.push_back(owner->names_guard());
    change.set.emplace_back(epoch_key(owner->image), encode_epoch(owner->epoch));
    folder->pool->change(names_object, change, [self = shared_from_this(), asked_ns](int error) {
      if (error == ECANCELED || error == ENOENT)
        self->owner->lease->lose("the lease ran out, and another had the lock since");
      else if (error == 0)
        self->renewed(asked_ns);
      self->asked = false;
    });
  }
};

LeaseKeeper::LeaseKeeper(std::uint32_t lease_ms, std::uint32_t renew_ms) : lease_ms_{lease_ms}, renew_ms_{renew_ms} {}

LeaseKeeper::~LeaseKeeper() {
  std::thread thread;
  {
    const Lock lock{mutex_};
    ended_ = true;
    changed_.notify_all();
    thread.swap(thread_);
  }
  if (thread.joinable()) thread.join();
}

void LeaseKeeper::keep(std::shared_ptr<ObjectFolder> folder, ObjectOwnerRef owner, std::int64_t asked_ns) {
  auto kept = std::make_shared<Kept>();
  kept->folder = std::move(folder);
  kept->owner = std::move(owner);
  kept->lease_ms = lease_ms_;
  kept->renewed(asked_ns);
  kept->listen();
  const Lock lock{mutex_};
  kept_.push_back(std::move(kept));
  if (thread_.joinable()) return;
  // The process's signals are for threads that expect them.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread{[this] { run(); }};
  } catch (...) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    kept_.pop_back();
    throw;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void LeaseKeeper::forget(const ObjectOwnerRef& owner) {
  const Lock lock{mutex_};
  std::erase_if(kept_, [&](const auto& kept) { return kept->owner == owner; });
}

void LeaseKeeper::run() {
  for (;;) {
    std::vector<std::shared_ptr<Kept>> now;
    {
      Lock lock{mutex_};
      const bool ended = changed_.wait_for(lock, std::chrono::milliseconds{renew_ms_},
                                           [this]() PAGESERVER_REQUIRES(mutex_) { return ended_; });
      if (ended) return;
      try {
        now = kept_;
      } catch (const std::bad_alloc&) {
        continue;
      }
    }
    for (const auto& kept : now) {
      try {
        kept->ask();
        kept->listen();
      } catch (const std::bad_alloc&) {
        kept->asked = false;  // the next round asks
      }
    }
  }
}

}  // namespace pageserver::storage
