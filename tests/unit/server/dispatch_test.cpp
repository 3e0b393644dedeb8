#include "tests/support/catch.hpp"

#include "proto/framing.hpp"
#include "server/connection/dispatch.hpp"
#include "tests/unit/server/fake_store.hpp"

using namespace pageserver;
using namespace pageserver::server;

namespace {

struct Fixture {
  test::FakeSession session;
  Counters counters;
  std::optional<FailedChange> failed_change;
  Answers answers;
  std::uint32_t request_bytes_max = 1u << 20;
  std::uint64_t features = proto::features_all;
  std::uint64_t next_id = 1;
  Next next = Next::answered;
  proto::Scan answer;  // the last one, or incomplete
  std::vector<std::byte> bytes;

  Fixture() { session.image.resize(2 * page_size); }

  template <class Request>
  proto::Status ask(const Request& request) {
    proto::Bytes frame;
    proto::encode(frame, next_id, request);
    return ask_frame(frame);
  }
  proto::Status ask_frame(std::span<const std::byte> frame) {
    const proto::Scan scan = proto::scan_frame(frame, 64u << 20);
    REQUIRE(scan.kind == proto::Scan::Kind::frame);
    SessionScope scope{session,  "demo",    request_bytes_max, features,     1234,
                       "a test", "nowhere", counters,          failed_change};
    next = handle_request(scope, scan.header, scan.payload, answers, [this] { ++room_made; });
    bytes.assign(answers.out().bytes().begin(), answers.out().bytes().end());
    answers.out().clear();
    answer = proto::scan_frame(bytes, 64u << 20);
    if (answer.kind == proto::Scan::Kind::frame) {
      CHECK(answer.frame_bytes == bytes.size());
      CHECK(answer.header.flags == proto::flag_answer);
      CHECK(answer.header.request_id == scan.header.request_id);
      CHECK(answer.header.operation == scan.header.operation);
    }
    ++next_id;
    return answer.header.status;
  }
  /// A flush or a commit to its end, as the caller of handle_request() does.
  template <class Request>
  proto::Status ask_to_flush(const Request& request, const std::exception_ptr& error = nullptr) {
    const proto::Status refused = ask(request);
    if (next != Next::flush) return refused;
    proto::FrameHeader header;
    constexpr bool commits = std::is_same_v<Request, proto::CommitRequest>;
    header.operation = commits ? proto::Operation::commit : proto::Operation::flush;
    header.request_id = 3;
    answer_flush(header, error, session.view().version, answers, failed_change);
    bytes.assign(answers.out().bytes().begin(), answers.out().bytes().end());
    answers.out().clear();
    answer = proto::scan_frame(bytes, 1000);
    CHECK(answer.header.operation == header.operation);
    CHECK(answer.header.request_id == 3);
    return answer.header.status;
  }
  template <class Answer>
  Answer as() {
    Answer out;
    const auto fault = proto::decode(answer.payload, out);
    INFO((fault ? fault->message : ""));
    REQUIRE_FALSE(fault);
    return out;
  }
  std::string text() { return std::string(as<proto::ErrorText>().message); }
  int room_made = 0;
};

std::vector<std::byte> some_bytes(std::size_t count) { return std::vector<std::byte>(count, std::byte{42}); }

}  // namespace

TEST_CASE("what was written is read, and counted") {
  Fixture f;
  const auto data = some_bytes(100);
  CHECK(f.ask(proto::WriteRequest{70, data}) == proto::Status::ok);
  CHECK(f.ask(proto::ReadRequest{60, 120}) == proto::Status::ok);
  const auto read = f.as<proto::ReadAnswer>().data;
  REQUIRE(read.size() == 120);
  CHECK(read[9] == std::byte{});
  CHECK(std::equal(data.begin(), data.end(), read.begin() + 10));
  CHECK(f.counters.bytes_read == 120);
  CHECK(f.counters.bytes_written == 100);
}

TEST_CASE("an empty read is answered with nothing") {
  Fixture f;
  CHECK(f.ask(proto::ReadRequest{2 * page_size, 0}) == proto::Status::ok);
  CHECK(f.answer.payload.empty());
}

TEST_CASE("a failed read answers its error and nothing of the data") {
  Fixture f;
  CHECK(f.ask(proto::ReadRequest{2 * page_size, 1}) == proto::Status::out_of_bounds);
  CHECK(f.text() == "past the end");
  CHECK(f.counters.bytes_read == 0);
}

TEST_CASE("reads and writes beyond the request limit are refused with the numbers") {
  Fixture f;
  f.request_bytes_max = 1000;
  CHECK(f.ask(proto::ReadRequest{7, 1000}) == proto::Status::ok);
  CHECK(f.ask(proto::ReadRequest{7, 1001}) == proto::Status::limit_exceeded);
  CHECK(f.text() == "read offset=7 length=1001 exceeds request_bytes_max=1000; split the request");
  CHECK(f.ask(proto::ReadRequest{7, 0xffffffff}) == proto::Status::limit_exceeded);
  const auto data = some_bytes(1001);
  CHECK(f.ask(proto::WriteRequest{7, data}) == proto::Status::limit_exceeded);
  CHECK(f.text() == "write offset=7 length=1001 exceeds request_bytes_max=1000; split the request");
  CHECK(f.session.number == 1);
}

TEST_CASE("every error of a store has its status on the wire") {
  for (int code = 1; code <= 17; ++code) {
    const auto errc = static_cast<Errc>(code);
    Fixture f;
    f.session.error = MemoryError(errc, "told to fail");
    const proto::Status status = f.ask(proto::GrowRequest{1});
    INFO(to_string(errc));
    CHECK(f.text() == "told to fail");
    if (errc == Errc::connection_lost) {
      CHECK(status == proto::Status::provider_error);
    } else {
      CHECK(proto::to_string(status) == to_string(errc));
    }
  }
}

TEST_CASE("running out of memory is an answer") {
  Fixture f;
  f.session.out_of_memory = true;
  CHECK(f.ask(proto::ReadRequest{0, 8}) == proto::Status::limit_exceeded);
  CHECK(f.text().find("out of memory") != std::string::npos);
}

TEST_CASE("grow, size, discard answer the session's numbers") {
  Fixture f;
  CHECK(f.ask(proto::GrowRequest{3}) == proto::Status::ok);
  CHECK(f.as<proto::GrowAnswer>().previous_pages == 2);
  CHECK(f.ask(proto::SizeRequest{}) == proto::Status::ok);
  CHECK(f.as<proto::SizeAnswer>().pages == 5);
  CHECK(f.as<proto::SizeAnswer>().version.incarnation == 77);
  CHECK(f.session.views == 1);  // pages and version of one moment
  CHECK(f.ask(proto::DiscardRequest{}) == proto::Status::ok);
  CHECK(f.as<proto::DiscardAnswer>().pages == 5);
  CHECK(f.session.views == 1);
}

TEST_CASE("operations of features that were not agreed on are unsupported") {
  Fixture f;
  f.features = 0;
  CHECK(f.ask(proto::ZeroRequest{0, 10}) == proto::Status::unsupported);
  CHECK(f.ask(proto::DataRangesRequest{0, 10}) == proto::Status::unsupported);
  f.features = proto::features_all;
  CHECK(f.ask(proto::ZeroRequest{0, 10}) == proto::Status::ok);
  CHECK(f.ask(proto::DataRangesRequest{0, 10}) == proto::Status::ok);
  CHECK(f.as<proto::DataRangesAnswer>().ranges == std::vector<proto::Range>{{0, 10}});
  CHECK(f.as<proto::DataRangesAnswer>().described_until == 10);
}

TEST_CASE("writers wait while the log has no room, and are not answered") {
  Fixture f;
  f.session.has_room = false;
  const auto data = some_bytes(10);
  f.ask(proto::WriteRequest{0, data});
  CHECK(f.next == Next::wait_for_room);
  CHECK(f.bytes.empty());
  f.ask(proto::GrowRequest{1});
  CHECK(f.next == Next::wait_for_room);
  f.ask(proto::ZeroRequest{0, 1});
  CHECK(f.next == Next::wait_for_room);
  f.session.waiting();
  CHECK(f.room_made == 1);
  CHECK(f.session.number == 1);
  CHECK(f.ask(proto::ReadRequest{0, 10}) == proto::Status::ok);
}

TEST_CASE("refresh says everything when there are more ranges than an answer holds") {
  Fixture f;
  f.session.refreshed = {{77, 9}, 2, false, {{0, 5}, {10, 5}}};
  CHECK(f.ask(proto::RefreshRequest{}) == proto::Status::ok);
  CHECK(f.as<proto::RefreshAnswer>().changed == std::vector<proto::Range>{{0, 5}, {10, 5}});
  f.session.refreshed.changed.clear();
  for (std::uint64_t i = 0; i <= proto::ranges_max; ++i) f.session.refreshed.changed.push_back({i * 10, 5});
  CHECK(f.ask(proto::RefreshRequest{}) == proto::Status::ok);
  CHECK(f.as<proto::RefreshAnswer>().everything);
  CHECK(f.as<proto::RefreshAnswer>().changed.empty());
}

TEST_CASE("stat carries every number of the store under the name it is served by") {
  Fixture f;
  Stat& r = f.session.report;
  r = {"/path",
       3,
       {77, 8},
       true,
       HolderStat{"w", "unix", 1, 2, 3, Access::write, View::live, Publish::on_flush, 0},
       4,
       5,
       6,
       7,
       8,
       {},
       9,
       10,
       11,
       12,
       13,
       "sync",
       "warning",
       {},
       {},
       HomeStat{"ceph:pages/a", "host-a", "HEALTH_OK", 14}};
  CHECK(f.ask(proto::StatRequest{}) == proto::Status::ok);
  const auto a = f.as<proto::StatAnswer>();
  CHECK(a.store == "demo");
  CHECK(f.session.stat_asked_at == 1234);
  CHECK(a.pages == 3);
  CHECK(a.version.number == 8);
  CHECK(a.read_only);
  REQUIRE(a.writer);
  CHECK(a.writer->name == "w");
  CHECK(a.writer->publish == proto::Publish::on_flush);
  CHECK_FALSE(a.oldest_holder);
  CHECK(a.writers_waiting == 4);
  CHECK(a.sessions_live == 5);
  CHECK(a.sessions_pinned == 6);
  CHECK(a.sessions_write == 7);
  CHECK(a.sessions_fork == 8);
  CHECK(a.size_bytes_max == 9);
  CHECK(a.log_bytes == 10);
  CHECK(a.checkpoint_lag_bytes == 11);
  CHECK(a.held_bytes == 12);
  CHECK(a.fork_bytes == 13);
  CHECK(a.last_sync_error == "sync");
  CHECK(a.image_warning == "warning");
  CHECK_FALSE(a.recovery);
  REQUIRE(a.home);
  CHECK(a.home->name == "ceph:pages/a");
  CHECK(a.home->holder == "host-a");
  CHECK(a.home->health == "HEALTH_OK");
  CHECK(a.home->epoch == 14);
  f.session.report.recovery.emplace();
  f.session.report.recovery->records = 14;
  CHECK(f.ask(proto::StatRequest{}) == proto::Status::ok);
  REQUIRE(f.as<proto::StatAnswer>().recovery);
  CHECK(f.as<proto::StatAnswer>().recovery->records == 14);
  f.features = proto::features_all & ~proto::feature_recovery;
  CHECK(f.ask(proto::StatRequest{}) == proto::Status::ok);
  CHECK_FALSE(f.as<proto::StatAnswer>().recovery);
  CHECK(f.as<proto::StatAnswer>().home);
  f.features = proto::features_all & ~proto::feature_home;
  CHECK(f.ask(proto::StatRequest{}) == proto::Status::ok);
  CHECK_FALSE(f.as<proto::StatAnswer>().home);
}

TEST_CASE("break_lease names who lost it, and says whom to blame") {
  Fixture f;
  CHECK(f.ask(proto::BreakLeaseRequest{9}) == proto::Status::ok);
  CHECK(f.next == Next::answered);
  CHECK_FALSE(f.as<proto::BreakLeaseAnswer>().broken);
  f.session.report.writer = HolderStat{};
  f.session.report.writer->name = "w";
  CHECK(f.ask(proto::BreakLeaseRequest{9}) == proto::Status::ok);
  CHECK(f.next == Next::lease_broken);
  CHECK(f.as<proto::BreakLeaseAnswer>().broken->name == "w");
  CHECK(f.session.broken_epoch == 9);
  CHECK(f.session.broken_reason == "broken by \"a test\" at nowhere");
  CHECK(f.session.broken_at == 1234);
}

TEST_CASE("a flush is left to the caller, who answers the version or the error") {
  Fixture f;
  f.ask(proto::FlushRequest{});
  CHECK(f.next == Next::flush);
  CHECK(f.bytes.empty());
  proto::FrameHeader header;
  header.operation = proto::Operation::flush;
  header.request_id = 3;
  answer_flush(header, nullptr, {77, 5}, f.answers, f.failed_change);
  answer_flush(header, std::make_exception_ptr(MemoryError(Errc::no_space, "full")), {}, f.answers, f.failed_change);
  const auto bytes = f.answers.out().bytes();
  f.answer = proto::scan_frame(bytes, 1000);
  CHECK(f.as<proto::FlushAnswer>().version.number == 5);
  CHECK(f.session.views == 0);  // who publishes meanwhile is not part of the answer
  f.answer = proto::scan_frame(bytes.subspan(f.answer.frame_bytes), 1000);
  CHECK(f.answer.header.status == proto::Status::no_space);
}

TEST_CASE("a commit is left to the caller as a flush is, and answered as a commit") {
  Fixture f;
  f.session.number = 8;
  CHECK(f.ask_to_flush(proto::CommitRequest{}) == proto::Status::ok);
  CHECK(f.as<proto::CommitAnswer>().version.number == 8);
  CHECK(f.ask_to_flush(proto::CommitRequest{}, std::make_exception_ptr(MemoryError(Errc::no_space, "full"))) ==
        proto::Status::no_space);
  CHECK(f.ask_to_flush(proto::CommitRequest{}) == proto::Status::ok);  // only changes count
  f.features = proto::feature_zero;
  CHECK(f.ask(proto::CommitRequest{}) == proto::Status::unsupported);
}

TEST_CASE("a commit is refused after any change that was answered with an error, and says which was the first") {
  Fixture f;
  std::string first;
  SECTION("a write past the end") {
    CHECK(f.ask(proto::WriteRequest{2 * page_size, some_bytes(1)}) == proto::Status::out_of_bounds);
    first = "a write (request 1) was answered with out_of_bounds";
  }
  SECTION("a write that is too long") {
    f.request_bytes_max = 1000;
    CHECK(f.ask(proto::WriteRequest{0, some_bytes(1001)}) == proto::Status::limit_exceeded);
    first = "a write (request 1) was answered with limit_exceeded";
  }
  SECTION("a write that does not decode") {
    proto::Bytes frame;
    proto::encode(frame, 1, proto::WriteRequest{0, {}});
    frame.pop_back();
    frame[16] = std::byte{7};  // payload_bytes
    CHECK(f.ask_frame(frame) == proto::Status::protocol_error);
    first = "a write (request 1) was answered with protocol_error";
  }
  SECTION("a write for which there is no memory") {
    f.session.out_of_memory = true;
    CHECK(f.ask(proto::WriteRequest{0, some_bytes(1)}) == proto::Status::limit_exceeded);
    f.session.out_of_memory = false;
    first = "a write (request 1) was answered with limit_exceeded";
  }
  SECTION("a zero past the end") {
    CHECK(f.ask(proto::ZeroRequest{2 * page_size, 1}) == proto::Status::out_of_bounds);
    first = "a zero (request 1) was answered with out_of_bounds";
  }
  SECTION("a zero that was not agreed on") {
    f.features = proto::feature_commit;
    CHECK(f.ask(proto::ZeroRequest{0, 1}) == proto::Status::unsupported);
    first = "a zero (request 1) was answered with unsupported";
  }
  SECTION("a grow for which there is no space") {
    f.session.error = MemoryError(Errc::no_space, "full");
    CHECK(f.ask(proto::GrowRequest{1}) == proto::Status::no_space);
    f.session.error.reset();
    first = "a grow (request 1) was answered with no_space";
  }
  SECTION("a header that is refused before the request is looked at") {
    proto::FrameHeader header;
    header.operation = proto::Operation::write;
    header.request_id = 77;
    note_answer(header, proto::Status::protocol_error, f.failed_change);
    first = "a write (request 77) was answered with protocol_error";
  }
  CHECK(f.ask(proto::WriteRequest{0, some_bytes(1)}) == proto::Status::ok);
  CHECK(f.ask(proto::ZeroRequest{2 * page_size, 5}) != proto::Status::ok);  // not the first
  for (int i = 0; i < 2; ++i) {
    CHECK(f.ask_to_flush(proto::CommitRequest{}) == proto::Status::invalid_argument);
    CHECK(f.text() ==
          "commit: nothing is published, since " + first + "; send again what is missing and flush, or discard");
  }
  CHECK(f.ask_to_flush(proto::FlushRequest{}) == proto::Status::ok);
  CHECK(f.ask_to_flush(proto::CommitRequest{}) == proto::Status::ok);
}

TEST_CASE("only a flush or a discard that succeeded makes a commit forget what failed") {
  Fixture f;
  const auto fail = [&] { CHECK(f.ask(proto::GrowRequest{1}) == proto::Status::no_space); };
  const auto refused = [&] { return f.ask_to_flush(proto::CommitRequest{}) == proto::Status::invalid_argument; };
  f.session.error = MemoryError(Errc::no_space, "full");
  fail();
  CHECK(f.ask(proto::DiscardRequest{}) == proto::Status::no_space);
  CHECK(f.ask_to_flush(proto::FlushRequest{}, std::make_exception_ptr(MemoryError(Errc::no_space, "full"))) ==
        proto::Status::no_space);
  CHECK(f.ask(proto::RefreshRequest{}) == proto::Status::no_space);
  CHECK(f.ask(proto::SizeRequest{}) == proto::Status::ok);
  CHECK(refused());
  f.session.error.reset();
  CHECK(f.ask(proto::RefreshRequest{}) == proto::Status::ok);
  CHECK(f.ask(proto::WriteRequest{0, some_bytes(8)}) == proto::Status::ok);
  CHECK(refused());
  CHECK(f.ask(proto::DiscardRequest{}) == proto::Status::ok);
  CHECK_FALSE(refused());
  CHECK(f.ask(proto::GrowRequest{1}) == proto::Status::ok);
  f.session.error = MemoryError(Errc::no_space, "full");
  fail();
  CHECK(refused());
}

TEST_CASE("what failed and is no change does not keep a commit from publishing") {
  Fixture f;
  CHECK(f.ask(proto::ReadRequest{2 * page_size, 1}) == proto::Status::out_of_bounds);
  CHECK(f.ask(proto::ListRequest{}) == proto::Status::invalid_argument);
  f.session.error = MemoryError(Errc::no_space, "full");
  CHECK(f.ask(proto::DiscardRequest{}) == proto::Status::no_space);
  CHECK(f.ask_to_flush(proto::CommitRequest{}) == proto::Status::ok);
}

TEST_CASE("a change that waits for room has not failed") {
  Fixture f;
  CHECK(f.ask(proto::ReadRequest{2 * page_size, 1}) == proto::Status::out_of_bounds);  // the answer before it
  f.session.has_room = false;
  f.ask(proto::WriteRequest{0, some_bytes(10)});
  REQUIRE(f.next == Next::wait_for_room);
  CHECK_FALSE(f.failed_change);
}

TEST_CASE("requests of a connection without a session are not for one that has it") {
  Fixture f;
  proto::OpenRequest open;
  open.store = "demo";
  CHECK(f.ask(open) == proto::Status::invalid_argument);
  CHECK(f.ask(proto::ListRequest{}) == proto::Status::invalid_argument);
  CHECK(f.ask(proto::HelloRequest{}) == proto::Status::invalid_argument);
}

TEST_CASE("a payload that does not decode is answered with what is wrong") {
  Fixture f;
  proto::Bytes frame;
  proto::encode(frame, 1, proto::GrowRequest{1});
  frame.push_back(std::byte{});
  frame[16] = std::byte{9};  // payload_bytes
  CHECK(f.ask_frame(frame) == proto::Status::protocol_error);
  CHECK(f.session.pages() == 2);
}
