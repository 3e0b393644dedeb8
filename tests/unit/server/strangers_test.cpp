#include "server/runtime/strangers.hpp"

#include <memory>

#include "tests/support/catch.hpp"

using namespace pageserver::server;

TEST_CASE("strangers: the oldest of who has most of them goes first, and the older one where they have as many") {
  Strangers strangers;
  const auto many = std::make_shared<Peer>("192.0.2.1"), few = std::make_shared<Peer>("192.0.2.2");
  CHECK(strangers.choose(nullptr) == 0);
  strangers.add(1, few);
  for (const std::uint64_t id : {2u, 3u, 4u}) strangers.add(id, many);
  CHECK(strangers.choose(nullptr) == 2);
  CHECK(strangers.choose(nullptr) == 3);
  CHECK(strangers.choose(nullptr) == 1);
  CHECK(strangers.choose(nullptr) == 4);
  CHECK(strangers.choose(nullptr) == 0);
  CHECK(strangers.counts().staying == 0);
  CHECK(strangers.counts().going == 4);
}

TEST_CASE("strangers: one of a peer goes, and who is known or gone is none") {
  Strangers strangers;
  const auto one = std::make_shared<Peer>("192.0.2.1"), other = std::make_shared<Peer>("192.0.2.2");
  strangers.add(1, one);
  strangers.add(2, other);
  strangers.add(3, one);
  CHECK(strangers.choose(other.get()) == 2);
  CHECK(strangers.choose(other.get()) == 0);
  CHECK(strangers.counts_of(*other).going == 1);
  strangers.remove(2);
  CHECK(strangers.counts_of(*other).all() == 0);
  strangers.remove(1);
  strangers.remove(1);
  CHECK(strangers.counts_of(*one).staying == 1);
  CHECK(strangers.choose(nullptr) == 3);
  CHECK(strangers.choose(one.get()) == 0);
  strangers.remove(3);
  CHECK(strangers.counts().all() == 0);
  // Nothing is kept of peers that have none.
  CHECK(one.use_count() == 1);
  CHECK(other.use_count() == 1);
}

TEST_CASE("strangers: who waits for fewer that go is told once, when the smallest bound is met") {
  int told = 0;
  Strangers strangers([&] { ++told; });
  const auto peer = std::make_shared<Peer>("192.0.2.1");
  for (std::uint64_t id = 1; id <= 6; ++id) strangers.add(id, peer);
  CHECK(strangers.few_go(1));
  for (int i = 0; i < 5; ++i) strangers.choose(nullptr);
  CHECK(strangers.few_go(6));
  CHECK_FALSE(strangers.few_go(5));
  CHECK_FALSE(strangers.few_go(3));
  CHECK_FALSE(strangers.few_go(4));
  strangers.remove(6);  // stays
  for (const std::uint64_t id : {1u, 2u}) strangers.remove(id);
  CHECK(told == 0);
  strangers.remove(3);
  CHECK(told == 1);
  strangers.remove(4);
  strangers.remove(5);
  CHECK(told == 1);
  CHECK(strangers.few_go(1));
}
