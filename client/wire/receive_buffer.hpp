// Bytes as they come in, until they are whole frames.
//
//   one receive    | direct: rest of a read's payload |  bytes()                                  |
//      or          | direct: rest of a read's payload |  bytes(): one header  | ahead: its payload |
//
// Small frames come in many at a time and are cut out of bytes(). The payload of a large read goes straight to the
// caller's buffer, see DirectReads.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "base/io_memory.hpp"

namespace pageserver::client {

class RingChannel;
class TlsChannel;

/// Threads: one at a time.
class ReceiveBuffer {
public:
  std::span<const std::byte> bytes() const { return {buffer_.get() + begin_, end_ - begin_}; }
  void consume(std::size_t count);
  /// Makes room so that bytes() can grow to `count` without another reserve().
  void reserve(std::size_t count);

  struct Received {
    std::size_t direct = 0;    ///< bytes that went into `direct`
    std::size_t buffered = 0;  ///< bytes that were appended to bytes()
    std::size_t ahead = 0;     ///< bytes that went into `ahead`
    bool filled = false;       ///< there was no room for more
    bool would_block = false;
    bool end = false;  ///< the peer closed
    int error = 0;     ///< errno
  };
  /// Where the payload of the frame that comes next most likely belongs. What comes instead is for the caller to put
  /// behind bytes() with append().
  struct Ahead {
    std::size_t header_bytes = 0;  ///< that come before, and go to bytes(), which is empty
    std::span<std::byte> payload;  ///< empty: nothing is expected
  };
  /// One recvmsg: fills `direct` first, then the buffer; with an `ahead`, `direct`, that header, and its payload.
  /// Without waiting; or, on a socket that blocks, with: then a signal or the socket's own receive timeout end it as
  /// would_block. ENOMEM where there is no room and no memory for some.
  Received receive(int socket, std::span<std::byte> direct, const Ahead& ahead, bool may_block = false) noexcept;
  /// The same of what TLS carries, without waiting. A record that is not right is EPROTO.
  Received receive(TlsChannel& channel, std::span<std::byte> direct, const Ahead& ahead) noexcept;
  /// The same of what is in the ring: `end` once that is empty, and its socket has ended. Impossible numbers in it are
  /// EPROTO.
  Received receive(RingChannel& channel, std::span<std::byte> direct, const Ahead& ahead) noexcept;
  void append(std::span<const std::byte> more);

private:
  /// Where the next bytes go: the rest of a read's payload, bytes(), the payload that is expected.
  struct Places {
    std::array<std::span<std::byte>, 3> all;
    std::size_t bytes = 0;
  };
  Places places(std::span<std::byte> direct, const Ahead& ahead);
  /// False where there is no memory for them, as `result` says then.
  bool find_places(Received& result, Places& into, std::span<std::byte> direct, const Ahead& ahead) noexcept;
  void note(Received& result, const Places& into, std::size_t received) noexcept;

  base::IoMemory buffer_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace pageserver::client
