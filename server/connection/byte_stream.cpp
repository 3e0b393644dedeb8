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

ByteStream::Received ByteStream::receive(std::span<std::byte> space, std::size_t& count) {
  const ssize_t got = ::recv(socket_, space.data(), space.size(), MSG_DONTWAIT);
  const Received result = judge(got);
  count = static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  if (got > 0) drained_ = count < space.size();
  return result;
}

ByteStream::Received ByteStream::receive_into_input(std::size_t bytes_max) {
  const std::size_t room = std::max<std::size_t>(std::min(bytes_max, input_.room()), 4096);
  const std::span<std::byte> space = input_.extend(room);
  const ssize_t got = ::recv(socket_, space.data(), space.size(), MSG_DONTWAIT);
  const Received result = judge(got);  // before anything else changes errno
  input_.shorten(room - static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  drained_ = got >= 0 && static_cast<std::size_t>(got) < room;
  return result;
}

ByteStream::Received ByteStream::receive_ahead(std::size_t bytes_max) {
  const bool drained = drained_;
  const Received result = receive_into_input(bytes_max);
  drained_ = drained;
  if (input_.empty()) input_.release();
  return result;
}

std::size_t ByteStream::send(ByteBuffer& fresh) {
  if (!output_.empty()) {
    output_.append(fresh.bytes());
    fresh.clear();
  }
  ByteBuffer& from = output_.empty() ? fresh : output_;
  std::size_t sent = 0;
  while (!from.empty() && !broken_) {
    const ssize_t count = ::send(socket_, from.bytes().data(), from.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ++sends_;
    if (count > 0) {
      from.consume(static_cast<std::size_t>(count));
      sent += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) {
      broken_ = true;
    }
  }
  if (!broken_ && &from == &fresh) output_.append(fresh.bytes());
  fresh.clear();
  if (output_.empty()) output_.release();
  return sent;
}

}  // namespace pageserver::server
