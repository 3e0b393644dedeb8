#include "server/stores/catalog.hpp"

#include <algorithm>
#include <future>
#include <utility>

#include "server/stores/directory_files.hpp"
#include "storage/file/file_io.hpp"

namespace pageserver::server {

namespace {

using storage::quoted;

// So many stores are opened at the same time by a start.
constexpr std::size_t openings_max = 16;
// So many requests of peers may wait for the directory.
constexpr std::size_t waiting_max = 4096;

}  // namespace

Catalog::Catalog(const Config& config, storage::FileSystem& file_system, Log& log, SharedThreads& threads,
                 Figures* figures, MemoryShares* memory)
    : config_(config),
      file_system_(file_system),
      log_(log),
      threads_(threads),
      waiting_(std::make_shared<std::atomic<std::size_t>>(0)),
      stores_(config, log, changes_),
      hosts_(config, file_system_, log, threads, recoveries_, figures, memory,
             [this](StoreHost& host) { stores_.close_unneeded(host); }),
      changes_(threads.disk),
      lists_(threads.disk) {}

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
  if (config_.directory) directory_.emplace(file_system_, *config_.directory, log_);
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
    auto host = hosts_.make(plain_files, store);
    stores_.add(host);
    openings.push_back(std::make_shared<Opening>());
    host->jobs().submit([opening = openings.back(), raw = host.get()] {
      try {
        raw->opened();
      } catch (const ServedElsewhere&) {
        // Of one that stands by the log says so, at the first look after the stores.
        if (!raw->settings().standby) opening->error = std::current_exception();
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

std::size_t Catalog::stores_to_keep_files_for() const {
  constexpr std::size_t of_directory_min = 4;
  const std::size_t expected = config_.stores.size() + (config_.directory ? of_directory_min : 0);
  return std::max(expected, stores_.count_used() + (config_.directory ? 1 : 0));
}

std::uint64_t Catalog::open_files_of_a_store() const noexcept {
  StoreSettings settings;
  settings.engine = config_.limits.engine;
  return open_files_of(settings);
}

std::vector<ListedStore> Catalog::configured() const {
  std::vector<ListedStore> stores;
  for (const auto& host : stores_.hosts()) {
    const StoreSettings& settings = host->settings();
    if (settings.on_demand) continue;
    stores.push_back({settings.name, host->pages(), settings.read_only, true, {}});
  }
  return stores;
}

std::vector<std::shared_ptr<StoreHost>> Catalog::configured_hosts() const {
  auto all = stores_.hosts();
  std::erase_if(all, [](const auto& host) { return host->settings().on_demand; });
  return all;
}

std::vector<Catalog::StoreFigures> Catalog::figures() const {
  std::vector<StoreFigures> all;
  for (const auto& host : stores_.hosts())
    if (auto stat = host->figures()) all.push_back({host->name(), *std::move(stat), host->disk_available_bytes()});
  return all;
}

std::shared_ptr<HostUse> Catalog::resolve(const std::string& name, const std::shared_ptr<Peer>& peer) {
  if (auto found = stores_.find(name, peer)) return found;
  if (!directory_) throw not_served(name);
  stores_.check_share(name, peer);
  // It may be there, and nobody uses it: that had no share before this one.
  if (auto found = stores_.find(name)) return found;
  directory_->require(name);
  stores_.make_room_for_one(name);
  // Made whole before anybody can find it. Only this strand adds stores, so nobody did since find().
  return stores_.add_used(hosts_.make(*directory_, name), peer);
}

std::vector<ListedStore> Catalog::list(const std::string& after, std::size_t count) {
  const std::vector<std::shared_ptr<StoreHost>> open = stores_.open_hosts(after, count);
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
  if (stores_.contains(name)) throw MemoryError(Errc::already_exists, what + ": there is one already");
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
    if (stores_.wait_until_closed(name, what, [this, name, done] { remove(name, done); })) return;
    // Only this strand adds stores, so the store can't be opened meanwhile.
    directory_->remove(name);
    stores_.forget_failure(name);
    recoveries_.forget(name);
  } catch (...) {
    error = std::current_exception();
  }
  done(std::move(error));
}

}  // namespace pageserver::server
