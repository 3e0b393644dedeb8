#include "client/c/options.hpp"

#include <chrono>
#include <optional>

#include <pageserver/error.hpp>

#include "base/poll_budget.hpp"
#include "client/c/guard.hpp"
#include "client/uri/uri_text.hpp"

namespace pageserver::c {
namespace {

using client::Scheme;
using client::Uri;

/// What the options change in a Uri, each only where the URI's scheme has a key for it.
class Overrides {
public:
  Overrides(Uri& uri, client::UriTarget kind, std::string_view function)
      : uri_{uri}, kind_{kind}, function_{function} {}

  void apply(const ps_options& options, Target& target) const {
    choose("access", options.access, PS_ACCESS_FORK, has_access(), uri_.access);
    choose("view", options.view, PS_VIEW_PINNED, has_session(), uri_.view);
    choose("publish", options.publish, PS_PUBLISH_ON_FLUSH, has_session(), uri_.publish);
    if (wanted("wait_ms", options.wait_ms != 0, has_session())) uri_.wait_ms = options.wait_ms;
    if (wanted("name", options.name != nullptr, has_session())) uri_.name = name("name", options.name);
    if (wanted("client_name", options.client_name != nullptr, uri_.is_remote()))
      target.client_name = name("client_name", options.client_name);
    timeout("connect_timeout_ms", options.connect_timeout_ms, uri_.connect_timeout);
    timeout("request_timeout_ms", options.request_timeout_ms, uri_.request_timeout);
    if (wanted("poll_us", options.poll_us != 0, uri_.is_remote())) poll_us(options.poll_us);
    if (wanted("cache_bytes", options.cache_bytes != 0, uri_.is_remote() && has_session()))
      uri_.cache_bytes = options.cache_bytes == PS_CACHE_OFF ? 0 : options.cache_bytes;
    const auto text = [this](const char* key, const char* given, bool is_known, std::string& into) {
      if (!wanted(key, given != nullptr, is_known)) return;
      if (*given == '\0') refuse(std::string{key} + " is empty; leave it NULL");
      into = given;
    };
    text("token", options.token, uri_.is_remote(), target.token);
    text("token_file", options.token_file, uri_.is_remote(), uri_.token_file);
    auto& endpoint = uri_.endpoint;
    text("tls_ca", options.tls_ca, endpoint.tls, endpoint.tls_ca);
    text("tls_certificate", options.tls_certificate, endpoint.tls, endpoint.tls_certificate);
    text("tls_key", options.tls_key, endpoint.tls, endpoint.tls_key);
    text("tls_name", options.tls_name, endpoint.tls, endpoint.tls_name);
    check_combination();
  }

private:
  [[noreturn]] void refuse(const std::string& message) const {
    throw MemoryError{Errc::invalid_argument, std::string{function_} + ": options: " + message};
  }
  bool has_session() const {
    return kind_ == client::UriTarget::image && (uri_.is_remote() || uri_.scheme == Scheme::store);
  }
  bool has_access() const { return has_session() || uri_.scheme == Scheme::file; }

  bool wanted(const char* key, bool is_given, bool is_known) const {
    if (is_given && !is_known) refuse(std::string{key} + " is nothing that this URI's scheme knows; leave it 0");
    return is_given;
  }

  template <class Value>
  void choose(const char* key, int value, int most, bool is_known, Value& into) const {
    if (!wanted(key, value != 0, is_known)) return;
    if (value < 0 || value > most)
      refuse(std::string{key} + "=" + std::to_string(value) + " has no meaning; expected 1 to " + std::to_string(most));
    into = static_cast<Value>(value - 1);
  }

  std::string name(const char* key, const char* text) const {
    if (!client::is_session_name(text))
      refuse(std::string{key} + " is not at most 255 bytes of UTF-8 without control characters");
    return text;
  }

  void timeout(const char* key, std::int64_t ms, std::chrono::milliseconds& into) const {
    if (!wanted(key, ms != 0, uri_.is_remote())) return;
    if (ms < PS_NO_TIMEOUT) refuse(std::string{key} + "=" + std::to_string(ms) + " is below -1, which is no limit");
    into = ms == PS_NO_TIMEOUT ? std::chrono::milliseconds::max() : std::chrono::milliseconds{ms};
  }

  void poll_us(std::int32_t us) const {
    constexpr auto most = static_cast<std::int32_t>(base::poll_us_max);
    if (us < PS_POLL_OFF || us > most)
      refuse("poll_us=" + std::to_string(us) + " is not from -1 (off) to " + std::to_string(most));
    uri_.poll_us = us == PS_POLL_OFF ? 0 : static_cast<std::uint32_t>(us);
  }

  void check_combination() const {
    if (uri_.endpoint.tls_certificate.empty() != uri_.endpoint.tls_key.empty())
      refuse("tls_certificate and tls_key go together");
    if (kind_ == client::UriTarget::server) return;
    if (uri_.scheme == Scheme::file && uri_.access == Access::fork) refuse("access=fork is not for a plain file");
    if (uri_.view == View::pinned && uri_.access != Access::read) refuse("view=pinned is for access=read only");
    if (uri_.publish == Publish::on_flush && uri_.access != Access::write)
      refuse("publish=on_flush is for access=write only");
  }

  Uri& uri_;
  const client::UriTarget kind_;
  const std::string_view function_;
};

}  // namespace

Target target_of(const char* uri, const ps_options* options, client::UriTarget kind, std::string_view function) {
  Target target;
  target.uri = client::parse_uri(&given(uri, function, "uri"), Access::write, kind);
  Overrides{target.uri, kind, function}.apply(taken(options, function), target);
  return target;
}

int access_of(Access access) noexcept { return static_cast<int>(access) + 1; }
int view_of(View view) noexcept { return static_cast<int>(view) + 1; }
int publish_of(Publish publish) noexcept { return static_cast<int>(publish) + 1; }

static_assert(static_cast<int>(Access::read) + 1 == PS_ACCESS_READ);
static_assert(static_cast<int>(Access::write) + 1 == PS_ACCESS_WRITE);
static_assert(static_cast<int>(Access::fork) + 1 == PS_ACCESS_FORK);
static_assert(static_cast<int>(View::live) + 1 == PS_VIEW_LIVE);
static_assert(static_cast<int>(View::pinned) + 1 == PS_VIEW_PINNED);
static_assert(static_cast<int>(Publish::on_write) + 1 == PS_PUBLISH_ON_WRITE);
static_assert(static_cast<int>(Publish::on_flush) + 1 == PS_PUBLISH_ON_FLUSH);

}  // namespace pageserver::c
