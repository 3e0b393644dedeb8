#include "storage/engine/flush_queue.hpp"

#include <memory>
#include <vector>

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::Background;
using storage::Commit;
using storage::FlushQueue;
using storage::SessionRef;
using storage::SessionState;

void add(FlushQueue& queue, std::uint64_t position, std::uint64_t version, bool commit = false) {
  FlushQueue::Flushes flush(1);
  flush.front().position = position;
  flush.front().version = version;
  if (commit) flush.front().commit.emplace().publishing.version = version;
  queue.add(flush);
}

std::vector<std::uint64_t> versions(const FlushQueue::Flushes& flushes) {
  std::vector<std::uint64_t> found;
  for (const auto& flush : flushes) found.push_back(flush.version);
  return found;
}

TEST_CASE("flush queue: a sync ends those up to where it came, in their order, and the others wait for the next") {
  FlushQueue queue;
  add(queue, 100, 1);
  add(queue, 200, 2);
  add(queue, 200, 3);
  add(queue, 201, 4);
  FlushQueue::Flushes ended;
  queue.take_until(200, ended);
  CHECK(versions(ended) == std::vector<std::uint64_t>{1, 2, 3});
  queue.take_until(200, ended);
  CHECK(versions(ended) == std::vector<std::uint64_t>{1, 2, 3});
  queue.take_all(ended);
  CHECK(versions(ended) == std::vector<std::uint64_t>{1, 2, 3, 4});
}

TEST_CASE("flush queue: the commit is found only once the sync came as far as its record") {
  FlushQueue queue;
  add(queue, 100, 1);
  CHECK(queue.commit_until(~0ull) == nullptr);
  add(queue, 200, 2, true);
  add(queue, 300, 3);
  CHECK(queue.commit_until(199) == nullptr);
  Commit* const commit = queue.commit_until(200);
  REQUIRE(commit != nullptr);
  CHECK(commit->publishing.version == 2);
}

TEST_CASE("flush queue: a transaction that waits for room has its task submitted once") {
  FlushQueue queue;
  const SessionRef state = std::make_shared<SessionState>();
  queue.keep_transaction(state);
  CHECK_FALSE(queue.transaction_waits_for_room());
  CHECK(queue.take_transaction() == state);
  CHECK(queue.take_transaction() == nullptr);

  Background::Ready task;
  int ran = 0;
  task.push_back([&] { ++ran; });
  queue.keep_transaction(state, std::move(task));
  CHECK(queue.transaction_waits_for_room());
  const Background::Ready taken = queue.take_task();
  REQUIRE(taken.size() == 1);
  taken.front()();
  CHECK(ran == 1);
  CHECK_FALSE(queue.transaction_waits_for_room());
  CHECK(queue.take_transaction() == state);
}

}  // namespace
}  // namespace pageserver::test
