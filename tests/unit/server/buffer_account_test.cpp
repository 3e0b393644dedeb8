#include "server/connection/buffer_account.hpp"

#include <memory>
#include <vector>

#include "tests/support/catch.hpp"

using namespace pageserver;
using namespace pageserver::server;

namespace {

constexpr std::uint64_t free_bytes = BufferRoom::free_bytes;
constexpr std::uint64_t room_bytes = 1'000'000;

struct World {
  base::MemoryShare share{room_bytes, "limits.memory_bytes=4000000"};
  BufferRoom room{share, 100, 1000, [](std::uint64_t /*id*/) {}};
  std::shared_ptr<Peer> peer = std::make_shared<Peer>("one");
  BufferAccount account{room, peer, 7};
};

BufferAccount::Kept kept_of(std::uint64_t input, std::uint64_t output, std::uint64_t answers, std::uint64_t moved) {
  BufferAccount::Kept kept;
  kept.input = input;
  kept.output = output;
  kept.answers = answers;
  kept.moved_ever = moved;
  return kept;
}

}  // namespace

TEST_CASE("buffer account: what each has in any case is not charged, all beyond it is, and given back at the end") {
  World world;
  world.account.settle(kept_of(free_bytes / 2, free_bytes / 2, 0, 0));
  CHECK(world.share.used() == 0);
  world.account.settle(kept_of(free_bytes, 300, 20, 0));
  CHECK(world.share.used() == 320);
  CHECK(world.account.bytes() == 320);
  CHECK(world.peer->buffered_bytes == 320);
  world.account.give_back();
  CHECK(world.share.used() == 0);
}

TEST_CASE("buffer account: a large frame is charged as a whole from the moment that it is let in") {
  World world;
  constexpr std::uint64_t frame_bytes = 200'000;
  CHECK(world.account.is_admitted(free_bytes));
  CHECK_FALSE(world.account.is_admitted(frame_bytes));
  CHECK(world.account.admit(frame_bytes));
  world.account.settle(kept_of(100, 0, 0, 0));
  CHECK(world.share.used() == frame_bytes - free_bytes);
  CHECK(world.account.is_admitted(frame_bytes));
  world.account.frame_taken();
  world.account.settle(kept_of(0, 0, 0, 0));
  CHECK(world.share.used() == 0);
  CHECK_FALSE(world.account.is_admitted(frame_bytes));
}

TEST_CASE("buffer account: without room a frame and an answer wait, and small ones never do") {
  World world;
  Peer other{"other"};
  world.room.change(other, 0, room_bytes);
  CHECK(world.account.is_tight());
  CHECK(world.account.admit(free_bytes));
  CHECK(world.account.may_answer(free_bytes));
  CHECK_FALSE(world.account.waits());
  CHECK_FALSE(world.account.may_answer(free_bytes + 1));
  CHECK(world.account.waits());
  world.account.end_wait();
  CHECK_FALSE(world.account.admit(free_bytes + 1));
  CHECK(world.account.waits());
}

TEST_CASE("buffer account: others are to make way from the second wait in a row on") {
  World world;
  Peer other{"other"};
  world.room.change(other, 0, room_bytes);
  CHECK_FALSE(world.account.wait_in_line());
  CHECK(world.room.is_awaited());
  CHECK(world.account.wait_in_line());
  world.room.change(other, room_bytes, 0);
  CHECK(world.account.admit(free_bytes + 1));
  CHECK_FALSE(world.account.wait_in_line());
}

TEST_CASE("buffer account: it is idle since bytes last moved in earnest, and not while it waits itself") {
  World world;
  world.account.settle(kept_of(free_bytes + 100, 0, 0, 1000));
  const BufferAccount::Idle idle = world.account.idle();
  CHECK(idle.bytes == 100);
  CHECK(idle.since_ms > 0);
  world.account.settle(kept_of(free_bytes + 100, 0, 0, 1000 + BufferAccount::progress_bytes - 1));
  CHECK(world.account.idle().since_ms == idle.since_ms);
  CHECK_FALSE(world.account.may_answer(2 * room_bytes));
  CHECK(world.account.idle().bytes == 0);
}

TEST_CASE("buffer account: answers for a client that may come back are no idle bytes, as long as there are some") {
  World world;
  world.account.settle(kept_of(free_bytes, 100, 400, 0));
  CHECK(world.account.bytes() == 500);
  CHECK(world.account.idle().bytes == 100);
  world.account.settle(kept_of(free_bytes, 500, 0, 0));
  CHECK(world.account.idle().bytes == 500);
}

TEST_CASE("buffer account: another socket begins anew, with what is charged still charged") {
  World world;
  CHECK(world.account.admit(100'000));
  world.account.settle(kept_of(0, 0, 0, 0));
  world.account.ask_for_room();
  CHECK_FALSE(world.account.may_answer(2 * room_bytes));
  world.account.begin_anew();
  CHECK_FALSE(world.account.waits());
  CHECK_FALSE(world.account.take_ask());
  CHECK_FALSE(world.account.is_admitted(100'000));
  CHECK(world.share.used() == 100'000 - free_bytes);
  world.account.ask_for_room();
  CHECK(world.account.take_ask());
  CHECK_FALSE(world.account.take_ask());
}
