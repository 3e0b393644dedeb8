// Daemons that lie, each with one lie: what every client has to make of it, in whatever language.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <pageserver/error.hpp>

#include "tests/unit/client/fake_daemon.hpp"

namespace pageserver::test {

/// The image behind each of them has so many pages, and this byte at each offset, which is never 0.
inline constexpr std::uint64_t lie_pages = 4;
constexpr std::byte lie_byte_at(std::uint64_t offset) { return static_cast<std::byte>(offset % 251 + 1); }

struct Lie {
  std::string name;
  /// Of the session's URI. "list": it is told to who asks for the stores.
  std::string query;
  /// What the first call that fails has to answer; nothing: it is no lie that harms, and all calls go well.
  std::optional<Errc> expected;
  std::string text;  ///< a part of the error's
  std::function<void(FakePeer&)> serve;
};

/// What a client has to do with each: open, and then in this order, as far as its access allows and until a call fails:
/// read 8 bytes at 100, read 300 at 65536 - 150, write "private" at 131072, grow by 1, read 8 at 131068, zero 20 bytes
/// at 131122, data_ranges of page 0, stat, refresh (readers alone), write "more" at 131200, flush, discard (not for
/// readers), read 8 at 0. What is read is right. After an error that ends a session every later call fails with the
/// same.
std::vector<Lie> all_lies();

}  // namespace pageserver::test
