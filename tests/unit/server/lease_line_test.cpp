#include "server/stores/lease_line.hpp"

#include <memory>
#include <optional>
#include <vector>

#include <pageserver/error.hpp>

#include "tests/support/catch.hpp"

using namespace pageserver;
using namespace pageserver::server;

namespace {

std::string refusal(LeaseLine& line, const std::shared_ptr<Peer>& peer) {
  try {
    static_cast<void>(line.take_place("demo", peer));
    return {};
  } catch (const MemoryError& error) {
    CHECK(error.errc() == Errc::limit_exceeded);
    return error.what();
  }
}

}  // namespace

TEST_CASE("lease line: it ends for a peer at its share, and for all at the limit, and who leaves makes room") {
  LeaseLine line{5, 60};
  const auto one = std::make_shared<Peer>("192.0.2.7"), other = std::make_shared<Peer>("uid 7");
  std::vector<std::shared_ptr<void>> places;
  for (int i = 0; i < 3; ++i) places.push_back(line.take_place("demo", one));
  CHECK(refusal(line, one) ==
        "open store \"demo\": 3 sessions of 192.0.2.7 wait for its lease, limits.peer_percent=60 of "
        "limits.lease_line=5; try again later, or raise one of these limits");
  for (int i = 0; i < 2; ++i) places.push_back(line.take_place("demo", other));
  CHECK(refusal(line, other) ==
        "open store \"demo\": 5 sessions wait for its lease, limits.lease_line=5; try again later, or raise the limit");
  places.erase(places.begin());
  CHECK(refusal(line, one).empty());
  places.push_back(line.take_place("demo", one));
  CHECK_FALSE(refusal(line, other).empty());
  places.clear();
  CHECK(one.use_count() == 1);
  CHECK(other.use_count() == 1);
}

TEST_CASE("lease line: a place outlives its line") {
  std::optional<LeaseLine> line{std::in_place, 1, 100};
  const auto peer = std::make_shared<Peer>("x");
  auto place = line->take_place("demo", peer);
  line.reset();
  place.reset();
  CHECK(peer.use_count() == 1);
}
