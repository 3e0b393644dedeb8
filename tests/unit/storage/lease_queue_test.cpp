#include "storage/engine/lease_queue.hpp"

#include <limits>
#include <memory>

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::LeaseQueue;
using storage::SessionRef;
using storage::SessionState;

SessionRef join(LeaseQueue& lease, std::uint64_t place, bool waited = true) {
  LeaseQueue::Waiters one(1);
  one.front().place = place;
  one.front().state = std::make_shared<SessionState>();
  one.front().waited = waited;
  SessionRef state = one.front().state;
  lease.join(one);
  return state;
}

TEST_CASE("lease line: it is given in order, to one at a time, each with the next epoch") {
  LeaseQueue lease;
  LeaseQueue::Waiters granted;
  CHECK_FALSE(lease.taken());
  CHECK(lease.grant(granted) == nullptr);
  const SessionRef first = join(lease, 1), second = join(lease, 2);
  CHECK(lease.taken());
  CHECK(lease.length() == 2);
  REQUIRE(lease.grant(granted) != nullptr);
  CHECK(lease.writer() == first);
  CHECK(first->epoch == 1);
  CHECK(lease.grant(granted) == nullptr);
  CHECK(lease.length() == 1);
  CHECK(lease.end() == first);
  CHECK(lease.writer() == nullptr);
  REQUIRE(lease.grant(granted) != nullptr);
  CHECK(second->epoch == 2);
  CHECK(granted.size() == 2);
  lease.end();
  CHECK_FALSE(lease.taken());
}

TEST_CASE("lease line: who leaves it is passed over, and a place that is gone is not found") {
  LeaseQueue lease;
  LeaseQueue::Waiters granted, cancelled;
  join(lease, 1);
  const SessionRef second = join(lease, 2);
  CHECK(lease.leave(1, cancelled));
  CHECK(cancelled.front().place == 1);
  CHECK_FALSE(lease.leave(1, cancelled));
  lease.grant(granted);
  CHECK(lease.writer() == second);
  CHECK_FALSE(lease.leave(2, cancelled));
}

TEST_CASE("lease line: who had it last is known while it lives") {
  LeaseQueue lease;
  LeaseQueue::Waiters granted;
  CHECK(lease.leaving() == nullptr);
  SessionRef writer = join(lease, 1);
  lease.grant(granted);
  granted.clear();
  CHECK(lease.end() == writer);
  CHECK(lease.leaving() == writer);
  writer.reset();
  CHECK(lease.leaving() == nullptr);
}

TEST_CASE("lease line: the time in line is no idleness") {
  LeaseQueue lease;
  LeaseQueue::Waiters granted;
  const bool waited = GENERATE(false, true);
  const SessionRef writer = join(lease, 1, waited);
  writer->last_request_ms = 5;
  lease.grant(granted);
  CHECK(writer->last_request_ms == (waited ? std::numeric_limits<std::int64_t>::max() : 5));
}

TEST_CASE("lease line: all that wait leave together") {
  LeaseQueue lease;
  LeaseQueue::Waiters left;
  join(lease, 1);
  join(lease, 2);
  lease.clear(left);
  CHECK(left.size() == 2);
  CHECK_FALSE(lease.taken());
}

}  // namespace
}  // namespace pageserver::test
