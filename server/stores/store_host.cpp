#include "server/stores/store_host.hpp"

#include <algorithm>
#include <fstream>
#include <random>
#include <system_error>

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include "storage/engine/engine.hpp"
#include "storage/engine/recovery.hpp"
#include "storage/engine/thread_background.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/file_system_warning.hpp"

namespace pageserver::server {

std::int64_t now_unix_ms() noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::int64_t monotonic_ms() noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

namespace {

std::uint64_t random_salt() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

}  // namespace

std::uint64_t open_files_of(const StoreSettings& settings) noexcept {
  constexpr std::uint64_t of_a_worker = 3;  // its events, their timer, and what wakes it up
  storage::EngineOptions options;
  options.log_bytes = settings.engine.log_bytes;
  options.held_bytes = settings.engine.held_bytes;
  return storage::open_files_of_store(options) + of_a_worker * settings.threads;
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
  options.read_lanes = std::min(settings.threads, read_lanes_max);
  options.map_image = true;
  options.abandon_recovery = settings.abandon_recovery;
  options.recovered = std::move(recovered);
  options.salt = random_salt();
  return storage::open_engine(file_system, settings.path, sync_lane, checkpoint_lane, options);
}

namespace {

// How often a store is asked how it is.
constexpr std::chrono::milliseconds watch_interval{5000};
// Beside the workers: one for syncs, one for checkpoints.
constexpr std::uint32_t lanes = 2;

/// The number of threads of this process, or 0 when the system does not say.
std::uint64_t threads_now() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::uint64_t count = 0;
    if (word == "Threads:" && status >> count) return count;
  }
  return 0;
}

MemoryError out_of_threads(const StoreSettings& settings, const std::system_error& error) {
  const std::string needed = std::to_string(settings.threads + lanes);
  return {
      Errc::limit_exceeded,
      "open store " + storage::quoted(settings.name) + ": it needs " + needed +
          " threads, and the system gives this daemon no more than its " + std::to_string(threads_now()) + " (" +
          error.code().message() +
          "); end the sessions of another store, lower limits.stores, or raise the limit of threads: pids_limit of a "
          "container, TasksMax of a service, ulimit -u"};
}

MemoryError out_of_descriptors(const StoreSettings& settings) {
  return {Errc::limit_exceeded, "open store " + storage::quoted(settings.name) +
                                    ": the daemon is out of descriptors; raise its limit of open files (ulimit -n), or "
                                    "lower limits.connections and limits.stores"};
}

}  // namespace

struct StoreHost::WatchTimer {
  explicit WatchTimer(asio::io_context& context) : timer(context) {}
  asio::steady_timer timer;
};

StoreHost::StoreHost(std::shared_ptr<storage::FileSystem> file_system, StoreSettings settings, Log& log,
                     std::function<void(StoreHost&)> unneeded)
    : file_system_(std::move(file_system)), settings_(std::move(settings)), log_(log), unneeded_(std::move(unneeded)) {
  try {
    take_threads();
  } catch (const std::system_error& error) {
    // What was had is given back: the members that were made end with this, none with a thread that still uses another.
    end_threads();
    if (error.code() == std::errc::too_many_files_open || error.code() == std::errc::too_many_files_open_in_system)
      throw out_of_descriptors(settings_);
    throw out_of_threads(settings_, error);
  } catch (...) {
    end_threads();
    throw;
  }
}

void StoreHost::take_threads() {
  for (std::uint32_t i = 0; i < settings_.threads; ++i)
    workers_.push_back(std::make_shared<Worker>(settings_.name, log_));
  watch_timer_ = std::make_unique<WatchTimer>(workers_.front()->context());
  workers_.front()->after_trouble([this] { watch_later(); });
  watch_later();
  sync_lane_ = std::make_unique<storage::ThreadBackground>();
  checkpoint_lane_ = std::make_unique<storage::ThreadBackground>();
  for (const auto& worker : workers_) worker->start();
}

void StoreHost::end_threads() noexcept {
  for (const auto& worker : workers_) worker->stop();
  for (const auto& worker : workers_) worker->join();
}

StoreHost::~StoreHost() {
  end_threads();
  watch_timer_.reset();
}

std::shared_ptr<Worker> StoreHost::next_worker() {
  const std::lock_guard lock(mutex_);
  return workers_[next_worker_++ % workers_.size()];
}

// Nothing owns the host in the task: its destructor waits for its threads, so it must not run on one of them.
void StoreHost::look_whether_needed() noexcept {
  next_worker()->post_in(looking_, not_owned(this), [](void* host) {
    auto& self = *static_cast<StoreHost*>(host);
    if (self.unneeded_) self.unneeded_(self);
  });
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
      open_store(*file_system_, settings_, *sync_lane_, *checkpoint_lane_, [&](const storage::RecoveryReport& report) {
        log_.info("recovered", {{"store", settings_.name},
                                {"path", settings_.path},
                                {"records", report.records},
                                {"log_bytes", report.log_bytes},
                                {"pages", report.pages},
                                {"ms", took_ms()}});
      });
  const Stat stat = store->stat(monotonic_ms());
  noted_pages_ = stat.pages;
  log_.debug("store opened",
             {{"store", settings_.name}, {"path", settings_.path}, {"pages", stat.pages}, {"ms", took_ms()}});
  if (const std::string warning = storage::file_system_warning_of(*file_system_, settings_.path); !warning.empty())
    log_.warn("store", {{"store", settings_.name}, {"warning", warning}});
  said_warning_.clear();
  said_sync_error_.clear();
  say_what_is_wrong(stat);
  const std::lock_guard state_lock(mutex_);
  store_ = std::move(store);
  return *store_;
}

bool StoreHost::close(const std::function<bool()>& unused) {
  const std::lock_guard lock(open_mutex_);
  if (unused && !unused()) return false;
  const std::lock_guard looks(look_mutex_);
  std::unique_ptr<storage::Store> store;
  {
    const std::lock_guard state_lock(mutex_);
    store = std::move(store_);
  }
  if (store == nullptr) return false;
  store->close();
  log_.debug("store closed", {{"store", settings_.name}});
  return true;
}

storage::Store* StoreHost::current() const {
  const std::lock_guard lock(mutex_);
  return store_.get();
}

bool StoreHost::is_open() const { return current() != nullptr; }

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

void StoreHost::note_pages() {
  look_at_store([this](storage::Store& store) { noted_pages_ = store.stat(monotonic_ms()).pages; });
}

// Loudly, and each thing once: a file that others touch or a disk that fails is for people to see to.
void StoreHost::say_what_is_wrong(const Stat& stat) {
  const std::lock_guard lock(mutex_);
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
  const auto lost = store.break_idle_lease(monotonic_ms(), static_cast<std::uint64_t>(limit), reason);
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
    const Stat stat = store.stat(monotonic_ms());
    noted_pages_ = stat.pages;
    say_what_is_wrong(stat);
    break_idle_lease(store);
  });
  try {
    if (unneeded_ && is_open()) unneeded_(*this);
  } catch (const std::exception&) {
    // It is looked at again.
  }
}

void StoreHost::watch_later() {
  if (watching_) return;
  std::chrono::milliseconds step = watch_interval;
  if (settings_.lease_idle_max.count() > 0) {
    // A quarter of the limit, so that a lease outlives it by little; the least step keeps an idle daemon idle.
    step = std::min(step, std::max(settings_.lease_idle_max / 4, std::chrono::milliseconds(10)));
  }
  watch_timer_->timer.expires_after(step);
  watch_timer_->timer.async_wait([this](const std::error_code& error) {
    watching_ = false;
    if (error) return;
    watch();
    watch_later();
  });
  watching_ = true;
}

}  // namespace pageserver::server
