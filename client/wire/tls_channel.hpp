// TLS below a connection, when its URI says pageservers://.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/mutex.hpp"
#include "base/tls/stream.hpp"
#include "client/uri/endpoint.hpp"
#include "client/wire/deadline.hpp"

namespace pageserver::client {

/// Threads: any number; one may receive while another sends, each call for itself.
class TlsChannel {
public:
  using Result = tls::Stream::Result;

  /// Shakes hands on a connected socket, which stays the caller's. Chain and name are verified, always. Throws
  /// MemoryError connection_lost (who answers is not believed, or does not believe us; the text says why and what
  /// helps), timed_out, and for files that can't be used not_found, permission_denied, invalid_argument.
  TlsChannel(const Endpoint& endpoint, const std::string& context, int socket, Deadline deadline);

  Result read(std::span<std::byte> into, std::size_t& count) noexcept;
  Result write(std::span<const std::byte> from, std::size_t& count) noexcept;
  /// There may be bytes that a read gives although the socket is quiet.
  bool has_unread() const noexcept;
  bool read_wants_write() const noexcept;
  /// Tells the peer that nothing more comes. Not in a child after fork(2), where it is the parent's to say.
  void close() noexcept;
  /// Why a read or write failed, and what helps.
  std::string fault() const;

private:
  mutable Mutex mutex_;
  tls::Stream stream_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::client
