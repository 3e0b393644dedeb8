// ps_session_*: a provider behind a handle.
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include <pageserver/pageserver.h>
#include <pageserver/file_provider.hpp>
#include <pageserver/heap_provider.hpp>
#include <pageserver/remote_provider.hpp>
#include <pageserver/session.hpp>

#include "client/c/guard.hpp"
#include "client/c/options.hpp"
#include "client/c/results.hpp"
#include "client/open_uri.hpp"

using pageserver::Errc;
using pageserver::MemoryError;
using pageserver::MemoryProvider;
using pageserver::RemoteProvider;
using pageserver::Session;
using pageserver::c::fill;
using pageserver::c::given;
using pageserver::c::guarded;

struct ps_session {
  std::unique_ptr<MemoryProvider> provider;
  Session* session = nullptr;        // null: a plain file or a heap image
  RemoteProvider* remote = nullptr;  // null: no daemon
  std::mutex one_at_a_time;          // what has no session is for one thread at a time
};

namespace {

void open(ps_session& opened, pageserver::c::Target target) {
  using pageserver::client::Scheme;
  switch (target.uri.scheme) {
    case Scheme::heap: opened.provider = std::make_unique<pageserver::HeapProvider>(); return;
    case Scheme::file:
      opened.provider = std::make_unique<pageserver::FileProvider>(target.uri.path, target.uri.access);
      return;
    case Scheme::store: {
      auto session = pageserver::client::open_embedded(target.uri);
      opened.session = session.get();
      opened.provider = std::move(session);
      return;
    }
    case Scheme::tcp:
    case Scheme::unix_socket: break;
  }
  auto options = pageserver::client::remote_options(std::move(target.uri));
  options.client_name = std::move(target.client_name);
  options.token = std::move(target.token);
  auto session = std::make_unique<RemoteProvider>(std::move(options));
  opened.session = opened.remote = session.get();
  opened.provider = std::move(session);
}

/// Calls `call(MemoryProvider&)`.
template <class Call>
int with_image(ps_session* session, const char* function, ps_error* error, Call call) noexcept {
  return guarded(error, [&] {
    auto& opened = given(session, function, "session");
    std::unique_lock<std::mutex> lock;
    if (opened.session == nullptr) lock = std::unique_lock{opened.one_at_a_time};
    call(*opened.provider);
  });
}

/// Calls `call(Session&)`, or says that there is none.
template <class Call>
int with_session(ps_session* session, const char* function, ps_error* error, Call call) noexcept {
  return guarded(error, [&] {
    auto& opened = given(session, function, "session");
    if (opened.session == nullptr)
      throw MemoryError{Errc::unsupported, std::string{function} + ": a plain file or heap image has no sessions; " +
                                               "open a URI with the scheme pageserver, pageserver+unix or store"};
    call(*opened.session);
  });
}

std::span<std::byte> buffer_of(void* buffer, std::size_t length, const char* function) {
  if (length == 0) return {};
  return {static_cast<std::byte*>(&given(static_cast<std::byte*>(buffer), function, "buffer")), length};
}

std::span<const std::byte> data_of(const void* data, std::size_t length, const char* function) {
  if (length == 0) return {};
  return {&given(static_cast<const std::byte*>(data), function, "data"), length};
}

}  // namespace

int ps_session_open(const char* uri, const ps_options* options, ps_session** session, ps_error* error) {
  const char* const f = __func__;
  return guarded(error, [&] {
    auto& out = given(session, f, "session");
    out = nullptr;
    auto opened = std::make_unique<ps_session>();
    open(*opened, pageserver::c::target_of(uri, options, pageserver::client::UriTarget::image, f));
    out = opened.release();
  });
}

void ps_session_close(ps_session* session) { delete session; }

int ps_session_end(ps_session* session, ps_error* error) {
  return with_image(session, __func__, error, [](auto& image) { image.close(); });
}

int ps_session_size(ps_session* session, uint64_t* bytes, ps_error* error) {
  const char* const f = __func__;
  return with_image(session, f, error, [&](auto& image) { given(bytes, f, "bytes") = image.size(); });
}

int ps_session_pages(ps_session* session, uint64_t* pages, ps_error* error) {
  const char* const f = __func__;
  return with_image(session, f, error, [&](auto& image) { given(pages, f, "pages") = image.pages(); });
}

int ps_session_grow(ps_session* session, uint64_t new_pages, uint64_t* previous_pages, ps_error* error) {
  return with_image(session, __func__, error, [&](auto& image) {
    const auto before = image.grow(new_pages);
    if (previous_pages != nullptr) *previous_pages = before;
  });
}

int ps_session_read(ps_session* session, uint64_t offset, void* buffer, size_t length, ps_error* error) {
  const char* const f = __func__;
  return with_image(session, f, error, [&](auto& image) { image.read(offset, buffer_of(buffer, length, f)); });
}

int ps_session_write(ps_session* session, uint64_t offset, const void* data, size_t length, ps_error* error) {
  const char* const f = __func__;
  return with_image(session, f, error, [&](auto& image) { image.write(offset, data_of(data, length, f)); });
}

int ps_session_atomic_write_bytes(ps_session* session, uint64_t* bytes, ps_error* error) {
  const char* const f = __func__;
  return with_image(session, f, error, [&](auto& image) { given(bytes, f, "bytes") = image.atomic_write_bytes(); });
}

int ps_session_flush(ps_session* session, ps_error* error) {
  return with_image(session, __func__, error, [](auto& image) { image.flush(); });
}

int ps_session_version(ps_session* session, ps_image_version* version, ps_error* error) {
  const char* const f = __func__;
  return with_session(session, f, error, [&](auto& served) {
    given(version, f, "version") = pageserver::c::version_of(served.version());
  });
}

int ps_session_refresh(ps_session* session, const ps_refreshed** refreshed, ps_error* error) {
  return with_session(session, __func__, error, [&](auto& served) {
    const auto found = served.refresh();
    if (refreshed != nullptr) *refreshed = std::make_unique<pageserver::c::RefreshedResult>(found).release();
  });
}

int ps_session_commit(ps_session* session, ps_error* error) {
  return with_session(session, __func__, error, [](auto& served) { served.commit(); });
}

int ps_session_discard(ps_session* session, ps_error* error) {
  return with_session(session, __func__, error, [](auto& served) { served.discard(); });
}

int ps_session_break_lease(ps_session* session, uint64_t epoch, const ps_holder** broken, ps_error* error) {
  return with_session(session, __func__, error, [&](auto& served) {
    auto found = served.break_lease(epoch);
    if (broken == nullptr) return;
    *broken = found ? std::make_unique<pageserver::c::HolderResult>(std::move(*found)).release() : nullptr;
  });
}

int ps_session_lost(ps_session* session, ps_error* error) {
  return with_session(session, __func__, error, [](auto& served) {
    if (const auto reason = served.lost()) throw MemoryError{*reason};
  });
}

int ps_session_stat(ps_session* session, const ps_stat** stat, ps_error* error) {
  const char* const f = __func__;
  return with_session(session, f, error, [&](auto& served) {
    auto& out = given(stat, f, "stat");
    out = std::make_unique<pageserver::c::StatResult>(served.stat()).release();
  });
}

int ps_session_zero(ps_session* session, uint64_t offset, uint64_t length, ps_error* error) {
  return with_session(session, __func__, error, [&](auto& served) { served.zero(offset, length); });
}

int ps_session_data_ranges(ps_session* session, uint64_t offset, uint64_t length, const ps_ranges** ranges,
                           ps_error* error) {
  const char* const f = __func__;
  return with_session(session, f, error, [&](auto& served) {
    auto& out = given(ranges, f, "ranges");
    const auto found = served.data_ranges(offset, length);
    out = std::make_unique<pageserver::c::RangesResult>(offset + length, found).release();
  });
}

int ps_session_traffic(ps_session* session, ps_traffic* traffic, ps_error* error) {
  const char* const f = __func__;
  return guarded(error, [&] {
    auto& opened = given(session, f, "session");
    if (opened.remote == nullptr)
      throw MemoryError{Errc::unsupported, std::string{f} + ": there is no traffic without a daemon; open a URI with " +
                                               "the scheme pageserver or pageserver+unix"};
    const auto found = opened.remote->traffic();
    fill(given(traffic, f, "traffic"),
         {0, found.requests, found.round_trips, found.bytes_sent, found.bytes_received, found.cache_hits,
          found.cache_misses, found.pages_read_ahead, found.cache_bytes, found.cache_bytes_peak},
         f);
  });
}
