#include "server/stores/store_host.hpp"

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
      loops_(threads.loops, settings_.disk),
      line_(settings_.lease_line, settings_.peer_percent),
      events_(settings_.figures),
      lanes_(threads.disk, strands_of(settings_)),
      warnings_(log, settings_.name),
      home_(*file_system_, settings_, log, store_,
            {[this] { static_cast<void>(opened()); }, [this] { look_at_home(); }}),
      jobs_(threads.disk, strands_of(settings_)) {}

StoreHost::~StoreHost() { home_.hear_nothing(); }

std::string StoreHost::image_path() const { return storage::resolved_image_path(*file_system_, settings_.path); }

std::size_t StoreHost::waiting_calls() { return lanes_.waiting() + jobs_.strand().waiting() + loops_.waiting(); }

Stuck StoreHost::stuck_calls() {
  Stuck found = loops_.stuck();
  found.add(lanes_.stuck());
  found.add(std::as_const(jobs_).strand().stuck());
  return found;
}

std::vector<std::uint64_t> StoreHost::line() {
  std::vector<std::uint64_t> places;
  store_.look([&places](storage::Store& store) { places = store.line(); });
  return places;
}

storage::Store& StoreHost::opened() {
  // Held for as long as the opening takes: others that want this store have to wait for it anyway.
  const std::lock_guard lock(open_mutex_);
  if (storage::Store* const store = store_.current()) {
    if (!home_.say_taken_over(*store)) return *store;
    store_.set_aside();
  }
  home_.check_elsewhere();
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
    store = open_store(*file_system_, settings_, lanes_.sync, lanes_.checkpoint, &events_, recovered);
  } catch (const MemoryError& error) {
    if (!home_.refused(error)) throw;
    throw ServedElsewhere{error.what()};
  }
  if (home_.opened())
    log_.info("store taken", {{"store", settings_.name}, {"path", settings_.path}, {"ms", took_ms()}});
  const Stat stat = store->stat(base::monotonic_ms());
  if (stat.recovery && settings_.recoveries != nullptr) settings_.recoveries->note(settings_.name, *stat.recovery);
  last_look_.note_disk(settings_.path);
  log_.debug("store opened",
             {{"store", settings_.name}, {"path", settings_.path}, {"pages", stat.pages}, {"ms", took_ms()}});
  if (const std::string warning = storage::file_system_warning_of(*file_system_, settings_.path); !warning.empty())
    log_.warn("store", {{"store", settings_.name}, {"warning", warning}});
  warnings_.begin_anew();
  say_what_is_wrong(stat);
  last_look_.begin_anew(stat, base::monotonic_ms());
  return store_.put(std::move(store));
}

storage::Store* StoreHost::open_already() {
  const std::unique_lock lock(open_mutex_, std::try_to_lock);
  storage::Store* const store = lock.owns_lock() ? store_.current() : nullptr;
  // One that was taken over is opened anew, or refused with who has it: by a job.
  // And of one that is just being left to another nobody is told that it does not know their session: the next one may.
  return store == nullptr || (store->taken_over().empty() && !home_.lets_go()) ? store : nullptr;
}

bool StoreHost::is_closed() {
  const std::unique_lock lock(open_mutex_, std::try_to_lock);
  return lock.owns_lock() && store_.current() == nullptr;
}

bool StoreHost::close(const std::function<bool()>& unused) {
  const std::lock_guard lock(open_mutex_);
  if (unused && !unused()) return false;
  if (!unused) home_.end();
  const bool was_open = store_.close([this](storage::Store& store) {
    if (HostedStore::Clock::now() - store_.opened_at() > settings_.resume_linger) store.forget_resumable();
    // What it would bring into the image is another's to bring there.
    try {
      if (!home_.say_taken_over(store)) store.close();
    } catch (const MemoryError&) {
      if (!home_.say_taken_over(store)) throw;
    }
  });
  if (was_open) log_.debug("store closed", {{"store", settings_.name}});
  return was_open;
}

void StoreHost::probe() noexcept {
  ways_.ask(Ways::Way::jobs, [this](const Ways::Question& question) {
    jobs_.strand().submit([this, question] {
      store_.look([](storage::Store& store) { static_cast<void>(store.stat(base::monotonic_ms())); });
      question.answer();
    });
  });
  ways_.ask(Ways::Way::readers,
            [this](const Ways::Question& question) { loops_.a_reader()->post([question] { question.answer(); }); });
  ways_.ask(Ways::Way::writers,
            [this](const Ways::Question& question) { loops_.writer()->post([question] { question.answer(); }); });
}

std::shared_ptr<StoreHost::MapOfPages> StoreHost::map_pages(storage::PageMapRequest request) {
  auto found = std::make_shared<MapOfPages>();
  const auto look = [this, request, found]() mutable {
    found->error = "the store is not open, or just being closed";
    constexpr std::int64_t minute_ms = 60'000;
    request.since_version = last_look_.newest_version_at(base::monotonic_ms() - minute_ms);
    store_.look([&](storage::Store& store) {
      found->error = "the store could not be looked at";
      found->map = store.page_map(request);
      found->error = {};
    });
  };
  // Who finds it ready may ask for the next one.
  const auto tell = [found] { found->ready = true; };
  return jobs_.submit_alone(StoreJobs::Kind::page_map, look, tell) ? found : nullptr;
}

std::optional<Stat> StoreHost::figures() {
  std::optional<Stat> stat;
  store_.look([&stat](storage::Store& store) { stat = store.figures(base::monotonic_ms()); });
  return stat;
}

std::uint64_t StoreHost::pages() {
  store_.look([this](storage::Store& store) { last_look_.note_pages(store.pages()); });
  return last_look_.pages();
}

void StoreHost::say_what_is_wrong(const Stat& stat) {
  warnings_.say(stat);
  home_.note(stat);
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

void StoreHost::watch() {
  last_look_.note_disk(settings_.path);
  store_.look([this](storage::Store& store) {
    if (home_.say_taken_over(store)) return;
    const std::int64_t now_ms = base::monotonic_ms();
    const Stat stat = store.stat(now_ms);
    last_look_.note(stat, now_ms);
    say_what_is_wrong(stat);
    break_idle_lease(store);
  });
  try {
    if (unneeded_) unneeded_(*this);
  } catch (const std::exception&) {
    // It is looked at again.
  }
}

// Nothing owns the host in the tasks: its destructor waits for its strands, so it must not run in one.
void StoreHost::look_after() noexcept {
  try {
    jobs_.submit_once(StoreJobs::Kind::watch, [this] { watch(); });
  } catch (const std::bad_alloc&) {
    // The next look tries again.
  }
}

void StoreHost::look_at_home() noexcept {
  if (!home_.wants_look()) return;
  try {
    jobs_.submit_once(StoreJobs::Kind::home, [this] {
      try {
        home_.look();
      } catch (const std::exception& error) {
        log_.warn("store not given up", {{"store", settings_.name}, {"error", error.what()}});
      }
    });
  } catch (const std::bad_alloc&) {
    // As above.
  }
}

}  // namespace pageserver::server
