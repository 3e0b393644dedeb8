// The bytes of a connection: what has come in and is not handled yet, what has to go out.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "base/ring/end.hpp"
#include "base/tls/stream.hpp"
#include "base/unique_fd.hpp"
#include "server/connection/byte_buffer.hpp"
#include "server/runtime/buffer_room.hpp"

namespace pageserver::server {

/// Receives and sends on a socket that it does not own. No call waits. Once the socket failed, or fail() was called,
/// nothing is sent any more, and nobody has a reason to receive. With TLS the bytes are what it carries; nothing is
/// sent or received then before the handshake is done. With a ring they go through that, and what comes over the socket
/// only wakes.
///
/// Threads: one at a time.
class ByteStream {
public:
  enum class Received : std::uint8_t { something, nothing, end };

  void attach(int socket) noexcept { socket_ = socket; }
  /// From here on over TLS.
  void secure(const std::shared_ptr<const tls::Context>& context) {
    tls_ = std::make_unique<tls::Stream>(context, socket_);
    note_carrier();
  }
  /// From here on without: the handshake failed.
  void drop_tls() noexcept {
    tls_.reset();
    note_carrier();
  }
  /// Null: without TLS.
  tls::Stream* tls() noexcept { return tls_.get(); }
  const tls::Stream* tls() const noexcept { return tls_.get(); }

  /// From here on a descriptor that comes along with bytes is kept until it is taken, or not any more. Else the kernel
  /// closes those that come.
  void keep_descriptors(bool keep) noexcept {
    keeps_descriptors_ = keep;
    passed_.reset();
    passed_count_ = 0;
    note_carrier();
  }
  /// The one that came last; `count` says how many came. Those that are not handed out are closed.
  UniqueFd take_descriptor(int& count) noexcept {
    count = std::exchange(passed_count_, 0);
    return std::move(passed_);
  }

  void drop_descriptor() noexcept {
    passed_.reset();
    passed_count_ = 0;
  }

  /// Through this ring, once all that is to be sent before has gone to the socket. `room`: what it is charged with.
  void begin_ring(std::unique_ptr<ring::End> ring, BufferRoom::Ring room) noexcept {
    next_ring_ = std::move(ring);
    ring_room_ = std::move(room);
  }
  /// It has not begun yet: nothing more is to be taken from the socket.
  bool awaits_ring() const noexcept { return next_ring_ != nullptr; }
  bool has_ring() const noexcept { return ring_ != nullptr; }
  /// The peer has written into the ring what can't be.
  bool is_ring_broken() const noexcept {
    return ring_ != nullptr && (ring_->is_read_broken() || ring_->is_write_broken());
  }
  /// Only with a ring: there is something to receive.
  bool ring_has_bytes() const noexcept { return ring_->has_bytes(); }
  /// Before a wait for what `what` (of ring::Sleeps) names. False: it is there by now.
  bool begin_wait(std::uint32_t what) noexcept { return ring_ == nullptr || what == 0 || ring_->begin_sleep(what); }
  /// After a wait.
  void end_wait() noexcept {
    drained_ = false;
    if (ring_ != nullptr) look_behind_ring();
  }

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
  Received receive_specially(std::span<std::byte> space, std::size_t& count);
  Received receive_ring(std::span<std::byte> space, std::size_t& count) noexcept;
  Received receive_with_descriptors(std::span<std::byte> space, std::size_t& count);
  std::size_t send_ring(std::span<const std::byte> bytes) noexcept;
  void look_behind_ring() noexcept;
  void note_carrier() noexcept { is_plain_ = tls_ == nullptr && ring_ == nullptr && !keeps_descriptors_; }

  int socket_ = -1;
  bool is_plain_ = true;  // bytes come from the socket, and nothing beside them is wanted
  bool keeps_descriptors_ = false;
  bool socket_ended_ = false;  // with a ring: whose last bytes may still be there
  int passed_count_ = 0;
  UniqueFd passed_;
  std::unique_ptr<tls::Stream> tls_;
  std::unique_ptr<ring::End> ring_;
  std::unique_ptr<ring::End> next_ring_;
  BufferRoom::Ring ring_room_;
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
