// What other threads have told a connection to do: noted here, until the connection has its turn and looks.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <utility>

#include "base/mutex.hpp"
#include "proto/codec.hpp"

namespace pageserver::server {

/// Calls that are to be made once. Threads: any.
class OneTimeCalls {
public:
  /// Throws std::bad_alloc, having done nothing.
  void add(std::function<void()> call) {
    std::list<std::function<void()>> one;
    one.push_back(std::move(call));
    const Lock lock{mutex_};
    calls_.splice(calls_.end(), one);
  }
  /// Makes them, without the lock. They must not throw.
  void make() noexcept {
    std::list<std::function<void()>> calls;
    {
      const Lock lock{mutex_};
      calls.swap(calls_);
    }
    for (const auto& call : calls) call();
  }

private:
  Mutex mutex_;
  std::list<std::function<void()>> calls_ PAGESERVER_GUARDED_BY(mutex_);
};

/// Whoever gives an order then nudges the connection. Threads: any; the connection alone takes what is to be taken.
class Orders {
public:
  /// To close at once.
  void abort() noexcept { aborted_ = true; }
  bool aborted() const noexcept { return aborted_; }
  /// Something that it waits for can't be told to it for want of memory, so it ends.
  void lose() noexcept { lost_ = true; }
  bool lost() const noexcept { return lost_; }
  bool ends_at_once() const noexcept { return aborted_ || lost_; }

  /// To end, and to tell the peer why; the first reason stays. `released` is for tell_released(). True for the first
  /// kick. Throws std::bad_alloc, having done nothing.
  bool kick(proto::Fault why, std::function<void()> released) {
    auto reason = std::make_unique<const proto::Fault>(std::move(why));
    released_.add(std::move(released));
    {
      const Lock lock{mutex_};
      if (kicked_for_ == nullptr) kicked_for_ = std::move(reason);
    }
    return !kicked_.exchange(true);
  }
  bool kicked() const noexcept { return kicked_; }
  /// Once it is kicked.
  proto::Fault kicked_for() const {
    const Lock lock{mutex_};
    return *kicked_for_;
  }
  /// Nothing is held any more: tells each of those who asked, once.
  void tell_released() noexcept { released_.make(); }

  /// What it has shown in its handshake is not believed any more; a kick follows.
  void distrust() noexcept { distrusted_ = true; }
  bool distrusted() const noexcept { return distrusted_; }

  /// Its store goes to another daemon. `gone` is for tell_gone(). Throws std::bad_alloc, having done nothing.
  void go_to_successor(std::function<void()> gone) {
    gone_.add(std::move(gone));
    has_successor_ = true;
  }
  bool has_successor() const noexcept { return has_successor_; }
  /// Its session is none that could go on there.
  void stay() noexcept { has_successor_ = false; }
  void tell_gone() noexcept { gone_.make(); }

  /// There is another policy: taken once.
  void look_at_policy() noexcept { policy_changed_ = true; }
  bool take_policy_change() noexcept { return policy_changed_.exchange(false); }

  /// To end, unless its peer is known by then.
  void drop_stranger() noexcept { dropped_ = true; }
  bool dropped() const noexcept { return dropped_; }

private:
  std::atomic<bool> aborted_{false};
  std::atomic<bool> lost_{false};
  std::atomic<bool> kicked_{false};
  std::atomic<bool> distrusted_{false};
  std::atomic<bool> has_successor_{false};
  std::atomic<bool> policy_changed_{false};
  std::atomic<bool> dropped_{false};
  mutable Mutex mutex_;
  std::unique_ptr<const proto::Fault> kicked_for_ PAGESERVER_GUARDED_BY(mutex_);  // set once
  OneTimeCalls released_;
  OneTimeCalls gone_;
};

}  // namespace pageserver::server
