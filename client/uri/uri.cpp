#include "client/uri/uri.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <vector>

#include <pageserver/error.hpp>

#include "base/poll_budget.hpp"
#include "base/text.hpp"
#include "base/units.hpp"
#include "client/uri/uri_keys.hpp"
#include "client/uri/uri_text.hpp"
#include "proto/codec.hpp"

namespace pageserver::client {
namespace {

constexpr std::size_t hosts_max = 16;
constexpr std::string_view remote_forms = "pageserver://HOST[:PORT]/STORE or pageserver+unix:///STORE?socket=PATH";

using base::quoted;

std::string lower(std::string_view text) {
  std::string out{text};
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

template <class Value>
struct Choice {
  std::string_view word;
  Value value;
};
constexpr std::array access_choices{Choice<Access>{"read", Access::read}, Choice<Access>{"write", Access::write},
                                    Choice<Access>{"fork", Access::fork}};
constexpr std::array transport_choices{Choice<bool>{"auto", true}, Choice<bool>{"socket", false}};
constexpr std::array view_choices{Choice<View>{"live", View::live}, Choice<View>{"pinned", View::pinned}};
constexpr std::array publish_choices{Choice<Publish>{"on_write", Publish::on_write},
                                     Choice<Publish>{"on_flush", Publish::on_flush}};

/// One text on its way to a Uri. The parts are taken off `rest_` from the left.
class Parser {
public:
  Parser(std::string_view text, Access default_access, UriTarget target) : text_{text}, target_{target} {
    uri_.access = default_access;
  }

  Uri parse() {
    if (text_.empty()) fail("", "is empty", std::string{"a path, file:PATH, heap:, "} + std::string{remote_forms});
    if (text_.find('\0') != std::string_view::npos) fail(text_, "holds a zero byte", "a path or a URI without one");
    const auto scheme = scheme_of(text_);
    // A home's path is a path, with its own keys.
    if (!scheme || *scheme == "ceph") {
      uri_.scheme = Scheme::file;
      uri_.path = text_;
    } else {
      take_scheme(*scheme);
    }
    check_target();
    return std::move(uri_);
  }

private:
  [[noreturn]] void fail(std::string_view part, const std::string& problem, const std::string& expected) const {
    throw MemoryError{Errc::invalid_argument,
                      "open " + quoted(shown(text_)) + ": " + quoted(part) + " " + problem + ": expected " + expected};
  }

  /// What a key has that is not known may be a token or a password.
  std::string shown(std::string_view text) const {
    const auto mark = text.find('?');
    if (!uri_.is_remote() || mark == std::string_view::npos) return std::string{text};
    std::string out{text.substr(0, mark + 1)};
    for (std::string_view query = text.substr(mark + 1); !query.empty();) {
      const auto item = query.substr(0, query.find('&'));
      const auto equals = item.find('=');
      const bool known = equals == std::string_view::npos ||
                         std::any_of(uri_keys.begin(), uri_keys.end(),
                                     [&](const UriKey& key) { return key.name == item.substr(0, equals); });
      out += known ? item : item.substr(0, equals + 1);
      if (!known) out += "...";
      query.remove_prefix(item.size());
      if (query.empty()) break;
      out += '&';
      query.remove_prefix(1);
    }
    return out;
  }

  void take_scheme(std::string_view scheme) {
    const std::string name = lower(scheme);
    rest_ = text_.substr(scheme.size() + 1);
    if (name == "heap") {
      uri_.scheme = Scheme::heap;
      if (!rest_.empty()) fail(rest_, "follows heap:", "nothing there, a heap image has no name and no options");
      return;
    }
    if (name == "file")
      uri_.scheme = Scheme::file;
    else if (name == "store")
      uri_.scheme = Scheme::store;
    else if (name == "pageserver")
      uri_.scheme = Scheme::tcp;
    else if (name == "pageservers")
      take_tls();
    else if (name == "pageserver+unix")
      uri_.scheme = Scheme::unix_socket;
    else
      fail(scheme, "is no scheme known here",
           "file, heap, store, pageserver, pageservers or pageserver+unix; for a file of that name write ./" +
               std::string{text_});
    if (const auto hash = rest_.find('#'); hash != std::string_view::npos)
      fail(rest_.substr(hash), "is a fragment", "none; write %23 for a # in a name");
    std::string_view query;
    if (const auto mark = rest_.find('?'); mark != std::string_view::npos) {
      query = rest_.substr(mark + 1);
      rest_ = rest_.substr(0, mark);
    }
    if (uri_.is_remote())
      take_server();
    else
      take_path();
    take_query(query);
    check_combination();
  }

  void take_tls() {
    uri_.scheme = Scheme::tcp;
    uri_.endpoint.tls = true;
    uri_.endpoint.port = proto::default_tls_port;
  }

  std::string decode(std::string_view part) const {
    std::string_view bad;
    auto decoded = percent_decode(part, bad);
    if (!decoded) fail(bad, "is a bad escape", "% and two hex digits, and not %00; write %25 for a percent sign");
    return std::move(*decoded);
  }

  void take_path() {
    if (rest_.starts_with("//")) {
      if (!rest_.starts_with("///"))
        fail(rest_.substr(2, rest_.find('/', 2) - 2), "stands where a host would",
             "a path after " + std::string{text_.substr(0, text_.find(':') + 1)} + ", such as /var/lib/db.img");
      rest_.remove_prefix(2);
    }
    uri_.path = decode(rest_);
    if (uri_.path.empty()) fail(text_, "names no file", "a path after the colon");
  }

  void take_server() {
    if (!rest_.starts_with("//")) fail(text_, "has no // after its scheme", std::string{remote_forms});
    rest_.remove_prefix(2);
    const auto slash = rest_.find('/');
    const auto authority = rest_.substr(0, slash);
    const auto path = slash == std::string_view::npos ? std::string_view{} : rest_.substr(slash + 1);
    if (uri_.scheme == Scheme::tcp)
      take_authority(authority);
    else if (!authority.empty())
      fail(authority, "stands where a host would", "pageserver+unix:///STORE?socket=PATH, with three slashes");
    if (!path.empty()) take_store(path);
  }

  void take_store(std::string_view path) {
    uri_.store = decode(path);
    if (!proto::is_store_name(uri_.store))
      fail(path, "is no store's name",
           "a letter or digit, then at most 63 letters, digits, dots, underscores and hyphens");
  }

  void take_authority(std::string_view authority) {
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
      const auto colon = authority.substr(0, at).find(':');
      const bool has_password = colon != std::string_view::npos;
      fail(has_password ? std::string{authority.substr(0, colon + 1)} + "...@"
                        : std::string{authority.substr(0, at + 1)},
           "is a user", "a host; there are no users");
    }
    const std::uint16_t default_port = uri_.endpoint.port;
    OtherHost first = take_address_of_one(next_host(authority), default_port);
    uri_.endpoint.host = std::move(first.host);
    uri_.endpoint.port = first.port;
    while (!authority.empty()) {
      authority.remove_prefix(1);  // the comma
      if (uri_.endpoint.others.size() + 1 == hosts_max)
        fail(authority, "is one host too many", "at most " + std::to_string(hosts_max) + " hosts");
      uri_.endpoint.others.push_back(take_address_of_one(next_host(authority), default_port));
    }
  }

  /// Takes the first host with its port off `authority`; a comma may be left at its front.
  static std::string_view next_host(std::string_view& authority) {
    const auto comma = authority.find(',');
    const auto one = authority.substr(0, comma);
    authority.remove_prefix(one.size());
    return one;
  }

  OtherHost take_address_of_one(std::string_view authority, std::uint16_t default_port) {
    OtherHost found;
    found.port = default_port;
    std::string_view port;
    bool has_port = false;
    if (authority.starts_with("[")) {
      const auto close = authority.find(']');
      if (close == std::string_view::npos) fail(authority, "has no closing bracket", "an address such as [::1]");
      found.host = address_in(authority.substr(1, close - 1));
      const auto after = authority.substr(close + 1);
      has_port = !after.empty();
      if (has_port && after.front() != ':') fail(after, "follows the address", "a colon and a port, or nothing");
      if (has_port) port = after.substr(1);
    } else {
      const auto colon = authority.find(':');
      has_port = colon != std::string_view::npos;
      if (has_port) port = authority.substr(colon + 1);
      if (port.find(':') != std::string_view::npos)
        fail(authority, "has too many colons", "HOST:PORT, with an IPv6 address in brackets as in [::1]:6553");
      found.host = host_in(authority.substr(0, colon));
    }
    if (!has_port) return found;
    const auto number = base::parse_number(port, std::numeric_limits<std::uint16_t>::max());
    if (!number || *number == 0) fail(port, "is no port", "a number from 1 to 65535");
    found.port = static_cast<std::uint16_t>(*number);
    return found;
  }

  std::string host_in(std::string_view host) const {
    std::string name = decode(host);
    if (name.empty()) fail(text_, "names no host", "pageserver://HOST[:PORT]");
    const bool odd = std::any_of(name.begin(), name.end(), [](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return byte <= 0x20 || byte == 0x7f || std::string_view{"/?#[]@:%,"}.find(c) != std::string_view::npos;
    });
    if (odd || name.size() > 253) fail(host, "is no host", "a name or an address of at most 253 bytes");
    return name;
  }

  /// An IPv6 address, with the zone as RFC 6874 writes it: `fe80::1%25eth0`.
  std::string address_in(std::string_view address) const {
    std::string host = decode(address);
    const std::string bare = host.substr(0, host.find('%'));
    in6_addr parsed{};
    const bool zone_missing = host.ends_with('%');
    if (zone_missing || ::inet_pton(AF_INET6, bare.c_str(), &parsed) != 1)
      fail(address, "is no IPv6 address", "one such as ::1 or fe80::1%25eth0");
    return host;
  }

  void take_query(std::string_view query) {
    std::vector<std::string_view> seen;
    while (!query.empty()) {
      const auto item = query.substr(0, query.find('&'));
      query.remove_prefix(std::min(item.size() + 1, query.size()));
      const auto equals = item.find('=');
      if (equals == std::string_view::npos) fail(item, "has no value", "KEY=VALUE between ? and &");
      const auto key = item.substr(0, equals);
      if (std::find(seen.begin(), seen.end(), key) != seen.end()) fail(item, "comes twice", "each key once");
      seen.push_back(key);
      take_key(key, item, decode(item.substr(equals + 1)));
    }
  }

  UriForm form() const {
    const bool server = target_ == UriTarget::server;
    switch (uri_.scheme) {
      case Scheme::file: return form_file;
      case Scheme::store: return form_store;
      case Scheme::tcp:
        if (uri_.endpoint.tls) return server ? form_tls_server : form_tls;
        return server ? form_tcp_server : form_tcp;
      default: return server ? form_unix_server : form_unix;
    }
  }

  std::string known_keys() const {
    std::string known;
    for (const UriKey& key : uri_keys)
      if ((key.schemes & form()) != 0) known += (known.empty() ? "" : ", ") + std::string{key.name};
    return known;
  }

  bool is_known(std::string_view name) const {
    return std::any_of(uri_keys.begin(), uri_keys.end(),
                       [&](const UriKey& key) { return key.name == name && (key.schemes & form()) != 0; });
  }

  void take_key(std::string_view key, std::string_view item, std::string value) {
    if (key == "token" && uri_.is_remote())
      fail(key, "is no key of this URI",
           "token_file=PATH, or the environment's PAGESERVER_TOKEN: others see what a URI has");
    if (!is_known(key)) fail(key, "is no key of this URI", "one of " + known_keys());
    if (key == "access") {
      uri_.access = choose(access_choices, item, value);
      uri_.access_given = true;
    } else if (key == "view") {
      uri_.view = choose(view_choices, item, value);
      uri_.view_given = true;
      view_item_ = item;
    } else if (key == "publish") {
      uri_.publish = choose(publish_choices, item, value);
      uri_.publish_given = true;
      publish_item_ = item;
    } else if (key == "wait_ms") {
      const auto number = base::parse_number(value, std::numeric_limits<std::uint32_t>::max());
      if (!number) fail(item, "is no time to wait", "milliseconds from 0 to 4294967295, a plain number");
      uri_.wait_ms = static_cast<std::uint32_t>(*number);
    } else if (key == "name") {
      if (!is_session_name(value)) fail(item, "is no name", "at most 255 bytes of UTF-8 without control characters");
      uri_.name = std::move(value);
    } else if (key == "socket") {
      take_socket(item, std::move(value));
    } else if (key == "faults") {
      if (value.empty() || value.size() > proto::fault_orders_bytes_max)
        fail(item, "has " + std::to_string(value.size()) + " bytes of orders",
             "1 to " + std::to_string(proto::fault_orders_bytes_max) + ", such as faults=write:3:no_space");
      uri_.faults = std::move(value);
    } else if (key == "poll_us") {
      take_poll_us(item, value);
    } else if (key == "transport") {
      uri_.ring = choose(transport_choices, item, value);
    } else if (key == "token_file") {
      if (value.empty()) fail(item, "names no file", "token_file=PATH");
      uri_.token_file = std::move(value);
    } else if (key == "tls_ca" || key == "tls_certificate" || key == "tls_key") {
      if (value.empty()) fail(item, "names no file", std::string{key} + "=PATH");
      (key == "tls_ca"            ? uri_.endpoint.tls_ca
       : key == "tls_certificate" ? uri_.endpoint.tls_certificate
                                  : uri_.endpoint.tls_key) = std::move(value);
    } else if (key == "tls_name") {
      if (value.empty() || value.size() > 253) fail(item, "is no name", "that of a host, of at most 253 bytes");
      uri_.endpoint.tls_name = std::move(value);
    } else if (key == "resume") {
      take_resume(item, value);
    } else if (key == "cache_bytes") {
      const auto size = value == "off" ? std::uint64_t{0} : base::parse_size(value);
      if (!size) fail(item, "is no size", "off, or bytes, or a number with KiB, MiB, GiB, TiB or PiB, such as 64MiB");
      uri_.cache_bytes = *size;
    } else {
      const auto duration = base::parse_duration(value);
      if (!duration)
        fail(item, "is no duration", "one such as 10s, 500ms, 2m or 1h, at most 366 days, or 0 for no limit");
      take_timeout(key, duration->count() == 0 ? std::chrono::milliseconds::max() : *duration);
    }
  }

  void take_timeout(std::string_view key, std::chrono::milliseconds timeout) {
    if (key == "connect_timeout") {
      uri_.connect_timeout = timeout;
    } else {
      uri_.request_timeout = timeout;
      uri_.request_timeout_given = true;
    }
  }

  void take_poll_us(std::string_view item, std::string_view value) {
    if (value == "auto") return;
    const auto number = base::parse_number(value, base::poll_us_max);
    if (!number)
      fail(item, "is no time to poll", "auto, or microseconds from 0 (off) to " + std::to_string(base::poll_us_max));
    uri_.poll_us = static_cast<std::uint32_t>(*number);
  }

  void take_resume(std::string_view item, std::string_view value) {
    constexpr std::uint64_t seconds_max = 86'400;
    // As people write the other times.
    if (value.ends_with('s')) value.remove_suffix(1);
    const auto number = base::parse_number(value, seconds_max);
    if (!number)
      fail(item, "is no time to resume in",
           "seconds from 0 (off) to " + std::to_string(seconds_max) + ", such as resume=30 or resume=30s");
    uri_.resume = std::chrono::seconds{*number};
  }

  void take_socket(std::string_view item, std::string path) {
    constexpr std::size_t path_bytes_max = sizeof(sockaddr_un::sun_path) - 1;
    if (path.empty()) fail(item, "names no socket", "socket=PATH");
    if (path.size() > path_bytes_max)
      fail(item, "has " + std::to_string(path.size()) + " bytes",
           "a path of at most " + std::to_string(path_bytes_max) + ", which is all that the system takes");
    uri_.endpoint.socket_path = std::move(path);
  }

  template <class Value, std::size_t count>
  Value choose(const std::array<Choice<Value>, count>& choices, std::string_view item, std::string_view value) const {
    std::string words;
    for (const auto& choice : choices) {
      if (choice.word == value) return choice.value;
      words += (words.empty() ? "" : ", ") + std::string{choice.word};
    }
    fail(item, "has no such value", "one of " + words);
  }

  void check_combination() const {
    if (uri_.endpoint.tls_certificate.empty() != uri_.endpoint.tls_key.empty())
      fail(uri_.endpoint.tls_key.empty() ? "tls_certificate" : "tls_key", "stands alone",
           "tls_certificate and tls_key, or neither");
    if (uri_.scheme == Scheme::unix_socket && uri_.endpoint.socket_path.empty())
      fail(text_, "names no socket", "?socket=PATH");
    if (target_ == UriTarget::server) return;
    if (uri_.scheme == Scheme::file && uri_.access == Access::fork)
      fail("access=fork", "is not for a plain file", "access=read or access=write, or a served store");
    if (!view_item_.empty() && uri_.access != Access::read)
      fail(view_item_, "is for readers only", "access=read beside it");
    if (!publish_item_.empty() && uri_.access != Access::write)
      fail(publish_item_, "is for writers only", "access=write beside it");
  }

  void check_target() const {
    if (target_ == UriTarget::server) {
      if (!uri_.is_remote())
        fail(text_, "names no daemon", "pageserver://HOST[:PORT] or pageserver+unix:///?socket=PATH");
      if (!uri_.store.empty()) fail(uri_.store, "is a store", "the daemon alone, without a store");
    } else if (uri_.is_remote() && uri_.store.empty()) {
      fail(text_, "names no store", std::string{remote_forms});
    }
  }

  std::string_view text_;
  std::string_view rest_;
  UriTarget target_;
  Uri uri_;
  std::string_view view_item_;
  std::string_view publish_item_;
};

}  // namespace

Uri parse_uri(std::string_view text, Access default_access, UriTarget target) {
  return Parser{text, default_access, target}.parse();
}

}  // namespace pageserver::client
