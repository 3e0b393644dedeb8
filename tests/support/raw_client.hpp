// The protocol over a plain blocking socket, for tests that say exactly which bytes go out. Link pageserver_proto.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "proto/codec.hpp"
#include "proto/framing.hpp"
#include "tests/support/bytes.hpp"
#include "tests/support/process.hpp"

namespace pageserver::test {

/// One frame as it came, with its payload kept.
struct Frame {
  proto::FrameHeader header;
  std::vector<std::byte> payload;

  bool is_notice() const { return (header.flags & proto::flag_notice) != 0; }
  proto::Status status() const { return header.status; }
  /// The text of an error answer or a notice.
  std::string text() const {
    proto::ErrorText error;
    if (const auto fault = proto::decode(payload, error)) throw std::runtime_error(fault->message);
    return std::string(error.message);
  }
  /// The answer's message; throws unless its status is ok. Views in it point into this frame.
  template <class Answer>
  Answer as() const {
    if (header.status != proto::Status::ok) throw std::runtime_error(proto::to_string(header.status) + ": " + text());
    Answer answer;
    if (const auto fault = proto::decode(payload, answer)) throw std::runtime_error(fault->message);
    return answer;
  }
};

/// Takes the first frame out of what came, if it is whole.
inline std::optional<Frame> take_frame(std::vector<std::byte>& input) {
  const proto::Scan scan = proto::scan_frame(input, 0xffffffffu);
  if (scan.kind == proto::Scan::Kind::broken) throw std::runtime_error("broken frame: " + scan.fault.message);
  if (scan.kind != proto::Scan::Kind::frame) return std::nullopt;
  Frame frame{scan.header, {scan.payload.begin(), scan.payload.end()}};
  input.erase(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(scan.frame_bytes));
  return frame;
}

/// The connection is there, and says nothing: patience is over.
struct NoAnswer : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A connection. Every wait is bounded by `patience`.
class RawClient {
public:
  /// How the socket is made: a small receive buffer makes a reader that soon stops the daemon's sends.
  static RawClient tcp(std::uint16_t port, int receive_buffer_bytes = 0) {
    return tcp_at(in_addr{htonl(INADDR_LOOPBACK)}, port, receive_buffer_bytes);
  }
  /// To 127.0.0.1 from 127.0.0.`last`, which is another peer.
  static RawClient tcp_from(int last, std::uint16_t port) {
    const auto source = (INADDR_LOOPBACK & ~0xffu) | (static_cast<std::uint32_t>(last) & 0xffu);
    return tcp_at(in_addr{htonl(INADDR_LOOPBACK)}, port, 0, in_addr{htonl(source)});
  }
  static RawClient tcp_at(in_addr host, std::uint16_t port, int receive_buffer_bytes = 0,
                          std::optional<in_addr> source = {}) {
    RawClient client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (source) {
      sockaddr_in from{};
      from.sin_family = AF_INET;
      from.sin_addr = *source;
      if (::bind(client.fd_, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0)
        throw std::runtime_error(std::string("bind: ") + std::strerror(errno));
    }
    if (receive_buffer_bytes != 0) {
      ::setsockopt(client.fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr = host;
    client.connect(reinterpret_cast<const sockaddr*>(&address), sizeof address);
    const int on = 1;
    ::setsockopt(client.fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return client;
  }
  /// On [::1].
  static RawClient tcp6(std::uint16_t port) {
    RawClient client(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    address.sin6_addr = in6addr_loopback;
    client.connect(reinterpret_cast<const sockaddr*>(&address), sizeof address);
    return client;
  }
  static RawClient local(const std::string& path) {
    RawClient client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) throw std::runtime_error("socket path too long: " + path);
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    client.connect(reinterpret_cast<const sockaddr*>(&address), sizeof address);
    return client;
  }
  RawClient(RawClient&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), next_id_(other.next_id_), input_(std::move(other.input_)) {}
  RawClient& operator=(RawClient&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(next_id_, other.next_id_);
    std::swap(input_, other.input_);
    return *this;
  }
  ~RawClient() { close(); }

  int fd() const noexcept { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// Ends with a reset instead of an orderly close.
  void reset() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  void end_of_stream() { ::shutdown(fd_, SHUT_WR); }

  /// False when the peer has closed.
  bool send_bytes(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      if (!wait_for(POLLOUT, patience)) throw std::runtime_error("the daemon does not read");
      const ssize_t put = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (put < 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
    return true;
  }

  /// Sends a request without waiting; returns its id.
  template <class Request>
  std::uint64_t send(const Request& request) {
    proto::Bytes bytes;
    proto::encode(bytes, next_id_, request);
    send_bytes(bytes);
    return next_id_++;
  }

  /// As send(), of a session that can be resumed: with this id, and so many directly before it not answered.
  template <class Request>
  void send_as(std::uint64_t id, std::uint16_t unanswered, const Request& request) {
    proto::Bytes bytes;
    proto::encode(bytes, id, request);
    bytes[22] = static_cast<std::byte>(unanswered & 0xff);
    bytes[23] = static_cast<std::byte>(unanswered >> 8);
    send_bytes(bytes);
  }

  /// The next frame, or nothing when the peer closed (orderly or not) at a frame's border.
  std::optional<Frame> receive(std::chrono::milliseconds limit = patience) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
      if (auto frame = take_frame(input_)) return frame;
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      if (!wait_for(POLLIN, std::max(left, std::chrono::milliseconds(0)))) throw NoAnswer("no answer in time");
      if (take_some()) continue;
      if (!input_.empty()) throw std::runtime_error("the daemon closed in the middle of a frame");
      return std::nullopt;
    }
  }
  Frame must_receive() {
    std::optional<Frame> frame = receive();
    if (!frame) throw std::runtime_error("the daemon closed the connection");
    return *std::move(frame);
  }

  /// Sends and waits for the answer with that id; throws when another frame comes first.
  template <class Request>
  Frame call(const Request& request) {
    const std::uint64_t id = send(request);
    Frame frame = must_receive();
    if (frame.header.request_id != id) {
      throw std::runtime_error("expected the answer " + std::to_string(id) + ", got " +
                               std::to_string(frame.header.request_id));
    }
    return frame;
  }

  /// True when there is something to receive, or the end of the stream, within `limit`.
  bool readable_within(std::chrono::milliseconds limit) const { return wait_for(POLLIN, limit); }
  /// True when the peer closes within `limit`; frames that come before are dropped.
  bool closed_within(std::chrono::milliseconds limit = patience) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0 || !wait_for(POLLIN, left)) return false;
      input_.clear();
      if (!take_some()) return true;
    }
  }

  proto::HelloAnswer hello(std::string_view name = "raw", std::uint64_t features = proto::features_all) {
    proto::HelloRequest request;
    request.payload_bytes_max = 64u << 20;
    request.features = features;
    request.client_name = name;
    Frame frame = call(request);
    auto answer = frame.as<proto::HelloAnswer>();
    answer.server_name = {};  // it pointed into the frame
    return answer;
  }
  Frame try_open(std::string_view store, proto::Access access = proto::Access::write, std::uint32_t wait_ms = 0,
                 std::string_view name = "raw") {
    proto::OpenRequest request;
    request.access = access;
    request.store = store;
    request.wait_ms = wait_ms;
    request.session_name = name;
    return call(request);
  }
  proto::OpenAnswer open(std::string_view store, proto::Access access = proto::Access::write) {
    return try_open(store, access).as<proto::OpenAnswer>();
  }

  std::vector<std::byte> read(std::uint64_t offset, std::uint32_t length) {
    const Frame frame = call(proto::ReadRequest{offset, length});
    const auto answer = frame.as<proto::ReadAnswer>();
    return {answer.data.begin(), answer.data.end()};
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) {
    call(proto::WriteRequest{offset, data}).as<proto::WriteAnswer>();
  }
  std::uint64_t grow(std::uint64_t pages) {
    return call(proto::GrowRequest{pages}).as<proto::GrowAnswer>().previous_pages;
  }
  void flush() { call(proto::FlushRequest{}).as<proto::FlushAnswer>(); }

private:
  explicit RawClient(int fd) : fd_(fd) {
    if (fd < 0) throw std::runtime_error(std::string("socket: ") + std::strerror(errno));
  }
  void connect(const sockaddr* address, socklen_t length) {
    if (::connect(fd_, address, length) != 0) {
      const int error = errno;
      throw std::runtime_error(std::string("connect: ") + std::strerror(error));
    }
  }
  bool wait_for(short what, std::chrono::milliseconds limit) const {
    pollfd fd{fd_, what, 0};
    int ready = 0;
    while ((ready = ::poll(&fd, 1, static_cast<int>(limit.count()))) < 0 && errno == EINTR) {
    }
    return ready > 0;
  }
  // False at the end of the stream.
  bool take_some() {
    const std::size_t before = input_.size();
    input_.resize(before + 65536);
    const ssize_t got = ::recv(fd_, input_.data() + before, 65536, 0);
    input_.resize(before + static_cast<std::size_t>(got > 0 ? got : 0));
    return got > 0 || (got < 0 && errno == EINTR);
  }

  int fd_ = -1;
  std::uint64_t next_id_ = 1;
  std::vector<std::byte> input_;
};

}  // namespace pageserver::test
