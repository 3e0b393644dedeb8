// What is kept of a session for a client that comes back: ids without gaps, a window, marks, answers.
#include "tests/support/catch.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include "proto/codec.hpp"
#include "proto/framing.hpp"
#include "server/connection/resumption.hpp"

using namespace pageserver;
using namespace pageserver::server;
using proto::Operation;
using Place = Resumption::Place;

namespace {

constexpr std::uint64_t opened_by = 2;  // the id of the open: the session's own begin at 3
constexpr std::uint32_t window = 4;

Resumption fresh() { return Resumption({}, opened_by, window); }

/// A request as the connection takes it apart.
struct Request {
  Operation operation;
  proto::Bytes payload;
};

template <class Message>
Request request_of(Operation operation, const Message& message) {
  proto::Bytes frame;
  proto::encode(frame, 1, message);
  return {operation, proto::Bytes(frame.begin() + proto::frame_header_bytes, frame.end())};
}

Request write_of(std::string_view text) {
  return request_of(Operation::write, proto::WriteRequest{0, std::as_bytes(std::span(text))});
}
Request read_of(std::uint64_t offset, std::uint32_t length) {
  return request_of(Operation::read, proto::ReadRequest{offset, length});
}

proto::Bytes answer_of(std::uint64_t id, std::size_t data_bytes) {
  const proto::Bytes data(data_bytes, std::byte{7});
  proto::Bytes frame;
  proto::encode(frame, id, proto::ReadAnswer{data});
  return frame;
}

void carry_out(Resumption& resume, const Request& request, std::span<const std::byte> answer) {
  resume.take_in_hand(request.operation, request.payload);
  resume.done(answer);
  CHECK_FALSE(resume.has_in_hand());
}

/// So many small writes, none of them acknowledged.
void carry_out_writes(Resumption& resume, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    const std::uint64_t id = resume.executed() + 1;
    carry_out(resume, write_of(std::to_string(id)), answer_of(id, 0));
  }
}

bool is_same(const Resumption& resume, std::uint64_t id, const Request& request) {
  return resume.is_same(id, request.operation, request.payload);
}

}  // namespace

TEST_CASE("resumption: ids have no gaps: one comes next, those before were carried out, all others are outside") {
  Resumption resume = fresh();
  CHECK(resume.executed() == opened_by);
  CHECK_FALSE(resume.is_confirmed());
  {
    Resumption shown = resume;
    shown.confirm();
    CHECK(shown.is_confirmed());
    CHECK(shown.executed() == resume.executed());
  }
  CHECK(resume.place_of(3, 0) == Place::next);
  for (const std::uint64_t id : {std::uint64_t{0}, std::uint64_t{1}, opened_by, std::uint64_t{4}, ~std::uint64_t{0}})
    CHECK(resume.place_of(id, 0) == Place::outside);
  carry_out_writes(resume, 2);
  CHECK(resume.is_confirmed());
  CHECK(resume.executed() == 4);
  CHECK(resume.place_of(3, 0) == Place::executed);
  CHECK(resume.place_of(4, 1) == Place::executed);
  CHECK(resume.place_of(5, 0) == Place::next);
  CHECK(resume.place_of(6, 0) == Place::outside);
  // As if some of a group had been carried out already.
  CHECK(resume.place_of(6, 0, 1) == Place::next);
  CHECK(resume.place_of(7, 0, 1) == Place::outside);
}

TEST_CASE("resumption: no more requests than the window holds are without an acknowledged answer") {
  Resumption resume = fresh();
  carry_out_writes(resume, window);
  const std::uint64_t next = resume.executed() + 1;
  // Says that none of those before is answered: that would be one too many.
  CHECK(resume.place_of(next, window) == Place::outside);
  CHECK(resume.place_of(next, window - 1) == Place::next);
  CHECK(resume.place_of(next, 0) == Place::next);
  // More than there have been since the open.
  CHECK(resume.place_of(next, window + 1) == Place::outside);
  CHECK(resume.place_of(next, 0xffff) == Place::outside);
  // One that was carried out may come again with all behind it in flight.
  CHECK(resume.place_of(opened_by + 1, 0) == Place::executed);
}

TEST_CASE("resumption: a mark lets answers go, one that is behind moves nothing, and what is acknowledged is outside") {
  Resumption resume = fresh();
  carry_out_writes(resume, 4);
  resume.acknowledge(6, 2);  // 6 says that 4 and 5 are not answered: 3 is
  CHECK(resume.acknowledged() == 3);
  CHECK(resume.place_of(3, 0) == Place::outside);
  CHECK(resume.place_of(4, 0) == Place::executed);
  CHECK(is_same(resume, 4, write_of("4")));
  resume.acknowledge(1);
  CHECK(resume.acknowledged() == 3);
  resume.acknowledge(6);
  CHECK(resume.acknowledged() == 6);
  CHECK(resume.executed() == 6);
  CHECK(resume.place_of(7, 0) == Place::next);
  // A mark never goes past what was carried out.
  resume.acknowledge(100);
  CHECK(resume.acknowledged() == 6);
}

TEST_CASE("resumption: another request with an id that was carried out is told from the same one") {
  Resumption resume = fresh();
  carry_out(resume, write_of("one"), answer_of(3, 0));
  CHECK(is_same(resume, 3, write_of("one")));
  CHECK_FALSE(is_same(resume, 3, write_of("two")));
  CHECK_FALSE(is_same(resume, 3, write_of("one ")));
  const Request same_bytes{Operation::zero, write_of("one").payload};
  CHECK_FALSE(is_same(resume, 3, same_bytes));
  CHECK_FALSE(is_same(resume, 3, {Operation::write, {}}));
}

TEST_CASE("resumption: of a read only the place is kept, until what it saw may change") {
  Resumption resume = fresh();
  carry_out(resume, read_of(100, 5000), answer_of(3, 5000));
  carry_out(resume, read_of(8, 4), answer_of(4, 4));
  CHECK(resume.kept_bytes() == 0);
  CHECK(resume.has_reads());
  CHECK(resume.at(3).reads_again);
  CHECK(resume.at(3).offset == 100);
  CHECK(resume.at(3).length == 5000);
  CHECK_FALSE(resume.at(4).reads_again);  // small enough to be kept where it is
  CHECK(std::vector<std::byte>(resume.at(4).frame().begin(), resume.at(4).frame().end()) == answer_of(4, 4));
  std::vector<std::uint64_t> kept;
  resume.keep_reads([&](std::uint64_t id, KeptAnswer& answer) {
    kept.push_back(id);
    answer.set_frame(answer_of(id, 5000));
  });
  CHECK(kept == std::vector<std::uint64_t>{3});
  CHECK_FALSE(resume.has_reads());
  CHECK(resume.kept_bytes() == answer_of(3, 5000).size());
  resume.acknowledge(3);
  CHECK(resume.kept_bytes() == 0);
  // A read that failed has its error kept.
  proto::Bytes error;
  proto::encode_error(error, 5, Operation::read, proto::Status::out_of_bounds, std::string(100, 'x'));
  carry_out(resume, read_of(1u << 30, static_cast<std::uint32_t>(error.size() - proto::frame_header_bytes)), error);
  CHECK_FALSE(resume.at(5).reads_again);
  CHECK(resume.kept_bytes() == error.size());
}

TEST_CASE("resumption: of a large write only the place is kept, until it is written over") {
  Resumption resume = fresh();
  const auto large = [](std::uint64_t offset, char with) {
    const std::string text(20'000, with);
    return request_of(Operation::write, proto::WriteRequest{offset, std::as_bytes(std::span(text))});
  };
  proto::Bytes taken, refused;
  proto::encode(taken, 3, proto::WriteAnswer{});
  proto::encode_error(refused, 4, Operation::write, proto::Status::out_of_bounds, "too far");
  carry_out(resume, large(0, 'a'), taken);
  CHECK(resume.has_written());
  CHECK(resume.at(3).is_there);
  carry_out(resume, large(1'000'000, 'b'), refused);
  CHECK_FALSE(resume.at(4).is_there);
  CHECK(is_same(resume, 4, large(1'000'000, 'b')));
  CHECK_FALSE(is_same(resume, 4, large(1'000'000, 'c')));

  const auto read = [&](const KeptAnswer& kept) -> std::optional<std::span<const std::byte>> {
    CHECK(kept.offset == 0);
    CHECK(kept.length == 20'000);
    static Request there;
    there = large(0, 'a');
    return std::span<const std::byte>(there.payload);
  };
  resume.sum_written(20'000, 100, read);
  CHECK(resume.at(3).is_there);
  resume.sum_written(19'999, 1, read);
  CHECK_FALSE(resume.has_written());
  CHECK(is_same(resume, 3, large(0, 'a')));
  CHECK_FALSE(is_same(resume, 3, large(1, 'a')));

  // The next large writes have their checksums at once, and then no more.
  for (std::uint32_t i = 0; i < Resumption::summed_after_overlap; ++i) {
    resume.acknowledge(resume.executed());
    carry_out(resume, large(0, 'c'), taken);
    REQUIRE_FALSE(resume.has_written());
    REQUIRE(is_same(resume, resume.executed(), large(0, 'c')));
  }
  carry_out(resume, large(0, 'd'), taken);
  CHECK(resume.has_written());
  resume.acknowledge(resume.executed());
  CHECK_FALSE(resume.has_written());

  // One that was carried out by an earlier server says nothing of what is there now.
  const Request earlier = large(0, 'e');
  resume.take_in_hand(earlier.operation, earlier.payload);
  resume.sum_in_hand();
  resume.done(taken);
  CHECK_FALSE(resume.has_written());
  CHECK(is_same(resume, resume.executed(), earlier));

  // What can't be read is known by its operation alone.
  carry_out(resume, large(0, 'f'), taken);
  resume.sum_written(0, 1, [](const KeptAnswer&) -> std::optional<std::span<const std::byte>> { return {}; });
  CHECK_FALSE(resume.has_written());
  CHECK(is_same(resume, resume.executed(), large(0, 'f')));
  CHECK_FALSE(is_same(resume, resume.executed(), read_of(0, 1)));
}

TEST_CASE("resumption: bytes that are kept are counted up and down, so that a daemon can bound them") {
  Resumption resume = fresh();
  std::size_t sum = 0;
  for (std::uint64_t id = 3; id < 103; ++id) {
    proto::Bytes text;
    proto::encode_error(text, id, Operation::write, proto::Status::no_space, std::string(id, 'x'));
    carry_out(resume, write_of("w"), text);
    if (text.size() > KeptAnswer::small_bytes_max) sum += text.size();
  }
  CHECK(resume.kept_bytes() == sum);
  CHECK(sum > 5000);
  std::size_t before = sum;
  for (std::uint64_t mark = 3; mark < 103; ++mark) {
    resume.acknowledge(mark);
    CHECK(resume.kept_bytes() <= before);
    before = resume.kept_bytes();
  }
  CHECK(resume.kept_bytes() == 0);
  CHECK(resume.acknowledged() == resume.executed());
}

TEST_CASE("resumption: answers are repeated in order, and up to one that has none yet") {
  Resumption resume = fresh();
  carry_out_writes(resume, 2);
  const Request flush = request_of(Operation::flush, proto::FlushRequest{});
  resume.take_in_hand(flush.operation, flush.payload);
  resume.begun();
  CHECK(resume.executed() == 5);
  CHECK(resume.place_of(5, 0) == Place::executed);
  resume.begin_repeating();
  CHECK(resume.next_to_repeat() == 3);
  CHECK(resume.next_to_repeat() == 4);
  CHECK(resume.next_to_repeat() == 0);
  CHECK_FALSE(resume.is_repeating());
  resume.answered(answer_of(5, 0));
  resume.begin_repeating();
  CHECK(resume.next_to_repeat() == 3);
  // What is acknowledged meanwhile is left out.
  resume.acknowledge(4);
  CHECK(resume.next_to_repeat() == 5);
  CHECK(resume.next_to_repeat() == 0);
  resume.begin_repeating();
  resume.stop_repeating();
  CHECK_FALSE(resume.is_repeating());
}

TEST_CASE("resumption: a request that is dropped before it was carried out leaves its id to the next") {
  Resumption resume = fresh();
  const Request request = write_of("lost");
  resume.take_in_hand(request.operation, request.payload);
  CHECK(resume.has_in_hand());
  resume.drop_in_hand();
  CHECK(resume.executed() == opened_by);
  CHECK(resume.place_of(3, 0) == Place::next);
  carry_out(resume, write_of("another"), answer_of(3, 0));
  CHECK(is_same(resume, 3, write_of("another")));
}
