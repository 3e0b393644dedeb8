// The protocol over TLS, frame by frame: RawClient's calls, and every way to end.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/tls/stream.hpp"
#include "proto/framing.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/raw_client.hpp"

namespace pageserver::test {

inline std::string text_of_file(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

/// A connection whose handshake is done.
class TlsClient {
public:
  /// Shows the certificate NAME, or none where that is empty. `authority`: a PEM file.
  TlsClient(std::uint16_t port, const std::string& authority, const Certificates& certificates,
            const std::string& name = {})
      : socket_{std::make_unique<RawClient>(RawClient::tcp(port))} {
    tls::Credentials credentials;
    credentials.authorities = text_of_file(authority);
    if (!name.empty()) {
      credentials.certificate = text_of_file(certificates.certificate(name));
      credentials.key = text_of_file(certificates.key(name));
    }
    stream_ = std::make_unique<tls::Stream>(tls::Context::of_client(credentials), socket_->fd(), "localhost");
    for (auto result = stream_->handshake(); result != tls::Stream::Result::done; result = stream_->handshake()) {
      if (result == tls::Stream::Result::failed || result == tls::Stream::Result::end)
        throw std::runtime_error("handshake: " + stream_->fault());
      wait(POLLIN);
    }
  }

  tls::Stream& stream() { return *stream_; }
  RawClient& socket() { return *socket_; }

  void send_bytes(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      std::size_t taken = 0;
      if (stream_->write(bytes, taken) == tls::Stream::Result::failed) throw std::runtime_error(stream_->fault());
      bytes = bytes.subspan(taken);
      if (!bytes.empty()) wait(POLLOUT);
    }
  }
  template <class Request>
  std::uint64_t send(const Request& request) {
    proto::Bytes bytes;
    proto::encode(bytes, next_id_, request);
    send_bytes(bytes);
    return next_id_++;
  }
  /// The next frame, or nothing when the daemon has ended it.
  std::optional<Frame> receive() {
    for (;;) {
      if (auto frame = take_frame(input_)) return frame;
      std::byte some[4096];
      std::size_t count = 0;
      const auto result = stream_->read(some, count);
      input_.insert(input_.end(), some, some + count);
      if (result == tls::Stream::Result::end || result == tls::Stream::Result::failed) return std::nullopt;
      if (result != tls::Stream::Result::done) wait(POLLIN);
    }
  }
  Frame must_receive() {
    if (auto frame = receive()) return *std::move(frame);
    throw std::runtime_error("the daemon ended the connection: " + stream_->fault());
  }
  template <class Request>
  Frame call(const Request& request) {
    send(request);
    return must_receive();
  }

private:
  void wait(short what) {
    pollfd ready{socket_->fd(), what, 0};
    const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(patience).count();
    if (::poll(&ready, 1, static_cast<int>(limit)) == 0) throw std::runtime_error("the daemon says nothing");
  }

  std::unique_ptr<RawClient> socket_;
  std::unique_ptr<tls::Stream> stream_;
  std::vector<std::byte> input_;
  std::uint64_t next_id_ = 1;
};

}  // namespace pageserver::test
