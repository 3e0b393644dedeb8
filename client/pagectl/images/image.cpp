#include "client/pagectl/images/image.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include <pageserver/error.hpp>

#include "client/pagectl/images/disk_image.hpp"
#include "client/pagectl/images/files.hpp"
#include "client/pagectl/images/session_image.hpp"
#include "proto/codec.hpp"

namespace pageserver::pagectl {
namespace {

int timeout_ms(std::chrono::steady_clock::time_point deadline) {
  if (deadline == std::chrono::steady_clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

/// What was meant when a path has the look of a store's name: the scheme is what people leave out.
std::string store_hint(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos || text.find('/', slash + 1) != std::string::npos || slash == 0) return {};
  const bool host = text.find_first_of(":.") < slash && !text.starts_with(".");
  return host && proto::is_store_name(text.substr(slash + 1)) ? "; for a store of a daemon write pageserver://" + text
                                                              : "";
}

std::unique_ptr<Image> open_file(const std::string& name, const client::Uri& uri, const OpenMode& mode) {
  if (uri.access == Access::write && !mode.create_file && !exists(uri.path)) {
    throw MemoryError(Errc::not_found, "open " + storage::quoted(uri.path) +
                                           ": there is no such file; make an empty image with `pagectl create`" +
                                           store_hint(name));
  }
  try {
    return make_file_image(name, uri.path, uri.access);
  } catch (const MemoryError& error) {
    if (error.errc() != Errc::not_found) throw;
    throw MemoryError(Errc::not_found,
                      "open " + storage::quoted(uri.path) + ": there is no such file" + store_hint(name));
  }
}

}  // namespace

std::optional<HolderStat> Image::break_lease(std::uint64_t) {
  throw MemoryError(Errc::unsupported, "break lease of " + name() + ": only a daemon's stores have leases");
}

void wait_for_either(Image& first, Image& second) {
  if (&first == &second || !first.has_pending()) return second.wait();
  if (!second.has_pending()) return first.wait();
  const auto a = first.poll_request();
  const auto b = second.poll_request();
  pollfd waiting[2] = {{a.descriptor, a.events, 0}, {b.descriptor, b.events, 0}};
  if (::poll(waiting, 2, timeout_ms(std::min(a.deadline, b.deadline))) < 0 && errno != EINTR) {
    throw MemoryError(Errc::provider_error, "poll: " + std::generic_category().message(errno));
  }
  first.advance();
  second.advance();
}

std::unique_ptr<Image> open_image(const std::string& text, const OpenMode& mode) {
  if (is_disk(text)) {
    if (mode.access == Access::read) return open_disk_image(text);
    throw MemoryError(Errc::unsupported, "open " + storage::quoted(text) +
                                             ": an RBD image is only copied, to it as a whole by `pagectl copy`");
  }
  client::Uri uri = client::parse_uri(text, mode.access);
  if (uri.name.empty()) uri.name = mode.session_name;
  switch (uri.scheme) {
    case client::Scheme::heap: return make_heap_image(text);
    case client::Scheme::file: return open_file(text, uri, mode);
    case client::Scheme::store: return open_session_image(text, uri, mode);
    case client::Scheme::tcp:
    case client::Scheme::unix_socket: break;
  }
  if (uri.cache_bytes > 0) return open_cached_image(text, uri, mode);
  return open_remote_image(text, uri, mode);
}

}  // namespace pageserver::pagectl
