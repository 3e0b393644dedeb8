// A remote session with a cache of pages: what it has to ask the daemon, and when.
//
//   CachedSession    the calls: lock, bounds, order
//     PageReader     pages in: fetch, read ahead (ReadAhead)     PageWriter   pages out: what differs, room, commit
//     PageTransfers  requests that have a page's memory
//     PageCache      the pages; see the way of a page in docs/architecture.md
//   PlainSession     all that the cache has no part in, and the connection
#pragma once

#include "base/mutex.hpp"
#include "client/session/page_reader.hpp"
#include "client/session/page_writer.hpp"
#include "client/session/remote_session.hpp"

namespace pageserver::client {

/// Contracts as in session.hpp and remote_provider.hpp. Not for live readers. Calls of several threads take turns: the
/// lock stays held while the daemon is waited for, so that the parts know one thread at a time.
class CachedSession final : public RemoteSession {
public:
  explicit CachedSession(RemoteOptions options);

  std::uint64_t pages() override;
  std::uint64_t grow(std::uint64_t new_pages) override;
  void read(std::uint64_t offset, std::span<std::byte> buffer) override;
  void write(std::uint64_t offset, std::span<const std::byte> data) override;
  std::uint64_t atomic_write_bytes() const override { return writes_back_ ? page_size : plain_.atomic_write_bytes(); }
  void flush() override;
  Version version() override;
  Refreshed refresh() override;
  void discard() override;
  std::optional<HolderStat> break_lease(std::uint64_t epoch) override;
  std::optional<MemoryError> lost() override;
  int socket() const noexcept override { return plain_.socket(); }
  Stat stat() override;
  void zero(std::uint64_t offset, std::uint64_t length) override;
  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length) override;
  RemoteTraffic traffic() override;
  std::vector<OrderedFault> faults(const proto::FaultsRequest& message) override { return plain_.faults(message); }
  void check_usable() override;
  void end() override { plain_.end(); }
  void close() noexcept override { plain_.close(); }
  void abandon() noexcept override { plain_.abandon(); }
  bool is_forked() const noexcept override { return plain_.is_forked(); }

private:
  /// A call that is inside: it has the lock. In a child after fork(2) it throws before it would wait for a lock that a
  /// thread of the parent may have held.
  class PAGESERVER_SCOPED_CAPABILITY Inside {
  public:
    Inside(CachedSession& session, proto::Operation operation) PAGESERVER_ACQUIRE(session.mutex_);
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
    ~Inside() PAGESERVER_RELEASE();

  private:
    Mutex& mutex_;
  };

  /// Sees what the daemon has said meanwhile, when the last look is too old, and throws as a request would.
  void look_if_due(proto::Operation operation) PAGESERVER_REQUIRES(mutex_);
  void check_call(proto::Operation operation, std::uint64_t offset, std::uint64_t length) PAGESERVER_REQUIRES(mutex_);
  void commit() PAGESERVER_REQUIRES(mutex_);
  void know_zeros(std::uint64_t first, std::uint64_t count) PAGESERVER_REQUIRES(mutex_);

  PlainSession plain_;
  const bool writes_back_;
  Mutex mutex_;
  Deadline looked_at_ PAGESERVER_GUARDED_BY(mutex_){};
  PageCache cache_ PAGESERVER_GUARDED_BY(mutex_);
  PageTransfers transfers_ PAGESERVER_GUARDED_BY(mutex_);
  PageWriter writer_ PAGESERVER_GUARDED_BY(mutex_);
  PageReader reader_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::client
