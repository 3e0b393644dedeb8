// The bytes of a connection: what has come in and is not handled yet, what has to go out.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>

#include "base/tls/stream.hpp"
#include "server/connection/byte_buffer.hpp"

namespace pageserver::server {

/// Receives and sends on a socket that it does not own. No call waits. Once the socket failed, or fail() was called,
/// nothing is sent any more, and nobody has a reason to receive. With TLS the bytes are what it carries; nothing is
/// sent or received then before the handshake is done.
///
/// Threads: one at a time.
class ByteStream {
public:
  enum class Received : std::uint8_t { something, nothing, end };

  void attach(int socket) noexcept { socket_ = socket; }
  /// From here on over TLS.
  void secure(const std::shared_ptr<const tls::Context>& context) {
    tls_ = std::make_unique<tls::Stream>(context, socket_);
  }
  /// From here on without: the handshake failed.
  void drop_tls() noexcept { tls_.reset(); }
  /// Null: without TLS.
  tls::Stream* tls() noexcept { return tls_.get(); }
  const tls::Stream* tls() const noexcept { return tls_.get(); }

  /// Bytes not yet handled, when there are any: frames, and the beginning of one.
  ByteBuffer& input() noexcept { return input_; }
  const ByteBuffer& input() const noexcept { return input_; }
  /// Bytes that the socket did not take, when there are any.
  const ByteBuffer& output() const noexcept { return output_; }

  /// Into `space`; `count` says how many bytes. For bytes that are handled where they lie.
  Received receive(std::span<std::byte> space, std::size_t& count);
  /// Behind what is in input(): at most `bytes_max`, and no more than there is room for there, or 4 KiB.
  Received receive_into_input(std::size_t bytes_max);
  /// As receive_into_input(), beside work that is pending: is_drained() stays as it was.
  Received receive_ahead(std::size_t bytes_max);
  /// Counts the receive before, which found nothing, as a look.
  void note_poll() noexcept {
    --receives_;
    ++polls_;
  }

  /// Sends what was left, then `fresh`, which is empty afterwards: what the socket does not take is kept. Returns how
  /// many bytes it took.
  std::size_t send(ByteBuffer& fresh);

  /// Of output(), what TLS has encrypted already.
  std::size_t unsent_bytes() const noexcept { return tls_ ? tls_->unsent_bytes() : 0; }

  /// The last receive took all there was.
  bool is_drained() const noexcept { return drained_ && !(tls_ && tls_->has_unread()); }
  /// Who wants more has to wait until the socket takes something.
  bool receive_wants_room() const noexcept { return tls_ && tls_->read_wants_write(); }
  void forget_drained() noexcept { drained_ = false; }
  /// The peer sends no more.
  bool is_at_end() const noexcept { return at_end_; }
  void note_end() noexcept { at_end_ = true; }
  bool is_broken() const noexcept { return broken_; }
  void fail() noexcept { broken_ = true; }

  std::uint64_t received_bytes() const noexcept { return received_bytes_; }
  std::uint64_t sent_bytes() const noexcept { return sent_bytes_; }
  /// System calls.
  std::uint64_t receives() const noexcept { return receives_; }
  std::uint64_t polls() const noexcept { return polls_; }
  std::uint64_t sends() const noexcept { return sends_; }

private:
  Received judge(ssize_t count);
  /// Of the socket, or of what TLS carries.
  Received receive_some(std::span<std::byte> space, std::size_t& count);
  Received receive_tls(std::span<std::byte> space, std::size_t& count);
  /// How many it took; sets broken_ where it takes none any more.
  std::size_t send_some(std::span<const std::byte> bytes);
  std::size_t send_tls(std::span<const std::byte> bytes);

  int socket_ = -1;
  std::unique_ptr<tls::Stream> tls_;
  ByteBuffer input_;
  ByteBuffer output_;
  bool drained_ = false;
  bool at_end_ = false;
  bool broken_ = false;
  std::uint64_t received_bytes_ = 0;
  std::uint64_t sent_bytes_ = 0;
  std::uint64_t receives_ = 0;
  std::uint64_t polls_ = 0;  // receives that found nothing while polling
  std::uint64_t sends_ = 0;
};

}  // namespace pageserver::server
