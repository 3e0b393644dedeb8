#include "client/wire/send_queue.hpp"

#include <sys/socket.h>
#include <sys/uio.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "client/wire/tls_channel.hpp"

namespace pageserver::client {
namespace {

// Two per chunk: enough for a burst of writes, and few enough to fill for each call.
constexpr std::size_t vectors_max = 64;

constexpr std::size_t tls_record_bytes = 16384;

iovec vector_of(std::span<const std::byte> bytes) {
  // sendmsg takes pointers to what it may not change, but its struct is shared with recvmsg.
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

void attach_to(msghdr& message, std::span<char> control, int descriptor) {
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof descriptor);
  std::memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
}

}  // namespace

std::uint64_t SendQueue::seal(std::span<const std::byte> data) {
  // First what can fail: a frame that is in no chunk must not count as part of the stream.
  if (chunks_.empty() || !chunks_.back().external.empty()) chunks_.push_back({});
  const std::size_t added = owned_.size() - owned_sealed_;
  owned_sealed_ = owned_.size();
  chunks_.back().owned_bytes += added;
  chunks_.back().external = data;
  end_ += added + data.size();
  return end_;
}

void SendQueue::unseal() { owned_.resize(owned_sealed_); }

SendQueue::Sent SendQueue::send(int socket) noexcept {
  Sent result;
  while (error_ == 0 && sendable() > 0) {
    std::array<iovec, vectors_max> vectors;
    std::size_t count = 0;
    std::uint64_t left = sendable();
    std::size_t owned_at = owned_begin_;
    const auto add = [&](std::span<const std::byte> bytes) {
      const auto part = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left)));
      if (part.empty()) return;
      vectors[count++] = vector_of(part);
      left -= part.size();
    };
    for (const auto& chunk : chunks_) {
      if (left == 0 || count + 2 > vectors.size()) break;
      add({owned_.data() + owned_at, chunk.owned_bytes});
      owned_at += chunk.owned_bytes;
      add(chunk.external);
    }
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    if (attached_ >= 0) attach_to(message, control, attached_);
    const ssize_t sent = ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    ++result.calls;
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) error_ = errno;
      return result;
    }
    attached_ = -1;
    result.bytes += static_cast<std::size_t>(sent);
    consume(static_cast<std::size_t>(sent));
  }
  return result;
}

// What begins at one position is the same at the next attempt, or longer, as TLS wants it: chunks only grow at their
// end.
std::span<const std::byte> SendQueue::next_piece(std::span<std::byte> room) const noexcept {
  std::size_t filled = 0;
  std::uint64_t left = sendable();
  std::size_t owned_at = owned_begin_;
  std::span<const std::byte> whole;
  const auto add = [&](std::span<const std::byte> bytes) {
    const auto part = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left)));
    if (filled == 0 && part.size() >= room.size()) {
      whole = part;
      return false;
    }
    const std::size_t count = std::min(part.size(), room.size() - filled);
    if (count > 0) std::memcpy(room.data() + filled, part.data(), count);
    filled += count;
    left -= count;
    return filled < room.size() && left > 0;
  };
  for (const auto& chunk : chunks_) {
    if (!add({owned_.data() + owned_at, chunk.owned_bytes})) break;
    owned_at += chunk.owned_bytes;
    if (!add(chunk.external)) break;
  }
  return whole.empty() ? room.first(filled) : whole;
}

// A record has at most 16 KiB, and costs a call of send(2): small frames share one.
SendQueue::Sent SendQueue::send(TlsChannel& channel) noexcept {
  std::array<std::byte, tls_record_bytes> room;
  Sent result;
  while (error_ == 0 && sendable() > 0) {
    std::size_t taken = 0;
    const auto state = channel.write(next_piece(room), taken);
    ++result.calls;
    result.bytes += taken;
    consume(taken);
    if (state == TlsChannel::Result::wants_write) break;
    if (state != TlsChannel::Result::done) error_ = EPROTO;
  }
  return result;
}

SendQueue::Sent SendQueue::send(ring::End& end) noexcept {
  // The daemon begins with what is large before all of it is there.
  constexpr std::size_t large_bytes = 16u << 10;
  Sent result;
  std::uint64_t left = sendable();
  std::size_t owned_at = owned_begin_;
  const auto add = [&](std::span<const std::byte> bytes) {
    const auto part = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left)));
    const std::size_t taken = part.size() < large_bytes ? end.append(part) : end.write(part);
    result.bytes += taken;
    left -= taken;
    return taken == part.size() && left > 0;
  };
  for (const auto& chunk : chunks_) {
    if (error_ != 0 || left == 0 || !add({owned_.data() + owned_at, chunk.owned_bytes})) break;
    owned_at += chunk.owned_bytes;
    if (!add(chunk.external)) break;
  }
  end.publish();
  if (end.is_write_broken()) error_ = EPROTO;
  consume(result.bytes);
  return result;
}

void SendQueue::consume(std::size_t bytes) noexcept {
  sent_ += bytes;
  while (bytes > 0) {
    auto& chunk = chunks_.front();
    const std::size_t owned = std::min(bytes, chunk.owned_bytes);
    chunk.owned_bytes -= owned;
    owned_begin_ += owned;
    bytes -= owned;
    const std::size_t external = std::min(bytes, chunk.external.size());
    chunk.external = chunk.external.subspan(external);
    bytes -= external;
    if (chunk.owned_bytes == 0 && chunk.external.empty()) chunks_.pop_front();
  }
  // Frames that were sent make room at the front: at once when nothing is left, else when they are the larger part.
  if (owned_begin_ == owned_.size()) {
    owned_.clear();
    owned_begin_ = owned_sealed_ = 0;
  } else if (owned_begin_ > 65536 && owned_begin_ > owned_.size() / 2) {
    owned_.erase(owned_.begin(), owned_.begin() + static_cast<std::ptrdiff_t>(owned_begin_));
    owned_sealed_ -= owned_begin_;
    owned_begin_ = 0;
  }
}

void SendQueue::clear() noexcept {
  owned_ = {};
  owned_begin_ = owned_sealed_ = 0;
  chunks_.clear();
  end_ = sent_ = limit_ = 0;
}

}  // namespace pageserver::client
