#include "server/connection/byte_stream.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace pageserver::server {

ByteStream::Received ByteStream::judge(ssize_t count) {
  ++receives_;
  if (count > 0) {
    received_bytes_ += static_cast<std::uint64_t>(count);
    return Received::something;
  }
  if (count == 0) {
    at_end_ = true;
    return Received::end;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) return Received::nothing;
  if (errno == EINTR) return Received::something;
  broken_ = true;
  return Received::end;
}

// A record is at most 16 KiB: until there is no room, or nothing more.
ByteStream::Received ByteStream::receive_tls(std::span<std::byte> space, std::size_t& count) {
  count = 0;
  const std::uint64_t calls = tls_->receives();
  auto result = tls::Stream::Result::done;
  while (result == tls::Stream::Result::done && count < space.size()) {
    std::size_t got = 0;
    result = tls_->read(space.subspan(count), got);
    count += got;
    if (!tls_->has_unread()) break;
  }
  receives_ += tls_->receives() - calls;
  received_bytes_ += count;
  if (count > 0) return Received::something;
  switch (result) {
    case tls::Stream::Result::wants_read:
    case tls::Stream::Result::wants_write: return Received::nothing;
    case tls::Stream::Result::end: at_end_ = true; return Received::end;
    case tls::Stream::Result::done:
    case tls::Stream::Result::failed: break;
  }
  broken_ = true;
  return Received::end;
}

ByteStream::Received ByteStream::receive_some(std::span<std::byte> space, std::size_t& count) {
  if (tls_) return receive_tls(space, count);
  const ssize_t got = ::recv(socket_, space.data(), space.size(), MSG_DONTWAIT);
  count = static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  return judge(got);
}

ByteStream::Received ByteStream::receive(std::span<std::byte> space, std::size_t& count) {
  const Received result = receive_some(space, count);
  if (count > 0) drained_ = count < space.size();
  return result;
}

ByteStream::Received ByteStream::receive_into_input(std::size_t bytes_max) {
  const std::size_t room = std::max<std::size_t>(std::min(bytes_max, input_.room()), 4096);
  std::size_t count = 0;
  const Received result = receive_some(input_.extend(room), count);
  input_.shorten(room - count);
  drained_ = (count > 0 || at_end_) && count < room;
  return result;
}

ByteStream::Received ByteStream::receive_ahead(std::size_t bytes_max) {
  const bool drained = drained_;
  const Received result = receive_into_input(bytes_max);
  drained_ = drained;
  if (input_.empty()) input_.release();
  return result;
}

std::size_t ByteStream::send_tls(std::span<const std::byte> bytes) {
  const std::uint64_t calls = tls_->sends();
  std::size_t taken = 0;
  const auto result = tls_->write(bytes, taken);
  sends_ += tls_->sends() - calls;
  // Before the handshake it would want to read.
  if (result != tls::Stream::Result::done && result != tls::Stream::Result::wants_write) broken_ = true;
  return taken;
}

std::size_t ByteStream::send_some(std::span<const std::byte> bytes) {
  if (tls_) return send_tls(bytes);
  ssize_t count = 0;
  do {
    count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ++sends_;
  } while (count < 0 && errno == EINTR);
  if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK) broken_ = true;
  return static_cast<std::size_t>(std::max<ssize_t>(count, 0));
}

std::size_t ByteStream::send(ByteBuffer& fresh) {
  if (!output_.empty()) {
    output_.append(fresh.bytes());
    fresh.clear();
  }
  ByteBuffer& from = output_.empty() ? fresh : output_;
  std::size_t sent = 0;
  while (!from.empty() && !broken_) {
    const std::size_t taken = send_some(from.bytes());
    if (taken == 0) break;
    from.consume(taken);
    sent += taken;
  }
  if (!broken_ && &from == &fresh) output_.append(fresh.bytes());
  fresh.clear();
  if (output_.empty()) output_.release();
  sent_bytes_ += sent;
  return sent;
}

}  // namespace pageserver::server
