// Which session a resume token belongs to.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "base/mutex.hpp"
#include "proto/messages.hpp"

namespace pageserver::server {

/// Sessions that can be resumed, and for a while the tokens of those that are over.
///
/// Threads: any.
class ResumeTokens {
public:
  /// What the client says again when it comes back.
  struct Session {
    std::uint64_t connection_id = 0;
    std::string who;
    std::string store;
    proto::Access access{};
    proto::View view{};
    proto::Publish publish{};
  };
  /// So many of those that are over are told from those that never were.
  static constexpr std::size_t ended_max = 4096;

  /// A new token for the session. Throws std::system_error where the system has no random numbers, std::bad_alloc.
  proto::ResumeToken add(Session session);
  /// The same with a token that the client has; false where there is a session with it already.
  bool put(const proto::ResumeToken& token, Session session);
  /// The session is over.
  void end(const proto::ResumeToken& token) noexcept;
  /// It is over here, and not for good: nothing is known of it any more.
  void forget(const proto::ResumeToken& token) noexcept;

  struct Found {
    std::optional<Session> session;
    bool ended = false;
  };
  Found find(const proto::ResumeToken& token) const;

  /// How many of them have no connection now.
  std::atomic<std::uint64_t> detached{0};

private:
  mutable Mutex mutex_;
  std::map<proto::ResumeToken, Session> sessions_ PAGESERVER_GUARDED_BY(mutex_);
  std::deque<proto::ResumeToken> ended_ PAGESERVER_GUARDED_BY(mutex_);  // the oldest first
};

}  // namespace pageserver::server
