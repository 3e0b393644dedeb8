// One store that the daemon serves. It has no threads of its own: its work is done on those that all stores share, and
// what may take as long as the disk does is in strands of its own, so that a slow disk delays no other store.
//
// Its state is in parts, each with a unit test:
//
//   HostedStore             the store while it is open, and who looks at it
//   StoreLoops, StoreLanes  which threads serve its sessions, and which its engine
//   StoreJobs               what is done for it one thing at a time
//   LeaseLine               who waits for its lease
//   LastLook, StoreWarnings what was seen of it, and what the log has said
//   Ways                    whether its threads answer
//   HomeKeeper              who has it, where other daemons can reach it as well
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/runtime/log.hpp"
#include "server/runtime/loops.hpp"
#include "server/runtime/peers.hpp"
#include "server/stores/home_keeper.hpp"
#include "server/stores/hosted_store.hpp"
#include "server/stores/lane.hpp"
#include "server/stores/last_look.hpp"
#include "server/stores/lease_line.hpp"
#include "server/stores/store_events.hpp"
#include "server/stores/store_jobs.hpp"
#include "server/stores/store_loops.hpp"
#include "server/stores/store_settings.hpp"
#include "server/stores/store_warnings.hpp"
#include "server/stores/ways.hpp"
#include "storage/file/file_system.hpp"
#include "storage/store.hpp"

namespace pageserver::storage {
struct RecoveryReport;
}

namespace pageserver::server {

class StoreHost {
public:
  /// `threads` outlives the host. `unneeded` runs in a job of the host whenever that is asked for, and now and then
  /// while the store is open: it closes the store when no session is on it.
  StoreHost(std::shared_ptr<storage::FileSystem> file_system, StoreSettings settings, Log& log, SharedThreads& threads,
            std::function<void(StoreHost&)> unneeded = {});
  StoreHost(const StoreHost&) = delete;
  StoreHost& operator=(const StoreHost&) = delete;
  /// Not in one of its jobs. Without close() before, the store ends as by a kill.
  ~StoreHost();

  const StoreSettings& settings() const noexcept { return settings_; }
  const std::string& name() const noexcept { return settings_.name; }
  /// Of its file, where links are followed; the names of its log's files begin so. Asks the file system.
  std::string image_path() const;
  /// See StoreLoops.
  std::shared_ptr<Worker> worker_for(Access access) noexcept { return loops_.next_for(access); }
  /// What takes as long as the disk does, one thing at a time: opening, closing, looking after the store. The calls
  /// below are for its tasks, which don't own the host: its destructor waits for them.
  Strand& jobs() noexcept { return jobs_.strand(); }
  /// For who is about to wait for the lease on behalf of `peer`: a place, for as long as it is kept. Throws
  /// limit_exceeded.
  std::shared_ptr<void> take_place_in_line(const std::shared_ptr<Peer>& peer) {
    return line_.take_place(settings_.name, peer);
  }
  /// In which threads of the loops are stuck, on behalf of sessions of this store.
  StuckCalls& calls() noexcept { return loops_.calls(); }
  /// Any thread: what of its work waits, and what is stuck. Waits for nothing.
  std::size_t waiting_calls();
  Stuck stuck_calls();
  /// Any thread: see Store::line(). Empty when the store is not open, or just being closed.
  std::vector<std::uint64_t> line();

  /// Opens the store when it is not open; throws MemoryError, and ServedElsewhere where another daemon has it.
  storage::Store& opened();
  using TakeOver = HomeKeeper::TakeOver;
  /// Opens a store that another daemon may have: that one is asked to give it up, for `who`; or, where it is known to
  /// be dead, its lock is broken. Throws busy where it does not let go in time, and what opened() throws.
  TakeOver take_over(const std::string& who, bool holder_is_dead) { return home_.take_over(who, holder_is_dead); }
  /// A clean close, when it is open; false when it was not. Throws what Store::close() throws; the store is gone in any
  /// case, with its files and its lock. With `unused`: only if that says, while nobody can be opening it, that no
  /// session is on it.
  bool close(const std::function<bool()>& unused = {});

  /// From any thread.
  bool is_open() const { return store_.current() != nullptr; }
  /// From any thread: when it was last tried to be opened, another daemon had it.
  bool is_elsewhere() const noexcept { return home_.is_elsewhere(); }
  /// Its image lies in a pool.
  bool is_beyond() const noexcept { return home_.is_beyond(); }
  /// When a recovery of it was last seen to come further.
  std::chrono::steady_clock::time_point recovery_went_on() const noexcept { return events_.recovery_went_on(); }
  /// From any thread, and never fails: of a store that others can reach: whether somebody asks for it, or it has come
  /// free, is looked at soon, in a job.
  void look_at_home() noexcept;
  /// From any thread: it is not open, and nobody is just opening or closing it.
  bool is_closed();
  /// From any thread, by who holds on to the store (see HostUse): the store when it is open and nobody is just opening
  /// or closing it, else null. Does not wait; a job that calls opened() does.
  storage::Store* open_already();
  /// Any thread, and never fails: what is to be looked after is, soon, in a job; and whether the store is needed.
  void look_after() noexcept;
  /// Any thread: how the store is, without a look at its disk; nothing while it is not open, or just being closed.
  std::optional<Stat> figures();
  /// Any thread: what the image's file system had left when the store was last looked after; 0: that is not known.
  std::uint64_t disk_available_bytes() const noexcept { return last_look_.disk_available_bytes(); }
  /// What map_pages() finds; the rest is there once it is ready.
  struct MapOfPages {
    std::atomic<bool> ready{false};
    storage::PageMap map;
    std::string_view error;  ///< empty: there is a map
  };
  /// Any thread: looks at the pages in a job, and never at more than one map at a time: null while it does. What was
  /// written in the last minute is recent, whatever the request says; to within the time between two looks after the
  /// store.
  std::shared_ptr<MapOfPages> map_pages(storage::PageMapRequest request);
  /// Any thread, and never fails: asks each of the ways that requests of this store take: its jobs with a look at the
  /// image, a loop of readers, the loop of its writers. At most one question is under way on each.
  void probe() noexcept;
  /// Any thread: the moment, by base::monotonic_ms(), up to which all of them have answered.
  std::int64_t answered_ms() const noexcept { return ways_.answered_ms(); }
  /// Any thread: what it waits for while it is not open, for people.
  std::string opening() const { return events_.opening(); }
  /// Any thread: size in pages, as it is, or as it was when the store was last asked.
  std::uint64_t pages();

private:
  void watch();
  void say_what_is_wrong(const Stat& stat);
  void break_idle_lease(storage::Store& store);

  std::shared_ptr<storage::FileSystem> file_system_;
  const StoreSettings settings_;
  Log& log_;
  const std::function<void(StoreHost&)> unneeded_;
  StoreLoops loops_;
  LeaseLine line_;
  StoreEvents events_;  // the store's lanes and the store go before it
  // Declared so that the jobs end first, then the store, then its lanes.
  StoreLanes lanes_;
  std::mutex open_mutex_;  ///< one opening or closing at a time
  HostedStore store_;
  LastLook last_look_;
  StoreWarnings warnings_;
  HomeKeeper home_;
  Ways ways_;
  StoreJobs jobs_;
};

/// How many descriptors such a store may need.
std::uint64_t open_files_of(const StoreSettings& settings) noexcept;

/// What stands behind the daemon's stores.
std::unique_ptr<storage::Store> open_store(storage::FileSystem& file_system, const StoreSettings& settings,
                                           storage::Background& sync_lane, storage::Background& checkpoint_lane,
                                           storage::EngineEvents* events = nullptr,
                                           std::function<void(const storage::RecoveryReport& report)> recovered = {});

}  // namespace pageserver::server
