// A store that several daemons can reach, in a Ceph pool: who has it, who stands by, how it is taken over and given up.
//
//   open here ── another asks ──> a checkpoint, writers go there ──> given up: left to it for some seconds
//     ▲    └──── the log could not be written, and there is room again ──> left, and opened anew
//     └───────── it came free (standby), or pagectl takeover ───────────── elsewhere
//
// A store in a file of this machine is never elsewhere.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <pageserver/error.hpp>

#include "server/runtime/log.hpp"
#include "server/stores/giving_up.hpp"
#include "server/stores/home_room.hpp"
#include "server/stores/home_watch.hpp"
#include "server/stores/hosted_store.hpp"
#include "server/stores/store_settings.hpp"
#include "storage/file/file_system.hpp"
#include "storage/store.hpp"

namespace pageserver::server {

/// Another daemon has the store; the text says who, and since when.
class ServedElsewhere final : public MemoryError {
public:
  explicit ServedElsewhere(std::string message) : MemoryError{Errc::busy, std::move(message)} {}
};

/// For the host's jobs and who opens or closes the store, but for the calls that say otherwise.
class HomeKeeper {
public:
  /// So long the holder of a store may take to give it up, once it is asked: a lease, and what it copies before.
  static constexpr std::chrono::milliseconds ask_patience{10'000};
  struct TakeOver {
    bool was_here = false;
    std::string holder;  ///< who had it; empty: nobody
    std::chrono::milliseconds took{0};
  };
  /// What it wants of its host.
  struct Host {
    /// Opens the store, or throws why not.
    std::function<void()> open;
    /// On a thread of the home: the store may have come free. Must not wait.
    std::function<void()> news;
  };

  /// All of them outlive it.
  HomeKeeper(storage::FileSystem& file_system, const StoreSettings& settings, Log& log, HostedStore& store, Host host);

  /// Others can reach the store.
  bool is_beyond() const noexcept { return is_beyond_; }
  /// Any thread: when the store was last tried to be opened, another daemon had it.
  bool is_elsewhere() const noexcept { return elsewhere_; }
  /// Any thread: it is open, and just being left to another.
  bool lets_go() const noexcept { return lets_go_; }
  /// Any thread: a host that ends hears nothing of its home any more.
  void hear_nothing() noexcept { watch_.hear_nothing(); }

  // Around an opening:
  /// Throws ServedElsewhere where another daemon has the store; without waiting for a lease, where it stands by or has
  /// had the store before, else the opening waits for one.
  void check_elsewhere();
  /// The opening failed. True: since another daemon has the store.
  bool refused(const MemoryError& error) noexcept;
  /// True: it was elsewhere.
  bool opened() noexcept;
  /// It is closed for good.
  void end() noexcept { ended_ = true; }

  /// Says so where another has taken the open store, and ends the writer's session. False: nobody has.
  bool say_taken_over(storage::Store& store);
  /// What the store says of its log.
  void note(const Stat& stat) noexcept {
    is_broken_ = is_beyond_ && !settings_.read_only && !stat.last_sync_error.empty();
  }

  /// See StoreHost::take_over().
  TakeOver take_over(const std::string& who, bool holder_is_dead);
  /// Any thread: there is something for look() to do.
  bool wants_look();
  /// In a job: gives the store up where another asks, takes it where it has come free, opens it anew.
  void look();

private:
  void leave(storage::Store& store, const std::string& why);
  void consider_giving_up(storage::Store& store);
  void consider_opening_anew(storage::Store& store);
  void try_standing_in();

  storage::FileSystem& file_system_;
  const StoreSettings& settings_;
  Log& log_;
  HostedStore& store_;
  const std::function<void()> open_;
  const bool is_beyond_;
  HomeWatch watch_;
  GivingUp giving_up_;
  HomeRoom room_;
  std::string said_standing_by_;
  bool was_opened_ = false;
  bool ended_ = false;
  std::atomic<bool> elsewhere_{false};
  std::atomic<bool> lets_go_{false};
  std::atomic<bool> said_taken_over_{false};
  std::atomic<bool> is_broken_{false};  ///< its log could not be written
};

}  // namespace pageserver::server
