#include "server/http/request.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

namespace pageserver::server::http {

namespace {

constexpr std::string_view line_end = "\r\n";

bool is_token_character(char c) noexcept {
  const bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return alphanumeric || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_character);
}

bool is_visible(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

bool is_field_value(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (static_cast<unsigned char>(c) >= ' ' && c != 0x7f) || c == '\t'; });
}

std::string_view trimmed(std::string_view text) noexcept {
  constexpr std::string_view blanks = " \t";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

Parsed refuse(unsigned code, std::string_view why) noexcept {
  Parsed parsed;
  parsed.state = Parsed::State::refused;
  parsed.code = code;
  parsed.why = why;
  return parsed;
}

/// The target's own host, where it has one, wins over the field.
bool split_target(std::string_view target, Request& request, std::string_view& own_host) noexcept {
  constexpr std::string_view scheme = "http://";
  if (target.size() > scheme.size() && equal_ignoring_case(target.substr(0, scheme.size()), scheme)) {
    target.remove_prefix(scheme.size());
    const std::size_t end = std::min(target.find_first_of("/?"), target.size());
    own_host = target.substr(0, end);
    if (own_host.empty() || own_host.find('@') != std::string_view::npos) return false;
    target.remove_prefix(end);
    if (target.empty() || target.front() != '/') return false;
  }
  if (target.empty() || target.front() != '/' || target.find('#') != std::string_view::npos) return false;
  const std::size_t mark = std::min(target.find('?'), target.size());
  request.path = target.substr(0, mark);
  request.query = target.substr(std::min(mark + 1, target.size()));
  return true;
}

}  // namespace

bool equal_ignoring_case(std::string_view one, std::string_view other) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                    [&](char a, char b) { return lower(a) == lower(b); });
}

Parsed parse_request(std::string_view bytes) noexcept {
  const std::size_t end = bytes.substr(0, head_bytes_max).find("\r\n\r\n");
  if (end == std::string_view::npos) {
    if (bytes.size() >= head_bytes_max) return refuse(431, "the request's head is too long");
    // What is no HTTP at all is told at once, and not after a timeout.
    if (const std::size_t feed = bytes.find('\n');
        feed != std::string_view::npos && (feed == 0 || bytes[feed - 1] != '\r'))
      return refuse(400, "a line of the request does not end with CR LF");
    return {};
  }
  std::string_view rest = bytes.substr(0, end + line_end.size());
  const auto next_line = [&rest] {
    const std::size_t length = rest.find(line_end);
    const std::string_view line = rest.substr(0, length);
    rest.remove_prefix(length + line_end.size());
    return line;
  };

  const std::string_view first = next_line();
  const std::size_t space = first.find(' ');
  const std::size_t second_space = space == std::string_view::npos ? space : first.find(' ', space + 1);
  if (second_space == std::string_view::npos) return refuse(400, "the request's first line is malformed");
  const std::string_view method = first.substr(0, space);
  const std::string_view target = first.substr(space + 1, second_space - space - 1);
  const std::string_view version = first.substr(second_space + 1);
  if (!is_token(method) || target.empty() || !is_visible(target))
    return refuse(400, "the request's first line is malformed");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return refuse(505, "this is HTTP/1.1 and 1.0");

  Parsed parsed;
  parsed.state = Parsed::State::request;
  std::string_view own_host;
  if (!split_target(target, parsed.request, own_host)) return refuse(400, "the request's target is malformed");
  bool has_host = false;
  while (!rest.empty()) {
    const std::string_view line = next_line();
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon)) || !is_field_value(line.substr(colon + 1)))
      return refuse(400, "a field of the request is malformed");
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (equal_ignoring_case(name, "Host")) {
      if (has_host || value.empty() || !is_visible(value)) return refuse(400, "the field Host must be there once");
      has_host = true;
      parsed.request.host = value;
    } else if (equal_ignoring_case(name, "Transfer-Encoding") ||
               (equal_ignoring_case(name, "Content-Length") && value != "0")) {
      return refuse(413, "a request here has no body");
    }
  }
  if (!has_host) return refuse(400, "the field Host must be there once");
  if (!own_host.empty()) parsed.request.host = own_host;
  if (method == "GET") {
    parsed.request.method = Method::get;
  } else if (method == "HEAD") {
    parsed.request.method = Method::head;
  } else {
    return refuse(405, "only GET and HEAD are answered here");
  }
  return parsed;
}

std::string_view without_port(std::string_view host) noexcept {
  if (host.starts_with('[')) {
    const std::size_t close = host.find(']');
    return close == std::string_view::npos ? host : host.substr(0, close + 1);
  }
  return host.substr(0, host.find(':'));
}

bool is_numeric_or_local(std::string_view host) noexcept {
  std::string_view name = without_port(host);
  std::string_view port = host.substr(name.size());
  if (!port.empty()) {
    port.remove_prefix(1);
    if (host[name.size()] != ':' || port.size() > 5 ||
        !std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return false;
  }
  if (equal_ignoring_case(name, "localhost")) return true;
  const bool bracketed = name.size() > 2 && name.front() == '[' && name.back() == ']';
  if (bracketed) name = name.substr(1, name.size() - 2);
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (name.empty() || name.size() >= text.size()) return false;
  std::copy(name.begin(), name.end(), text.begin());
  std::array<unsigned char, 16> address{};
  return ::inet_pton(bracketed ? AF_INET6 : AF_INET, text.data(), address.data()) == 1;
}

}  // namespace pageserver::server::http
