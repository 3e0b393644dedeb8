// Which stores are open, who uses them, and when those of the directory are closed.
//
// A store of the directory is opened by its first session and stays for a while after its last one: it lingers, since
// who comes back soon finds it open then. It is closed when its time is over, or as the oldest when too many linger, in
// a job of its own host. What is closed is taken out ("retired") in changes(), which may wait for a host's last job.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "server/config/config.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/loops.hpp"
#include "server/runtime/peers.hpp"
#include "server/stores/failed_closings.hpp"
#include "server/stores/store_host.hpp"

namespace pageserver::server {

class OpenStores;

/// A connection's hold on a store: while one of a session exists the store stays open. Release it after the session has
/// ended.
class HostUse {
public:
  enum class Kind : std::uint8_t {
    session,
    look,  ///< for a moment; the store may be closed meanwhile, as if nobody looked
  };
  HostUse(OpenStores& stores, std::shared_ptr<StoreHost> host, Kind kind = Kind::session)
      : stores_(stores), host_(std::move(host)), kind_(kind) {}
  HostUse(const HostUse&) = delete;
  HostUse& operator=(const HostUse&) = delete;
  ~HostUse();

  StoreHost& host() const noexcept { return *host_; }
  /// It is for more than to see whether the store answers: a store that is only asked that is closed in its time. One
  /// thread at a time.
  void serve() noexcept { serves_ = true; }
  bool serves() const noexcept { return serves_; }

private:
  OpenStores& stores_;
  std::shared_ptr<StoreHost> host_;
  const Kind kind_;
  bool serves_ = false;
};

/// Thread-safe.
class OpenStores {
public:
  static constexpr std::size_t lingering_default = 64;

  /// All outlive it. `changes` is where stores are added and retired, one after the other.
  OpenStores(const Config& config, Log& log, Strand& changes);
  OpenStores(const OpenStores&) = delete;
  OpenStores& operator=(const OpenStores&) = delete;
  ~OpenStores() = default;

  /// One that nobody uses yet.
  void add(std::shared_ptr<StoreHost> host);
  /// One that is used at once. In changes(). `peer` is charged with it, or null.
  std::shared_ptr<HostUse> add_used(std::shared_ptr<StoreHost> host, const std::shared_ptr<Peer>& peer);
  /// Null where it is not open, and where nobody else uses it and `peer`, who may be null, has no share for one more.
  std::shared_ptr<HostUse> find(const std::string& name, const std::shared_ptr<Peer>& peer = {});
  /// The same for who only looks: whoever asks again and again keeps no store open.
  std::shared_ptr<HostUse> look(const std::string& name);
  bool contains(const std::string& name) const;
  /// Throws limit_exceeded when `peer` has no share for one more.
  void check_share(const std::string& name, const std::shared_ptr<Peer>& peer) const;
  /// In changes(). Throws limit_exceeded when there may not be one more.
  void make_room_for_one(const std::string& name);

  std::vector<std::shared_ptr<StoreHost>> hosts() const;
  /// Up to `count` of them with names greater than `after`, in rising byte order, that are not being opened or closed.
  std::vector<std::shared_ptr<StoreHost>> open_hosts(const std::string& after, std::size_t count) const;
  /// Without those that linger: they give up what they have when others come.
  std::size_t count_used() const;

  /// So many stores that nobody uses may stay open for a while.
  void keep_lingering(std::size_t stores) noexcept { lingering_max_ = stores; }
  /// From any thread, every look_interval(): asks each store how it is, and closes those that nobody uses any more.
  /// Waits for none of them.
  void look_after() noexcept;
  std::chrono::milliseconds look_interval() const noexcept;
  /// In a job of the host: closes it when nobody uses it and its time is over.
  void close_unneeded(StoreHost& host);
  /// True: `after` runs in changes() once the store is closed. Throws when it may not be removed.
  bool wait_until_closed(const std::string& name, const std::string& what, std::function<void()> after);
  /// The store is removed: what its last close said is of no use any more.
  void forget_failure(const std::string& name) noexcept { failed_closings_.forget(name); }
  /// See Catalog::close_all().
  void close_all(std::function<void(std::vector<std::string> failures)> done);
  /// Ends all hosts, outside of the lock, and when nobody finds them any more: their last jobs may look for them.
  void drop_all();

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
    Clock::time_point idle_since{};                  ///< when a use that served ended last
    bool close_due = false;                          ///< it is to be closed, however long it has lingered
    bool retire_due = false;                         ///< retire() has to look at it
    std::vector<std::function<void()>> after_close;  ///< in changes()
  };
  struct Closing;

  std::shared_ptr<HostUse> use(Entry& entry) PAGESERVER_REQUIRES(mutex_);
  bool has_share(const std::shared_ptr<Peer>& peer) const noexcept;
  void release(const StoreHost& host, bool served) noexcept;
  void end_look(const StoreHost& host) noexcept;
  bool is_unneeded(const Entry& entry, Clock::time_point now) const noexcept PAGESERVER_REQUIRES(mutex_);
  void close_oldest() noexcept PAGESERVER_REQUIRES(mutex_);
  void stop_lingering(Entry& entry) noexcept PAGESERVER_REQUIRES(mutex_);
  void close_one(StoreHost& host, FailedClosings::Room failed, const std::function<bool()>& unused) noexcept;
  void retire_later(Entry& entry) noexcept PAGESERVER_REQUIRES(mutex_);
  void submit_retiring() noexcept;
  void retire();
  bool retire_one();

  const Config& config_;
  const bool has_homes_;  ///< there are stores that another daemon may take over
  Log& log_;
  Strand& changes_;
  FailedClosings failed_closings_;
  mutable Mutex mutex_;
  std::map<std::string, Entry> entries_ PAGESERVER_GUARDED_BY(mutex_);
  std::list<Entry*> lingering_ PAGESERVER_GUARDED_BY(mutex_);  ///< the one that has for longest first
  std::atomic<std::size_t> lingering_max_;
  bool closing_all_ PAGESERVER_GUARDED_BY(mutex_) = false;
  Clock::time_point last_look_ PAGESERVER_GUARDED_BY(mutex_){};
  std::atomic<bool> retiring_{false};  ///< retire() is on its way
};

}  // namespace pageserver::server
