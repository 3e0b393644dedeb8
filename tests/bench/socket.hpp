// Blocking stream sockets, as every client and server of the benchmark uses them.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

struct ssl_st;

namespace pageserver::bench {

enum class Transport : std::uint8_t { tcp, unix_socket, tls };

/// Where a server listens, in each way.
struct Address {
  std::uint16_t port = 0;  ///< on 127.0.0.1
  std::string socket_path;
  std::uint16_t tls_port = 0;  ///< as well, with TLS
  std::string tls_ca = {};     ///< the file with whom its clients believe
  std::string uri_keys = {};   ///< what each URI of it has besides, `key=value&...`
};

/// A connected socket. Calls loop over short transfers and EINTR, and throw std::system_error; the end of the stream
/// is an error as well.
class Socket {
public:
  /// With `tls` it is a connection without TLS before start_tls().
  Socket(const Address& address, Transport transport);
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket();

  int fd() const noexcept { return fd_; }
  /// TLS 1.3 by OpenSSL, whose calls block as those of the socket do: what a client of whichever protocol would have.
  /// AES-128-GCM where the server has it.
  void start_tls(const std::string& ca);
  void send_all(std::span<const std::byte> bytes);
  /// Sends what the vectors name, all of it; changes them.
  void send_all(std::span<iovec> parts);
  /// At least one byte, at most `into.size()`.
  std::size_t receive_some(std::span<std::byte> into);
  void receive_all(std::span<std::byte> into);

private:
  int fd_ = -1;
  ssl_st* tls_ = nullptr;
};

/// A TCP port of 127.0.0.1 that was free a moment ago.
std::uint16_t free_port();

/// True when something accepts connections there.
bool accepts(const Address& address, Transport transport);

}  // namespace pageserver::bench
