#include "server/stores/store_host.hpp"

#include <sys/statvfs.h>

#include <algorithm>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "storage/engine/open_engine.hpp"
#include "storage/engine/recovery.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/file_system_warning.hpp"
#include "storage/image/image_file.hpp"

namespace pageserver::server {

std::uint64_t open_files_of(const StoreSettings& settings) noexcept {
  storage::EngineOptions options;
  options.log_bytes = settings.engine.log_bytes;
  options.held_bytes = settings.engine.held_bytes;
  return storage::open_files_of_store(options);
}

std::unique_ptr<storage::Store> open_store(storage::FileSystem& file_system, const StoreSettings& settings,
                                           storage::Background& sync_lane, storage::Background& checkpoint_lane,
                                           storage::EngineEvents* events,
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
  options.private_memory = settings.private_memory;
  options.index_memory = settings.index_memory;
  options.home_memory = settings.home_memory;
  options.owner_fork_bytes = share_of(settings.engine.forks_bytes, settings.peer_percent);
  options.owner_fork_bytes_name = "limits.peer_percent=" + std::to_string(settings.peer_percent) +
                                  " of limits.forks_bytes=" + std::to_string(settings.engine.forks_bytes) +
                                  ", a peer's share";
  // A writer closes them all, so that there are not more of them than readers gain from.
  constexpr std::uint32_t read_lanes_max = 16;
  options.read_lanes = std::min(settings.readers_max, read_lanes_max);
  options.map_image = true;
  options.home_timeout = settings.home_timeout;
  // Many stores are small, and addresses are bounded as well: one that grows is mapped anew at each doubling.
  options.mapping_bytes = 2ull << 20;
  options.abandon_recovery = settings.abandon_recovery;
  options.recovered = std::move(recovered);
  options.events = events;
  if (settings.recoveries != nullptr) options.earlier_recovery = settings.recoveries->find(settings.name);
  options.salt = base::random_number();
  return storage::open_engine(file_system, settings.path, sync_lane, checkpoint_lane, options);
}

namespace {

StrandGroup* strands_of(const StoreSettings& settings) noexcept {
  return settings.disk == nullptr ? nullptr : &settings.disk->strands;
}

}  // namespace

StoreHost::StoreHost(std::shared_ptr<storage::FileSystem> file_system, StoreSettings settings, Log& log,
                     SharedThreads& threads, std::function<void(StoreHost&)> unneeded)
    : file_system_(std::move(file_system)),
      settings_(std::move(settings)),
      log_(log),
      unneeded_(std::move(unneeded)),
      loops_(threads.loops),
      calls_(threads.loops.take_calls(settings_.disk)),
      writers_loop_(threads.loops.next()),
      readers_(writers_loop_),
      line_(settings_.lease_line, settings_.peer_percent),
      events_(settings_.figures),
      sync_lane_(threads.disk, strands_of(settings_)),
      checkpoint_lane_(threads.disk, strands_of(settings_)),
      beyond_(storage::is_home_path(settings_.path)),
      news_(std::make_shared<News>()),
      ways_(std::make_shared<std::array<Way, ways_count>>()),
      jobs_(threads.disk, strands_of(settings_)) {
  const Lock lock{news_->mutex};
  news_->host = this;
}

StoreHost::~StoreHost() {
  const Lock lock{news_->mutex};
  news_->host = nullptr;
}

std::string StoreHost::image_path() const { return storage::resolved_image_path(*file_system_, settings_.path); }

std::shared_ptr<Worker> StoreHost::worker_for(Access access) noexcept {
  return access == Access::write ? loops_.writer(writers_loop_) : loops_.reader(readers_++);
}

std::size_t StoreHost::waiting_calls() {
  return sync_lane_.strand().waiting() + checkpoint_lane_.strand().waiting() + jobs_.waiting() +
         loops_.waiting(calls_.get());
}

Stuck StoreHost::stuck_calls() {
  Stuck found = loops_.stuck(calls_.get());
  for (const Strand* const strand : {&sync_lane_.strand(), &checkpoint_lane_.strand(), &std::as_const(jobs_)})
    found.add(strand->stuck());
  return found;
}

std::vector<std::uint64_t> StoreHost::line() {
  std::vector<std::uint64_t> places;
  look_at_store([&places](storage::Store& store) { places = store.line(); });
  return places;
}

storage::Store& StoreHost::opened() {
  // Held for as long as the opening takes: others that want this store have to wait for it anyway.
  const std::lock_guard lock(open_mutex_);
  if (storage::Store* const store = current()) {
    if (!say_taken_over(*store)) return *store;
    taken_over_.reserve(taken_over_.size() + 1);
    const Lock state_lock{mutex_};
    taken_over_.push_back(std::move(store_));
  }
  if (beyond_) check_elsewhere();
  const auto start = std::chrono::steady_clock::now();
  const auto took_ms = [start] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
  };
  const auto recovered = [&](const storage::RecoveryReport& report) {
    if (Figures* const figures = settings_.figures; figures != nullptr) {
      figures->recoveries += 1;
      figures->recovery_records += report.records;
      figures->recovery_bytes += report.log_bytes;
    }
    log_.info("recovered", {{"store", settings_.name},
                            {"path", settings_.path},
                            {"files", report.segments},
                            {"records", report.records},
                            {"log_bytes", report.log_bytes},
                            {"dropped_files", report.dropped_files},
                            {"dropped_records", report.dropped_records},
                            {"pages", report.pages},
                            {"ms", took_ms()}});
  };
  std::unique_ptr<storage::Store> store;
  try {
    store = open_store(*file_system_, settings_, sync_lane_, checkpoint_lane_, &events_, recovered);
  } catch (const MemoryError& error) {
    control_.reset();
    if (!beyond_ || error.errc() != Errc::busy) throw;
    elsewhere_ = true;
    throw ServedElsewhere{error.what()};
  }
  if (elsewhere_.exchange(false))
    log_.info("store taken", {{"store", settings_.name}, {"path", settings_.path}, {"ms", took_ms()}});
  was_opened_ = true;
  wanted_since_ = {};
  opened_at_ = std::chrono::steady_clock::now();
  const Stat stat = store->stat(base::monotonic_ms());
  noted_pages_ = stat.pages;
  if (stat.recovery && settings_.recoveries != nullptr) settings_.recoveries->note(settings_.name, *stat.recovery);
  note_disk();
  log_.debug("store opened",
             {{"store", settings_.name}, {"path", settings_.path}, {"pages", stat.pages}, {"ms", took_ms()}});
  if (const std::string warning = storage::file_system_warning_of(*file_system_, settings_.path); !warning.empty())
    log_.warn("store", {{"store", settings_.name}, {"warning", warning}});
  {
    const Lock state_lock{mutex_};
    said_warning_.clear();
    said_taken_over_ = false;
    said_sync_error_.clear();
  }
  say_what_is_wrong(stat);
  const Lock state_lock{mutex_};
  versions_.clear();
  versions_.note(base::monotonic_ms(), stat.version.number);
  store_ = std::move(store);
  return *store_;
}

storage::Store* StoreHost::open_already() {
  const std::unique_lock lock(open_mutex_, std::try_to_lock);
  storage::Store* const store = lock.owns_lock() ? current() : nullptr;
  // One that was taken over is opened anew, or refused with who has it: by a job.
  // And of one that is just being left to another nobody is told that it does not know their session: the next one may.
  return store == nullptr || (store->taken_over().empty() && !lets_go_) ? store : nullptr;
}

bool StoreHost::is_closed() {
  const std::unique_lock lock(open_mutex_, std::try_to_lock);
  return lock.owns_lock() && current() == nullptr;
}

bool StoreHost::close(const std::function<bool()>& unused) {
  const std::lock_guard lock(open_mutex_);
  if (unused && !unused()) return false;
  if (!unused) ended_ = true;
  const std::lock_guard looks(look_mutex_);
  std::unique_ptr<storage::Store> store;
  {
    const Lock state_lock{mutex_};
    store = std::move(store_);
  }
  if (store == nullptr) return false;
  if (std::chrono::steady_clock::now() - opened_at_ > settings_.resume_linger) store->forget_resumable();
  // What it would bring into the image is another's to bring there.
  try {
    if (!say_taken_over(*store)) store->close();
  } catch (const MemoryError&) {
    if (!say_taken_over(*store)) throw;
  }
  log_.debug("store closed", {{"store", settings_.name}});
  return true;
}

storage::Store* StoreHost::current() const {
  const Lock lock{mutex_};
  return store_.get();
}

void StoreHost::Way::answer() noexcept {
  answered_ms = base::monotonic_ms();
  asked = false;
}

void StoreHost::probe() noexcept {
  const auto ask = [this](std::size_t number, const auto& begin) {
    Way& way = (*ways_)[number];
    if (way.asked.exchange(true)) return;
    try {
      begin();
    } catch (const std::bad_alloc&) {
      way.asked = false;
    }
  };
  ask(0, [this] {
    jobs_.submit([this] {
      look_at_store([](storage::Store& store) { static_cast<void>(store.stat(base::monotonic_ms())); });
      ways_->front().answer();
    });
  });
  ask(1, [this] { loops_.reader(writers_loop_)->post([ways = ways_] { (*ways)[1].answer(); }); });
  ask(2, [this] { loops_.writer(writers_loop_)->post([ways = ways_] { (*ways)[2].answer(); }); });
}

std::shared_ptr<StoreHost::MapOfPages> StoreHost::map_pages(storage::PageMapRequest request) {
  if (maps_.exchange(true)) return nullptr;
  auto found = std::make_shared<MapOfPages>();
  try {
    jobs_.submit_patient([this, request, found]() mutable {
      found->error = "the store is not open, or just being closed";
      constexpr std::int64_t minute_ms = 60'000;
      {
        const Lock lock{mutex_};
        request.since_version = versions_.newest_at(base::monotonic_ms() - minute_ms);
      }
      look_at_store([&](storage::Store& store) {
        found->error = "the store could not be looked at";
        found->map = store.page_map(request);
        found->error = {};
      });
      maps_ = false;
      found->ready = true;
    });
  } catch (...) {
    maps_ = false;
    throw;
  }
  return found;
}

std::int64_t StoreHost::answered_ms() const noexcept {
  std::int64_t least = INT64_MAX;
  for (const Way& way : *ways_) least = std::min(least, way.answered_ms.load());
  return least;
}

std::optional<Stat> StoreHost::figures() {
  std::optional<Stat> stat;
  look_at_store([&stat](storage::Store& store) { stat = store.figures(base::monotonic_ms()); });
  return stat;
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
  is_broken_ = beyond_ && !settings_.read_only && !stat.last_sync_error.empty();
}

void StoreHost::break_idle_lease(storage::Store& store) {
  const std::int64_t limit = settings_.lease_idle_max.count();
  if (limit == 0) return;
  const std::string reason = "no request for more than limits.lease_idle_max=" + std::to_string(limit) + " ms";
  const auto lost = store.break_idle_lease(base::monotonic_ms(), static_cast<std::uint64_t>(limit), reason);
  if (!lost) return;
  if (settings_.figures != nullptr) ++settings_.figures->leases_idle;
  log_.info("lease broken", {{"store", settings_.name},
                             {"holder", lost->name},
                             {"address", lost->address},
                             {"epoch", lost->epoch},
                             {"idle_ms", lost->idle_ms},
                             {"reason", reason}});
}

void StoreHost::note_disk() noexcept {
  struct statvfs disk {};
  if (::statvfs(settings_.path.c_str(), &disk) == 0)
    disk_available_bytes_ = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
}

void StoreHost::watch() {
  note_disk();
  look_at_store([this](storage::Store& store) {
    if (say_taken_over(store)) return;
    const Stat stat = store.stat(base::monotonic_ms());
    noted_pages_ = stat.pages;
    {
      const Lock lock{mutex_};
      versions_.note(base::monotonic_ms(), stat.version.number);
    }
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
    jobs_.submit_patient([this] {
      watch_due_ = false;
      watch();
    });
  } catch (const std::bad_alloc&) {
    watch_due_ = false;  // the next look tries again
  }
}

}  // namespace pageserver::server
