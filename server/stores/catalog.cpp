#include "server/stores/catalog.hpp"

#include <algorithm>
#include <future>
#include <utility>

#include "server/stores/directory_files.hpp"
#include "storage/file/file_io.hpp"

namespace pageserver::server {

namespace {

using storage::quoted;

// How often a store is asked how it is.
constexpr std::chrono::milliseconds watch_interval{5000};
// How often stores that nobody uses are looked for.
constexpr std::chrono::milliseconds linger_look_interval{1000};
// So many more may be on their way out.
constexpr std::size_t closing_max = 64;
// So many stores are opened at the same time by a start.
constexpr std::size_t openings_max = 16;
// So many requests of peers may wait for the directory.
constexpr std::size_t waiting_max = 4096;

}  // namespace

// The catalog keeps the host for as long as it counts this use, so the last reference is never dropped here: this may
// be one of the host's own threads, which could not wait for itself.
HostUse::~HostUse() {
  StoreHost* const host = host_.get();
  host_.reset();
  if (kind_ == Kind::look)
    catalog_.end_look(*host);
  else
    catalog_.release(*host);
}

Catalog::Catalog(const Config& config, storage::FileSystem& file_system, Log& log, SharedThreads& threads,
                 Figures* figures, MemoryShares* memory)
    : config_(config),
      file_system_(file_system),
      log_(log),
      threads_(threads),
      figures_(figures),
      memory_(memory),
      waiting_(std::make_shared<std::atomic<std::size_t>>(0)),
      lingering_max_(lingering_default),
      changes_(threads.disk),
      lists_(threads.disk) {}

// The hosts end outside of the lock, and when nobody finds them any more: their last jobs may look for them.
Catalog::~Catalog() {
  std::map<std::string, Entry> entries;
  {
    const Lock lock{mutex_};
    entries.swap(entries_);
    lingering_.clear();
  }
}

std::shared_ptr<void> Catalog::take_place() {
  if (++*waiting_ > waiting_max) {
    --*waiting_;
    return nullptr;
  }
  return {waiting_.get(), [waiting = waiting_](std::atomic<std::size_t>* places) { --*places; }};
}

Load Catalog::load(StoreHost* host) noexcept {
  Load load;
  const BlockingPool::Load pool = threads_.disk.load();
  load.directory_requests = *waiting_;
  load.disk_calls_waiting = pool.waiting;
  load.disk_calls_running = pool.running;
  load.disk_threads_max = threads_.disk.threads_max();
  Stuck stuck;
  if (host != nullptr) {
    load.store_calls_waiting = host->waiting_calls();
    stuck = host->stuck_calls();
  } else {
    load.store_calls_waiting = pool.waiting + threads_.loops.waiting(nullptr);
    stuck = threads_.loops.stuck(nullptr);
    stuck.add(threads_.disk.stuck());
  }
  load.store_calls_stuck = stuck.count;
  load.stuck_ms = static_cast<std::uint64_t>(stuck.oldest.count());
  return load;
}

void Catalog::start() {
  if (config_.directory) {
    directory_.emplace(file_system_, *config_.directory, log_);
    disk_of_directory_ = disk_of(config_.directory->path);
  }
  const auto plain_files = borrow_files(file_system_);
  // What goes wrong is moved, not shared: the thread sanitizer does not see how owners agree on who is the last.
  struct Opening {
    std::promise<void> over;
    std::exception_ptr error;
  };
  std::vector<std::shared_ptr<Opening>> openings;
  std::exception_ptr first;
  std::size_t waited = 0;
  const auto wait_for_one = [&] {
    const std::size_t i = waited++;
    Opening& opening = *openings[i];
    opening.over.get_future().wait();
    if (!opening.error || first) return;
    try {
      std::rethrow_exception(std::exchange(opening.error, nullptr));
    } catch (const MemoryError& error) {
      first = std::make_exception_ptr(
          MemoryError(error.errc(), "store " + quoted(config_.stores[i].name) + ": " + error.what()));
    } catch (const std::exception&) {
      first = std::current_exception();
    }
  };
  for (const StoreConfig& store : config_.stores) {
    auto host = make_host(plain_files, store_settings(store));
    {
      const Lock lock{mutex_};
      entries_.try_emplace(store.name).first->second.host = host;
    }
    openings.push_back(std::make_shared<Opening>());
    host->jobs().submit([opening = openings.back(), raw = host.get()] {
      try {
        raw->opened();
      } catch (...) {
        opening->error = std::current_exception();
      }
      opening->over.set_value();
    });
    while (openings.size() - waited >= openings_max) wait_for_one();
  }
  while (waited < openings.size()) wait_for_one();
  if (first) std::rethrow_exception(first);
}

std::uint64_t Catalog::open_files_of_a_store() const noexcept {
  StoreSettings settings;
  settings.engine = config_.limits.engine;
  return open_files_of(settings);
}

std::size_t Catalog::stores_to_keep_files_for() const {
  constexpr std::size_t of_directory_min = 4;
  const std::size_t expected = config_.stores.size() + (config_.directory ? of_directory_min : 0);
  const Lock lock{mutex_};
  // Those that linger have theirs; those that are on their way out beside them still have some.
  const std::size_t lingering = std::min(lingering_.size(), lingering_max_.load());
  return std::max(expected, entries_.size() - lingering + (config_.directory ? 1 : 0));
}

std::vector<ListedStore> Catalog::configured() const {
  std::vector<ListedStore> stores;
  for (const auto& host : hosts()) {
    const StoreSettings& settings = host->settings();
    if (settings.on_demand) continue;
    stores.push_back({settings.name, host->pages(), settings.read_only, true, {}});
  }
  return stores;
}

std::vector<std::shared_ptr<StoreHost>> Catalog::configured_hosts() const {
  auto all = hosts();
  std::erase_if(all, [](const auto& host) { return host->settings().on_demand; });
  return all;
}

std::vector<Catalog::StoreFigures> Catalog::figures() const {
  std::vector<StoreFigures> all;
  for (const auto& host : hosts())
    if (auto stat = host->figures()) all.push_back({host->name(), *std::move(stat), host->disk_available_bytes()});
  return all;
}

std::vector<std::shared_ptr<StoreHost>> Catalog::hosts() const {
  std::vector<std::shared_ptr<StoreHost>> all;
  const Lock lock{mutex_};
  for (const auto& [name, entry] : entries_) all.push_back(entry.host);
  return all;
}

std::shared_ptr<StoreHost> Catalog::make_host(std::shared_ptr<storage::FileSystem> files, StoreSettings settings) {
  return std::make_shared<StoreHost>(std::move(files), std::move(settings), log_, threads_,
                                     [this](StoreHost& host) { close_unneeded(host); });
}

std::shared_ptr<HostUse> Catalog::use(Entry& entry) {
  auto use = std::make_shared<HostUse>(*this, entry.host);
  ++entry.users;
  if (entry.lingers) stop_lingering(entry);
  // Who waits for the store to be closed must be told that it will not be.
  if (!entry.after_close.empty()) retire_later(entry);
  return use;
}

std::shared_ptr<HostUse> Catalog::find(const std::string& name, const std::shared_ptr<Peer>& peer) {
  const Lock lock{mutex_};
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  Entry& entry = found->second;
  if (entry.users != 0 || peer == nullptr || !entry.host->settings().on_demand) return use(entry);
  if (!has_share(peer)) return nullptr;
  auto used = use(entry);
  entry.charged = Counted(peer, peer->stores);
  return used;
}

std::shared_ptr<HostUse> Catalog::look(const std::string& name) {
  const Lock lock{mutex_};
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  auto look = std::make_shared<HostUse>(*this, found->second.host, HostUse::Kind::look);
  ++found->second.lookers;
  return look;
}

// It has kept the host from being retired, which the thread of who looks must not do, and nothing else.
void Catalog::end_look(const StoreHost& host) noexcept {
  const Lock lock{mutex_};
  const auto found = entries_.find(host.name());
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (--entry.lookers == 0 && entry.retire_due) submit_retiring();
}

bool Catalog::has_share(const std::shared_ptr<Peer>& peer) const noexcept {
  return peer == nullptr || peer->stores < share_of(config_.limits.stores, config_.limits.peer_percent);
}

void Catalog::check_share(const std::string& name, const std::shared_ptr<Peer>& peer) const {
  if (has_share(peer)) return;
  throw MemoryError(Errc::limit_exceeded, "open store " + quoted(name) + ": " + std::to_string(peer->stores) +
                                              " stores are open for " + peer->name() +
                                              ", limits.peer_percent=" + std::to_string(config_.limits.peer_percent) +
                                              " of limits.stores=" + std::to_string(config_.limits.stores) +
                                              "; close sessions of another store, or raise one of these limits");
}

Loops::Disk* Catalog::disk_of(const std::string& folder) {
  storage::FileStatus status;
  return file_system_.status_of(folder, status).ok() ? &threads_.loops.disk(status.device) : nullptr;
}

StoreSettings Catalog::common_settings(std::string name, std::string path) {
  StoreSettings settings;
  settings.name = std::move(name);
  settings.path = std::move(path);
  settings.size_bytes_max = config_.limits.size_bytes_max;
  settings.engine = config_.limits.engine;
  settings.forks_bytes = &forks_bytes_;
  settings.abandon_recovery = &abandon_openings_;
  settings.figures = figures_;
  settings.recoveries = &recoveries_;
  settings.readers_max = static_cast<std::uint32_t>(threads_.loops.readers_max());
  settings.lease_idle_max = config_.limits.lease_idle_max;
  settings.private_memory = memory_ == nullptr ? nullptr : &memory_->private_bytes;
  settings.index_memory = memory_ == nullptr ? nullptr : &memory_->index;
  settings.lease_line = config_.limits.lease_line;
  settings.peer_percent = config_.limits.peer_percent;
  return settings;
}

StoreSettings Catalog::store_settings(const StoreConfig& store) {
  StoreSettings settings = common_settings(store.name, store.path);
  settings.disk = disk_of(storage::parent_folder(store.path));
  settings.read_only = store.read_only;
  settings.create = store.create && !store.read_only;
  settings.file_mode = store.mode.value_or(settings.file_mode);
  settings.size_bytes_max = store.size_bytes_max.value_or(settings.size_bytes_max);
  return settings;
}

StoreSettings Catalog::directory_settings(const std::string& name) {
  StoreSettings settings = common_settings(name, directory_->path_of(name));
  settings.read_only = config_.directory->read_only;
  settings.on_demand = true;
  settings.disk = disk_of_directory_;
  settings.file_mode = config_.directory->mode;
  return settings;
}

std::shared_ptr<HostUse> Catalog::resolve(const std::string& name, const std::shared_ptr<Peer>& peer) {
  if (auto found = find(name, peer)) return found;
  if (!directory_) throw not_served(name);
  check_share(name, peer);
  // It may be there, and nobody uses it: that had no share before this one.
  if (auto found = find(name)) return found;
  directory_->require(name);
  make_room_for_one(name);
  // Made whole before anybody can find it. Only this strand adds entries, so nobody did since find().
  const auto host = make_host(directory_->files(), directory_settings(name));
  auto use = std::make_shared<HostUse>(*this, host);
  const Lock lock{mutex_};
  Entry& entry = entries_[name];
  entry.host = host;
  entry.users = 1;
  if (peer != nullptr) entry.charged = Counted(peer, peer->stores);
  return use;
}

// Stores that nobody uses don't keep others from being opened: they are on their way out. But where disks are slow that
// takes a while, and there may be only so many at a time.
void Catalog::make_room_for_one(const std::string& name) {
  const Lock lock{mutex_};
  const std::size_t closing = lingering_.size();
  const std::size_t used = entries_.size() - closing;
  if (entries_.size() >= config_.limits.stores && closing != 0) close_oldest();
  if (used < config_.limits.stores && closing < lingering_max_ + closing_max) return;
  if (used < config_.limits.stores) {
    throw MemoryError(Errc::limit_exceeded,
                      "open store " + quoted(name) + ": " + std::to_string(closing) +
                          " stores that nobody uses are still open, since to close them takes long; "
                          "try again later");
  }
  throw MemoryError(Errc::limit_exceeded,
                    "open store " + quoted(name) + ": " + std::to_string(used) +
                        " stores are open, limits.stores=" + std::to_string(config_.limits.stores) +
                        "; close sessions of another store, or raise the limit");
}

void Catalog::release(const StoreHost& host) noexcept {
  const Lock lock{mutex_};
  const auto found = entries_.find(host.name());
  if (found == entries_.end()) return;  // it never came to be one
  Entry& entry = found->second;
  if (--entry.users != 0) return;
  if (!entry.close_jobs.empty()) return entry.host->jobs().submit_ready(std::move(entry.close_jobs));
  if (!host.settings().on_demand || closing_all_) return;
  entry.charged = {};
  entry.idle_since = Clock::now();
  entry.lingers = true;
  lingering_.splice(lingering_.end(), entry.place);
  if (is_unneeded(entry, entry.idle_since)) return entry.host->look_after();
  // Many clients that come once must not keep as many stores open.
  if (lingering_.size() > lingering_max_) close_oldest();
}

void Catalog::close_oldest() noexcept {
  for (Entry* const entry : lingering_) {
    if (std::exchange(entry->close_due, true)) continue;  // on its way out
    return entry->host->look_after();
  }
}

void Catalog::stop_lingering(Entry& entry) noexcept {
  entry.lingers = false;
  entry.close_due = false;
  entry.place.splice(entry.place.end(), lingering_, std::find(lingering_.begin(), lingering_.end(), &entry));
}

// Who comes back soon, as the next command of a shell's loop does, finds the store open.
bool Catalog::is_unneeded(const Entry& entry, Clock::time_point now) const noexcept {
  return entry.users == 0 && entry.host->settings().on_demand && !closing_all_ &&
         (entry.close_due || !entry.after_close.empty() || now - entry.idle_since >= config_.directory->linger);
}

// In a job of the host. A session that comes now finds the store closed and opens it again.
void Catalog::close_unneeded(StoreHost& host) {
  const std::string& name = host.name();
  const auto unused = [this, &name, which = &host] {
    const Lock lock{mutex_};
    const auto found = entries_.find(name);
    return found != entries_.end() && found->second.host.get() == which && is_unneeded(found->second, Clock::now());
  };
  if (!unused()) return;
  // What says that the close failed is made before it: without memory the store stays open until it is looked at again.
  FailedClosings::Room failed;
  try {
    failed = FailedClosings::room_for(name);
  } catch (const std::bad_alloc&) {
    return;
  }
  close_one(host, std::move(failed), unused);
  const Lock lock{mutex_};
  if (const auto found = entries_.find(name); found != entries_.end()) retire_later(found->second);
}

void Catalog::retire_later(Entry& entry) noexcept {
  entry.retire_due = true;
  submit_retiring();
}

void Catalog::submit_retiring() noexcept {
  if (retiring_.exchange(true)) return;
  try {
    changes_.submit([this] { retire(); });
  } catch (const std::bad_alloc&) {
    retiring_ = false;  // the next look at the stores tries again
  }
}

// In changes(), which may wait for a host's last job: it is closed, and has nothing left to do.
void Catalog::retire() {
  retiring_ = false;
  while (retire_one()) {
  }
}

bool Catalog::retire_one() {
  std::vector<std::function<void()>> after;
  std::map<std::string, Entry>::node_type gone;
  {
    const Lock lock{mutex_};
    const auto due = std::find_if(entries_.begin(), entries_.end(), [](const auto& entry) {
      return entry.second.retire_due && entry.second.lookers == 0;
    });
    if (due == entries_.end()) return false;
    Entry& entry = due->second;
    entry.retire_due = false;
    after.swap(entry.after_close);
    if (entry.users == 0 && entry.host->is_closed() && !closing_all_) {
      if (entry.lingers) stop_lingering(entry);
      gone = entries_.extract(due);
    }
  }
  gone = {};  // before the tasks: they may look for the same name
  for (const auto& task : after) task();
  return true;
}

std::chrono::milliseconds Catalog::look_interval() const noexcept {
  std::chrono::milliseconds interval = config_.directory ? linger_look_interval : watch_interval;
  const std::chrono::milliseconds idle_max = config_.limits.lease_idle_max;
  // A quarter of the limit, so that a lease outlives it by little; the least step keeps an idle daemon idle.
  if (idle_max.count() != 0) interval = std::min(interval, std::max(idle_max / 4, std::chrono::milliseconds(10)));
  return interval;
}

void Catalog::look_after_stores() noexcept {
  const auto now = Clock::now();
  const Lock lock{mutex_};
  const bool each = config_.limits.lease_idle_max.count() != 0 || now - last_look_ >= watch_interval;
  if (each) last_look_ = now;
  bool retire_due = false;
  for (const Entry* const entry : lingering_) {
    retire_due = retire_due || entry->retire_due;
    if (is_unneeded(*entry, now)) entry->host->look_after();
  }
  if (retire_due) submit_retiring();
  if (!each) return;
  for (const auto& [name, entry] : entries_)
    if (entry.host->is_open()) entry.host->look_after();
}

std::vector<ListedStore> Catalog::list(const std::string& after, std::size_t count) {
  std::vector<std::shared_ptr<StoreHost>> open;
  {
    const Lock lock{mutex_};
    for (auto entry = entries_.upper_bound(after); entry != entries_.end() && open.size() < count; ++entry)
      if (entry->second.host->is_open()) open.push_back(entry->second.host);
  }
  std::vector<ListedStore> listed;
  auto host = open.begin();
  // Those that are open up to `name`, which is one of them.
  const auto add_open_until = [&](const std::string* name) {
    for (; host != open.end() && listed.size() < count && (name == nullptr || (*host)->name() <= *name); ++host)
      listed.push_back({(*host)->name(), (*host)->pages(), (*host)->settings().read_only, true, {}});
    return name != nullptr && !listed.empty() && listed.back().name == *name;
  };
  std::string from = after;
  while (directory_ && listed.size() < count) {
    const std::vector<std::string> names = directory_->names(from, count - listed.size());
    if (names.empty()) break;
    for (const std::string& name : names) {
      if (add_open_until(&name) || listed.size() == count) continue;
      if (const auto pages = directory_->pages_of(name))
        listed.push_back({name, *pages, config_.directory->read_only, false, {}});
    }
    from = names.back();
  }
  add_open_until(nullptr);
  for (ListedStore& store : listed) store.recovery = recoveries_.find(store.name);
  return listed;
}

void Catalog::create(const std::string& name, std::uint64_t pages) {
  check_store_name(name);
  const std::string what = "create store " + quoted(name);
  if (!config_.directory || !config_.directory->create) {
    throw MemoryError(Errc::permission_denied,
                      what +
                          ": this daemon lets no client create stores; start it with --directory DIR and "
                          "\"directory\": {\"create\": true} in its configuration");
  }
  const std::uint64_t size_bytes_max = config_.limits.size_bytes_max;
  if (pages > size_bytes_max / page_size) {
    throw MemoryError(Errc::limit_exceeded, what + ": pages=" + std::to_string(pages) +
                                                " exceeds limits.size_bytes_max=" + std::to_string(size_bytes_max) +
                                                " (" + std::to_string(size_bytes_max / page_size) + " pages)");
  }
  {
    const Lock lock{mutex_};
    if (entries_.contains(name)) throw MemoryError(Errc::already_exists, what + ": there is one already");
  }
  directory_->create(name, pages);
}

void Catalog::remove(const std::string& name, std::function<void(std::exception_ptr error)> done) {
  std::exception_ptr error;
  try {
    check_store_name(name);
    const std::string what = "remove store " + quoted(name);
    if (!config_.directory || !config_.directory->remove) {
      throw MemoryError(Errc::permission_denied,
                        what +
                            ": this daemon lets no client remove stores; start it with --directory DIR and "
                            "\"directory\": {\"remove\": true} in its configuration");
    }
    if (wait_until_closed(name, what, [this, name, done] { remove(name, done); })) return;
    // Only this strand adds entries, so the store can't be opened meanwhile.
    directory_->remove(name);
    failed_closings_.forget(name);
    recoveries_.forget(name);
  } catch (...) {
    error = std::current_exception();
  }
  done(std::move(error));
}

bool Catalog::wait_until_closed(const std::string& name, const std::string& what, std::function<void()> after) {
  const Lock lock{mutex_};
  const auto found = entries_.find(name);
  if (found == entries_.end()) return false;
  Entry& entry = found->second;
  if (!entry.host->settings().on_demand) {
    throw MemoryError(Errc::permission_denied, what + ": it is configured by name, not served from the directory");
  }
  if (entry.users != 0) {
    throw MemoryError(Errc::busy, what + ": " + std::to_string(entry.users) +
                                      " sessions are on it; end them first (`pagectl info` shows who they are)");
  }
  entry.after_close.push_back(std::move(after));
  entry.host->look_after();
  return true;
}

/// The end of all stores. Its own end is that of the last part, however a part ends, and says what failed.
struct Catalog::Closing {
  /// All that it needs is there before it begins.
  struct Part {
    StoreHost* host = nullptr;  // which closing_all_ keeps; a part ends in one of its jobs
    FailedClosings::Room failed;
    std::shared_ptr<Closing> all;
  };

  Closing(Catalog& owner, std::function<void(std::vector<std::string>)> when_done)
      : catalog(owner), done(std::move(when_done)) {}
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;
  ~Closing() {
    if (begun) done(catalog.failed_closings_.lines(std::move(without_memory)));
  }

  Catalog& catalog;
  std::function<void(std::vector<std::string>)> done;
  std::vector<std::string> without_memory{"out of memory"};  // short enough to take none
  bool begun = false;
};

// What fails is noted for the stop that comes some time, unless the store is closed once more. `failed` is room for it.
void Catalog::close_one(StoreHost& host, FailedClosings::Room failed, const std::function<bool()>& unused) noexcept {
  try {
    if (host.close(unused)) failed_closings_.forget(host.name());
  } catch (const std::exception& error) {
    failed_closings_.note(std::move(failed), error.what());
    // At a stop that is said when all are closed.
    if (unused) log_.error("store not closed cleanly", {{"store", host.name()}, {"error", error.what()}});
  }
}

void Catalog::close_all(std::function<void(std::vector<std::string> failures)> done) {
  {
    const Lock lock{mutex_};
    closing_all_ = true;
  }
  const auto closing = std::make_shared<Closing>(*this, std::move(done));
  std::vector<std::pair<StoreHost*, Strand::Ready>> jobs;
  for (const auto& host : hosts()) {
    const auto part = std::make_shared<Closing::Part>();
    part->host = host.get();
    part->failed = FailedClosings::room_for(host->name());
    part->all = closing;
    Strand::Ready job;
    job.emplace_back([part] { part->all->catalog.close_one(*part->host, std::move(part->failed), {}); });
    jobs.emplace_back(host.get(), std::move(job));
  }
  // From here on nothing fails.
  closing->begun = true;
  for (auto& [host, job] : jobs) {
    // What was opened for a connection that ended meanwhile may still be on its way to nobody.
    const Lock lock{mutex_};
    const auto found = entries_.find(host->name());
    if (found != entries_.end() && found->second.users != 0)
      found->second.close_jobs.splice(found->second.close_jobs.end(), job);
    else
      host->jobs().submit_ready(std::move(job));
  }
}

}  // namespace pageserver::server
