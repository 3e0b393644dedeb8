#include "client/session/read_ahead.hpp"

#include <algorithm>

namespace pageserver::client {
namespace {

// How many reads in a row go on before pages are asked for ahead.
constexpr std::uint64_t forward_min = 2;
// Two pages surely fit into the sockets between daemon and client.
constexpr std::uint64_t window_min = 2;

}  // namespace

std::optional<ReadAhead::Wish> ReadAhead::after_read(std::uint64_t page, std::uint64_t pages,
                                                     std::uint64_t daemon_pages) {
  if (page == last_) return std::nullopt;
  forward_ = page == last_ + 1 ? forward_ + 1 : 0;
  last_ = page;
  if (forward_ == 0) until_ = 0;
  if (forward_ < forward_min || pages_max_ < 2) return std::nullopt;
  const auto window = this->window(daemon_pages);
  if (until_ > page + 1 + window / 2) return std::nullopt;
  return Wish{std::max(until_, page + 1), std::min(page + 1 + window, pages), window};
}

// Nobody receives while the program thinks: the answers then wait in the sockets and at the daemon, which gives up a
// session that takes nothing. So the window grows with the reads, to at most half of what the daemon holds.
std::uint64_t ReadAhead::window(std::uint64_t daemon_pages) const {
  return std::clamp<std::uint64_t>(forward_ / 4, window_min,
                                   std::max(window_min, std::min(pages_max_, daemon_pages / 2)));
}

}  // namespace pageserver::client
