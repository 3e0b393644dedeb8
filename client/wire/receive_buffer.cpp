#include "client/wire/receive_buffer.hpp"

#include <sys/socket.h>
#include <sys/uio.h>
#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <new>

namespace pageserver::client {
namespace {

constexpr std::size_t capacity_min = 64 * 1024;

}  // namespace

void ReceiveBuffer::consume(std::size_t count) {
  begin_ += count;
  if (begin_ == end_) begin_ = end_ = 0;
}

void ReceiveBuffer::reserve(std::size_t count) {
  if (capacity_ - begin_ >= count && buffer_) return;
  const auto held = bytes();
  if (count <= capacity_) {
    std::memmove(buffer_.get(), held.data(), held.size());
  } else {
    const std::size_t capacity = std::max(count, capacity_min);
    auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity);
    if (!held.empty()) std::memcpy(larger.get(), held.data(), held.size());
    buffer_ = std::move(larger);
    capacity_ = capacity;
  }
  end_ = held.size();
  begin_ = 0;
}

void ReceiveBuffer::append(std::span<const std::byte> more) {
  reserve(bytes().size() + more.size());
  std::memcpy(buffer_.get() + end_, more.data(), more.size());
  end_ += more.size();
}

ReceiveBuffer::Received ReceiveBuffer::receive(int socket, std::span<std::byte> direct, const Ahead& ahead,
                                               bool may_block) noexcept {
  assert(ahead.payload.empty() || bytes().empty());
  Received result;
  try {
    reserve(bytes().size() + 4096);
  } catch (const std::bad_alloc&) {
    result.error = ENOMEM;
    return result;
  }
  const std::size_t room = ahead.payload.empty() ? capacity_ - end_ : ahead.header_bytes;
  std::array<iovec, 3> vectors{iovec{direct.data(), direct.size()}, iovec{buffer_.get() + end_, room},
                               iovec{ahead.payload.data(), ahead.payload.size()}};
  const std::size_t skipped = direct.empty() ? 1 : 0;
  msghdr message{};
  message.msg_iov = vectors.data() + skipped;
  message.msg_iovlen = (ahead.payload.empty() ? 2 : 3) - skipped;
  ssize_t count = 0;
  do {
    count = ::recvmsg(socket, &message, may_block ? 0 : MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR && !may_block);
  if (count < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
      result.would_block = true;
    else
      result.error = errno;
    return result;
  }
  result.end = count == 0;
  const auto received = static_cast<std::size_t>(count);
  result.direct = std::min(received, direct.size());
  result.buffered = std::min(received - result.direct, room);
  result.ahead = received - result.direct - result.buffered;
  end_ += result.buffered;
  result.filled = received == direct.size() + room + ahead.payload.size();
  return result;
}

}  // namespace pageserver::client
