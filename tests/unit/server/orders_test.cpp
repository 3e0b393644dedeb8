#include "server/connection/orders.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include "server/connection/turn_time.hpp"
#include "server/runtime/shared_slot.hpp"
#include "tests/support/catch.hpp"

using namespace pageserver;
using namespace pageserver::server;
using namespace std::chrono_literals;

TEST_CASE("orders: the first kick's reason stays, and everybody who kicks is told once that nothing is held") {
  Orders orders;
  CHECK_FALSE(orders.kicked());
  int told = 0;
  CHECK(orders.kick({proto::Status::kicked, "for an hour"}, [&] { ++told; }));
  CHECK_FALSE(orders.kick({proto::Status::permission_denied, "TLS"}, [&] { ++told; }));
  CHECK(orders.kicked());
  CHECK(orders.kicked_for().status == proto::Status::kicked);
  CHECK(orders.kicked_for().message == "for an hour");
  CHECK(told == 0);
  orders.tell_released();
  CHECK(told == 2);
  orders.tell_released();
  CHECK(told == 2);
}

TEST_CASE("orders: of many who kick at once one is the first, and all are told") {
  Orders orders;
  std::atomic<int> first{0}, told{0};
  {
    std::vector<std::jthread> kickers;
    for (int i = 0; i < 8; ++i)
      kickers.emplace_back([&] {
        if (orders.kick({proto::Status::kicked, "all of you"}, [&] { ++told; })) ++first;
        orders.tell_released();
      });
  }
  orders.tell_released();
  CHECK(first == 1);
  CHECK(told == 8);
}

TEST_CASE("orders: who goes to a successor may stay after all, and the one who waits is told either way") {
  Orders orders;
  int gone = 0;
  orders.go_to_successor([&] { ++gone; });
  CHECK(orders.has_successor());
  orders.tell_released();
  CHECK(gone == 0);
  orders.stay();
  CHECK_FALSE(orders.has_successor());
  orders.tell_gone();
  CHECK(gone == 1);
}

TEST_CASE("orders: a change of policy is taken once, all else stays said") {
  Orders orders;
  CHECK_FALSE(orders.take_policy_change());
  orders.look_at_policy();
  CHECK(orders.take_policy_change());
  CHECK_FALSE(orders.take_policy_change());
  CHECK_FALSE(orders.ends_at_once());
  SECTION("aborted") {
    orders.abort();
    CHECK(orders.aborted());
    CHECK_FALSE(orders.lost());
  }
  SECTION("lost") {
    orders.lose();
    CHECK(orders.lost());
    CHECK_FALSE(orders.aborted());
  }
  CHECK(orders.ends_at_once());
  CHECK_FALSE(orders.dropped());
  orders.drop_stranger();
  CHECK(orders.dropped());
  CHECK_FALSE(orders.distrusted());
  orders.distrust();
  CHECK(orders.distrusted());
}

TEST_CASE("turn time: a turn begins with its first frame, and is over some time later") {
  TurnTime time;
  const TurnTime::Clock::time_point start{10s};
  CHECK_FALSE(time.ends(start));
  CHECK(time.now() == start);
  CHECK_FALSE(time.ends(start + TurnTime::max - 1us));
  CHECK_FALSE(time.is_over());
  CHECK(time.ends(start + TurnTime::max));
  CHECK(time.is_over());
  time.begin();
  CHECK_FALSE(time.is_over());
  CHECK_FALSE(time.ends(start + 1h));
  CHECK(time.now() == start + 1h);
}

TEST_CASE("shared slot: what was taken out of it lives on while another is there") {
  SharedSlot<const int> slot;
  CHECK(slot.get() == nullptr);
  slot.set(std::make_shared<const int>(1));
  const std::shared_ptr<const int> one = slot.get();
  slot.set(std::make_shared<const int>(2));
  CHECK(*one == 1);
  CHECK(one.use_count() == 1);
  CHECK(*slot.get() == 2);
}
