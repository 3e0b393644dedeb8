// One store that the daemon serves, with the threads that do its work: a slow disk delays no other store.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "server/config/config.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/worker.hpp"
#include "storage/engine/background.hpp"
#include "storage/file/file_system.hpp"
#include "storage/store.hpp"

namespace pageserver::storage {
struct RecoveryReport;
}

namespace pageserver::server {

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
  std::uint32_t threads = 1;
  std::chrono::milliseconds lease_idle_max{0};
};

/// Milliseconds since 1970-01-01 UTC.
std::int64_t now_unix_ms() noexcept;
/// Milliseconds of a clock that nobody sets.
std::int64_t monotonic_ms() noexcept;

class StoreHost {
public:
  /// Takes all the threads and descriptors that the store needs beside its files, or none: throws limit_exceeded, which
  /// names the store and the remedy. `unneeded` runs on a worker of the host whenever that is asked for, and now and
  /// then while the store is open: it closes the store when no session is on it.
  StoreHost(std::shared_ptr<storage::FileSystem> file_system, StoreSettings settings, Log& log,
            std::function<void(StoreHost&)> unneeded = {});
  StoreHost(const StoreHost&) = delete;
  StoreHost& operator=(const StoreHost&) = delete;
  /// Stops the workers. Without close() before, the store ends as by a kill.
  ~StoreHost();

  const StoreSettings& settings() const noexcept { return settings_; }
  const std::string& name() const noexcept { return settings_.name; }
  /// The worker for the next connection, in turn. A connection stays on its worker.
  std::shared_ptr<Worker> next_worker();

  /// The rest runs on the store's own workers, since each may take as long as the disk does.
  /// Opens the store when it is not open; throws MemoryError.
  storage::Store& opened();
  /// A clean close, when it is open; false when it was not. Throws what Store::close() throws; the store is gone in any
  /// case, with its files and its lock. With `unused`: only if that says, while nobody can be opening it, that no
  /// session is on it.
  bool close(const std::function<bool()>& unused = {});

  /// Asks the store for its size, if it is open.
  void note_pages();

  /// From any thread.
  bool is_open() const;
  /// Any thread, and never fails: `unneeded` of the constructor runs on a worker of the host.
  void look_whether_needed() noexcept;
  /// Size in pages when it was last asked for.
  std::uint64_t noted_pages() const noexcept { return noted_pages_; }

private:
  /// Runs `look(store)` when the store is open and nobody is just closing it.
  template <class Look>
  void look_at_store(const Look& look);
  storage::Store* current() const;
  void watch();
  void watch_later();
  void take_threads();
  void end_threads() noexcept;
  void say_what_is_wrong(const Stat& stat);
  void break_idle_lease(storage::Store& store);

  std::shared_ptr<storage::FileSystem> file_system_;
  const StoreSettings settings_;
  Log& log_;
  const std::function<void(StoreHost&)> unneeded_;
  PostRoom looking_;  ///< of look_whether_needed()

  // Declared so that the store goes first, then its lanes, then the workers.
  struct WatchTimer;
  bool watching_ = false;
  std::vector<std::shared_ptr<Worker>> workers_;
  std::size_t next_worker_ = 0;
  std::unique_ptr<WatchTimer> watch_timer_;  ///< of the first worker
  std::unique_ptr<storage::Background> sync_lane_;
  std::unique_ptr<storage::Background> checkpoint_lane_;
  std::mutex open_mutex_;         ///< one opening or closing at a time
  std::shared_mutex look_mutex_;  ///< shared by who looks at the store without a session, which a close waits for
  mutable std::mutex mutex_;      ///< of what any thread may ask for, never held for long
  std::unique_ptr<storage::Store> store_;
  std::atomic<std::uint64_t> noted_pages_{0};
  std::string said_warning_;  ///< what the log has said already
  std::string said_sync_error_;
};

/// How many descriptors such a store may need, with those of its threads.
std::uint64_t open_files_of(const StoreSettings& settings) noexcept;

/// What stands behind the daemon's stores.
std::unique_ptr<storage::Store> open_store(storage::FileSystem& file_system, const StoreSettings& settings,
                                           storage::Background& sync_lane, storage::Background& checkpoint_lane,
                                           std::function<void(const storage::RecoveryReport& report)> recovered = {});

}  // namespace pageserver::server
