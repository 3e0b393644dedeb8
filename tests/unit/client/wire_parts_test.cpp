// The parts of a connection, each for itself: requests in line, reads straight into buffers, completions, the end.
#include "tests/support/catch.hpp"

#include <array>
#include <stdexcept>
#include <string>

#include "client/wire/connection_end.hpp"
#include "client/wire/direct_reads.hpp"
#include "client/wire/request_queue.hpp"
#include "client/wire/send_queue.hpp"
#include "tests/support/errors.hpp"
#include "tests/unit/client/wire_peer.hpp"

using namespace pageserver;
using namespace pageserver::client;
using namespace pageserver::test;
using proto::Operation;

namespace {

constexpr RequestQueue::Limits wide{100, 1u << 20};
constexpr std::uint64_t all_sent = ~std::uint64_t{0};

/// A request of `cost` bytes whose frame ends at `position`; its completion counts in `ran`.
void add_request(RequestQueue& line, std::size_t cost, std::uint64_t position, int* ran = nullptr) {
  line.add(Operation::read, cost, std::chrono::hours{1}, {},
           [ran](const RawAnswer&) -> std::optional<Undecoded> {
             if (ran != nullptr) ++*ran;
             return std::nullopt;
           })
      .end_position = position;
}

}  // namespace

TEST_CASE("requests get rising ids, and what is admitted may be sent up to its end") {
  RequestQueue line;
  CHECK(line.is_empty());
  CHECK(line.next_id() == 1);
  add_request(line, 10, 100);
  add_request(line, 10, 200);
  CHECK(line.next_id() == 3);
  CHECK(line.outstanding() == 2);
  CHECK(line.in_flight() == 0);
  CHECK(line.admit(wide) == 200);
  CHECK_FALSE(line.admit(wide));
  CHECK(line.in_flight() == 2);
  CHECK(line.is_in_flight(1, all_sent));
  CHECK(line.is_in_flight(2, 200));
  CHECK_FALSE(line.is_in_flight(2, 199));
  CHECK_FALSE(line.is_in_flight(3, all_sent));
  CHECK_FALSE(line.is_in_flight(0, all_sent));
}

TEST_CASE("no more requests and bytes are admitted than the limits say, but one always is") {
  RequestQueue line;
  for (std::uint64_t i = 1; i <= 4; ++i) add_request(line, 10, i * 100);
  SECTION("requests") {
    CHECK(line.admit({2, 1000}) == 200);
    CHECK_FALSE(line.has_room({2, 1000}));
    CHECK_FALSE(line.admit({2, 1000}));
    (void)line.finish(2);
    CHECK(line.admit({2, 1000}) == 300);
  }
  SECTION("bytes") {
    CHECK(line.admit({100, 30}) == 300);
    (void)line.finish(1);
    CHECK(line.admit({100, 30}) == 400);
    CHECK_FALSE(line.has_room({100, 30}));
    CHECK(line.has_room({100, 31}));
  }
  SECTION("one always") {
    CHECK(line.admit({100, 5}) == 100);
    CHECK_FALSE(line.admit({100, 5}));
  }
}

TEST_CASE("answers come in any order, and a request that is done is found no more") {
  RequestQueue line;
  int ran = 0;
  for (std::uint64_t i = 1; i <= 3; ++i) add_request(line, 10, i * 100, &ran);
  (void)line.admit(wide);
  const auto completion = line.finish(2);
  CHECK_FALSE(line.is_in_flight(2, all_sent));
  CHECK(line.next_in_flight(0) == 1);
  CHECK(line.next_in_flight(1) == 3);
  CHECK(line.next_in_flight(3) == 0);
  (void)line.finish(1);
  CHECK(line.next_in_flight(0) == 3);
  CHECK(line.at(3).end_position == 300);
  (void)line.finish(3);
  CHECK(line.is_empty());
  CHECK(line.outstanding() == 0);
  CHECK(line.next_id() == 4);
  CHECK(ran == 0);
  (void)completion({});
  CHECK(ran == 1);
}

TEST_CASE("a request that is taken back leaves no trace") {
  RequestQueue line;
  add_request(line, 10, 100);
  line.drop_last();
  CHECK(line.is_empty());
  CHECK(line.next_id() == 1);
  CHECK(line.outstanding() == 0);
}

TEST_CASE("a deadline is that of the oldest request, and there is none when nothing is in flight") {
  RequestQueue line;
  CHECK(line.deadline() == never);
  const auto before = Clock::now();
  add_request(line, 10, 100);
  CHECK(line.deadline() == never);
  (void)line.admit(wide);
  CHECK(line.deadline() >= before + std::chrono::hours{1});
  CHECK(line.deadline() <= Clock::now() + std::chrono::hours{1});
  (void)line.finish(1);
  CHECK(line.deadline() == never);
}

TEST_CASE("at the end each completion that did not run is taken once, in order") {
  RequestQueue line;
  std::array<int, 4> ran{};
  for (std::size_t i = 0; i < 4; ++i) add_request(line, 10, (i + 1) * 100, &ran.at(i));
  (void)line.admit({3, 1000});
  (void)line.finish(2);
  line.halt();
  CHECK(line.in_flight() == 0);
  CHECK(line.deadline() == never);
  for (int taken = 0; const auto completion = line.take_first();) {
    (void)completion({});
    ++taken;
    CHECK(line.outstanding() == static_cast<std::size_t>(3 - taken));
  }
  CHECK((ran == std::array<int, 4>{1, 0, 1, 1}));
  CHECK(line.is_empty());
}

TEST_CASE("a read that is received into its buffer has landed when nothing is left of it") {
  DirectReads reads;
  proto::Bytes buffer(100);
  CHECK_FALSE(reads.has_current());
  CHECK(reads.rest().empty());
  reads.begin(7, buffer);
  CHECK(reads.current_id() == 7);
  reads.fill(60);
  CHECK(reads.rest().size() == 40);
  CHECK_FALSE(reads.has_landed());
  CHECK(reads.take_landed() == 0);
  reads.fill(40);
  CHECK(reads.has_landed());
  CHECK(reads.take_landed() == 7);
  CHECK(reads.take_landed() == 0);
  CHECK_FALSE(reads.has_current());
}

TEST_CASE("when the expected read comes, the one before it has landed, and both are taken in their order") {
  DirectReads reads;
  proto::Bytes first(100);
  proto::Bytes second(50);
  reads.begin(7, first);
  reads.expect(8, second);
  CHECK(reads.expected().size() == 50);
  reads.fill(100);
  const auto target = reads.take_expected();
  CHECK(reads.expected().empty());
  CHECK(target.id == 8);
  reads.begin_expected(target, 50);
  CHECK(reads.take_landed() == 7);
  CHECK(reads.has_landed());
  CHECK(reads.take_landed() == 8);
  CHECK_FALSE(reads.has_landed());
}

TEST_CASE("nothing is left of reads after the end") {
  DirectReads reads;
  proto::Bytes buffer(100);
  reads.begin(7, buffer);
  reads.begin_expected({8, buffer}, 10);
  reads.expect(9, buffer);
  reads.clear();
  CHECK_FALSE(reads.has_current());
  CHECK_FALSE(reads.has_landed());
  CHECK(reads.expected().empty());
  CHECK(reads.take_landed() == 0);
}

TEST_CASE("what a completion throws is kept until it is asked for, once") {
  CompletionRunner runner;
  bool was_running = false;
  const Completion throws = [&](const RawAnswer&) -> std::optional<Undecoded> {
    was_running = runner.is_running();
    throw std::runtime_error{"of the program"};
  };
  CHECK_FALSE(runner.run(throws, {}));
  CHECK(was_running);
  CHECK_FALSE(runner.is_running());
  CHECK(runner.has_thrown());
  CHECK_THROWS_AS(runner.rethrow(), std::runtime_error);
  CHECK_FALSE(runner.has_thrown());
  CHECK_NOTHROW(runner.rethrow());
}

TEST_CASE("an answer that can't be decoded is told, and its completion is called with the error alone") {
  int calls = 0;
  const MemoryError lost{Errc::protocol_error, "broken"};
  const auto completion = completion_of<proto::SizeRequest>([&](const Outcome<proto::SizeAnswer>& outcome) {
    ++calls;
    CHECK_FALSE(outcome.ok());
    CHECK(outcome.error() == &lost);
  });
  const proto::Bytes garbage(3);
  const auto undecoded = completion({nullptr, garbage});
  REQUIRE(undecoded);
  CHECK(undecoded->fault);
  CHECK(calls == 0);
  CHECK_FALSE(completion({&lost, {}}));
  CHECK(calls == 1);
}

TEST_CASE("after a lost lease what is about the daemon works, and after the end nothing does") {
  ConnectionEnd end;
  end.prepare(Errc::connection_lost, "no memory");
  CHECK_NOTHROW(end.check(Operation::write));
  end.lose_lease({Errc::lease_lost, "taken"});
  end.lose_lease({Errc::lease_lost, "taken again"});
  check_error(thrown_by([&] { end.check(Operation::write); }), Errc::lease_lost, {"taken"});
  CHECK(thrown_by([&] { end.check(Operation::write); }).what() == std::string{"taken"});
  for (const auto operation : {Operation::ping, Operation::list, Operation::close}) CHECK_NOTHROW(end.check(operation));
  CHECK_NOTHROW(end.throw_if_ended());
  SECTION("by an error") {
    end.set(Errc::timed_out, "late");
    CHECK(errc_of([&] { end.check(Operation::ping); }) == Errc::timed_out);
  }
  SECTION("for want of memory") {
    end.set_out_of_memory();
    CHECK(errc_of([&] { end.check(Operation::ping); }) == Errc::connection_lost);
    CHECK(end.error()->what() == std::string{"no memory"});
  }
}

TEST_CASE("a queue sends frames and large data in order, no further than its limit, and nothing after an error") {
  WirePeer peer;
  const UniqueFd socket{peer.take_client_end()};
  SendQueue queue;
  const proto::Bytes large = pattern(10'000);
  const auto append = [&](std::size_t count, std::byte value) {
    queue.tail().insert(queue.tail().end(), count, value);
  };
  append(10, std::byte{1});
  CHECK(queue.seal(large) == 10'010);
  append(5, std::byte{2});
  const auto end = queue.seal();
  CHECK(end == 10'015);
  append(3, std::byte{3});
  CHECK(queue.unsealed_bytes() == 3);
  queue.unseal();
  CHECK(queue.sendable() == 0);
  queue.set_limit(10'010);
  CHECK(queue.send(socket.get()).bytes == 10'010);
  queue.set_limit(end);
  CHECK(queue.send(socket.get()).bytes == 5);
  CHECK(queue.sent() == end);
  proto::Bytes got(end);
  REQUIRE(::recv(peer.fd(), got.data(), got.size(), MSG_WAITALL) == static_cast<ssize_t>(end));
  CHECK(std::equal(large.begin(), large.end(), got.begin() + 10));
  CHECK(got.back() == std::byte{2});

  REQUIRE(::shutdown(socket.get(), SHUT_WR) == 0);
  append(5, std::byte{4});
  queue.set_limit(queue.seal());
  CHECK(queue.send(socket.get()).bytes == 0);
  CHECK(queue.error() == EPIPE);
  CHECK(queue.send(socket.get()).calls == 0);
}
