// What a home of files has that is beyond this machine: others may take it over, and its owner is told.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/memory_share.hpp"
#include "base/mutex.hpp"

namespace pageserver::storage {

/// The errno of every call on files whose owner this process is no longer: another one has taken them over. Stays so
/// for as long as the file is locked here. No call of an operating system's files says it.
inline constexpr int taken_over_error = 128;  // EKEYREVOKED

/// The magic number (FileSystem::file_system_type) of homes that are pools of objects: no operating system's.
inline constexpr std::int64_t objects_magic = 0x50534F42;
/// How large a file in such a pool may be.
inline constexpr std::uint64_t objects_file_bytes_max = 1ull << 50;

/// The right of a process to answer for what it has locked. It ends by itself unless it is renewed, by a clock that
/// goes on while the machine sleeps.
///
/// Threads: any.
class HomeLease {
public:
  /// By now_ns(): until then nobody else can have taken it over.
  bool may_answer() const noexcept { return now_ns() < valid_until_ns_.load(std::memory_order_acquire); }
  /// Another has taken it over, for good.
  bool lost() const noexcept { return lost_.load(std::memory_order_acquire); }
  /// Once it is lost: why, and to whom where that is known.
  std::string why() const;

  /// Returns once it may answer again or is lost, or when the time is over.
  void await_verdict(std::chrono::milliseconds time) const;

  void renew(std::int64_t until_ns) noexcept;
  /// The first call's reason stays.
  void lose(std::string why) noexcept;

  /// Another asks for it to be given up. The last one who asks counts.
  void ask_for(std::string who) noexcept;
  /// Who asks for it; empty: nobody.
  std::string wanted_by() const;

  /// CLOCK_BOOTTIME in nanoseconds.
  static std::int64_t now_ns() noexcept;

private:
  std::atomic<std::int64_t> valid_until_ns_{0};
  std::atomic<bool> lost_{false};
  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::string why_ PAGESERVER_GUARDED_BY(mutex_);
  std::string wanted_by_ PAGESERVER_GUARDED_BY(mutex_);
};

struct FileRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// What can be done about a file's lock beyond taking it: looking who has it, asking for it, and giving it up.
///
/// Calls ask the home and wait for its answer, however long that takes, but for those that say otherwise. They return
/// an errno; 0: done.
///
/// Threads: any.
class HomeControl {
public:
  HomeControl() = default;
  HomeControl(const HomeControl&) = delete;
  HomeControl& operator=(const HomeControl&) = delete;
  virtual ~HomeControl() = default;

  /// Who has the lock and since when, for people; empty: nobody has.
  virtual int holder(std::string& holder) = 0;
  /// Asks whoever has it to give it up; `who` is for people. Waits for nobody: holder() tells what came of it.
  virtual void ask(const std::string& who) = 0;
  /// Takes the lock from whoever has it, so that nobody waits for its lease. For a holder that is dead: one that is
  /// not can change nothing once another has the lock, but may answer reads until its lease has run out.
  virtual int break_lock() = 0;
  /// Of a file that is locked here: gives the lock up. Before, its lease is lost, for this reason; then all that is
  /// under way is waited for. So nothing of it can follow, and whoever comes next need not wait.
  virtual int give_up(const std::string& why) = 0;
  /// Of a file that is locked here for writing: what is read of it stays in memory, as far as `share` has room, until
  /// the file is closed. `share` outlives that.
  virtual void keep_in_memory(base::MemoryShare& share) = 0;
  /// Of such a file: these bytes will be read soon, each range by itself. They are fetched at the same time, if they
  /// are not in memory yet. Waits for nothing.
  virtual void will_read(std::span<const FileRange> ranges) noexcept = 0;
  /// `changed` runs on a thread of the home when the lock may have come free, until the result is dropped, and once
  /// more while that happens. It must not wait. Null, or a watch that does not hear everything: whoever waits for the
  /// lock looks from time to time, too.
  virtual std::shared_ptr<void> watch(std::function<void()> changed) = 0;
  /// What the home says of itself, for people, as of the last seconds before somebody asked; empty: not known yet.
  /// Waits for `time` at most, and only where it is not known.
  virtual std::string health(std::chrono::milliseconds time) = 0;
};

/// Of a locked file: see FileSystem::home_of().
struct FileHome {
  std::shared_ptr<const HomeLease> lease;  ///< null: the lock can't be taken away
  std::string name;                        ///< for people, without what only this process needs to get there
  std::uint64_t epoch = 0;                 ///< of the owner where that is this process, else 0
  std::string holder;                      ///< who has the lock, or empty
  std::shared_ptr<HomeControl> control;    ///< null: there is none. Outlives the descriptor
};

}  // namespace pageserver::storage
