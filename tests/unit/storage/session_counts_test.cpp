#include "storage/engine/session_counts.hpp"

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

TEST_CASE("session counts: each kind is counted by itself, and goes as it came") {
  storage::SessionCounts counts;
  storage::SessionRequest live, pinned, writer, fork;
  live.access = pinned.access = Access::read;
  pinned.view = View::pinned;
  writer.access = Access::write;
  fork.access = Access::fork;
  for (const auto& request : {live, live, live, pinned, pinned, writer, fork}) counts.add(request);
  counts.remove(live);
  CHECK(counts.all() == 6);
  Stat stat;
  counts.report(stat);
  CHECK(stat.sessions_live == 2);
  CHECK(stat.sessions_pinned == 2);
  CHECK(stat.sessions_write == 1);
  CHECK(stat.sessions_fork == 1);
}

}  // namespace
}  // namespace pageserver::test
