#include "server/stores/store_host.hpp"

#include <algorithm>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "storage/engine/engine.hpp"
#include "storage/engine/recovery.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/file_system_warning.hpp"

namespace pageserver::server {

std::uint64_t open_files_of(const StoreSettings& settings) noexcept {
  storage::EngineOptions options;
  options.log_bytes = settings.engine.log_bytes;
  options.held_bytes = settings.engine.held_bytes;
  return storage::open_files_of_store(options);
}

std::unique_ptr<storage::Store> open_store(storage::FileSystem& file_system, const StoreSettings& settings,
                                           storage::Background& sync_lane, storage::Background& checkpoint_lane,
                                           std::function<void(const storage::RecoveryReport& report)> recovered) {
  storage::EngineOptions options;
  options.read_only = settings.read_only;
  options.create = settings.create;
  options.follow_symlinks = !settings.on_demand;
  options.file_mode = settings.file_mode;
  options.size_bytes_max = settings.size_bytes_max;
  options.log_bytes = settings.engine.log_bytes;
  options.checkpoint_pace = settings.engine.checkpoint_pace;
  options.held_bytes = settings.engine.held_bytes;
  options.private_memory_bytes = settings.engine.private_memory_bytes;
  options.transaction_bytes = settings.engine.transaction_bytes;
  options.private_ranges = settings.engine.private_ranges;
  options.fork_bytes = settings.engine.fork_bytes;
  options.forks_bytes = settings.engine.forks_bytes;
  options.forks_bytes_used = settings.forks_bytes;
  // A writer closes them all, so that there are not more of them than readers gain from.
  constexpr std::uint32_t read_lanes_max = 16;
  options.read_lanes = std::min(settings.readers_max, read_lanes_max);
  options.map_image = true;
  // Many stores are small, and addresses are bounded as well: one that grows is mapped anew at each doubling.
  options.mapping_bytes = 2ull << 20;
  options.abandon_recovery = settings.abandon_recovery;
  options.recovered = std::move(recovered);
  options.salt = base::random_number();
  return storage::open_engine(file_system, settings.path, sync_lane, checkpoint_lane, options);
}

StoreHost::StoreHost(std::shared_ptr<storage::FileSystem> file_system, StoreSettings settings, Log& log,
                     SharedThreads& threads, std::function<void(StoreHost&)> unneeded)
    : file_system_(std::move(file_system)),
      settings_(std::move(settings)),
      log_(log),
      unneeded_(std::move(unneeded)),
      loops_(threads.loops),
      calls_(threads.loops.take_calls()),
      writers_loop_(threads.loops.next()),
      readers_(writers_loop_),
      sync_lane_(threads.disk),
      checkpoint_lane_(threads.disk),
      jobs_(threads.disk) {}

StoreHost::~StoreHost() = default;

std::shared_ptr<Worker> StoreHost::worker_for(Access access) noexcept {
  return access == Access::write ? loops_.writer(writers_loop_) : loops_.reader(readers_++);
}

storage::Store& StoreHost::opened() {
  // Held for as long as the opening takes: others that want this store have to wait for it anyway.
  const std::lock_guard lock(open_mutex_);
  if (storage::Store* const store = current()) return *store;
  const auto start = std::chrono::steady_clock::now();
  const auto took_ms = [start] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
  };
  std::unique_ptr<storage::Store> store =
      open_store(*file_system_, settings_, sync_lane_, checkpoint_lane_, [&](const storage::RecoveryReport& report) {
        log_.info("recovered", {{"store", settings_.name},
                                {"path", settings_.path},
                                {"files", report.segments},
                                {"records", report.records},
                                {"log_bytes", report.log_bytes},
                                {"dropped_files", report.dropped_files},
                                {"dropped_records", report.dropped_records},
                                {"pages", report.pages},
                                {"ms", took_ms()}});
      });
  const Stat stat = store->stat(base::monotonic_ms());
  noted_pages_ = stat.pages;
  log_.debug("store opened",
             {{"store", settings_.name}, {"path", settings_.path}, {"pages", stat.pages}, {"ms", took_ms()}});
  if (const std::string warning = storage::file_system_warning_of(*file_system_, settings_.path); !warning.empty())
    log_.warn("store", {{"store", settings_.name}, {"warning", warning}});
  {
    const Lock state_lock{mutex_};
    said_warning_.clear();
    said_sync_error_.clear();
  }
  say_what_is_wrong(stat);
  const Lock state_lock{mutex_};
  store_ = std::move(store);
  return *store_;
}

storage::Store* StoreHost::open_already() {
  const std::unique_lock lock(open_mutex_, std::try_to_lock);
  return lock.owns_lock() ? current() : nullptr;
}

bool StoreHost::is_closed() {
  const std::unique_lock lock(open_mutex_, std::try_to_lock);
  return lock.owns_lock() && current() == nullptr;
}

bool StoreHost::close(const std::function<bool()>& unused) {
  const std::lock_guard lock(open_mutex_);
  if (unused && !unused()) return false;
  const std::lock_guard looks(look_mutex_);
  std::unique_ptr<storage::Store> store;
  {
    const Lock state_lock{mutex_};
    store = std::move(store_);
  }
  if (store == nullptr) return false;
  store->close();
  log_.debug("store closed", {{"store", settings_.name}});
  return true;
}

storage::Store* StoreHost::current() const {
  const Lock lock{mutex_};
  return store_.get();
}

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

std::uint64_t StoreHost::pages() {
  look_at_store([this](storage::Store& store) { noted_pages_ = store.pages(); });
  return noted_pages_;
}

// Loudly, and each thing once: a file that others touch or a disk that fails is for people to see to.
void StoreHost::say_what_is_wrong(const Stat& stat) {
  const Lock lock{mutex_};
  if (stat.image_warning != said_warning_ && !stat.image_warning.empty()) {
    log_.warn("store", {{"store", settings_.name}, {"warning", stat.image_warning}});
  }
  if (stat.last_sync_error != said_sync_error_ && !stat.last_sync_error.empty()) {
    log_.error("sync failed", {{"store", settings_.name}, {"error", stat.last_sync_error}});
  }
  said_warning_ = stat.image_warning;
  said_sync_error_ = stat.last_sync_error;
}

void StoreHost::break_idle_lease(storage::Store& store) {
  const std::int64_t limit = settings_.lease_idle_max.count();
  if (limit == 0) return;
  const std::string reason = "no request for more than limits.lease_idle_max=" + std::to_string(limit) + " ms";
  const auto lost = store.break_idle_lease(base::monotonic_ms(), static_cast<std::uint64_t>(limit), reason);
  if (!lost) return;
  log_.info("lease broken", {{"store", settings_.name},
                             {"holder", lost->name},
                             {"address", lost->address},
                             {"epoch", lost->epoch},
                             {"idle_ms", lost->idle_ms},
                             {"reason", reason}});
}

void StoreHost::watch() {
  look_at_store([this](storage::Store& store) {
    const Stat stat = store.stat(base::monotonic_ms());
    noted_pages_ = stat.pages;
    say_what_is_wrong(stat);
    break_idle_lease(store);
  });
  try {
    if (unneeded_) unneeded_(*this);
  } catch (const std::exception&) {
    // It is looked at again.
  }
}

// Nothing owns the host in the task: its destructor waits for its strands, so it must not run in one.
void StoreHost::look_after() noexcept {
  if (watch_due_.exchange(true)) return;
  try {
    jobs_.submit([this] {
      watch_due_ = false;
      watch();
    });
  } catch (const std::bad_alloc&) {
    watch_due_ = false;  // the next look tries again
  }
}

}  // namespace pageserver::server
