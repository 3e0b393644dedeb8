// The text form of faults on order.
#include "proto/fault_order.hpp"

#include "proto/codec.hpp"
#include "server/access/rights.hpp"
#include "tests/support/catch.hpp"

namespace pageserver::proto {
namespace {

FaultOrder one(std::string_view text) {
  std::vector<FaultOrder> orders;
  const auto error = parse_fault_orders(text, orders);
  INFO(text << (error ? ": " + error->message : ""));
  REQUIRE_FALSE(error);
  REQUIRE(orders.size() == 1);
  return orders[0];
}

FaultOrderError refused(std::string_view text) {
  std::vector<FaultOrder> orders;
  const auto error = parse_fault_orders(text, orders);
  INFO(text);
  REQUIRE(error);
  return *error;
}

}  // namespace

TEST_CASE("an order without a condition strikes the first request of its kind") {
  const FaultOrder order = one("write:no_space");
  CHECK(order.operation == Operation::write);
  CHECK(order.action == FaultAction::status);
  CHECK(order.status == Status::no_space);
  CHECK(order.first == 1);
  CHECK(order.last == 1);
  CHECK_FALSE(order.rate_ppm);
  CHECK_FALSE(order.at_length);
  CHECK(order.text == "write:no_space");
}

TEST_CASE("an order's conditions say which requests it strikes") {
  CHECK(one("any:3:hang").first == 3);
  CHECK(one("any:3:hang").last == 3);
  CHECK_FALSE(one("any:3:hang").operation);
  CHECK(one("read:3+:hang").first == 3);
  CHECK(one("read:3+:hang").last == UINT64_MAX);
  CHECK(one("read:always:hang").first == 1);
  CHECK(one("read:always:hang").last == UINT64_MAX);
  CHECK(one("read:rate=0.25:seed=7:hang").rate_ppm == 250'000u);
  CHECK(one("read:rate=0.25:seed=7:hang").seed == 7);
  CHECK(one("read:rate=1:hang").rate_ppm == 1'000'000u);
  CHECK(one("read:rate=0.000001:hang").rate_ppm == 1u);
  CHECK(one("read:rate=1:hang").last == UINT64_MAX);
  CHECK(one("read:rate=1:2:hang").last == 2);
  CHECK(one("write:at=64KiB+1:hang").at_offset == 65536);
  CHECK(one("write:at=64KiB+1:hang").at_length == 1u);
  CHECK(one("write:after=1MiB:hang").after_bytes == 1u << 20);
  CHECK(one("write:hang:2").first == 2);
}

TEST_CASE("an order's action is the one that its last word names") {
  const auto action = [](std::string_view text) { return one(text).action; };
  CHECK(action("read:hang") == FaultAction::hang);
  CHECK(action("read:cut=before") == FaultAction::cut_before);
  CHECK(action("read:cut=after") == FaultAction::cut_after);
  CHECK(action("read:torn") == FaultAction::torn);
  CHECK_FALSE(one("read:torn").bytes);
  CHECK(one("read:torn=0").bytes == 0u);
  CHECK(one("read:torn=25").bytes == 25u);
  CHECK(action("read:drip=1KiB") == FaultAction::drip);
  CHECK(one("read:drip=1KiB").bytes == 1024u);
  CHECK(action("any:lease_lost") == FaultAction::lease_lost);
  CHECK(action("any:snapshot_too_old") == FaultAction::snapshot_too_old);
  CHECK(action("flush:sync_failed") == FaultAction::sync_failed);
  CHECK(action("any:stop") == FaultAction::stop);
  CHECK(action("write:kill=before") == FaultAction::kill_before);
  CHECK(action("write:kill=inside") == FaultAction::kill_inside);
  CHECK(action("write:kill=after") == FaultAction::kill_after);
  CHECK(one("read:status=damaged").status == Status::damaged);
  CHECK(one("read:delay=1s").delay_min.count() == 1000);
  CHECK(one("read:delay=1s").delay_max.count() == 1000);
  CHECK(one("read:delay=10ms..50ms").delay_min.count() == 10);
  CHECK(one("read:delay=10ms..50ms").delay_max.count() == 50);
}

TEST_CASE("orders are separated by commas or lines, with blanks and comments between them") {
  std::vector<FaultOrder> orders;
  const auto error = parse_fault_orders(
      "# a bad day\n write:3:no_space ,flush:delay=50ms\r\n\n,read:hang # and so on, and on", orders);
  REQUIRE_FALSE(error);
  REQUIRE(orders.size() == 3);
  CHECK(orders[0].text == "write:3:no_space");
  CHECK(orders[1].text == "flush:delay=50ms");
  CHECK(orders[2].text == "read:hang");
  orders.clear();
  CHECK_FALSE(parse_fault_orders(" \n# nothing\n", orders));
  CHECK(orders.empty());
}

TEST_CASE("an order that is wrong is refused with its place, and what may stand there") {
  struct Case {
    const char* text;
    std::size_t position;
    const char* says;
  };
  for (const Case& each : {
           Case{"open:hang", 0, "size, grow"},
           Case{"faults:hang", 0, "no request that can be struck"},
           Case{":hang", 0, "no request"},
           Case{"read:hang,write:3", 10, "says not what happens"},
           Case{"read", 0, "an action at its end"},
           Case{"read:0:hang", 5, "a number from 1 on"},
           Case{"read:3x:hang", 5, "3+"},
           Case{"read:1:2:hang", 7, "a second count"},
           Case{"read:rate=0.1:rate=0.9:hang", 14, "a second rate"},
           Case{"read:rate=0.1:seed=1:hang:seed=1", 26, "a second seed"},
           Case{"read:at=0+1:at=8+1:hang", 12, "a second at"},
           Case{"read:after=1:after=1:hang", 13, "a second after"},
           Case{"read:rate=1.5:hang", 5, "rate=0.25"},
           Case{"read:rate=.5:hang", 5, "no rate"},
           Case{"read:rate=0.1234567:hang", 5, "6 digits"},
           Case{"read:seed=x:hang", 5, "seed=7"},
           Case{"read:3:seed=7:hang", 7, "nothing to choose"},
           Case{"read:seed=7:delay=5ms", 5, "delay=MIN..MAX"},
           Case{"read:at=5:hang", 5, "at=64KiB+64KiB"},
           Case{"read:at=5+0:hang", 5, "no range"},
           Case{"read:at=18446744073709551615+2:hang", 5, "no range"},
           Case{"flush:at=0+5:hang", 0, "names a range"},
           Case{"read:after=x:hang", 5, "after=1MiB"},
           Case{"read:hang:hang", 10, "second action"},
           Case{"read:status=ok", 5, "no status"},
           Case{"read:status=kicked", 5, "no status"},
           Case{"read:delay=5ms..1ms", 5, "no time"},
           Case{"read:delay=", 5, "no time"},
           Case{"read:drip=0", 5, "drip=BYTES"},
           Case{"read:torn=x", 5, "torn=BYTES"},
           Case{"read:sync_failed", 0, "flush, commit"},
           Case{"close:torn", 0, "answer of a close"},
           Case{"read:boom", 5, "no condition and no action"},
           Case{"read::hang", 5, "no condition"},
       }) {
    const FaultOrderError error = refused(each.text);
    INFO(each.text << " -> " << error.message);
    CHECK(error.position == each.position);
    CHECK(error.message.find("at byte " + std::to_string(each.position) + ": ") == 0);
    CHECK(error.message.find(each.says) != std::string::npos);
    CHECK(error.message.find("expected ") != std::string::npos);
  }
  CHECK(refused("read:hang," + std::string(300, 'x')).message.find("has 300 bytes") != std::string::npos);
}

TEST_CASE("each operation of a session but faults can be struck, and no other") {
  for (std::uint16_t number = 0; number < 256; ++number) {
    const auto operation = static_cast<Operation>(number);
    std::vector<FaultOrder> orders;
    const bool parses = !parse_fault_orders(to_string(operation) + ":hang", orders);
    CHECK(parses == can_be_struck(operation));
    // What needs the right of its session is an operation of a session: the list can't lack a new one.
    const bool of_session = server::need_of(operation) == server::Need::access && operation != Operation::open;
    INFO(to_string(operation));
    if (of_session && operation != Operation::faults) CHECK(can_be_struck(operation));
  }
  CHECK(can_be_struck(Operation::read));
  CHECK_FALSE(can_be_struck(Operation::faults));
  CHECK_FALSE(can_be_struck(Operation::open));
}

}  // namespace pageserver::proto
