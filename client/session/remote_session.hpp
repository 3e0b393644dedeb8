// The session behind RemoteProvider, with a cache of pages or without.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <pageserver/remote_provider.hpp>

#include "proto/messages.hpp"

namespace pageserver::client {

/// Contracts as in session.hpp and remote_provider.hpp.
class RemoteSession {
public:
  RemoteSession() = default;
  RemoteSession(const RemoteSession&) = delete;
  RemoteSession& operator=(const RemoteSession&) = delete;
  virtual ~RemoteSession() = default;

  virtual std::uint64_t pages() = 0;
  virtual std::uint64_t grow(std::uint64_t new_pages) = 0;
  virtual void read(std::uint64_t offset, std::span<std::byte> buffer) = 0;
  virtual void write(std::uint64_t offset, std::span<const std::byte> data) = 0;
  virtual std::uint64_t atomic_write_bytes() const = 0;
  virtual void flush() = 0;
  virtual Version version() = 0;
  virtual Refreshed refresh() = 0;
  virtual void discard() = 0;
  virtual std::optional<HolderStat> break_lease(std::uint64_t epoch) = 0;
  virtual std::optional<MemoryError> lost() = 0;
  virtual int socket() const noexcept = 0;
  virtual Stat stat() = 0;
  virtual void zero(std::uint64_t offset, std::uint64_t length) = 0;
  virtual std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length) = 0;
  virtual RemoteTraffic traffic() = 0;
  virtual std::vector<OrderedFault> faults(const proto::FaultsRequest& message) = 0;

  /// Throws what every call would throw now.
  virtual void check_usable() = 0;
  /// Tells the daemon that the session is over, waits for its answer, and throws what comes instead.
  virtual void end() = 0;
  /// As end(), but waits a second at most, and throws nothing.
  virtual void close() noexcept = 0;
  /// For the child after fork(2): lets go of the socket and says nothing.
  virtual void abandon() noexcept = 0;
  virtual bool is_forked() const noexcept = 0;
};

/// The session that `options` ask for: with a cache where one was asked for and the session's rights make it coherent.
std::unique_ptr<RemoteSession> make_remote_session(RemoteOptions options);

/// Ends a session at the end of its provider: closes it, or in a child after fork(2) leaves it to the parent.
void end_session(std::unique_ptr<RemoteSession> session) noexcept;

}  // namespace pageserver::client
