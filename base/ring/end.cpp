#include "base/ring/end.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace pageserver::ring {

namespace {

// Who reads on begins to copy while the rest is still written.
constexpr std::size_t publish_bytes = 16u << 10;

// What was copied stays what it is, whatever the other end writes meanwhile: the compiler must not read it again.
void forget_source() noexcept { asm volatile("" ::: "memory"); }

}  // namespace

End::End(std::byte* memory, std::size_t direction_bytes, Side side, int socket) noexcept
    : capacity_(direction_bytes), socket_(socket) {
  // It is there already, and another process may be at it: nothing is constructed.
  auto& header = *reinterpret_cast<Header*>(memory);
  Direction requests{memory + header_bytes, &header.requests_written, &header.requests_read};
  Direction answers{memory + header_bytes + direction_bytes, &header.answers_written, &header.answers_read};
  const bool is_client = side == Side::client;
  from_peer_ = is_client ? answers : requests;
  to_peer_ = is_client ? requests : answers;
  own_sleeps_ = is_client ? &header.client_sleeps : &header.server_sleeps;
  peer_sleeps_ = is_client ? &header.server_sleeps : &header.client_sleeps;
}

std::size_t End::read(std::span<std::byte> into) noexcept {
  const std::uint64_t there = from_peer_.written->load(std::memory_order_acquire) - read_;
  if (there == 0 || into.empty() || read_broken_) return 0;
  if (there > capacity_) {
    read_broken_ = true;
    return 0;
  }
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(there, into.size()));
  const auto at = static_cast<std::size_t>(read_ & (capacity_ - 1));
  const std::size_t before_wrap = std::min<std::size_t>(count, capacity_ - at);
  std::memcpy(into.data(), from_peer_.bytes + at, before_wrap);
  if (count > before_wrap) std::memcpy(into.data() + before_wrap, from_peer_.bytes, count - before_wrap);
  forget_source();
  read_ += count;
  from_peer_.read->store(read_, std::memory_order_seq_cst);
  // Who waits for room is woken for half of it, or where nothing more is to be read.
  if (there - count <= capacity_ / 2 || there == count) ring(sleeps_for_room);
  return count;
}

std::size_t End::append(std::span<const std::byte> from) noexcept {
  if (write_broken_) return 0;
  const std::uint64_t written = written_.load(std::memory_order_relaxed);
  if (capacity_ - (written - peer_read_) < from.size()) {
    const std::uint64_t peer_read = to_peer_.read->load(std::memory_order_acquire);
    if (written - peer_read > capacity_) {
      write_broken_ = true;
      return 0;
    }
    peer_read_ = peer_read;
  }
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(from.size(), capacity_ - (written - peer_read_)));
  const auto at = static_cast<std::size_t>(written & (capacity_ - 1));
  const std::size_t before_wrap = std::min<std::size_t>(count, capacity_ - at);
  if (before_wrap > 0) std::memcpy(to_peer_.bytes + at, from.data(), before_wrap);
  if (count > before_wrap) std::memcpy(to_peer_.bytes, from.data() + before_wrap, count - before_wrap);
  written_.store(written + count, std::memory_order_relaxed);
  return count;
}

void End::publish() noexcept {
  const std::uint64_t written = written_.load(std::memory_order_relaxed);
  if (written == published_) return;
  published_ = written;
  to_peer_.written->store(written, std::memory_order_seq_cst);
  ring(sleeps_for_bytes);
}

std::size_t End::write(std::span<const std::byte> from) noexcept {
  std::size_t all = 0;
  while (all < from.size()) {
    const auto part = from.subspan(all, std::min(from.size() - all, publish_bytes));
    const std::size_t count = append(part);
    all += count;
    publish();
    if (count < part.size()) break;
  }
  return all;
}

// Once for each sleep. A socket that takes no more has enough in it to wake anybody.
void End::ring(std::uint32_t what) noexcept {
  if ((peer_sleeps_->load(std::memory_order_seq_cst) & what) == 0) return;
  if ((peer_sleeps_->fetch_and(~what, std::memory_order_seq_cst) & what) == 0) return;
  constexpr std::byte bell{0};
  while (::send(socket_, &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EINTR) continue;
}

bool End::begin_sleep(std::uint32_t what) noexcept {
  own_sleeps_->store(what, std::memory_order_seq_cst);
  const bool bytes = (what & sleeps_for_bytes) != 0 && from_peer_.written->load(std::memory_order_seq_cst) != read_;
  const bool room =
      (what & sleeps_for_room) != 0 &&
      written_.load(std::memory_order_relaxed) - to_peer_.read->load(std::memory_order_seq_cst) != capacity_;
  if (!bytes && !room) return true;
  end_sleep();
  return false;
}

End::Socket End::look_at_socket(int& error, bool may_block) noexcept {
  std::array<std::byte, 256> bells;
  error = 0;
  ssize_t count = 0;
  do {
    count = ::recv(socket_, bells.data(), bells.size(), may_block ? 0 : MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR && !may_block);
  if (count > 0) return Socket::rung;
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return Socket::quiet;
  if (count < 0) error = errno;
  return Socket::end;
}

}  // namespace pageserver::ring
