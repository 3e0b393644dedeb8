#include "server/stores/open_stores.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include <pageserver/error.hpp>

#include "storage/file/file_io.hpp"

namespace pageserver::server {

namespace {

using storage::quoted;

// How often a store is asked how it is.
constexpr std::chrono::milliseconds watch_interval{5000};
// How often stores that nobody uses are looked for.
constexpr std::chrono::milliseconds linger_look_interval{1000};
// How often stores that another daemon may take over are asked whether one has; and whether one asks for them, or they
// have come free.
constexpr std::chrono::milliseconds home_look_interval{500};
constexpr std::chrono::milliseconds home_ask_interval{100};
// So many more may be on their way out.
constexpr std::size_t closing_max = 64;

bool any_home(const Config& config) {
  return (config.directory && storage::is_home_path(config.directory->path)) ||
         std::any_of(config.stores.begin(), config.stores.end(),
                     [](const StoreConfig& store) { return storage::is_home_path(store.path); });
}

}  // namespace

// The stores keeps the host for as long as it counts this use, so the last reference is never dropped here: this may
// be one of the host's own threads, which could not wait for itself.
HostUse::~HostUse() {
  StoreHost* const host = host_.get();
  host_.reset();
  if (kind_ == Kind::look)
    stores_.end_look(*host);
  else
    stores_.release(*host, serves_);
}

OpenStores::OpenStores(const Config& config, Log& log, Strand& changes)
    : config_(config), has_homes_(any_home(config)), log_(log), changes_(changes), lingering_max_(lingering_default) {}

void OpenStores::drop_all() {
  std::map<std::string, Entry> entries;
  {
    const Lock lock{mutex_};
    entries.swap(entries_);
    lingering_.clear();
  }
}

void OpenStores::add(std::shared_ptr<StoreHost> host) {
  const Lock lock{mutex_};
  entries_.try_emplace(host->name()).first->second.host = host;
}

std::shared_ptr<HostUse> OpenStores::add_used(std::shared_ptr<StoreHost> host, const std::shared_ptr<Peer>& peer) {
  auto use = std::make_shared<HostUse>(*this, host);
  const Lock lock{mutex_};
  Entry& entry = entries_[host->name()];
  entry.host = std::move(host);
  entry.users = 1;
  if (peer != nullptr) entry.charged = Counted(peer, peer->stores);
  return use;
}

std::vector<std::shared_ptr<StoreHost>> OpenStores::hosts() const {
  std::vector<std::shared_ptr<StoreHost>> all;
  const Lock lock{mutex_};
  for (const auto& [name, entry] : entries_) all.push_back(entry.host);
  return all;
}

std::vector<std::shared_ptr<StoreHost>> OpenStores::open_hosts(const std::string& after, std::size_t count) const {
  std::vector<std::shared_ptr<StoreHost>> open;
  const Lock lock{mutex_};
  for (auto entry = entries_.upper_bound(after); entry != entries_.end() && open.size() < count; ++entry)
    if (entry->second.host->is_open()) open.push_back(entry->second.host);
  return open;
}

// Those that are on their way out beside them are counted: they have files still.
std::size_t OpenStores::count_used() const {
  const Lock lock{mutex_};
  return entries_.size() - std::min(lingering_.size(), lingering_max_.load());
}

bool OpenStores::contains(const std::string& name) const {
  const Lock lock{mutex_};
  return entries_.contains(name);
}

std::shared_ptr<HostUse> OpenStores::use(Entry& entry) {
  auto use = std::make_shared<HostUse>(*this, entry.host);
  ++entry.users;
  if (entry.lingers) stop_lingering(entry);
  // Who waits for the store to be closed must be told that it will not be.
  if (!entry.after_close.empty()) retire_later(entry);
  return use;
}

std::shared_ptr<HostUse> OpenStores::find(const std::string& name, const std::shared_ptr<Peer>& peer) {
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

std::shared_ptr<HostUse> OpenStores::look(const std::string& name) {
  const Lock lock{mutex_};
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  auto look = std::make_shared<HostUse>(*this, found->second.host, HostUse::Kind::look);
  ++found->second.lookers;
  return look;
}

// It has kept the host from being retired, which the thread of who looks must not do, and nothing else.
void OpenStores::end_look(const StoreHost& host) noexcept {
  const Lock lock{mutex_};
  const auto found = entries_.find(host.name());
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (--entry.lookers == 0 && entry.retire_due) submit_retiring();
}

bool OpenStores::has_share(const std::shared_ptr<Peer>& peer) const noexcept {
  return peer == nullptr || peer->stores < share_of(config_.limits.stores, config_.limits.peer_percent);
}

void OpenStores::check_share(const std::string& name, const std::shared_ptr<Peer>& peer) const {
  if (has_share(peer)) return;
  throw MemoryError(Errc::limit_exceeded, "open store " + quoted(name) + ": " + std::to_string(peer->stores) +
                                              " stores are open for " + peer->name() +
                                              ", limits.peer_percent=" + std::to_string(config_.limits.peer_percent) +
                                              " of limits.stores=" + std::to_string(config_.limits.stores) +
                                              "; close sessions of another store, or raise one of these limits");
}

// Stores that nobody uses don't keep others from being opened: they are on their way out. But where disks are slow that
// takes a while, and there may be only so many at a time.
void OpenStores::make_room_for_one(const std::string& name) {
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

void OpenStores::release(const StoreHost& host, bool served) noexcept {
  const Lock lock{mutex_};
  const auto found = entries_.find(host.name());
  if (found == entries_.end()) return;  // it never came to be one
  Entry& entry = found->second;
  const Clock::time_point now = Clock::now();
  if (served || entry.idle_since == Clock::time_point{}) entry.idle_since = now;
  if (--entry.users != 0) return;
  if (!entry.close_jobs.empty()) return entry.host->jobs().submit_ready(std::move(entry.close_jobs));
  if (!host.settings().on_demand || closing_all_) return;
  entry.charged = {};
  entry.lingers = true;
  auto before = lingering_.end();
  while (before != lingering_.begin() && (*std::prev(before))->idle_since > entry.idle_since) --before;
  lingering_.splice(before, entry.place);
  if (is_unneeded(entry, now)) return entry.host->look_after();
  // Many clients that come once must not keep as many stores open.
  if (lingering_.size() > lingering_max_) close_oldest();
}

void OpenStores::close_oldest() noexcept {
  for (Entry* const entry : lingering_) {
    if (std::exchange(entry->close_due, true)) continue;  // on its way out
    return entry->host->look_after();
  }
}

void OpenStores::stop_lingering(Entry& entry) noexcept {
  entry.lingers = false;
  entry.close_due = false;
  entry.place.splice(entry.place.end(), lingering_, std::find(lingering_.begin(), lingering_.end(), &entry));
}

// Who comes back soon, as the next command of a shell's loop does, finds the store open.
bool OpenStores::is_unneeded(const Entry& entry, Clock::time_point now) const noexcept {
  return entry.users == 0 && entry.host->settings().on_demand && !closing_all_ &&
         (entry.close_due || !entry.after_close.empty() || now - entry.idle_since >= config_.directory->linger);
}

// In a job of the host. A session that comes now finds the store closed and opens it again.
void OpenStores::close_unneeded(StoreHost& host) {
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

void OpenStores::retire_later(Entry& entry) noexcept {
  entry.retire_due = true;
  submit_retiring();
}

void OpenStores::submit_retiring() noexcept {
  if (retiring_.exchange(true)) return;
  try {
    changes_.submit([this] { retire(); });
  } catch (const std::bad_alloc&) {
    retiring_ = false;  // the next look at the stores tries again
  }
}

// In changes(), which may wait for a host's last job: it is closed, and has nothing left to do.
void OpenStores::retire() {
  retiring_ = false;
  while (retire_one()) {
  }
}

bool OpenStores::retire_one() {
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

std::chrono::milliseconds OpenStores::look_interval() const noexcept {
  std::chrono::milliseconds interval = config_.directory ? linger_look_interval : watch_interval;
  if (has_homes_) interval = std::min(interval, home_ask_interval);
  const std::chrono::milliseconds idle_max = config_.limits.lease_idle_max;
  // A quarter of the limit, so that a lease outlives it by little; the least step keeps an idle daemon idle.
  if (idle_max.count() != 0) interval = std::min(interval, std::max(idle_max / 4, std::chrono::milliseconds(10)));
  return interval;
}

void OpenStores::look_after() noexcept {
  const auto now = Clock::now();
  const Lock lock{mutex_};
  const auto each_interval = has_homes_ ? home_look_interval : watch_interval;
  const bool each = config_.limits.lease_idle_max.count() != 0 || now - last_look_ >= each_interval;
  if (has_homes_ && !closing_all_)
    for (const auto& [name, entry] : entries_) entry.host->look_at_home();
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

bool OpenStores::wait_until_closed(const std::string& name, const std::string& what, std::function<void()> after) {
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
struct OpenStores::Closing {
  /// All that it needs is there before it begins.
  struct Part {
    StoreHost* host = nullptr;  // which closing_all_ keeps; a part ends in one of its jobs
    FailedClosings::Room failed;
    std::shared_ptr<Closing> all;
  };

  Closing(OpenStores& owner, std::function<void(std::vector<std::string>)> when_done)
      : stores(owner), done(std::move(when_done)) {}
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;
  ~Closing() {
    if (begun) done(stores.failed_closings_.lines(std::move(without_memory)));
  }

  OpenStores& stores;
  std::function<void(std::vector<std::string>)> done;
  std::vector<std::string> without_memory{"out of memory"};  // short enough to take none
  bool begun = false;
};

// What fails is noted for the stop that comes some time, unless the store is closed once more. `failed` is room for it.
void OpenStores::close_one(StoreHost& host, FailedClosings::Room failed, const std::function<bool()>& unused) noexcept {
  try {
    if (host.close(unused)) failed_closings_.forget(host.name());
  } catch (const std::exception& error) {
    failed_closings_.note(std::move(failed), error.what());
    // At a stop that is said when all are closed.
    if (unused) log_.error("store not closed cleanly", {{"store", host.name()}, {"error", error.what()}});
  }
}

void OpenStores::close_all(std::function<void(std::vector<std::string> failures)> done) {
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
    job.emplace_back([part] { part->all->stores.close_one(*part->host, std::move(part->failed), {}); });
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
