#include "server/stores/catalog.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <future>

#include "proto/codec.hpp"
#include "server/stores/directory_files.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/siblings.hpp"
#include "storage/image/whole_image.hpp"

namespace pageserver::server {

namespace {

using storage::file_error;
using storage::FileStatus;
using storage::IoResult;
using storage::quoted;
using storage::retried;

// How often a store is asked how it is.
constexpr std::chrono::milliseconds look_interval_max{5000};
// So many stores are opened at the same time by a start.
constexpr std::size_t openings_max = 16;

constexpr const char* closed_in_part =
    "closed in part, and the daemon is out of memory; the log is replayed when it is opened";

MemoryError not_found(const std::string& name) {
  return {Errc::not_found, "store " + quoted(name) + " is not served here; `pagectl list` names those that are"};
}

/// Why no store may have this name; empty when it may.
std::string resembling(const std::string& name) {
  const std::string file = name + std::string(image_suffix);
  if (!storage::resembles_sibling(file)) return {};
  return "its file " + quoted(file) + " could be taken for one that a store keeps beside its image";
}

// What a client can do about a log without an image.
constexpr std::string_view gone_remedy =
    "remove the store (`pagectl remove`), which removes that too, or let an administrator put the image back beside it";

// The directory may hold names that no client could say: they are not stores.
std::string store_name_of(const std::string& file) {
  if (!file.ends_with(image_suffix)) return {};
  std::string name = file.substr(0, file.size() - image_suffix.size());
  return proto::is_store_name(name) && resembling(name).empty() ? name : std::string();
}

void check_name(const std::string& name) {
  if (proto::is_store_name(name)) return;
  throw MemoryError(Errc::invalid_argument,
                    "store name " + quoted(name) + " is not of the form [A-Za-z0-9][A-Za-z0-9._-]{0,63}");
}

}  // namespace

// The catalog keeps the host for as long as it counts this use, so the last reference is never dropped here: this may
// be one of the host's own threads, which could not wait for itself.
HostUse::~HostUse() {
  StoreHost* const host = host_.get();
  host_.reset();
  catalog_.release(*host);
}

Catalog::Catalog(const Config& config, storage::FileSystem& file_system, Log& log, SharedThreads& threads)
    : config_(config),
      file_system_(file_system),
      plain_files_(borrow_files(file_system)),
      log_(log),
      threads_(threads),
      admin_(std::make_shared<Worker>("admin", log)) {
  admin_->start();
}

Catalog::~Catalog() {
  admin_->stop();
  admin_->join();
  entries_.clear();
  admin_->drain();  // what the hosts asked for with their last breath
}

void Catalog::start() {
  if (config_.directory) {
    const std::string& path = config_.directory->path;
    IoResult opened = storage::Folder::try_open(file_system_, path, directory_);
    if (opened.ok() && directory_.unreadable()) opened = {-1, EACCES};
    if (opened.error == ENOENT) {
      throw MemoryError(Errc::not_found,
                        "open the directory " + quoted(path) + ": it does not exist; create it first: mkdir -p");
    }
    if (!opened.ok()) throw file_error(file_system_, "open the directory", path, opened.error);
    std::string resolved;
    directory_path_ = file_system_.real_path(path, resolved).ok() ? resolved : path;
    directory_files_ = make_directory_files(file_system_, directory_.descriptor(), directory_path_);
    finish_removals();
  }
  std::vector<std::future<void>> openings;
  std::exception_ptr first;
  std::size_t waited = 0;
  const auto wait_for_one = [&] {
    const std::size_t i = waited++;
    try {
      openings[i].get();
    } catch (const MemoryError& error) {
      if (!first) {
        first = std::make_exception_ptr(
            MemoryError(error.errc(), "store " + quoted(config_.stores[i].name) + ": " + error.what()));
      }
    } catch (const std::exception&) {
      if (!first) first = std::current_exception();
    }
  };
  for (const StoreConfig& store : config_.stores) {
    auto host = make_host(plain_files_, store_settings(store));
    {
      const std::lock_guard lock(mutex_);
      entries_.try_emplace(store.name, Entry{host, 0, false, {}});
    }
    auto opening = std::make_shared<std::packaged_task<void()>>([raw = host.get()] { raw->opened(); });
    openings.push_back(opening->get_future());
    host->jobs().submit([opening] { (*opening)(); });
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
  const std::lock_guard lock(mutex_);
  return std::max(expected, entries_.size() + (config_.directory ? 1 : 0));
}

// What a crash left of stores that were being removed or created takes room that nobody would look for.
void Catalog::finish_removals() noexcept {
  if (config_.directory->read_only) return;
  try {
    for (const std::string& other : names_in_directory()) {
      const auto sibling = storage::parse_sibling_name(other);
      if (!sibling || sibling->sibling != storage::Sibling::removed) continue;
      const std::string file(sibling->image_name);
      if (store_name_of(file).empty()) continue;
      const std::string path = directory_path_ + "/" + file;
      try {
        if (storage::finish_removal(directory_, file, path))
          log_.info("store removed", {{"store", store_name_of(file)}, {"why", "a crash had interrupted its removal"}});
      } catch (const MemoryError& error) {
        log_.warn("store not removed", {{"store", store_name_of(file)}, {"error", error.what()}});
      }
    }
  } catch (const std::exception& error) {
    log_.warn("store not removed", {{"directory", directory_path_}, {"error", error.what()}});
  }
}

std::vector<ListedStore> Catalog::configured() const {
  std::vector<ListedStore> stores;
  for (const auto& host : hosts()) {
    const StoreSettings& settings = host->settings();
    if (settings.on_demand) continue;
    stores.push_back({settings.name, host->pages(), settings.read_only, true});
  }
  return stores;
}

std::vector<std::shared_ptr<StoreHost>> Catalog::hosts() const {
  std::vector<std::shared_ptr<StoreHost>> all;
  const std::lock_guard lock(mutex_);
  for (const auto& [name, entry] : entries_) all.push_back(entry.host);
  return all;
}

std::shared_ptr<StoreHost> Catalog::make_host(std::shared_ptr<storage::FileSystem> files, StoreSettings settings) {
  return std::make_shared<StoreHost>(std::move(files), std::move(settings), log_, threads_,
                                     [this](StoreHost& host) { close_unused(host); });
}

std::shared_ptr<HostUse> Catalog::use(Entry& entry) {
  auto use = std::make_shared<HostUse>(*this, entry.host);
  ++entry.users;
  // Who waits for the store to be closed must be told that it will not be.
  if (!entry.after_close.empty()) retire_later(entry);
  return use;
}

std::shared_ptr<HostUse> Catalog::find(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : use(found->second);
}

StoreSettings Catalog::common_settings(std::string name, std::string path) {
  StoreSettings settings;
  settings.name = std::move(name);
  settings.path = std::move(path);
  settings.size_bytes_max = config_.limits.size_bytes_max;
  settings.engine = config_.limits.engine;
  settings.forks_bytes = &forks_bytes_;
  settings.abandon_recovery = &abandon_openings_;
  settings.readers_max = static_cast<std::uint32_t>(std::max<std::size_t>(2, threads_.loops.count()) - 1);
  settings.lease_idle_max = config_.limits.lease_idle_max;
  return settings;
}

StoreSettings Catalog::store_settings(const StoreConfig& store) {
  StoreSettings settings = common_settings(store.name, store.path);
  settings.read_only = store.read_only;
  settings.create = store.create && !store.read_only;
  settings.file_mode = store.mode.value_or(settings.file_mode);
  settings.size_bytes_max = store.size_bytes_max.value_or(settings.size_bytes_max);
  return settings;
}

StoreSettings Catalog::directory_settings(const std::string& name) {
  StoreSettings settings = common_settings(name, directory_path_ + "/" + name + std::string(image_suffix));
  settings.read_only = config_.directory->read_only;
  settings.on_demand = true;
  settings.file_mode = config_.directory->mode;
  return settings;
}

std::vector<std::string> Catalog::names_in_directory() const {
  std::vector<std::string> names;
  const IoResult listed = directory_.try_names(names);
  if (!listed.ok()) throw file_error(file_system_, "list the directory", directory_path_, listed.error);
  return names;
}

bool Catalog::directory_has(const std::string& name) const {
  if (!directory_.is_open() || !resembling(name).empty()) return false;
  FileStatus status;
  const std::string file = name + std::string(image_suffix);
  // A link is not followed, so one that leads anywhere is not a store.
  return retried([&] { return file_system_.status_beneath(directory_.descriptor(), file, status); }).ok() &&
         S_ISREG(status.mode);
}

void Catalog::require_in_directory(const std::string& name) const {
  if (!proto::is_store_name(name) || !directory_.is_open()) throw not_found(name);
  if (const std::string why = resembling(name); !why.empty())
    throw MemoryError(Errc::not_found, "store " + quoted(name) + " is not served: " + why + "; rename its file");
  if (directory_has(name)) return;
  const std::string file = name + std::string(image_suffix);
  storage::check_image_place(directory_, file, "open", directory_.path_of(file), gone_remedy);
  throw not_found(name);
}

std::shared_ptr<HostUse> Catalog::resolve(const std::string& name) {
  if (auto found = find(name)) return found;
  require_in_directory(name);
  {
    const std::lock_guard lock(mutex_);
    if (entries_.size() >= config_.limits.stores) {
      throw MemoryError(Errc::limit_exceeded,
                        "open store " + quoted(name) + ": " + std::to_string(entries_.size()) +
                            " stores are open, limits.stores=" + std::to_string(config_.limits.stores) +
                            "; close sessions of another store, or raise the limit");
    }
  }
  // Made whole before anybody can find it. Only this worker adds entries, so nobody did since find().
  const auto host = make_host(directory_files_, directory_settings(name));
  auto use = std::make_shared<HostUse>(*this, host);
  const std::lock_guard lock(mutex_);
  entries_.try_emplace(name, Entry{host, 1, false, {}});
  return use;
}

void Catalog::release(const StoreHost& host) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(host.name());
  if (found == entries_.end()) return;  // it never came to be one
  if (--found->second.users != 0 || !host.settings().on_demand || closing_all_) return;
  found->second.host->look_after();
}

// In a job of the host. A session that comes now finds the store closed and opens it again.
void Catalog::close_unused(StoreHost& host) {
  const std::string& name = host.name();
  const auto unused = [this, &name, which = &host] {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(name);
    return found != entries_.end() && found->second.host.get() == which && found->second.users == 0 &&
           which->settings().on_demand && !closing_all_;
  };
  if (!unused()) return;
  // What says that the close failed is made before it: without memory the store stays open until it is looked at again.
  FailedClosing failed;
  try {
    failed = failed_closing(name);
  } catch (const std::bad_alloc&) {
    return;
  }
  close_one(host, std::move(failed), unused);
  const std::lock_guard lock(mutex_);
  if (const auto found = entries_.find(name); found != entries_.end()) retire_later(found->second);
}

// With the mutex held.
void Catalog::retire_later(Entry& entry) noexcept {
  entry.retire_due = true;
  admin_->post_in(retiring_, not_owned(this), [](void* catalog) { static_cast<Catalog*>(catalog)->retire(); });
}

// On the admin worker, which may wait for the threads of a host that is closed: they have nothing left to do.
void Catalog::retire() {
  while (retire_one()) {
  }
}

bool Catalog::retire_one() {
  std::vector<std::function<void()>> after;
  std::map<std::string, Entry>::node_type gone;
  {
    const std::lock_guard lock(mutex_);
    const auto due =
        std::find_if(entries_.begin(), entries_.end(), [](const auto& entry) { return entry.second.retire_due; });
    if (due == entries_.end()) return false;
    Entry& entry = due->second;
    entry.retire_due = false;
    after.swap(entry.after_close);
    if (entry.users == 0 && !entry.host->is_open() && !closing_all_) gone = entries_.extract(due);
  }
  gone = {};  // before the tasks: they may look for the same name
  for (const auto& task : after) task();
  return true;
}

std::chrono::milliseconds Catalog::look_interval() const noexcept {
  const std::chrono::milliseconds idle_max = config_.limits.lease_idle_max;
  if (idle_max.count() == 0) return look_interval_max;
  // A quarter of the limit, so that a lease outlives it by little; the least step keeps an idle daemon idle.
  return std::min(look_interval_max, std::max(idle_max / 4, std::chrono::milliseconds(10)));
}

void Catalog::look_after_stores() noexcept {
  const std::lock_guard lock(mutex_);
  for (const auto& [name, entry] : entries_)
    if (entry.host->is_open()) entry.host->look_after();
}

// A client lists part by part: to read the whole directory for each would cost the square of what is in it.
const std::vector<std::string>& Catalog::listed_names(bool from_the_beginning) {
  constexpr std::chrono::seconds kept_for{2};
  const auto now = std::chrono::steady_clock::now();
  if (!from_the_beginning && listed_at_ && now - *listed_at_ < kept_for) return listed_names_;
  listed_at_.reset();
  listed_names_.clear();
  for (const std::string& file : names_in_directory())
    if (std::string name = store_name_of(file); !name.empty()) listed_names_.push_back(std::move(name));
  std::sort(listed_names_.begin(), listed_names_.end());
  listed_at_ = now;
  return listed_names_;
}

std::vector<ListedStore> Catalog::list(const std::string& after, std::size_t count) {
  std::map<std::string, ListedStore> stores;
  for (const auto& host : hosts()) {
    if (host->name() > after && host->is_open())
      stores[host->name()] = {host->name(), host->pages(), host->settings().read_only, true};
  }
  if (directory_.is_open()) {
    const std::vector<std::string>& names = listed_names(after.empty());
    std::size_t found = 0;
    for (auto name = std::upper_bound(names.begin(), names.end(), after); name != names.end() && found < count;
         ++name) {
      if (stores.contains(*name)) continue;
      FileStatus status;
      const std::string file = *name + std::string(image_suffix);
      if (!file_system_.status_beneath(directory_.descriptor(), file, status).ok() || !S_ISREG(status.mode)) continue;
      stores[*name] = {*name, status.size_bytes / page_size, config_.directory->read_only, false};
      ++found;
    }
  }
  std::vector<ListedStore> listed;
  for (auto& [name, store] : stores) {
    if (listed.size() == count) break;
    listed.push_back(std::move(store));
  }
  return listed;
}

void Catalog::create(const std::string& name, std::uint64_t pages) {
  check_name(name);
  listed_at_.reset();
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
    const std::lock_guard lock(mutex_);
    if (entries_.contains(name)) throw MemoryError(Errc::already_exists, what + ": there is one already");
  }
  if (const std::string why = resembling(name); !why.empty())
    throw MemoryError(Errc::invalid_argument, what + ": " + why + "; choose another name");
  const std::string file = name + std::string(image_suffix);
  const std::string path = directory_path_ + "/" + file;
  // A crash may have left a part of one.
  storage::finish_removal(directory_, file, path);
  storage::check_image_place(directory_, file, "create", path, gone_remedy);
  try {
    storage::create_image(directory_, file, pages, config_.directory->mode, path);
  } catch (const MemoryError& error) {
    if (error.errc() == Errc::already_exists) throw MemoryError(Errc::already_exists, what + ": there is one already");
    throw;
  }
}

void Catalog::remove(const std::string& name, std::function<void(std::exception_ptr error)> done) {
  std::exception_ptr error;
  try {
    check_name(name);
    const std::string what = "remove store " + quoted(name);
    if (!config_.directory || !config_.directory->remove) {
      throw MemoryError(Errc::permission_denied,
                        what +
                            ": this daemon lets no client remove stores; start it with --directory DIR and "
                            "\"directory\": {\"remove\": true} in its configuration");
    }
    if (wait_until_closed(name, what, [this, name, done] { remove(name, done); })) return;
    // Only this worker adds entries, so the store can't be opened meanwhile.
    remove_now(name);
    const std::lock_guard lock(mutex_);
    not_closed_.erase(name);
  } catch (...) {
    error = std::current_exception();
  }
  done(std::move(error));
}

bool Catalog::wait_until_closed(const std::string& name, const std::string& what, std::function<void()> after) {
  const std::lock_guard lock(mutex_);
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
  return true;
}

void Catalog::remove_now(const std::string& name) {
  listed_at_.reset();
  // What is left of a store goes as well.
  if (resembling(name).empty() && !directory_has(name)) {
    const std::string file = name + std::string(image_suffix);
    FileStatus status;
    if (directory_.has(file, status)) throw not_found(name);  // a link, a folder: no store
    if (storage::remove_image(directory_, file, directory_path_ + "/" + file)) return;
  }
  require_in_directory(name);
  const std::string file = name + std::string(image_suffix);
  static_cast<void>(storage::remove_image(directory_, file, directory_path_ + "/" + file));
}

Catalog::FailedClosing Catalog::failed_closing(const std::string& name) {
  std::map<std::string, std::string> one{{name, closed_in_part}};
  return one.extract(one.begin());
}

/// The end of all stores. Its own end is that of the last part, however a part ends, and says what failed.
struct Catalog::Closing {
  /// All that it needs is there before it begins.
  struct Part {
    StoreHost* host = nullptr;  // which closing_all_ keeps; a part ends in one of its jobs
    FailedClosing failed;
    std::shared_ptr<Closing> all;
  };

  Closing(Catalog& owner, std::function<void(std::vector<std::string>)> when_done)
      : catalog(owner), done(std::move(when_done)) {}
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;
  ~Closing() {
    if (begun) done(catalog.failed_closings(std::move(without_memory)));
  }

  Catalog& catalog;
  std::function<void(std::vector<std::string>)> done;
  std::vector<std::string> without_memory{"out of memory"};  // short enough to take none
  bool begun = false;
};

std::vector<std::string> Catalog::failed_closings(std::vector<std::string> without_memory) noexcept {
  const std::lock_guard lock(mutex_);
  if (not_closed_.empty()) return {};
  try {
    std::vector<std::string> lines;
    for (const auto& [name, failure] : not_closed_) lines.push_back("store " + quoted(name) + ": " + failure);
    return lines;
  } catch (const std::bad_alloc&) {
    return without_memory;
  }
}

// What fails is noted for the stop that comes some time, unless the store is closed once more. `failed` is room for it.
void Catalog::close_one(StoreHost& host, FailedClosing failed, const std::function<bool()>& unused) noexcept {
  try {
    if (!host.close(unused)) return;
    const std::lock_guard lock(mutex_);
    not_closed_.erase(host.name());
  } catch (const std::exception& error) {
    try {
      failed.mapped() = error.what();
    } catch (const std::bad_alloc&) {
      // What was made before says enough.
    }
    {
      const std::lock_guard lock(mutex_);
      not_closed_.erase(host.name());
      not_closed_.insert(std::move(failed));
    }
    // At a stop that is said when all are closed.
    if (unused) log_.error("store not closed cleanly", {{"store", host.name()}, {"error", error.what()}});
  }
}

void Catalog::close_all(std::function<void(std::vector<std::string> failures)> done) {
  {
    const std::lock_guard lock(mutex_);
    closing_all_ = true;
  }
  const auto closing = std::make_shared<Closing>(*this, std::move(done));
  std::vector<std::pair<StoreHost*, Strand::Ready>> jobs;
  for (const auto& host : hosts()) {
    const auto part = std::make_shared<Closing::Part>();
    part->host = host.get();
    part->failed = failed_closing(host->name());
    part->all = closing;
    Strand::Ready job;
    job.emplace_back([part] { part->all->catalog.close_one(*part->host, std::move(part->failed), {}); });
    jobs.emplace_back(host.get(), std::move(job));
  }
  // From here on nothing fails.
  closing->begun = true;
  for (auto& [host, job] : jobs) host->jobs().submit_ready(std::move(job));
}

}  // namespace pageserver::server
