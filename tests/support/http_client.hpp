// HTTP as a test asks it: one request a connection, over a plain socket. Link pageserver_proto.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/support/daemon.hpp"
#include "tests/support/raw_client.hpp"

namespace pageserver::test {

struct HttpAnswer {
  int code = 0;
  std::string head;
  std::string body;

  bool has_field(std::string_view line) const {
    return head.find("\r\n" + std::string(line) + "\r\n") != std::string::npos;
  }
};

inline bool send_text(RawClient& client, std::string_view text) {
  return client.send_bytes(std::as_bytes(std::span(text.data(), text.size())));
}

/// All that comes until the peer closes.
inline std::string receive_text(RawClient& client) {
  std::string text;
  for (;;) {
    pollfd ready{client.fd(), POLLIN, 0};
    const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(patience).count();
    if (::poll(&ready, 1, static_cast<int>(limit)) == 0) throw std::runtime_error("no answer after " + text);
    char part[16384];
    const ssize_t got = ::recv(client.fd(), part, sizeof part, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(part, static_cast<std::size_t>(got));
  }
}

inline HttpAnswer http_answer(RawClient& client, std::string_view request) {
  send_text(client, request);
  const std::string text = receive_text(client);
  const std::size_t end = text.find("\r\n\r\n");
  if (!text.starts_with("HTTP/1.1 ") || end == std::string::npos) throw std::runtime_error("no HTTP answer: " + text);
  return {std::stoi(text.substr(9, 3)), text.substr(0, end + 2), text.substr(end + 4)};
}

inline HttpAnswer http_get(RawClient client, const std::string& target, const std::string& host = "localhost") {
  return http_answer(client, "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
}

/// Of a daemon that was started with `--metrics`, from its log.
inline std::uint16_t metrics_port(const Process& process) {
  constexpr std::string_view before = " INFO metrics listener=127.0.0.1:";
  process.wait_for_err(before);
  const std::string log = process.err_so_far();
  return static_cast<std::uint16_t>(std::stoul(log.substr(log.rfind(before) + before.size())));
}

/// The value of one sample, "name" or "name{label=\"value\"}"; throws when it is not there exactly once.
inline double sample_of(const std::string& metrics, const std::string& sample) {
  const std::string line = "\n" + sample + " ";
  const std::size_t at = metrics.find(line);
  if (at == std::string::npos || metrics.find(line, at + 1) != std::string::npos)
    throw std::runtime_error("not once there: " + sample);
  return std::stod(metrics.substr(at + line.size()));
}

}  // namespace pageserver::test
