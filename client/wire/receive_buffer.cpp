#include "client/wire/receive_buffer.hpp"

#include <sys/socket.h>
#include <sys/uio.h>
#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <new>

#include "client/wire/ring_channel.hpp"
#include "client/wire/tls_channel.hpp"

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
    auto larger = base::make_io_memory(capacity);
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

ReceiveBuffer::Places ReceiveBuffer::places(std::span<std::byte> direct, const Ahead& ahead) {
  assert(ahead.payload.empty() || bytes().empty());
  reserve(bytes().size() + 4096);
  const std::size_t room = ahead.payload.empty() ? capacity_ - end_ : ahead.header_bytes;
  return {{direct, std::span{buffer_.get() + end_, room}, ahead.payload}, direct.size() + room + ahead.payload.size()};
}

bool ReceiveBuffer::find_places(Received& result, Places& into, std::span<std::byte> direct,
                                const Ahead& ahead) noexcept {
  try {
    into = places(direct, ahead);
    return true;
  } catch (const std::bad_alloc&) {
    result.error = ENOMEM;
    return false;
  }
}

void ReceiveBuffer::note(Received& result, const Places& into, std::size_t received) noexcept {
  result.direct = std::min(received, into.all[0].size());
  result.buffered = std::min(received - result.direct, into.all[1].size());
  result.ahead = received - result.direct - result.buffered;
  end_ += result.buffered;
  result.filled = received == into.bytes;
}

ReceiveBuffer::Received ReceiveBuffer::receive(int socket, std::span<std::byte> direct, const Ahead& ahead,
                                               bool may_block) noexcept {
  Received result;
  Places into;
  if (!find_places(result, into, direct, ahead)) return result;
  std::array<iovec, 3> vectors;
  std::transform(into.all.begin(), into.all.end(), vectors.begin(), [](std::span<std::byte> place) {
    return iovec{place.data(), place.size()};
  });
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
  note(result, into, static_cast<std::size_t>(count));
  return result;
}

// Until all is full or nothing more is there: what stays in the channel would not be seen by who waits for the socket.
ReceiveBuffer::Received ReceiveBuffer::receive(TlsChannel& channel, std::span<std::byte> direct,
                                               const Ahead& ahead) noexcept {
  Received result;
  Places into;
  if (!find_places(result, into, direct, ahead)) return result;
  std::size_t received = 0;
  auto state = TlsChannel::Result::done;
  for (std::span<std::byte> place : into.all) {
    while (!place.empty() && state == TlsChannel::Result::done) {
      std::size_t count = 0;
      state = channel.read(place, count);
      received += count;
      place = place.subspan(count);
      if (state == TlsChannel::Result::done && !channel.has_unread()) state = TlsChannel::Result::wants_read;
    }
  }
  note(result, into, received);
  if (received > 0) return result;
  switch (state) {
    case TlsChannel::Result::wants_read:
    case TlsChannel::Result::wants_write: result.would_block = true; break;
    case TlsChannel::Result::end: result.end = true; break;
    case TlsChannel::Result::done:
    case TlsChannel::Result::failed: result.error = EPROTO; break;
  }
  return result;
}

// Whether the socket has ended is looked at first: what was written before that is in the ring then.
ReceiveBuffer::Received ReceiveBuffer::receive(RingChannel& channel, std::span<std::byte> direct,
                                               const Ahead& ahead) noexcept {
  Received result;
  Places into;
  if (!find_places(result, into, direct, ahead)) return result;
  const bool ended = channel.has_ended();
  std::size_t received = 0;
  for (std::span<std::byte> place : into.all) {
    const std::size_t count = place.empty() ? 0 : channel.end().read(place);
    received += count;
    if (count < place.size()) break;
  }
  note(result, into, received);
  if (received > 0) return result;
  if (channel.end().is_read_broken())
    result.error = EPROTO;
  else if (!ended)
    result.would_block = true;
  else if (channel.error() != 0)
    result.error = channel.error();
  else
    result.end = true;
  return result;
}

}  // namespace pageserver::client
