// The head of an HTTP/1.1 request, as RFC 9112 has it, for a listener that answers GET and HEAD: bytes to a struct, no
// I/O. Our own, since it is two methods without a body: cpp-httplib has a thread for each connection, which a slow peer
// holds, and Boost.Beast brings a second Asio.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pageserver::server::http {

/// A head with more bytes is refused.
inline constexpr std::size_t head_bytes_max = 8192;

enum class Method : std::uint8_t { get, head };

struct Request {
  Method method = Method::get;
  std::string_view path;   ///< from its first slash, as it was sent
  std::string_view query;  ///< without the question mark
  std::string_view host;   ///< with its port, as it was sent; not empty
};

struct Parsed {
  enum class State : std::uint8_t { incomplete, request, refused };
  State state = State::incomplete;
  Request request;            ///< points into the bytes
  unsigned code = 0;          ///< of a refusal
  std::string_view why = {};  ///< of a refusal, one line for people
};

/// Looks at all bytes that have come so far. What is behind the head is left alone: requests are not pipelined here.
Parsed parse_request(std::string_view bytes) noexcept;

/// A host that no name server can lead elsewhere: a numeric address or `localhost`, with any port or none. A browser
/// that was tricked into asking (DNS rebinding) sends the name that tricked it.
bool is_numeric_or_local(std::string_view host) noexcept;
/// Without its port: "name" of "name:80". Brackets stay.
std::string_view without_port(std::string_view host) noexcept;

/// In ASCII, as names of hosts and of fields are compared.
bool equal_ignoring_case(std::string_view one, std::string_view other) noexcept;

}  // namespace pageserver::server::http
