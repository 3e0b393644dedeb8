// Which requests orders strike: counts, ranges, bytes, rates, and what happens where several are due.
#include "server/connection/fault_plan.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"

namespace pageserver::server {
namespace {

using proto::FaultAction;
using proto::Operation;
using test::check_error;
using test::thrown_by;

FaultPlan plan_of(std::string_view text) {
  std::vector<proto::FaultOrder> orders;
  REQUIRE_FALSE(proto::parse_fault_orders(text, orders));
  FaultPlan plan;
  plan.add(std::move(orders));
  return plan;
}

Strike strike(FaultPlan& plan, Operation operation, std::uint64_t offset = 0, std::uint64_t length = 0) {
  Strike found;
  plan.look({operation, offset, length}, found);
  return found;
}

std::string struck(FaultPlan& plan, Operation operation, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += strike(plan, operation).action ? 'x' : '.';
  return text;
}

proto::FaultsEntry entry(const FaultPlan& plan, std::size_t index = 0) {
  std::vector<proto::FaultsEntry> entries;
  plan.describe(entries);
  return entries.at(index);
}

}  // namespace

TEST_CASE("an order strikes the requests that its count names, and counts those that matched") {
  FaultPlan third = plan_of("read:3:no_space"), later = plan_of("read:3+:no_space"),
            all = plan_of("read:always:no_space");
  CHECK(struck(third, Operation::write, 4) == "....");
  CHECK(struck(third, Operation::read, 5) == "..x..");
  CHECK(struck(later, Operation::read, 5) == "..xxx");
  CHECK(struck(all, Operation::read, 5) == "xxxxx");
  CHECK(entry(third).seen == 5);
  CHECK(entry(third).struck == 1);
  CHECK(entry(later).struck == 3);
  CHECK(entry(third).order == "read:3:no_space");
}

TEST_CASE("an order for any request strikes all but close") {
  FaultPlan plan = plan_of("any:always:no_space");
  CHECK(struck(plan, Operation::close, 1) == ".");
  CHECK(struck(plan, Operation::stat, 1) == "x");
  CHECK(struck(plan, Operation::ping, 1) == "x");
  CHECK(entry(plan).seen == 2);
}

TEST_CASE("an order for a range strikes what touches one byte of it") {
  const auto hits = [](std::uint64_t offset, std::uint64_t length) {
    FaultPlan plan = plan_of("write:at=100+10:always:no_space");
    return strike(plan, Operation::write, offset, length).action.has_value();
  };
  CHECK_FALSE(hits(90, 10));
  CHECK(hits(90, 11));
  CHECK(hits(100, 1));
  CHECK(hits(109, 100));
  CHECK_FALSE(hits(110, 100));
  CHECK(hits(0, UINT64_MAX));
  CHECK_FALSE(hits(UINT64_MAX, UINT64_MAX));
  CHECK_FALSE(hits(50, 0));
}

TEST_CASE("an order behind some bytes strikes the first request after them") {
  FaultPlan plan = plan_of("write:after=100:no_space");
  CHECK_FALSE(strike(plan, Operation::write, 0, 60).action);
  CHECK_FALSE(strike(plan, Operation::read, 0, 60).action);
  CHECK_FALSE(strike(plan, Operation::write, 0, 60).action);
  CHECK(strike(plan, Operation::write, 0, 60).action);
  CHECK_FALSE(strike(plan, Operation::write, 0, 60).action);
  CHECK(entry(plan).seen == 2);
}

TEST_CASE("a rate strikes about that share, and the same requests for the same seed") {
  const auto run = [](std::string_view text) {
    FaultPlan plan = plan_of(text);
    return struck(plan, Operation::read, 4000);
  };
  const std::string once = run("read:rate=0.25:seed=7:no_space");
  CHECK(once == run("read:rate=0.25:seed=7:no_space"));
  CHECK(once != run("read:rate=0.25:seed=8:no_space"));
  const auto count = std::count(once.begin(), once.end(), 'x');
  CHECK(count > 850);
  CHECK(count < 1150);
  CHECK(run("read:rate=0:no_space").find('x') == std::string::npos);
  CHECK(run("read:rate=1:no_space").find('.') == std::string::npos);
}

TEST_CASE("delays add up and lie within their ends, and the same seed gives the same") {
  const auto delays = [](std::string_view text) {
    FaultPlan plan = plan_of(text);
    std::vector<std::int64_t> found;
    for (int i = 0; i < 200; ++i) found.push_back(strike(plan, Operation::read).delay.count());
    return found;
  };
  const auto jitter = delays("read:always:delay=10ms..12ms:seed=3");
  CHECK(jitter == delays("read:always:delay=10ms..12ms:seed=3"));
  for (const std::int64_t least : {10, 11, 12}) CHECK(std::count(jitter.begin(), jitter.end(), least) > 20);
  CHECK(*std::min_element(jitter.begin(), jitter.end()) == 10);
  CHECK(*std::max_element(jitter.begin(), jitter.end()) == 12);
  CHECK(delays("read:always:delay=10ms,any:always:delay=5ms")[0] == 15);
}

TEST_CASE("where several orders are due the first one strikes, and the others are not counted for it") {
  FaultPlan plan = plan_of("read:always:delay=1ms,read:2:cut=after,any:always:status=busy");
  CHECK(strike(plan, Operation::read).action == FaultAction::status);
  const Strike second = strike(plan, Operation::read);
  CHECK(second.action == FaultAction::cut_after);
  CHECK(second.order == "read:2:cut=after");
  CHECK(second.delay.count() == 1);
  CHECK(entry(plan, 1).struck == 1);
  CHECK(entry(plan, 2).struck == 1);
  CHECK(entry(plan, 2).seen == 2);
}

TEST_CASE("a sync fails at a flush or commit, and at nothing else") {
  FaultPlan plan = plan_of("any:sync_failed");
  CHECK_FALSE(strike(plan, Operation::write).action);
  CHECK(strike(plan, Operation::commit).action == FaultAction::sync_failed);
}

TEST_CASE("more orders than there may be are refused, and none of them is taken") {
  FaultPlan plan = plan_of("read:hang");
  std::vector<proto::FaultOrder> many(proto::fault_orders_max);
  check_error(thrown_by([&] { plan.add(many); }), Errc::limit_exceeded, {"fault_orders_max=32", "clear them first"});
  many.pop_back();
  plan.add(many);
  check_error(thrown_by([&] { plan.add({proto::FaultOrder{}}); }), Errc::limit_exceeded, {"32 orders are here"});
  plan.clear();
  CHECK(plan.empty());
}

TEST_CASE("orders for a store strike there, until they are cleared") {
  StorePlans plans;
  const auto hits = [&](const char* store) {
    Strike found;
    plans.look(store, {Operation::read, 0, 0}, found);
    return found.action.has_value();
  };
  CHECK_FALSE(hits("a"));
  plans.change("a", [](FaultPlan& plan) { plan = plan_of("read:always:no_space"); });
  CHECK(hits("a"));
  CHECK_FALSE(hits("b"));
  plans.change("a", [](FaultPlan& plan) { plan.clear(); });
  CHECK_FALSE(hits("a"));
}

}  // namespace pageserver::server
