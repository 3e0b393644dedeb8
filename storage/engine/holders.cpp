#include "storage/engine/holders.hpp"

namespace pageserver::storage {

Holders::Entry Holders::make_entry(const SessionRef& state) {
  Sessions one;
  one.emplace(key_of(*state), state);
  return one.extract(one.begin());
}

bool Holders::any_within(std::uint64_t from, std::uint64_t until) const noexcept {
  const auto holder = sessions_.lower_bound({from, 0});
  return holder != sessions_.end() && holder->first.first < until;
}

void Holders::add(SessionState& state, Entry entry, const LogPoint& point, std::uint64_t pages) noexcept {
  state.held = point;
  state.held_pages = pages;
  state.right = SessionState::Right::whole;
  entry.key() = key_of(state);
  sessions_.insert(std::move(entry));
}

void Holders::give_up(SessionState& state, Sessions& given_up) noexcept {
  state.right = SessionState::Right::version_given_up;
  given_up.insert(take(state));
}

void Holders::give_up_oldest(SessionState::GivenUpFor why, Sessions& given_up) noexcept {
  const auto oldest = sessions_.begin();
  oldest->second->right = SessionState::Right::version_given_up;
  oldest->second->given_up_for = why;
  given_up.insert(sessions_.extract(oldest));
}

}  // namespace pageserver::storage
