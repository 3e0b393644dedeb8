#include "client/receive_buffer.hpp"

#include <sys/socket.h>
#include <sys/uio.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

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

ReceiveBuffer::Received ReceiveBuffer::receive(int socket, std::span<std::byte> direct, bool may_block) {
  reserve(bytes().size() + 4096);
  std::array<iovec, 2> vectors{iovec{direct.data(), direct.size()}, iovec{buffer_.get() + end_, capacity_ - end_}};
  const bool skip = direct.empty();
  msghdr message{};
  message.msg_iov = skip ? &vectors[1] : vectors.data();
  message.msg_iovlen = skip ? 1 : 2;
  Received result;
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
  result.direct = std::min(static_cast<std::size_t>(count), direct.size());
  result.buffered = static_cast<std::size_t>(count) - result.direct;
  end_ += result.buffered;
  result.filled = end_ == capacity_;
  return result;
}

}  // namespace pageserver::client
