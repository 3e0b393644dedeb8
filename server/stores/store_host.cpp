#include "server/stores/store_host.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <algorithm>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "storage/engine/open_engine.hpp"
#include "storage/engine/recovery.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/file_system_warning.hpp"
#include "storage/file/folder.hpp"
#include "storage/file/siblings.hpp"
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
      line_(std::make_shared<Line>()),
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

std::shared_ptr<void> StoreHost::take_place_in_line(const std::shared_ptr<Peer>& peer) {
  const std::uint64_t of_peer_max = share_of(settings_.lease_line, settings_.peer_percent);
  // Made before anything is counted.
  struct Place {
    std::shared_ptr<Line> line;
    std::shared_ptr<Peer> peer;
    bool counted = false;
    ~Place() {
      if (!counted) return;
      const Lock lock{line->mutex};
      --line->places;
      if (const auto mine = line->of_peers.find(peer); --mine->second == 0) line->of_peers.erase(mine);
    }
  };
  const auto place = std::make_shared<Place>();
  place->line = line_;
  place->peer = peer;
  const Lock lock{line_->mutex};
  const std::string open = "open store " + storage::quoted(settings_.name) + ": ";
  if (line_->places >= settings_.lease_line)
    throw MemoryError(Errc::limit_exceeded,
                      open + std::to_string(line_->places) + " sessions wait for its lease, limits.lease_line=" +
                          std::to_string(settings_.lease_line) + "; try again later, or raise the limit");
  const auto found = line_->of_peers.find(peer);
  if (const std::size_t mine = found == line_->of_peers.end() ? 0 : found->second; mine >= of_peer_max)
    throw MemoryError(Errc::limit_exceeded,
                      open + std::to_string(mine) + " sessions of " + peer->name() +
                          " wait for its lease, limits.peer_percent=" + std::to_string(settings_.peer_percent) +
                          " of limits.lease_line=" + std::to_string(settings_.lease_line) +
                          "; try again later, or raise one of these limits");
  ++line_->of_peers[peer];
  ++line_->places;
  place->counted = true;
  return place;
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
  {
    const Lock state_lock{mutex_};
    versions_.clear();
  }
  note_version(stat.version.number);
  const Lock state_lock{mutex_};
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
      request.since_version = version_a_minute_ago();
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

void StoreHost::note_version(std::uint64_t version) {
  constexpr std::int64_t apart_ms = 1000;
  constexpr std::size_t moments_max = 128;
  const std::int64_t now_ms = base::monotonic_ms();
  const Lock lock{mutex_};
  if (!versions_.empty() && now_ms - versions_.back().first < apart_ms) return;
  if (versions_.size() == moments_max) versions_.pop_front();
  versions_.emplace_back(now_ms, version);
}

std::uint64_t StoreHost::version_a_minute_ago() const {
  constexpr std::int64_t minute_ms = 60'000;
  const std::int64_t then_ms = base::monotonic_ms() - minute_ms;
  const Lock lock{mutex_};
  std::uint64_t version = versions_.empty() ? 0 : versions_.front().second;
  for (const auto& [noted_ms, noted] : versions_)
    if (noted_ms <= then_ms) version = noted;
  return version;
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

bool StoreHost::say_taken_over(storage::Store& store) {
  const std::string why = store.taken_over();
  if (why.empty()) return false;
  elsewhere_ = true;
  if (!said_taken_over_.exchange(true))
    log_.warn("store taken over", {{"store", settings_.name}, {"path", settings_.path}, {"reason", why}});
  static_cast<void>(store.break_lease(0, "another daemon has taken the store over: " + why));
  return true;
}

namespace {

// A store that was given up is left to others for so long: whoever asked for it must find it free.
constexpr std::chrono::milliseconds left_for{5000};
// Whoever asks waits for so long: a lease, and what a holder copies before it lets go.
constexpr std::chrono::milliseconds ask_patience{10'000};
constexpr std::chrono::milliseconds ask_again{500};
constexpr std::chrono::milliseconds holder_look{20};
// A checkpoint comes first, for a while, where a successor would have more than this to copy.
constexpr std::uint64_t lag_bytes_small = 1ull << 20;
constexpr std::chrono::milliseconds checkpoint_patience{3000};

int holder_of(storage::HomeControl& control, const std::string& path, std::string& holder) {
  const int error = control.holder(holder);
  if (error != 0)
    throw MemoryError{Errc::provider_error, "look who has " + storage::quoted(path) + ": " +
                                                std::error_code{error, std::generic_category()}.message()};
  return error;
}

}  // namespace

// Without waiting for a lease, where it stands by or has had the store before; else the opening waits for one.
void StoreHost::check_elsewhere() {
  const std::string open = "open store " + storage::quoted(settings_.name) + ": ";
  if (std::chrono::steady_clock::now() < not_before_) {
    elsewhere_ = true;
    throw ServedElsewhere{open + "this daemon has given it up to " + given_up_to_ + "; open it there"};
  }
  if (!settings_.standby && !was_opened_) return;
  if (control_ == nullptr) control_ = storage::home_control_of(*file_system_, settings_.path);
  if (control_ == nullptr) return;
  std::string holder;
  holder_of(*control_, settings_.path, holder);
  if (holder.empty()) return;
  elsewhere_ = true;
  throw ServedElsewhere{open + (settings_.standby ? "this daemon stands by; " : "") + "the store is locked by " +
                        holder + "; open it there, or see `pagectl takeover`"};
}

StoreHost::TakeOver StoreHost::take_over(const std::string& who, bool holder_is_dead) {
  TakeOver result;
  {
    const storage::Store* const store = current();
    result.was_here = store != nullptr && store->taken_over().empty();
    if (result.was_here) return result;
  }
  const std::string what = "takeover of store " + storage::quoted(settings_.name) + ": ";
  if (!beyond_)
    throw MemoryError{Errc::unsupported,
                      what + "its image is a file of this machine: stop whoever has it, and open the store"};
  const auto began = std::chrono::steady_clock::now();
  const auto control = storage::home_control_of(*file_system_, settings_.path);
  if (control != nullptr) holder_of(*control, settings_.path, result.holder);
  if (!result.holder.empty() && holder_is_dead) {
    if (const int error = control->break_lock(); error != 0)
      throw MemoryError{Errc::provider_error, what + "break the lock of " + result.holder + ": " +
                                                  std::error_code{error, std::generic_category()}.message()};
  } else if (!result.holder.empty()) {
    struct Told {
      Mutex mutex;
      CondVar changed;
      bool free PAGESERVER_GUARDED_BY(mutex) = false;
    };
    const auto told = std::make_shared<Told>();
    const auto watch = control->watch([told] {
      const Lock lock{told->mutex};
      told->free = true;
      told->changed.notify_all();
    });
    auto asked = began - ask_again;
    for (std::string holder = result.holder; !holder.empty(); holder_of(*control, settings_.path, holder)) {
      const auto now = std::chrono::steady_clock::now();
      if (now - began >= ask_patience)
        throw MemoryError{Errc::busy, what + holder + " was asked for it and has not given it up within " +
                                          std::to_string(ask_patience.count()) +
                                          " ms; ask again, or where that one is dead: pagectl takeover --dead"};
      if (settings_.abandon_recovery != nullptr && *settings_.abandon_recovery)
        throw MemoryError{Errc::busy, what + "the daemon is stopping"};
      if (now - asked >= ask_again) {
        control->ask(who);
        asked = now;
      }
      Lock lock{told->mutex};
      told->changed.wait_for(lock, holder_look, [&]() PAGESERVER_REQUIRES(told->mutex) { return told->free; });
      told->free = false;
    }
  }
  not_before_ = {};
  static_cast<void>(opened());
  result.took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
  said_standing_by_.clear();
  return result;
}

// Writers that can go on elsewhere come back before they are told that it is over.
void StoreHost::leave(storage::Store& store, const std::string& why) {
  lets_go_ = true;
  try {
    if (settings_.let_writers_go != nullptr && *settings_.let_writers_go) (*settings_.let_writers_go)(settings_.name);
    said_taken_over_ = true;  // whoever leaves it says so
    store.give_up(why);
  } catch (...) {
    lets_go_ = false;
    throw;
  }
  lets_go_ = false;
}

// First what a successor would have to copy, while this one still serves; then the writers who can go on there; and
// then all at once.
void StoreHost::consider_giving_up(storage::Store& store) {
  const std::string who = store.wanted_by();
  if (who.empty()) return;
  const auto now = std::chrono::steady_clock::now();
  if (wanted_since_ == std::chrono::steady_clock::time_point{}) wanted_since_ = now;
  if (store.figures(base::monotonic_ms()).checkpoint_lag_bytes > lag_bytes_small &&
      now - wanted_since_ < checkpoint_patience)
    return store.begin_checkpoint();
  given_up_to_ = who;
  not_before_ = now + left_for;
  elsewhere_ = true;
  leave(store, "it was given up to " + who);
  log_.info(
      "store given up",
      {{"store", settings_.name},
       {"path", settings_.path},
       {"to", who},
       {"ms", std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - now).count()}});
  static_cast<void>(say_taken_over(store));
}

void StoreHost::try_standing_in() {
  if (ended_ || std::chrono::steady_clock::now() < not_before_) return;
  if (settings_.abandon_recovery != nullptr && *settings_.abandon_recovery) return;
  std::string why;
  try {
    static_cast<void>(opened());
    said_standing_by_.clear();
    home_watch_.reset();
    return;
  } catch (const ServedElsewhere& error) {
    why = error.what();
    if (why != said_standing_by_) {
      home_watch_.reset();
      log_.info("standing by", {{"store", settings_.name}, {"path", settings_.path}, {"reason", why}});
    }
  } catch (const MemoryError& error) {
    why = error.what();
    if (why != said_standing_by_)
      log_.warn("store not taken", {{"store", settings_.name}, {"path", settings_.path}, {"error", why}});
  }
  said_standing_by_ = std::move(why);
  if (home_watch_ != nullptr || control_ == nullptr) return;
  home_watch_ = control_->watch([news = news_] {
    const Lock lock{news->mutex};
    if (news->host != nullptr) news->host->look_at_home();
  });
}

// Of a pool that was full: whether it takes again what it refused. A file that a kill leaves here is written over.
bool StoreHost::has_room() {
  const std::string path = storage::resolved_image_path(*file_system_, settings_.path);
  const auto folder = storage::Folder::open(*file_system_, storage::parent_folder(path));
  const std::string name = storage::sibling_name(storage::file_name(path), storage::Sibling::spill, 0);
  const auto tried = [](const auto& call) {
    try {
      call();
      return true;
    } catch (const MemoryError&) {
      return false;
    }
  };
  const bool written = tried([&] {
    const storage::File file = folder.open_file(name, O_RDWR | O_CREAT, settings_.file_mode, "create");
    const std::vector<std::byte> bytes(64 << 10);
    file.write(0, bytes);
    file.sync_data();
  });
  return tried([&] { folder.remove(name); }) && written;
}

// After a failed sync nothing is written any more until an opening has looked at what is there. In a pool that is as
// safe at once as after a restart of the daemon: whoever opens it has a later epoch. Reads go on until there is room.
void StoreHost::consider_opening_anew(storage::Store& store) {
  constexpr std::chrono::seconds look_interval{1};
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_for_room_ < look_interval) return;
  looked_for_room_ = now;
  if (!has_room()) return;
  leave(store, "its log could not be written; the store is opened anew");
  is_broken_ = false;
  log_.info("store opened anew", {{"store", settings_.name}, {"path", settings_.path}});
  static_cast<void>(say_taken_over(store));
  elsewhere_ = false;
  try {
    static_cast<void>(opened());
  } catch (const MemoryError& error) {
    // Whoever opens a session tries again.
    log_.warn("store not taken", {{"store", settings_.name}, {"path", settings_.path}, {"error", error.what()}});
  }
}

void StoreHost::watch_home() {
  storage::Store* const store = current();
  if (store != nullptr && store->taken_over().empty()) {
    if (is_broken_) consider_opening_anew(*store);
    if (store->taken_over().empty()) consider_giving_up(*store);
    return;
  }
  if (settings_.standby) try_standing_in();
}

void StoreHost::look_at_home() noexcept {
  if (!beyond_) return;
  bool due = settings_.standby && !is_open();
  look_at_store([&](storage::Store& store) {
    due = store.taken_over().empty() ? is_broken_ || !store.wanted_by().empty() : settings_.standby;
  });
  if (!due || home_due_.exchange(true)) return;
  try {
    jobs_.submit_patient([this] {
      home_due_ = false;
      try {
        watch_home();
      } catch (const std::exception& error) {
        log_.warn("store not given up", {{"store", settings_.name}, {"error", error.what()}});
      }
    });
  } catch (const std::bad_alloc&) {
    home_due_ = false;
  }
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
    note_version(stat.version.number);
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
