// Bytes on their way out: small frames in one buffer, large data by reference, sent in one gathered call.
//
//   owned_     | sent | header, header + 8 bytes, header |   header   | ... not sealed yet, tail()
//                     ^ owned_begin_                                  ^ owned_sealed_
//   chunks_    [ these bytes of owned_, then `external` of the caller ] [ the next, then its data ] ...
//
//   stream     0 ............. sent() ............. limit() ............. end
//              gone out        may go out           waits for answers to make room
//
// So a burst of small requests is one buffer and one call, and the data of a large write is never copied.
// Connection::admit(), which knows how much the daemon takes, moves the limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/ring/end.hpp"

namespace pageserver::client {

class TlsChannel;

/// A stream of bytes with positions that count from 0 since construction. What lies beyond limit() stays here.
///
/// Threads: one at a time.
class SendQueue {
public:
  /// Frames are appended here, by proto::encode(); seal() makes them part of the stream.
  std::vector<std::byte>& tail() { return owned_; }
  /// Takes what was appended to tail() into the stream, followed by `data` by reference. Returns the stream's end.
  std::uint64_t seal(std::span<const std::byte> data = {});
  std::size_t unsealed_bytes() const { return owned_.size() - owned_sealed_; }
  /// Takes back what was appended to tail() since the last seal().
  void unseal();

  /// Bytes before this position may be sent.
  void set_limit(std::uint64_t position) { limit_ = position; }
  /// What was sent: a frame that ends at or before it is out.
  std::uint64_t sent() const { return sent_; }
  std::uint64_t sendable() const { return limit_ > sent_ ? limit_ - sent_ : 0; }

  struct Sent {
    std::size_t bytes = 0;
    std::size_t calls = 0;
  };
  /// This descriptor goes along with the first byte that is sent next over a socket; it stays the caller's.
  void attach(int descriptor) { attached_ = descriptor; }
  /// Sends what the socket takes without waiting, and nothing after an error. Never raises SIGPIPE.
  Sent send(int socket) noexcept;
  /// The same through TLS; what fails there is EPROTO.
  Sent send(TlsChannel& channel) noexcept;
  /// The same through a ring: a daemon that writes impossible numbers into it is EPROTO.
  Sent send(ring::End& end) noexcept;
  /// errno of a send that failed, which stays; 0: none has, though the socket may be full.
  int error() const { return error_; }

  /// Drops everything, the references above all.
  void clear() noexcept;

private:
  struct Chunk {
    std::size_t owned_bytes = 0;          // from owned_, then
    std::span<const std::byte> external;  // these
  };
  void consume(std::size_t bytes) noexcept;
  /// What may be sent, beginning with its first byte, as far as it lies in one piece or fits in `room`.
  std::span<const std::byte> next_piece(std::span<std::byte> room) const noexcept;

  std::vector<std::byte> owned_;
  std::size_t owned_begin_ = 0;   // sent of owned_
  std::size_t owned_sealed_ = 0;  // end of what chunks_ covers
  std::deque<Chunk> chunks_;
  std::uint64_t end_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t limit_ = 0;
  int error_ = 0;
  int attached_ = -1;
};

}  // namespace pageserver::client
