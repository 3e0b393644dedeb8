// The daemon's end of a socket pair, moved by the test itself: no thread, no time, every byte under control.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "client/wire/connection.hpp"
#include "proto/codec.hpp"
#include "proto/framing.hpp"
#include "tests/support/bytes.hpp"

namespace pageserver::test {

struct Limits {
  std::uint32_t request_bytes_max = 1u << 20;
  std::uint32_t requests_in_flight_max = 64;
  std::uint32_t buffered_bytes_max = 64u << 20;
  std::uint64_t features = proto::features_all;
};

inline proto::Bytes hello_answer(const Limits& limits) {
  proto::HelloAnswer answer;
  answer.features = limits.features;
  answer.payload_bytes_max = limits.request_bytes_max + proto::payload_overhead_bytes;
  answer.request_bytes_max = limits.request_bytes_max;
  answer.requests_in_flight_max = limits.requests_in_flight_max;
  answer.buffered_bytes_max = limits.buffered_bytes_max;
  answer.connection_id = 7;
  answer.server_name = "fake 1";
  proto::Bytes bytes;
  proto::encode(bytes, 1, answer);
  return bytes;
}

/// A request as it arrived.
struct Request {
  proto::FrameHeader header;
  proto::Bytes payload;

  template <class Message>
  Message as() const {
    Message message;
    if (const auto fault = proto::decode(payload, message)) throw std::runtime_error(fault->message);
    return message;
  }
};

class WirePeer {
public:
  WirePeer() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("socketpair");
    ours_ = UniqueFd{ends[0]};
    theirs_ = UniqueFd{ends[1]};
  }

  /// The client's end, to be given to a Connection once.
  int take_client_end() { return theirs_.release(); }
  int fd() const { return ours_.get(); }

  void send(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(ours_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) throw std::runtime_error("the client closed");
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
  }
  template <class Message>
  void answer(std::uint64_t id, const Message& message) const {
    proto::Bytes bytes;
    proto::encode(bytes, id, message);
    send(bytes);
  }
  void error(std::uint64_t id, proto::Operation operation, proto::Status status, std::string_view text) const {
    proto::Bytes bytes;
    proto::encode_error(bytes, id, operation, status, text);
    send(bytes);
  }
  void notice(proto::Operation operation, proto::Status status, std::string_view text) const {
    proto::Bytes bytes;
    proto::encode_notice(bytes, operation, status, text);
    send(bytes);
  }
  void hello(const Limits& limits = {}) const { send(hello_answer(limits)); }
  void close() { ours_.reset(); }

  /// The requests that are there, whole; waits for nothing.
  std::vector<Request> requests() {
    std::byte chunk[65536];
    for (;;) {
      const ssize_t got = ::recv(ours_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
      if (got == 0) closed_ = true;
      if (got <= 0) break;
      input_.insert(input_.end(), chunk, chunk + got);
    }
    std::vector<Request> requests;
    std::size_t at = 0;
    for (;;) {
      const auto scan = proto::scan_frame(std::span{input_}.subspan(at), 0xffffffff);
      if (scan.kind == proto::Scan::Kind::broken) throw std::runtime_error(scan.fault.message);
      if (scan.kind != proto::Scan::Kind::frame) break;
      requests.push_back({scan.header, {scan.payload.begin(), scan.payload.end()}});
      at += scan.frame_bytes;
    }
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(at));
    return requests;
  }
  bool closed() const { return closed_; }

private:
  UniqueFd ours_;
  UniqueFd theirs_;
  proto::Bytes input_;
  bool closed_ = false;
};

/// A connection whose hello the peer answered already; the hello request has been taken off the wire.
struct Linked {
  explicit Linked(const Limits& limits = {}, std::chrono::milliseconds request_timeout = std::chrono::seconds{30}) {
    peer.hello(limits);
    client::ConnectionOptions options;
    options.request_timeout = request_timeout;
    connection.emplace(peer.take_client_end(), client::Endpoint{"fake", 1, ""}, options);
    const auto first = peer.requests();
    if (first.size() != 1 || first[0].header.operation != proto::Operation::hello) throw std::runtime_error("no hello");
  }

  WirePeer peer;
  std::optional<client::Connection> connection;
};

/// A notice of an operation that this version does not know.
inline proto::Bytes later_notice() {
  proto::Bytes bytes(proto::frame_header_bytes + 4, std::byte{0xff});
  proto::encode_header(std::span{bytes}.first<proto::frame_header_bytes>(),
                       {static_cast<proto::Operation>(200), proto::flag_notice, 0, 4, proto::Status::ok, 0});
  return bytes;
}

}  // namespace pageserver::test
