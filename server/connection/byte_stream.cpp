#include "server/connection/byte_stream.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

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

// Bytes that were written before the end of the socket are there once that is seen.
ByteStream::Received ByteStream::receive_ring(std::span<std::byte> space, std::size_t& count) noexcept {
  const bool ended = socket_ended_;
  count = ring_->read(space);
  received_bytes_ += count;
  // What is broken is for the connection to say.
  if (count > 0 || ring_->is_read_broken()) return Received::something;
  if (!ended) return Received::nothing;
  at_end_ = true;
  return Received::end;
}

void ByteStream::look_behind_ring() noexcept {
  ring_->end_sleep();
  int error = 0;
  if (ring_->look_at_socket(error) == ring::End::Socket::end) socket_ended_ = true;
}

// A message with descriptors ends what one call receives, so that those of two requests don't come together.
ByteStream::Received ByteStream::receive_with_descriptors(std::span<std::byte> space, std::size_t& count) {
  iovec part{space.data(), space.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(socket_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  count = static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  if (got > 0) {
    for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
      if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
      for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= head->cmsg_len; at += sizeof(int)) {
        int descriptor = -1;
        std::memcpy(&descriptor, reinterpret_cast<const char*>(head) + at, sizeof descriptor);
        passed_.reset(descriptor);
        ++passed_count_;
      }
    }
    // The kernel has closed those for which there was no room.
    if ((message.msg_flags & MSG_CTRUNC) != 0) ++passed_count_;
  }
  return judge(got);
}

ByteStream::Received ByteStream::receive_specially(std::span<std::byte> space, std::size_t& count) {
  if (tls_) return receive_tls(space, count);
  return ring_ ? receive_ring(space, count) : receive_with_descriptors(space, count);
}

ByteStream::Received ByteStream::receive_some(std::span<std::byte> space, std::size_t& count) {
  if (!is_plain_) return receive_specially(space, count);
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

// Without a socket nobody makes room.
std::size_t ByteStream::send_ring(std::span<const std::byte> bytes) noexcept {
  const std::size_t taken = ring_->write(bytes);
  if (ring_->is_write_broken() || (taken == 0 && socket_ended_)) broken_ = true;
  return taken;
}

std::size_t ByteStream::send_some(std::span<const std::byte> bytes) {
  if (!is_plain_) {
    if (tls_) return send_tls(bytes);
    if (ring_) return send_ring(bytes);
  }
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
  if (next_ring_ != nullptr && output_.empty()) {
    ring_ = std::move(next_ring_);
    drained_ = false;
    keep_descriptors(false);
  }
  sent_bytes_ += sent;
  return sent;
}

}  // namespace pageserver::server
