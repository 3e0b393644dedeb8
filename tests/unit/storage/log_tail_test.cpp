#include "storage/engine/log_tail.hpp"

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::LogTail;

TEST_CASE("log tail: a record shares the block of the one before, unless a sync may have begun with that") {
  LogTail tail{1};
  CHECK(tail.appended().version == 1);
  CHECK(tail.begin_record(false));  // the first
  tail.append({100, 2, 0});
  tail.end_record();
  CHECK_FALSE(tail.all_synced());
  CHECK_FALSE(tail.begin_record(false));
  tail.append({200, 3, 0});
  tail.end_record();
  CHECK(tail.begin_record(true));  // it asks for it
  tail.append({300, 4, 0});
  tail.end_record();
  const auto sync = tail.begin_sync(false);
  REQUIRE(sync.has_value());
  CHECK(sync->position == 300);
  CHECK(sync->version == 4);
  CHECK(tail.begin_record(false));  // sealed
  tail.append({400, 5, 0});
  tail.end_record();
  tail.end_sync(*sync);
  CHECK(tail.synced().position == 300);
  CHECK_FALSE(tail.all_synced());
  CHECK_FALSE(tail.begin_record(false));
}

TEST_CASE("log tail: a sync waits for the record that shares a block, and comes at its end") {
  LogTail tail{1};
  int syncs = 0;
  const auto ready = [&] {
    storage::Background::Ready task;
    task.push_back([&] { ++syncs; });
    return task;
  };
  tail.begin_record(false);
  tail.append({100, 2, 0});
  CHECK(tail.end_record().empty());
  CHECK_FALSE(tail.begin_record(false));
  tail.set_sync_ready(ready());
  CHECK(tail.has_sync_ready());
  CHECK_FALSE(tail.begin_sync(false).has_value());
  CHECK(tail.begin_sync(true).has_value());
  tail.append({200, 3, 0});
  auto task = tail.end_record();
  REQUIRE(task.size() == 1);
  task.front()();
  CHECK(syncs == 1);
  CHECK_FALSE(tail.has_sync_ready());
  CHECK(tail.begin_record(false));  // that sync begins with the block
}

TEST_CASE("log tail: a record that begins while a sync waits does not put it off again") {
  LogTail tail{1};
  tail.begin_record(false);
  tail.append({100, 2, 0});
  tail.end_record();
  tail.begin_record(false);
  CHECK_FALSE(tail.begin_sync(false).has_value());
  CHECK(tail.begin_record(false));
}

TEST_CASE("log tail: the disk is told of what is appended, once it is much, and of nothing twice") {
  constexpr std::uint64_t much = 4ull << 20;
  LogTail tail{1};
  tail.append({much - 1, 2, 0});
  CHECK_FALSE(tail.wants_writeback());
  tail.append({much, 3, 0});
  CHECK(tail.wants_writeback());
  tail.writeback_scheduled();
  CHECK_FALSE(tail.wants_writeback());
  CHECK(tail.begin_writeback() == 0);
  tail.end_writeback();
  CHECK_FALSE(tail.wants_writeback());
  tail.append({3 * much, 4, 0});
  CHECK(tail.wants_writeback());
  CHECK(tail.begin_writeback() == much);
  // One that had no memory to do it is asked for again; what was synced meanwhile is left out.
  CHECK(tail.wants_writeback());
  tail.end_sync({2 * much, 4, 0});
  CHECK(tail.begin_writeback() == 2 * much);
}

TEST_CASE("log tail: the log may go on elsewhere with nothing new in it") {
  LogTail tail{1};
  tail.append({100, 2, 0});
  tail.move_to(4096);
  CHECK(tail.appended().position == 4096);
  CHECK(tail.appended().version == 2);
}

}  // namespace
}  // namespace pageserver::test
