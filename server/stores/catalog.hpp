// Which stores there are: the configured ones, and the images in the served directory.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/config/config.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/loops.hpp"
#include "server/runtime/peers.hpp"
#include "server/stores/host_factory.hpp"
#include "server/stores/memory_shares.hpp"
#include "server/stores/open_stores.hpp"
#include "server/stores/recoveries.hpp"
#include "server/stores/shared_listings.hpp"
#include "server/stores/store_directory.hpp"
#include "server/stores/store_host.hpp"
#include "storage/file/file_system.hpp"

namespace pageserver::server {

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
  ~Catalog() { stores_.drop_all(); }

  /// Where stores are found, made and removed, one after the other.
  Strand& changes() noexcept { return changes_; }
  /// The served directory lies in a pool, which may not answer.
  bool is_beyond() const noexcept { return config_.directory && storage::is_home_path(config_.directory->path); }
  Strand& lists() noexcept { return lists_; }
  Loops& loops() noexcept { return threads_.loops; }
  /// For who submits to one of these on behalf of a peer: a place among those that may wait, for as long as it is kept,
  /// or null when there are too many. Throws std::bad_alloc.
  std::shared_ptr<void> take_place();

  /// What waits and hangs, but for the connections: of the daemon, and of `host`, or of all stores where that is null.
  /// Any thread; waits for nothing.
  Load load(StoreHost* host) noexcept;

  /// Before start(): see StoreSettings::let_writers_go.
  void on_give_up(std::function<void(const std::string& store)> let_writers_go) {
    hosts_.on_give_up(std::move(let_writers_go));
  }
  /// Opens the configured stores and the directory, many at the same time. Throws MemoryError naming the store.
  void start();
  /// From any thread: a store that is being recovered is not opened; its log is kept for the next start.
  void abandon_openings() noexcept { hosts_.abandon_openings(); }
  /// From any thread, every look_interval(): looks after the open stores, and closes those that nobody uses any more.
  /// Waits for none of them.
  void look_after_stores() noexcept { stores_.look_after(); }
  std::chrono::milliseconds look_interval() const noexcept { return stores_.look_interval(); }
  /// So many stores that nobody uses may stay open for a while.
  void keep_lingering(std::size_t stores) noexcept { stores_.keep_lingering(stores); }
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
  std::shared_ptr<HostUse> find(const std::string& name, const std::shared_ptr<Peer>& peer = {}) {
    return stores_.find(name, peer);
  }
  /// The same for who only looks: whoever asks again and again keeps no store open.
  std::shared_ptr<HostUse> look(const std::string& name) { return stores_.look(name); }
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
  void close_all(std::function<void(std::vector<std::string> failures)> done) { stores_.close_all(std::move(done)); }

private:
  const Config& config_;
  SharedListings file_system_;
  Log& log_;
  SharedThreads& threads_;
  std::optional<StoreDirectory> directory_;
  Recoveries recoveries_;
  const std::shared_ptr<std::atomic<std::size_t>> waiting_;  ///< places that are taken
  OpenStores stores_;
  HostFactory hosts_;
  Strand changes_;  // these last: their tasks use the rest
  Strand lists_;
};

}  // namespace pageserver::server
