// One store that the daemon serves. It has no threads of its own: its work is done on those that all stores share, and
// what may take as long as the disk does is in strands of its own, so that a slow disk delays no other store.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/memory_share.hpp"
#include "base/mutex.hpp"
#include "server/config/config.hpp"
#include "server/metrics/figures.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/loops.hpp"
#include "server/runtime/peers.hpp"
#include "server/stores/lane.hpp"
#include "server/stores/lease_line.hpp"
#include "server/stores/recent_versions.hpp"
#include "server/stores/recoveries.hpp"
#include "server/stores/store_events.hpp"
#include "storage/file/file_system.hpp"
#include "storage/file/home.hpp"
#include "storage/store.hpp"

namespace pageserver::storage {
struct RecoveryReport;
}

namespace pageserver::server {

/// Another daemon has the store; the text says who, and since when.
class ServedElsewhere final : public MemoryError {
public:
  explicit ServedElsewhere(std::string message) : MemoryError{Errc::busy, std::move(message)} {}
};

struct StoreSettings {
  std::string name;
  std::string path;
  bool read_only = false;
  bool create = false;
  bool on_demand = false;  ///< opened for its first session, closed after its last
  std::uint32_t file_mode = keys::store_mode.value32();
  std::uint64_t size_bytes_max = 0;
  EngineLimits engine;
  std::atomic<std::uint64_t>* forks_bytes = nullptr;    ///< of the whole daemon; outlives the store
  const std::atomic<bool>* abandon_recovery = nullptr;  ///< see EngineOptions
  Figures* figures = nullptr;                           ///< of the whole daemon, or null; outlives the store
  Recoveries* recoveries = nullptr;                     ///< of the whole daemon; outlives the store
  std::uint32_t readers_max = 1;                        ///< so many loops serve its readers
  std::chrono::milliseconds lease_idle_max{0};
  std::chrono::milliseconds resume_linger{0};   ///< for so long a session of an earlier opening may be resumed
  Loops::Disk* disk = nullptr;                  ///< where its image is, as far as that is known
  base::MemoryShare* private_memory = nullptr;  ///< see EngineOptions; both outlive the store
  base::MemoryShare* index_memory = nullptr;
  base::MemoryShare* home_memory = nullptr;
  bool standby = false;  ///< where another daemon has the store: wait for it
  std::chrono::milliseconds home_timeout = keys::home_timeout.duration();
  /// Has the writers' sessions that can go on at another daemon end, and waits for that a while. Null: there are none.
  const std::function<void(const std::string& store)>* let_writers_go = nullptr;
  std::uint32_t lease_line = keys::lease_line.value32();
  std::uint32_t peer_percent = 100;  ///< of `lease_line` and of the private bytes of all forks
};

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
  /// The loop for the next session. One that reads, or a fork, never comes to where writers are.
  std::shared_ptr<Worker> worker_for(Access access) noexcept;
  /// What takes as long as the disk does, one thing at a time: opening, closing, looking after the store. The calls
  /// below are for its tasks, which don't own the host: its destructor waits for them.
  Strand& jobs() noexcept { return jobs_; }
  /// For who is about to wait for the lease on behalf of `peer`: a place, for as long as it is kept. Throws
  /// limit_exceeded.
  std::shared_ptr<void> take_place_in_line(const std::shared_ptr<Peer>& peer) {
    return line_.take_place(settings_.name, peer);
  }
  /// In which threads of the loops are stuck, on behalf of sessions of this store.
  StuckCalls& calls() noexcept { return *calls_; }
  /// Any thread: what of its work waits, and what is stuck. Waits for nothing.
  std::size_t waiting_calls();
  Stuck stuck_calls();
  /// Any thread: see Store::line(). Empty when the store is not open, or just being closed.
  std::vector<std::uint64_t> line();

  /// Opens the store when it is not open; throws MemoryError, and ServedElsewhere where another daemon has it.
  storage::Store& opened();
  struct TakeOver {
    bool was_here = false;
    std::string holder;  ///< who had it; empty: nobody
    std::chrono::milliseconds took{0};
  };
  /// Opens a store that another daemon may have: that one is asked to give it up, for `who`; or, where it is known to
  /// be dead, its lock is broken. Throws busy where it does not let go in time, and what opened() throws.
  TakeOver take_over(const std::string& who, bool holder_is_dead);
  /// A clean close, when it is open; false when it was not. Throws what Store::close() throws; the store is gone in any
  /// case, with its files and its lock. With `unused`: only if that says, while nobody can be opening it, that no
  /// session is on it.
  bool close(const std::function<bool()>& unused = {});

  /// From any thread.
  bool is_open() const { return current() != nullptr; }
  /// From any thread: when it was last tried to be opened, another daemon had it.
  bool is_elsewhere() const noexcept { return elsewhere_; }
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
  std::uint64_t disk_available_bytes() const noexcept { return disk_available_bytes_; }
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
  std::int64_t answered_ms() const noexcept;
  /// Any thread: what it waits for while it is not open, for people.
  std::string opening() const { return events_.opening(); }
  /// Any thread: size in pages, as it is, or as it was when the store was last asked.
  std::uint64_t pages();

private:
  /// Runs `look(store)` when the store is open and nobody is just closing it.
  template <class Look>
  void look_at_store(const Look& look);
  storage::Store* current() const;
  void watch();
  void note_disk() noexcept;
  void say_what_is_wrong(const Stat& stat);
  void break_idle_lease(storage::Store& store);
  /// Says so, and ends the writer's session. False: nobody has.
  bool say_taken_over(storage::Store& store);
  void check_elsewhere();
  void watch_home();
  void consider_giving_up(storage::Store& store);
  void leave(storage::Store& store, const std::string& why);
  void try_standing_in();
  void consider_opening_anew(storage::Store& store);
  bool has_room();

  std::shared_ptr<storage::FileSystem> file_system_;
  const StoreSettings settings_;
  Log& log_;
  const std::function<void(StoreHost&)> unneeded_;
  Loops& loops_;
  const HeldCalls calls_;
  const std::size_t writers_loop_;
  std::atomic<std::size_t> readers_;  ///< where the next one goes
  LeaseLine line_;

  StoreEvents events_;  // the store's lanes and the store go before it
  // Declared so that the jobs end first, then the store, then its lanes.
  Lane sync_lane_;
  Lane checkpoint_lane_;
  std::mutex open_mutex_;                              ///< one opening or closing at a time
  std::chrono::steady_clock::time_point opened_at_{};  ///< under `open_mutex_`
  std::shared_mutex look_mutex_;  ///< shared by who looks at the store without a session, which a close waits for
  mutable Mutex mutex_;           ///< of what any thread may ask for, never held for long
  /// Those that others have taken over: who has a session in one may still refer to it. Of the thread in opened().
  std::vector<std::unique_ptr<storage::Store>> taken_over_;
  std::unique_ptr<storage::Store> store_ PAGESERVER_GUARDED_BY(mutex_);
  std::atomic<std::uint64_t> noted_pages_{0};
  std::atomic<std::uint64_t> disk_available_bytes_{0};
  RecentVersions versions_ PAGESERVER_GUARDED_BY(mutex_);
  std::atomic<bool> said_taken_over_{false};
  std::atomic<bool> maps_{false};                           ///< a job looks at the pages
  std::string said_warning_ PAGESERVER_GUARDED_BY(mutex_);  ///< what the log has said already
  std::string said_sync_error_ PAGESERVER_GUARDED_BY(mutex_);
  std::atomic<bool> watch_due_{false};  ///< a job will look after the store
  // Of a store that others can reach:
  struct News {
    Mutex mutex;
    StoreHost* host PAGESERVER_GUARDED_BY(mutex) = nullptr;
  };
  const bool beyond_;           ///< it is one
  std::shared_ptr<News> news_;  ///< outlives the host where the home still tells of something
  std::atomic<bool> home_due_{false};
  std::atomic<bool> elsewhere_{false};
  std::atomic<bool> lets_go_{false};  ///< it is open, and just being left to another
  // Of the thread in opened(), or in a job that opens:
  bool was_opened_ = false;
  bool ended_ = false;  ///< closed for good
  std::shared_ptr<storage::HomeControl> control_;
  std::shared_ptr<void> home_watch_;
  std::string said_standing_by_;
  std::string given_up_to_;
  std::chrono::steady_clock::time_point not_before_{};  ///< it is left to others until then
  std::chrono::steady_clock::time_point wanted_since_{};
  std::chrono::steady_clock::time_point looked_for_room_{};
  std::atomic<bool> is_broken_{false};  ///< its log could not be written
  /// A way that is asked, and when it answered last. Shared, since a loop may come to it late.
  struct Way {
    std::atomic<bool> asked{false};
    std::atomic<std::int64_t> answered_ms{0};
    void answer() noexcept;
  };
  static constexpr std::size_t ways_count = 3;
  const std::shared_ptr<std::array<Way, ways_count>> ways_;
  Strand jobs_;
};

template <class Look>
void StoreHost::look_at_store(const Look& look) {
  const std::shared_lock looks(look_mutex_, std::try_to_lock);
  if (!looks.owns_lock()) return;
  try {
    if (storage::Store* const store = current()) look(*store);
  } catch (const std::exception&) {
    // Its disk fails, or memory is out: whoever uses it is told.
  }
}

/// How many descriptors such a store may need.
std::uint64_t open_files_of(const StoreSettings& settings) noexcept;

/// What stands behind the daemon's stores.
std::unique_ptr<storage::Store> open_store(storage::FileSystem& file_system, const StoreSettings& settings,
                                           storage::Background& sync_lane, storage::Background& checkpoint_lane,
                                           storage::EngineEvents* events = nullptr,
                                           std::function<void(const storage::RecoveryReport& report)> recovered = {});

}  // namespace pageserver::server
