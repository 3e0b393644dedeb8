// One TLS connection over a socket that its owner keeps. No call waits, none raises SIGPIPE.
//
// Bytes may lie in here while the socket is quiet: a record is decrypted as a whole. Who sleeps until the socket is
// readable has to read until wants_read, or to ask has_unread() first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/tls/context.hpp"
#include "base/tls/names.hpp"
#include "base/tls/verify.hpp"

struct ssl_st;

namespace pageserver::tls {

/// Threads: one at a time.
class Stream {
public:
  /// For what listens, or for a client that wants to reach `expected_name`: a host's name or its address. Throws
  /// std::bad_alloc.
  explicit Stream(const std::shared_ptr<const Context>& context, int socket, std::string expected_name = {});
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  /// Says nothing to the peer.
  ~Stream();

  enum class Result : std::uint8_t {
    done,
    wants_read,   ///< the socket gives nothing more now
    wants_write,  ///< the socket takes nothing more now
    end,          ///< the peer sends no more
    failed        ///< see fault()
  };
  Result handshake() noexcept;
  bool is_established() const noexcept;
  /// `count`: bytes read; done: at least one.
  Result read(std::span<std::byte> into, std::size_t& count) noexcept;
  /// `count`: bytes taken. After wants_write the same bytes, or more that begin with them, have to be given again.
  Result write(std::span<const std::byte> from, std::size_t& count) noexcept;
  /// From now on OpenSSL does not wipe what it has read; a server's stream begins with doing so, since tokens come
  /// first.
  void read_no_secrets() noexcept;
  /// There may be bytes in here that a read would give although the socket is quiet.
  bool has_unread() const noexcept;
  /// The last read could not go on before the socket takes something.
  bool read_wants_write() const noexcept { return read_wants_write_; }
  /// close_notify, as far as the socket takes it.
  void close() noexcept;

  /// Why it failed; empty where it did not.
  const std::string& fault() const noexcept { return fault_; }
  /// False once something else has come.
  bool peer_speaks_tls() const noexcept;
  /// errno of the socket's call that failed last, or 0.
  int socket_error() const noexcept;
  /// Of the peer's verified certificate; none without one.
  std::vector<std::string> peer_names(NameField field) const;
  bool has_peer_certificate() const noexcept;
  /// Of a client that has shown one, for later; else null. Throws std::bad_alloc.
  std::shared_ptr<PeerChain> peer_chain() const;
  const std::shared_ptr<const Context>& context() const noexcept { return context_; }
  /// Encrypted, and not taken by the socket yet: at most 150 KiB. What it is of does not count as taken by write().
  std::size_t unsent_bytes() const noexcept;
  /// Calls of recv(2) and of send(2).
  std::uint64_t receives() const noexcept;
  std::uint64_t sends() const noexcept;

private:
  struct Gathered;
  struct Wire;
  void begin_call() noexcept;
  Result judge(int result, bool is_write) noexcept;
  Result write_together(Gathered& gathered, std::span<const std::byte> from, std::size_t& count) noexcept;
  Result fail_write() noexcept;

  std::unique_ptr<Wire> wire_;
  std::shared_ptr<const Context> context_;
  ssl_st* connection_ = nullptr;
  std::string expected_name_;
  std::string fault_;
  std::size_t owed_bytes_ = 0;  ///< in records that have not left whole, and not said to be taken
  bool failed_ = false;
  bool write_failed_ = false;
  bool read_wants_write_ = false;
  bool starved_ = false;  ///< the last read found nothing more
};

}  // namespace pageserver::tls
