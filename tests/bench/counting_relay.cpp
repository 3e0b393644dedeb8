#include "tests/bench/counting_relay.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "proto/wire.hpp"

namespace pageserver::bench {
namespace {

// False when the other end is gone.
bool pass_on(int from, int to, std::vector<std::byte>& buffer, std::size_t& got) {
  const ssize_t received = ::recv(from, buffer.data(), buffer.size(), 0);
  if (received <= 0) return received < 0 && errno == EINTR && (got = 0, true);
  got = static_cast<std::size_t>(received);
  for (std::size_t sent = 0; sent < got;) {
    const ssize_t put = ::send(to, buffer.data() + sent, got - sent, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    sent += static_cast<std::size_t>(put);
  }
  return true;
}

}  // namespace

std::size_t FrameCounter::take(std::span<const std::byte> bytes) {
  constexpr std::size_t flags_at = 6;
  constexpr std::size_t payload_bytes_at = 16;
  static_assert(sizeof header_ == proto::frame_header_bytes);
  std::size_t frames = 0;
  while (!bytes.empty()) {
    if (payload_left_ > 0) {
      const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(payload_left_, bytes.size()));
      payload_left_ -= part;
      bytes = bytes.subspan(part);
      continue;
    }
    const std::size_t part = std::min(sizeof header_ - have_, bytes.size());
    std::copy_n(bytes.begin(), part, header_ + have_);
    have_ += part;
    bytes = bytes.subspan(part);
    if (have_ < sizeof header_) break;
    have_ = 0;
    std::uint16_t flags = 0;
    std::uint32_t payload_bytes = 0;
    std::memcpy(&flags, header_ + flags_at, sizeof flags);
    std::memcpy(&payload_bytes, header_ + payload_bytes_at, sizeof payload_bytes);
    payload_left_ = payload_bytes;
    frames += (flags & proto::flag_notice) == 0;
  }
  return frames;
}

CountingRelay::CountingRelay(const std::string& socket_path, const Address& daemon) : address_{0, socket_path} {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof name.sun_path) throw std::runtime_error("socket path too long: " + socket_path);
  std::memcpy(name.sun_path, socket_path.c_str(), socket_path.size() + 1);
  ::unlink(socket_path.c_str());
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener_ < 0 || ::bind(listener_, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 ||
      ::listen(listener_, 1) != 0) {
    throw std::system_error(errno, std::generic_category(), socket_path);
  }
  thread_ = std::thread(&CountingRelay::relay, this, daemon);
}

CountingRelay::~CountingRelay() {
  // Ends an accept() that nobody came to.
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  ::close(listener_);
}

void CountingRelay::relay(const Address& daemon) {
  const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  const Socket server{daemon, Transport::unix_socket};
  std::vector<std::byte> buffer(1u << 20);
  FrameCounter requests;
  FrameCounter answers;
  std::size_t waiting = 0;
  for (bool open = true; open;) {
    std::array<pollfd, 2> fds{{{client, POLLIN, 0}, {server.fd(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    std::size_t got = 0;
    if (fds[1].revents != 0) {
      open = pass_on(server.fd(), client, buffer, got);
      waiting -= std::min(waiting, answers.take(std::span<const std::byte>(buffer).first(got)));
    }
    if (open && fds[0].revents != 0) {
      open = pass_on(client, server.fd(), buffer, got = 0);
      const std::size_t sent = requests.take(std::span<const std::byte>(buffer).first(got));
      if (sent > 0 && waiting == 0) round_trips_.fetch_add(1);
      waiting += sent;
    }
  }
  ::close(client);
}

}  // namespace pageserver::bench
