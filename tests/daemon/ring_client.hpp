// A client that speaks through a ring, and may write into it whatever it likes.
#pragma once

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "base/ring/end.hpp"
#include "base/ring/memory.hpp"
#include "tests/support/raw_client.hpp"

namespace pageserver::test {

inline constexpr std::uint64_t with_ring = proto::features_all | proto::feature_ring;

/// Sends `bytes` with these descriptors.
inline void send_with(int socket, std::span<const std::byte> bytes, const std::vector<int>& descriptors) {
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  iovec part{copy.data(), copy.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const std::size_t count = descriptors.size() * sizeof(int);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(count);
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count);
    std::memcpy(CMSG_DATA(head), descriptors.data(), count);
  }
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) != static_cast<ssize_t>(copy.size()))
    throw std::runtime_error(std::string("sendmsg: ") + std::strerror(errno));
}

/// Every wait is bounded by `patience`.
class RingClient {
public:
  static constexpr std::uint32_t direction_bytes = 64u << 10;

  /// Connected and greeted, with the feature; no ring yet.
  explicit RingClient(const std::string& socket_path) : socket_(RawClient::local(socket_path)) {
    if ((socket_.hello("ring", with_ring).features & proto::feature_ring) == 0)
      throw std::runtime_error("the daemon offers no ring");
  }
  RingClient(const std::string& socket_path, std::string_view store, proto::Access access = proto::Access::write)
      : RingClient(socket_path) {
    begin();
    proto::OpenRequest request;
    request.access = access;
    request.store = store;
    request.session_name = "ring";
    call(request).as<proto::OpenAnswer>();
  }

  RawClient& socket() { return socket_; }
  ring::Header& header() { return *reinterpret_cast<ring::Header*>(memory_.start()); }
  std::span<std::byte> memory() { return {memory_.start(), memory_.bytes()}; }
  ring::End& end() { return *end_; }

  /// Asks for a ring over the socket, and returns the answer.
  Frame ask(const std::vector<int>& descriptors, std::uint64_t bytes = direction_bytes) {
    proto::Bytes frame;
    proto::encode(frame, next_id_++, proto::RingRequest{bytes});
    send_with(socket_.fd(), frame, descriptors);
    return socket_.must_receive();
  }
  void begin() {
    ring::MadeMemory made = ring::make_memory(direction_bytes);
    if (!made.memory) throw std::runtime_error("no memory for a ring");
    ask({made.descriptor.get()}).as<proto::RingAnswer>();
    memory_ = std::move(made.memory);
    end_ = std::make_unique<ring::End>(memory_.start(), direction_bytes, ring::Side::client, socket_.fd());
  }

  template <class Request>
  proto::Bytes frame_of(const Request& request) {
    proto::Bytes frame;
    proto::encode(frame, next_id_++, request);
    return frame;
  }
  /// False when the daemon takes nothing more, within `limit`.
  bool send_bytes(std::span<const std::byte> bytes, std::chrono::milliseconds limit = patience) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!bytes.empty()) {
      bytes = bytes.subspan(end_->write(bytes));
      if (std::chrono::steady_clock::now() >= deadline) return false;
    }
    return true;
  }
  /// The next frame out of the ring; nothing when the daemon has closed the socket, and the ring has no more.
  std::optional<Frame> receive() {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    std::array<std::byte, 4096> some;
    bool ended = false;
    for (;;) {
      if (auto frame = take_frame(input_)) return frame;
      const std::size_t count = end_->read(some);
      input_.insert(input_.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(count));
      if (count > 0) continue;
      if (ended) return std::nullopt;
      int error = 0;
      ended = end_->look_at_socket(error) == ring::End::Socket::end;
      if (std::chrono::steady_clock::now() >= deadline) throw NoAnswer("no answer in time");
      std::this_thread::yield();
    }
  }
  template <class Request>
  Frame call(const Request& request) {
    if (!send_bytes(frame_of(request))) throw NoAnswer("the daemon does not read");
    std::optional<Frame> frame = receive();
    if (!frame) throw std::runtime_error("the daemon closed the connection");
    return *std::move(frame);
  }
  std::vector<std::byte> read(std::uint64_t offset, std::uint32_t length) {
    const Frame frame = call(proto::ReadRequest{offset, length});
    const auto answer = frame.as<proto::ReadAnswer>();
    return {answer.data.begin(), answer.data.end()};
  }

private:
  RawClient socket_;
  ring::Memory memory_;
  std::unique_ptr<ring::End> end_;
  std::uint64_t next_id_ = 100;
  std::vector<std::byte> input_;
};

}  // namespace pageserver::test
