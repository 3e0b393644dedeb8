// Which stores there are: the configured ones, and the images in the served directory.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "server/config/config.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/loops.hpp"
#include "server/runtime/peers.hpp"
#include "server/stores/failed_closings.hpp"
#include "server/stores/memory_shares.hpp"
#include "server/stores/recoveries.hpp"
#include "server/stores/shared_listings.hpp"
#include "server/stores/store_directory.hpp"
#include "server/stores/store_host.hpp"
#include "storage/file/file_system.hpp"

namespace pageserver::server {

class Catalog;

/// A connection's hold on a store: while one of a session exists the store stays open. Release it after the session has
/// ended.
class HostUse {
public:
  enum class Kind : std::uint8_t {
    session,
    look,  ///< for a moment; the store may be closed meanwhile, as if nobody looked
  };
  HostUse(Catalog& catalog, std::shared_ptr<StoreHost> host, Kind kind = Kind::session)
      : catalog_(catalog), host_(std::move(host)), kind_(kind) {}
  HostUse(const HostUse&) = delete;
  HostUse& operator=(const HostUse&) = delete;
  ~HostUse();

  StoreHost& host() const noexcept { return *host_; }

private:
  Catalog& catalog_;
  std::shared_ptr<StoreHost> host_;
  const Kind kind_;
};

struct ListedStore {
  std::string name;
  std::uint64_t pages = 0;
  bool read_only = false;
  bool open = false;
  std::optional<Recovery> recovery;  ///< the last one since the daemon started
};

/// Thread-safe. What touches the disk says in which strand it belongs: a store that hangs delays neither, and a
/// directory that hangs no open store.
class Catalog {
public:
  /// `config`, `file_system`, `log` and `threads` outlive the catalog.
  /// `figures` may be null, and outlives it, too. `memory` as well; null: no bound but those of each store.
  Catalog(const Config& config, storage::FileSystem& file_system, Log& log, SharedThreads& threads,
          Figures* figures = nullptr, MemoryShares* memory = nullptr);
  Catalog(const Catalog&) = delete;
  Catalog& operator=(const Catalog&) = delete;
  ~Catalog();

  /// Where stores are found, made and removed, one after the other.
  Strand& changes() noexcept { return changes_; }
  Strand& lists() noexcept { return lists_; }
  Loops& loops() noexcept { return threads_.loops; }
  /// For who submits to one of these on behalf of a peer: a place among those that may wait, for as long as it is kept,
  /// or null when there are too many. Throws std::bad_alloc.
  std::shared_ptr<void> take_place();

  /// What waits and hangs, but for the connections: of the daemon, and of `host`, or of all stores where that is null.
  /// Any thread; waits for nothing.
  Load load(StoreHost* host) noexcept;

  static constexpr std::size_t lingering_default = 64;

  /// Opens the configured stores and the directory, many at the same time. Throws MemoryError naming the store.
  void start();
  /// From any thread: a store that is being recovered is not opened; its log is kept for the next start.
  void abandon_openings() noexcept { abandon_openings_ = true; }
  /// From any thread, every look_interval(): looks after the open stores, and closes those that nobody uses any more.
  /// Waits for none of them.
  void look_after_stores() noexcept;
  std::chrono::milliseconds look_interval() const noexcept;
  /// So many stores that nobody uses may stay open for a while.
  void keep_lingering(std::size_t stores) noexcept { lingering_max_ = stores; }
  /// How many descriptors each store may need, and of how many stores they are to be kept: those that are used, those
  /// that are on their way out, and some that may be opened. Those that linger give theirs up when others come.
  std::uint64_t open_files_of_a_store() const noexcept;
  std::size_t stores_to_keep_files_for() const;
  /// Any thread: those that the configuration names. They stay until the catalog ends.
  std::vector<std::shared_ptr<StoreHost>> configured_hosts() const;
  /// Any thread: how each open store is, by name, without a look at a disk.
  struct StoreFigures {
    std::string name;
    Stat stat;
    std::uint64_t disk_available_bytes = 0;  ///< 0: not known
  };
  std::vector<StoreFigures> figures() const;
  /// For the log's start line: name and pages of each configured store.
  std::vector<ListedStore> configured() const;

  /// The store when it needs no disk to be found, else null: then resolve() decides.
  /// `peer` is who wants it, or null: it is charged with the store where nobody else uses it.
  std::shared_ptr<HostUse> find(const std::string& name, const std::shared_ptr<Peer>& peer = {});
  /// The same for who only looks: whoever asks again and again keeps no store open.
  std::shared_ptr<HostUse> look(const std::string& name);
  /// In changes(). Throws not_found, limit_exceeded, and what the disk says.
  std::shared_ptr<HostUse> resolve(const std::string& name, const std::shared_ptr<Peer>& peer = {});
  /// In lists(): up to `count` stores with names greater than `after`, in rising byte order. Waits for no store.
  std::vector<ListedStore> list(const std::string& after, std::size_t count);
  /// In changes(). Throws already_exists, permission_denied, limit_exceeded, invalid_argument.
  void create(const std::string& name, std::uint64_t pages);
  /// In changes(). `done` runs there too, perhaps later: a store that is being closed is removed after that.
  void remove(const std::string& name, std::function<void(std::exception_ptr error)> done);

  /// Closes every store, in a job of each. `done`, which must not throw, runs once, on some thread, with one line for
  /// each store whose last close failed, this one or another before. Throws bad_alloc when nothing was begun.
  void close_all(std::function<void(std::vector<std::string> failures)> done);

private:
  friend class HostUse;
  using Clock = std::chrono::steady_clock;
  struct Entry {
    Entry() { place.push_back(this); }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() = default;

    std::shared_ptr<StoreHost> host;
    std::size_t users = 0;
    std::size_t lookers = 0;
    Strand::Ready close_jobs;                        ///< of stops, for when nobody uses it any more
    Counted charged;                                 ///< to the peer that came first, while it is used
    bool lingers = false;                            ///< nobody uses it, and it may be closed
    std::list<Entry*> place;                         ///< its node, while it is not in `lingering_`
    Clock::time_point idle_since{};                  ///< while it lingers
    bool close_due = false;                          ///< it is to be closed, however long it has lingered
    bool retire_due = false;                         ///< retire() has to look at it
    std::vector<std::function<void()>> after_close;  ///< in changes()
  };
  struct Closing;

  std::vector<std::shared_ptr<StoreHost>> hosts() const;
  std::shared_ptr<HostUse> use(Entry& entry) PAGESERVER_REQUIRES(mutex_);
  bool has_share(const std::shared_ptr<Peer>& peer) const noexcept;
  void check_share(const std::string& name, const std::shared_ptr<Peer>& peer) const;
  void release(const StoreHost& host) noexcept;
  void end_look(const StoreHost& host) noexcept;
  bool is_unneeded(const Entry& entry, Clock::time_point now) const noexcept PAGESERVER_REQUIRES(mutex_);
  void close_unneeded(StoreHost& host);
  void close_oldest() noexcept PAGESERVER_REQUIRES(mutex_);
  void stop_lingering(Entry& entry) noexcept PAGESERVER_REQUIRES(mutex_);
  void close_one(StoreHost& host, FailedClosings::Room failed, const std::function<bool()>& unused) noexcept;
  void retire_later(Entry& entry) noexcept PAGESERVER_REQUIRES(mutex_);
  void submit_retiring() noexcept;
  void retire();
  bool retire_one();
  std::shared_ptr<StoreHost> make_host(std::shared_ptr<storage::FileSystem> files, StoreSettings settings);
  void make_room_for_one(const std::string& name);
  /// True: `after` runs in changes() once the store is closed. Throws when it may not be removed.
  bool wait_until_closed(const std::string& name, const std::string& what, std::function<void()> after);
  /// Where `folder` is; null where that can't be asked.
  Loops::Disk* disk_of(const std::string& folder);
  StoreSettings common_settings(std::string name, std::string path);
  StoreSettings store_settings(const StoreConfig& store);
  StoreSettings directory_settings(const std::string& name);

  const Config& config_;
  SharedListings file_system_;
  Log& log_;
  SharedThreads& threads_;
  Figures* const figures_;
  MemoryShares* const memory_;
  std::optional<StoreDirectory> directory_;
  Loops::Disk* disk_of_directory_ = nullptr;
  std::atomic<bool> abandon_openings_{false};
  std::atomic<std::uint64_t> forks_bytes_{0};  ///< private bytes of the forks of all stores
  Recoveries recoveries_;
  FailedClosings failed_closings_;
  const std::shared_ptr<std::atomic<std::size_t>> waiting_;  ///< places that are taken
  mutable Mutex mutex_;
  std::map<std::string, Entry> entries_ PAGESERVER_GUARDED_BY(mutex_);
  std::list<Entry*> lingering_ PAGESERVER_GUARDED_BY(mutex_);  ///< the one that has for longest first
  std::atomic<std::size_t> lingering_max_;
  bool closing_all_ PAGESERVER_GUARDED_BY(mutex_) = false;
  Clock::time_point last_look_ PAGESERVER_GUARDED_BY(mutex_){};
  std::atomic<bool> retiring_{false};  ///< retire() is on its way
  Strand changes_;                     // these last: their tasks use the rest
  Strand lists_;
};

}  // namespace pageserver::server
