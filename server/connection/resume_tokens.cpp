#include "server/connection/resume_tokens.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/random.hpp"

namespace pageserver::server {

proto::ResumeToken ResumeTokens::add(Session session) {
  for (;;) {
    proto::ResumeToken token{};
    for (std::size_t at = 0; at < token.size(); at += sizeof(std::uint64_t)) {
      const std::uint64_t number = base::random_number();
      std::memcpy(token.data() + at, &number, sizeof number);
    }
    const Lock lock{mutex_};
    if (token != proto::ResumeToken{} && sessions_.try_emplace(token, std::move(session)).second) return token;
  }
}

bool ResumeTokens::put(const proto::ResumeToken& token, Session session) {
  const Lock lock{mutex_};
  return sessions_.try_emplace(token, std::move(session)).second;
}

void ResumeTokens::forget(const proto::ResumeToken& token) noexcept {
  const Lock lock{mutex_};
  sessions_.erase(token);
}

void ResumeTokens::end(const proto::ResumeToken& token) noexcept {
  const Lock lock{mutex_};
  if (sessions_.erase(token) == 0) return;
  try {
    if (ended_.size() >= ended_max) ended_.pop_front();
    ended_.push_back(token);
  } catch (const std::bad_alloc&) {
    // It is told as one that is not known.
  }
}

ResumeTokens::Found ResumeTokens::find(const proto::ResumeToken& token) const {
  Found found;
  const Lock lock{mutex_};
  if (const auto one = sessions_.find(token); one != sessions_.end()) {
    found.session = one->second;
  } else {
    found.ended = std::find(ended_.begin(), ended_.end(), token) != ended_.end();
  }
  return found;
}

}  // namespace pageserver::server
