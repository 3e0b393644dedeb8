// Which stores there are: the configured ones, and the images in the served directory.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "server/config/config.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/worker.hpp"
#include "server/stores/store_host.hpp"
#include "storage/file/file_system.hpp"
#include "storage/file/folder.hpp"

namespace pageserver::server {

class Catalog;

/// A connection's hold on a store: while one exists the store stays open. Release it after the session has ended.
class HostUse {
public:
  HostUse(Catalog& catalog, std::shared_ptr<StoreHost> host) : catalog_(catalog), host_(std::move(host)) {}
  HostUse(const HostUse&) = delete;
  HostUse& operator=(const HostUse&) = delete;
  ~HostUse();

  StoreHost& host() const noexcept { return *host_; }

private:
  Catalog& catalog_;
  std::shared_ptr<StoreHost> host_;
};

struct ListedStore {
  std::string name;
  std::uint64_t pages = 0;
  bool read_only = false;
  bool open = false;
};

/// Thread-safe. What touches the disk says on which worker it belongs.
class Catalog {
public:
  /// `file_system`, `log` and `threads` outlive the catalog.
  Catalog(const Config& config, storage::FileSystem& file_system, Log& log, SharedThreads& threads);
  Catalog(const Catalog&) = delete;
  Catalog& operator=(const Catalog&) = delete;
  ~Catalog();

  Worker& admin() noexcept { return *admin_; }

  /// Opens the configured stores and the directory, many at the same time. Throws MemoryError naming the store.
  void start();
  /// From any thread: a store that is being recovered is not opened; its log is kept for the next start.
  void abandon_openings() noexcept { abandon_openings_ = true; }
  /// How many descriptors each store may need, and of how many stores they are to be kept: those that are open, and
  /// some that may be opened.
  std::uint64_t open_files_of_a_store() const noexcept;
  std::size_t stores_to_keep_files_for() const;
  /// From any thread, now and then: looks after each open store, without waiting for it.
  void look_after_stores() noexcept;
  /// How often that is to be called.
  std::chrono::milliseconds look_interval() const noexcept;
  /// For the log's start line: name and pages of each configured store.
  std::vector<ListedStore> configured() const;

  /// The store when it needs no disk to be found, else null: then resolve() on the admin worker decides.
  std::shared_ptr<HostUse> find(const std::string& name);
  /// Admin worker. Throws not_found, limit_exceeded, and what the disk says.
  std::shared_ptr<HostUse> resolve(const std::string& name);
  /// Admin worker: up to `count` stores with names greater than `after`, in rising byte order. Where `after` is not
  /// empty, files that somebody else put into the directory in the last two seconds may be missing.
  std::vector<ListedStore> list(const std::string& after, std::size_t count);
  /// Admin worker. Throws already_exists, permission_denied, limit_exceeded, invalid_argument.
  void create(const std::string& name, std::uint64_t pages);
  /// Admin worker. `done` runs there too, perhaps later: a store that is being closed is removed after that.
  void remove(const std::string& name, std::function<void(std::exception_ptr error)> done);

  /// Closes every store, in a job of each. `done`, which must not throw, runs once, on some thread, with one line for
  /// each store whose last close failed, this one or another before. Throws bad_alloc when nothing was begun.
  void close_all(std::function<void(std::vector<std::string> failures)> done);

private:
  friend class HostUse;
  struct Entry {
    std::shared_ptr<StoreHost> host;
    std::size_t users = 0;
    bool retire_due = false;                         ///< retire() has to look at it
    std::vector<std::function<void()>> after_close;  ///< admin worker
  };

  std::vector<std::shared_ptr<StoreHost>> hosts() const;
  std::shared_ptr<HostUse> use(Entry& entry);
  void release(const StoreHost& host) noexcept;
  void close_unused(StoreHost& host);
  struct Closing;
  using FailedClosing = std::map<std::string, std::string>::node_type;  ///< an entry of not_closed_, made beforehand
  static FailedClosing failed_closing(const std::string& name);
  void close_one(StoreHost& host, FailedClosing failed, const std::function<bool()>& unused) noexcept;
  std::vector<std::string> failed_closings(std::vector<std::string> without_memory) noexcept;
  void retire_later(Entry& entry) noexcept;
  void retire();
  bool retire_one();
  std::shared_ptr<StoreHost> make_host(std::shared_ptr<storage::FileSystem> files, StoreSettings settings);
  /// True: `after` runs on the admin worker once the store is closed. Throws when it may not be removed.
  bool wait_until_closed(const std::string& name, const std::string& what, std::function<void()> after);
  void remove_now(const std::string& name);
  void finish_removals() noexcept;
  StoreSettings common_settings(std::string name, std::string path);
  StoreSettings store_settings(const StoreConfig& store);
  StoreSettings directory_settings(const std::string& name);
  /// Throws not_found, or why there is no such store in the directory.
  void require_in_directory(const std::string& name) const;
  bool directory_has(const std::string& name) const;
  std::vector<std::string> names_in_directory() const;
  /// Sorted; for list().
  const std::vector<std::string>& listed_names(bool from_the_beginning);

  const Config& config_;
  storage::FileSystem& file_system_;
  storage::Folder directory_;                             ///< not open: none is served
  std::shared_ptr<storage::FileSystem> plain_files_;      ///< file_system_ as the hosts hold it
  std::shared_ptr<storage::FileSystem> directory_files_;  ///< can't leave the directory
  std::string directory_path_;                            ///< resolved, without links
  Log& log_;
  SharedThreads& threads_;
  std::atomic<bool> abandon_openings_{false};
  std::atomic<std::uint64_t> forks_bytes_{0};                       ///< private bytes of the forks of all stores
  std::vector<std::string> listed_names_;                           ///< of the admin worker
  std::optional<std::chrono::steady_clock::time_point> listed_at_;  ///< nothing: they are to be read again
  PostRoom retiring_;                                               ///< of retire(); admin_ has it
  std::shared_ptr<Worker> admin_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  bool closing_all_ = false;
  std::map<std::string, std::string> not_closed_;  ///< stores whose last close failed, and why
};

/// A directory's image files by name: "demo" is "demo.img".
inline constexpr std::string_view image_suffix = ".img";

}  // namespace pageserver::server
