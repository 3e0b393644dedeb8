#include "client/session/remote_session.hpp"

#include <utility>

#include "base/process_mark.hpp"
#include "client/session/cached_session.hpp"

namespace pageserver::client {
namespace {

/// A live reader's every read sees the newest version, which only the daemon knows.
bool is_cacheable(const RemoteOptions& options) {
  const bool live = options.access == Access::read && options.view == View::live;
  return !live && options.cache_bytes / page_size >= PageCache::buffers_min;
}

}  // namespace

std::unique_ptr<RemoteSession> make_remote_session(RemoteOptions options) {
  if (is_cacheable(options)) return std::make_unique<CachedSession>(std::move(options));
  return std::make_unique<PlainSession>(std::move(options));
}

void end_session(std::unique_ptr<RemoteSession> session) noexcept {
  if (!session->is_forked()) {
    session->close();
    return;
  }
  session->abandon();
  base::keep_for_ever(session.release());
}

}  // namespace pageserver::client
