#include "server/runtime/peers.hpp"

#include <memory>
#include <string>
#include <vector>

#include "server/runtime/buffer_room.hpp"
#include "tests/support/catch.hpp"

using namespace pageserver;
using namespace pageserver::server;
using namespace std::chrono_literals;

TEST_CASE("peers: a share leaves something of what is large, and all of what is small") {
  CHECK(share_of(4096, 90) == 3687);
  CHECK(share_of(9, 90) == 9);
  CHECK(share_of(10, 90) == 9);
  CHECK(share_of(1, 1) == 1);
  CHECK(share_of(1'000, 100) == 1'000);
  CHECK(share_of(UINT64_MAX, 50) == UINT64_MAX / 2 + 1);
}

TEST_CASE("peers: of IPv6 the network counts") {
  CHECK(peer_name_of_host("192.0.2.7") == "192.0.2.7");
  CHECK(peer_name_of_host("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64");
  CHECK(peer_name_of_host("::1") == "::/64");
}

TEST_CASE("peers: one name is one peer, who is remembered for as long as there are few") {
  Peers peers;
  const auto one = peers.of("192.0.2.7");
  CHECK(peers.of("192.0.2.7") == one);
  std::weak_ptr<Peer> gone = peers.of("192.0.2.8");
  CHECK_FALSE(gone.expired());
  for (int i = 0; i < 5000; ++i) peers.of("uid " + std::to_string(i));
  CHECK(gone.expired());
  CHECK(peers.of("192.0.2.7") == one);
}

TEST_CASE("peers: what is counted is counted for as long as it is kept, wherever it is moved") {
  const auto peer = std::make_shared<Peer>("x");
  {
    Counted one{peer, peer->connections};
    CHECK(peer->connections == 1);
    Counted other{std::move(one)};
    CHECK(peer->connections == 1);
    other = Counted{peer, peer->stores};
    CHECK(peer->connections == 0);
    CHECK(peer->stores == 1);
  }
  CHECK(peer->stores == 0);
}

TEST_CASE("peers: a rate lets a burst through, and then so many in a second") {
  Rate rate{3, 2};
  const Rate::Clock::time_point start{10s};
  int taken = 0;
  for (int i = 0; i < 10; ++i) taken += rate.take(start) ? 1 : 0;
  CHECK(taken == 3);
  CHECK_FALSE(rate.take(start + 400ms));
  CHECK(rate.take(start + 600ms));
  for (int i = 0; i < 10; ++i) taken += rate.take(start + 100s) ? 1 : 0;
  CHECK(taken == 6);
}

TEST_CASE("buffers: one peer has its share of the room, and who waits is woken when some comes back") {
  base::MemoryShare share{1000, "limits.memory_bytes=4000"};
  std::vector<std::uint64_t> woken;
  BufferRoom room{share, 60, 10, [&](std::uint64_t id) { woken.push_back(id); }};
  Peer one{"one"}, other{"other"};
  CHECK(room.has(one, 600));
  CHECK_FALSE(room.has(one, 601));
  room.change(one, 0, 600);
  CHECK(room.is_tight(one));
  CHECK_FALSE(room.is_tight(other));
  CHECK(room.has(other, 400));
  CHECK_FALSE(room.has(other, 401));
  CHECK_FALSE(room.is_awaited());
  room.wait(7);
  CHECK(room.is_awaited());
  room.change(one, 600, 700);  // what is there already is charged, whatever it leads to
  CHECK(woken.empty());
  room.change(one, 700, 100);
  CHECK(woken == std::vector<std::uint64_t>{7});
  CHECK_FALSE(room.is_awaited());
  CHECK_FALSE(room.is_tight(one));
}
