// Sessions that outlive their connections, frame by frame: what PROTOCOL.md says of resuming a session.
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <thread>
#include <vector>

#include <pageserver/daemon.hpp>
#include <pageserver/open.hpp>

#include "tests/daemon/helpers.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/wait.hpp"

namespace pageserver::test {
namespace {

using proto::Access;
using proto::Status;

constexpr std::uint64_t with_resume = proto::features_all | proto::feature_resume;

/// A raw client and what it knows of its session.
struct Resumable {
  RawClient client;
  proto::OpenRequest request;
  proto::ResumeToken token{};
  std::uint64_t executed = 0;  // as the last open's answer has it
  std::uint64_t next = 0;      // id of the next request
  proto::OpenAnswer opened;
};

RawClient greeted(const Daemon& daemon) {
  RawClient client = RawClient::tcp(daemon.port());
  CHECK((client.hello("raw", with_resume).features & proto::feature_resume) != 0);
  return client;
}

Resumable begin(const Daemon& daemon, Access access = Access::write, proto::Publish publish = proto::Publish::on_write,
                proto::View view = proto::View::live) {
  Resumable session{greeted(daemon), {}, {}, 0, 0, {}};
  session.request.access = access;
  session.request.publish = publish;
  session.request.view = view;
  session.request.store = "s";
  session.request.session_name = "raw";
  const Frame frame = session.client.call(session.request);
  session.opened = frame.as<proto::OpenAnswer>();
  REQUIRE(session.opened.resume);
  session.token = session.opened.resume->token;
  session.executed = session.opened.resume->executed;
  CHECK(session.executed == frame.header.request_id);
  session.next = session.executed + 1;
  return session;
}

Frame try_resume(RawClient& client, const Resumable& session, std::uint64_t mark) {
  proto::OpenRequest request = session.request;
  request.resume_token = session.token;
  request.last_request_id = mark;
  return client.call(request);
}

/// Over a connection of its own.
void resume(const Daemon& daemon, Resumable& session, std::uint64_t mark) {
  session.client = greeted(daemon);
  const Frame frame = try_resume(session.client, session, mark);
  session.opened = frame.as<proto::OpenAnswer>();
  REQUIRE(session.opened.resume);
  CHECK(session.opened.resume->token == session.token);
  session.executed = session.opened.resume->executed;
}

template <class Request>
Frame ask(Resumable& session, const Request& request, std::uint16_t unanswered = 0) {
  session.client.send_as(session.next, unanswered, request);
  Frame frame = session.client.must_receive();
  CHECK(frame.header.request_id == session.next);
  ++session.next;
  return frame;
}

std::string state_of_only_session(const Daemon& daemon) {
  pageserver::Daemon asking{daemon.server_uri()};
  const auto sessions = asking.sessions("s");
  return sessions.size() == 1 ? to_string(sessions[0].state) : std::to_string(sessions.size()) + " sessions";
}

void wait_for_state(const Daemon& daemon, const std::string& state) {
  wait_until([&] { return state_of_only_session(daemon) == state; });
}

const std::vector<std::string> one_store{"--store", "s={dir}/s.img"};

std::vector<std::string> with_config(TempDir& dir, const std::string& json) {
  std::ofstream(dir.file("resume.json")) << json;
  return {"--config", dir.file("resume.json"), "--store", "s={dir}/s.img"};
}

std::vector<std::byte> data_of(const Frame& frame) {
  const auto answer = frame.as<proto::ReadAnswer>();
  return {answer.data.begin(), answer.data.end()};
}

}  // namespace

TEST_CASE("a session whose connection is lost keeps its lease, and goes on over another one") {
  Daemon daemon{one_store};
  Resumable session = begin(daemon);
  CHECK(session.opened.resume->linger_ms == 30'000);
  ask(session, proto::GrowRequest{2});
  const bool resets = GENERATE(false, true);
  resets ? session.client.reset() : session.client.close();
  wait_for_state(daemon, "detached");
  CHECK(greeted(daemon).try_open("s").status() == Status::busy);
  resume(daemon, session, session.next - 1);
  CHECK(session.executed == session.next - 1);
  CHECK(session.opened.pages == 2);
  CHECK(state_of_only_session(daemon) == "session");
  CHECK(ask(session, proto::WriteRequest{0, bytes_of("on")}).status() == Status::ok);
  CHECK(data_of(ask(session, proto::ReadRequest{0, 2})) == bytes_of("on"));
  CHECK(ask(session, proto::CloseRequest{}).status() == Status::ok);
  // Closed by the client's wish, nothing stays.
  CHECK(greeted(daemon).try_open("s").status() == Status::ok);
  RawClient late = greeted(daemon);
  CHECK(try_resume(late, session, session.next - 1).status() == Status::token_expired);
}

TEST_CASE("answers that did not arrive are sent again, and requests are carried out once") {
  Daemon daemon{one_store};
  Resumable session = begin(daemon, Access::fork);
  ask(session, proto::GrowRequest{1});
  const std::uint64_t mark = session.next - 1;
  // All at once, and none of the answers is looked at.
  session.client.send_as(mark + 1, 0, proto::WriteRequest{0, bytes_of("first")});
  session.client.send_as(mark + 2, 1, proto::ReadRequest{0, 60});
  session.client.send_as(mark + 3, 2, proto::GrowRequest{3});
  session.client.send_as(mark + 4, 3, proto::WriteRequest{0, bytes_of("after")});
  session.client.send_as(mark + 5, 4, proto::ReadRequest{0, 60});
  session.client.send_as(mark + 6, 5, proto::ReadRequest{1u << 30, 1});
  wait_until([&] { return pageserver::Daemon{daemon.server_uri()}.sessions("s").at(0).requests >= 7; });
  resume(daemon, session, mark);
  CHECK(session.executed == mark + 6);
  for (int again = 0; again < 2; ++again) {
    INFO("repeated " << again);
    std::vector<Frame> answers;
    for (int i = 0; i < 6; ++i) answers.push_back(session.client.must_receive());
    for (std::size_t i = 0; i < answers.size(); ++i) CHECK(answers[i].header.request_id == mark + 1 + i);
    CHECK(answers[0].status() == Status::ok);
    // What it saw before the write behind it.
    std::vector<std::byte> expected(60);
    std::copy_n(bytes_of("first").begin(), 5, expected.begin());
    CHECK(data_of(answers[1]) == expected);
    CHECK(answers[2].as<proto::GrowAnswer>().previous_pages == 1);
    std::copy_n(bytes_of("after").begin(), 5, expected.begin());
    CHECK(data_of(answers[4]) == expected);
    CHECK(answers[5].status() == Status::out_of_bounds);
    if (again == 0) resume(daemon, session, mark);
  }
  session.next = mark + 7;
  CHECK(ask(session, proto::SizeRequest{}).as<proto::SizeAnswer>().pages == 4);
}

TEST_CASE("a request that was carried out is answered again, and one that differs is refused") {
  Daemon daemon{one_store};
  Resumable session = begin(daemon);
  const std::uint64_t first = session.next;
  ask(session, proto::GrowRequest{1});
  ask(session, proto::GrowRequest{2}, 1);
  session.client.send_as(first + 1, 1, proto::GrowRequest{2});
  CHECK(session.client.must_receive().as<proto::GrowAnswer>().previous_pages == 1);
  session.client.send_as(first + 1, 1, proto::GrowRequest{5});
  CHECK(session.client.must_receive().status() == Status::request_differs);
  session.client.send_as(first + 1, 1, proto::ReadRequest{0, 1});
  CHECK(session.client.must_receive().status() == Status::request_differs);
  // The mark moves, and what is behind it can't be asked for any more.
  CHECK(ask(session, proto::SizeRequest{}).as<proto::SizeAnswer>().pages == 3);
  session.client.send_as(first, 0, proto::GrowRequest{1});
  CHECK(session.client.must_receive().status() == Status::outside_window);
  session.client.send_as(session.next + 1, 0, proto::GrowRequest{1});
  CHECK(session.client.must_receive().status() == Status::outside_window);
  session.client.send_as(session.next, 60'000, proto::GrowRequest{1});
  CHECK(session.client.must_receive().status() == Status::outside_window);
  CHECK(ask(session, proto::SizeRequest{}).as<proto::SizeAnswer>().pages == 3);
}

TEST_CASE("a large write that comes again is known, also once it was written over, and one that differs is refused") {
  Daemon daemon{one_store};
  Resumable session = begin(daemon, Access::write, GENERATE(proto::Publish::on_write, proto::Publish::on_flush));
  std::uint16_t unanswered = 0;
  const auto next = [&](const auto& request) {
    const std::uint64_t id = session.next;
    ask(session, request, unanswered++);
    return id;
  };
  const auto again = [&](std::uint64_t id, const auto& request) {
    session.client.send_as(id, 0, request);
    Frame frame = session.client.must_receive();
    CHECK(frame.header.request_id == id);
    return frame.status();
  };
  const std::vector<std::byte> first(20'000, std::byte{1}), second(65'536, std::byte{2}), small(10, std::byte{3});
  const auto check_known = [&](std::uint64_t id, std::uint64_t offset, const std::vector<std::byte>& data,
                               Status status = Status::ok) {
    CHECK(again(id, proto::WriteRequest{offset, data}) == status);
    std::vector<std::byte> other = data;
    other.back() ^= std::byte{1};
    CHECK(again(id, proto::WriteRequest{offset, other}) == Status::request_differs);
    CHECK(again(id, proto::WriteRequest{offset + 1, data}) == Status::request_differs);
    CHECK(again(id, proto::WriteRequest{offset, std::span(data).first(data.size() - 1)}) == Status::request_differs);
    CHECK(again(id, proto::ZeroRequest{offset, data.size()}) == Status::request_differs);
  };
  session.client.send_as(session.next, 0, proto::GrowRequest{4});
  CHECK(session.client.must_receive().status() == Status::ok);
  ++session.next;
  const std::uint64_t one = next(proto::WriteRequest{1000, first});
  check_known(one, 1000, first);
  const std::uint64_t two = next(proto::WriteRequest{10'000, second});
  check_known(one, 1000, first);
  check_known(two, 10'000, second);
  next(proto::WriteRequest{10'500, small});
  check_known(two, 10'000, second);
  const std::uint64_t three = next(proto::WriteRequest{100'000, second});
  next(proto::ZeroRequest{165'000, 1000});
  check_known(three, 100'000, second);
  const std::uint64_t refused = next(proto::WriteRequest{4 * page_size - 5, first});
  check_known(refused, 4 * page_size - 5, first, Status::out_of_bounds);
  const std::uint64_t four = next(proto::WriteRequest{200'000, first});
  if (session.request.publish == proto::Publish::on_flush) {
    next(proto::DiscardRequest{});
  } else {
    next(proto::FlushRequest{});
    next(proto::GrowRequest{1});
  }
  check_known(four, 200'000, first);
  // Nothing of this was carried out a second time.
  const auto read = ask(session, proto::ReadRequest{10'490, 30}, unanswered);
  if (session.request.publish == proto::Publish::on_write) {
    std::vector<std::byte> expected(30, std::byte{2});
    std::fill_n(expected.begin() + 10, 10, std::byte{3});
    CHECK(data_of(read) == expected);
  } else {
    CHECK(read.status() == Status::out_of_bounds);
  }
}

TEST_CASE("a write over a large one is told of the lease that is lost, as any other") {
  Daemon daemon{one_store};
  Resumable session = begin(daemon);
  ask(session, proto::GrowRequest{4});
  const std::vector<std::byte> large(20'000, std::byte{1});
  CHECK(ask(session, proto::WriteRequest{0, large}).status() == Status::ok);
  RawClient reader = greeted(daemon);
  reader.open("s", Access::read);
  CHECK(reader.call(proto::BreakLeaseRequest{session.opened.epoch}).status() == Status::ok);
  CHECK(session.client.must_receive().is_notice());
  CHECK(ask(session, proto::WriteRequest{100, large}, 1).status() == Status::lease_lost);
  CHECK(ask(session, proto::ZeroRequest{0, 10}, 2).status() == Status::lease_lost);
  session.client.send_as(session.next - 2, 1, proto::WriteRequest{100, large});
  CHECK(session.client.must_receive().status() == Status::lease_lost);
}

TEST_CASE("requests beyond the window are not carried out") {
  TempDir dir;
  Daemon daemon{with_config(dir, R"({"limits": {"requests_in_flight": 4}})"), &dir};
  Resumable session = begin(daemon);
  for (std::uint16_t i = 0; i < 4; ++i) CHECK(ask(session, proto::GrowRequest{1}, i).status() == Status::ok);
  session.client.send_as(session.next, 4, proto::GrowRequest{1});
  CHECK(session.client.must_receive().status() == Status::outside_window);
  CHECK(ask(session, proto::GrowRequest{1}, 0).as<proto::GrowAnswer>().previous_pages == 4);
}

TEST_CASE("a daemon keeps no more answers than it announced, and goes on once they are acknowledged") {
  TempDir dir;
  Daemon daemon{with_config(dir, R"({"limits": {"request_bytes": "1MiB", "buffered_bytes": 1056768}})"), &dir};
  Resumable session = begin(daemon);
  ask(session, proto::GrowRequest{64});
  const std::uint64_t mark = session.next - 1;
  // The answers to reads are kept once something changes behind them.
  std::uint16_t sent = 0;
  const auto send_pair = [&] {
    session.client.send_as(mark + 1 + sent, sent, proto::ReadRequest{0, 1u << 20});
    ++sent;
    session.client.send_as(mark + 1 + sent, sent, proto::WriteRequest{sent, bytes_of("x")});
    ++sent;
  };
  for (int i = 0; i < 8; ++i) send_pair();
  std::uint16_t answered = 0;
  try {
    while (answered < sent) {
      const Frame frame = session.client.must_receive();
      CHECK(frame.header.request_id == mark + 1 + answered);
      CHECK(frame.status() == Status::ok);
      ++answered;
      if (!session.client.readable_within(std::chrono::milliseconds(300))) break;
    }
  } catch (const NoAnswer&) {
  }
  CHECK(answered < sent);
  // No mark came with what it reads no further for; another connection brings one.
  resume(daemon, session, mark + answered);
  CHECK(session.executed >= mark + answered);
  for (std::uint64_t id = mark + answered + 1; id <= session.executed; ++id)
    CHECK(session.client.must_receive().header.request_id == id);
  session.next = session.executed + 1;
  CHECK(ask(session, proto::GrowRequest{1}).as<proto::GrowAnswer>().previous_pages == 64);
}

TEST_CASE("a connection that the daemon takes for alive is fenced by the new one") {
  Daemon daemon{one_store};
  Resumable session = begin(daemon);
  ask(session, proto::GrowRequest{1});
  RawClient old = std::move(session.client);
  resume(daemon, session, session.next - 1);
  // Nothing that comes over it is carried out: it is closed.
  proto::Bytes bytes;
  proto::encode(bytes, session.next, proto::GrowRequest{10});
  old.send_bytes(bytes);
  CHECK(old.closed_within());
  CHECK(ask(session, proto::GrowRequest{1}).as<proto::GrowAnswer>().previous_pages == 1);
}

TEST_CASE("of two clients with one token the last one has the session") {
  Daemon daemon{one_store};
  Resumable one = begin(daemon);
  ask(one, proto::GrowRequest{1});
  Resumable other{greeted(daemon), one.request, one.token, 0, one.next, {}};
  for (int turn = 0; turn < 20; ++turn) {
    Resumable& comes = turn % 2 == 0 ? other : one;
    const Resumable& goes = turn % 2 == 0 ? one : other;
    comes.next = goes.next;
    resume(daemon, comes, comes.next - 1);
    CHECK(ask(comes, proto::GrowRequest{1}).as<proto::GrowAnswer>().previous_pages ==
          static_cast<std::uint64_t>(turn) + 1);
  }
  // At the same time, over and over: each is served or cut off, and the session lives.
  const std::uint64_t last = other.next > one.next ? other.next : one.next;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([&] {
      for (int turn = 0; turn < 50; ++turn) {
        RawClient client = RawClient::tcp(daemon.port());
        client.hello("raw", with_resume);
        proto::OpenRequest request = one.request;
        request.resume_token = one.token;
        request.last_request_id = last - 1;
        client.send(request);
        client.receive();
      }
    });
  for (std::thread& thread : threads) thread.join();
  one.next = last;
  resume(daemon, one, last - 1);
  CHECK(ask(one, proto::GrowRequest{1}).as<proto::GrowAnswer>().previous_pages == 21);
}

TEST_CASE("a token that is unknown, or of another session than the open describes, is refused") {
  Daemon daemon{{"--store", "s={dir}/s.img", "--store", "t={dir}/t.img"}};
  Resumable session = begin(daemon);
  ask(session, proto::GrowRequest{1});
  const auto refusal = [&](auto change, std::uint64_t mark) {
    Resumable other{greeted(daemon), session.request, session.token, 0, 0, {}};
    change(other);
    return try_resume(other.client, other, mark).status();
  };
  const std::uint64_t mark = session.next - 1;
  CHECK(refusal([](Resumable& other) { other.token[3] ^= 1; }, mark) == Status::token_unknown);
  CHECK(refusal([](Resumable& other) { other.request.store = "t"; }, mark) == Status::token_foreign);
  CHECK(refusal([](Resumable& other) { other.request.access = Access::read; }, mark) == Status::token_foreign);
  CHECK(refusal([](Resumable& other) { other.request.publish = proto::Publish::on_flush; }, mark) ==
        Status::token_foreign);
  CHECK(refusal([](Resumable&) {}, mark + 1) == Status::protocol_error);
  CHECK(refusal([](Resumable&) {}, 0) == Status::protocol_error);
  // Of another user: a Unix socket says who it is, TCP does not.
  RawClient local = RawClient::local(daemon.socket_path());
  local.hello("raw", with_resume);
  CHECK(try_resume(local, session, mark).status() == Status::identity_differs);
  // Without the feature, and with a token in another session.
  RawClient plain = RawClient::tcp(daemon.port());
  CHECK((plain.hello().features & proto::feature_resume) == 0);
  CHECK(try_resume(plain, session, mark).status() == Status::protocol_error);
  CHECK_FALSE(plain.open("s", Access::read).resume);
  // All the same it goes on.
  CHECK(ask(session, proto::SizeRequest{}).status() == Status::ok);
  daemon.expect_complaint("resumption refused");
}

TEST_CASE("a session ends when nobody comes back for it in time, and a later one is told that it is over") {
  TempDir dir;
  Daemon daemon{with_config(dir, R"({"resume_linger": "200ms"})"), &dir};
  Resumable session = begin(daemon, Access::write, proto::Publish::on_flush);
  CHECK(session.opened.resume->linger_ms == 200);
  ask(session, proto::GrowRequest{1});
  session.client.close();
  RawClient next = greeted(daemon);
  CHECK(next.try_open("s", Access::write, 20'000).as<proto::OpenAnswer>().pages == 0);
  RawClient late = greeted(daemon);
  CHECK(try_resume(late, session, session.next - 1).status() == Status::token_expired);
  daemon.wait_for_log("nobody came back for it within resume_linger=200 ms");
}

TEST_CASE("a daemon with resume_linger 0 keeps no session") {
  TempDir dir;
  Daemon daemon{with_config(dir, R"({"resume_linger": 0})"), &dir};
  RawClient client = RawClient::tcp(daemon.port());
  CHECK((client.hello("raw", with_resume).features & proto::feature_resume) == 0);
  CHECK_FALSE(client.open("s").resume);
  client.close();
  RawClient next = RawClient::tcp(daemon.port());
  next.hello();
  CHECK(next.try_open("s", Access::write, 20'000).status() == Status::ok);
}

TEST_CASE("who comes back before its first request was carried out has its session, and nobody else has its lease") {
  Daemon daemon{one_store};
  Resumable session = begin(daemon);
  RawClient before = std::move(session.client);
  // It has the token, or it could not show it. What still comes over the connection before is dropped.
  resume(daemon, session, session.next - 1);
  CHECK(session.executed == session.next - 1);
  CHECK(before.closed_within());
  CHECK(ask(session, proto::GrowRequest{1}).status() == Status::ok);
  session.client.close();
  wait_for_state(daemon, "detached");
  resume(daemon, session, session.next - 1);
  CHECK(ask(session, proto::CloseRequest{}).status() == Status::ok);
}

TEST_CASE("a session whose client never had its token is not kept") {
  Daemon daemon{one_store};
  Resumable session = begin(daemon);
  session.client.close();
  CHECK(greeted(daemon).try_open("s", Access::write, 20'000).status() == Status::ok);
  CHECK(daemon.log().find("session detached") == std::string::npos);
}

TEST_CASE("a detached session is kicked as any other, and one whose right goes ends") {
  Daemon daemon{one_store};
  Resumable session = begin(daemon);
  ask(session, proto::GrowRequest{1});
  session.client.close();
  wait_for_state(daemon, "detached");
  pageserver::Daemon asking{daemon.server_uri()};
  const SessionReport report = asking.sessions("s").at(0);
  CHECK(report.has_lease);
  CHECK(asking.kick(report.session_id, "enough").released);
  CHECK(greeted(daemon).try_open("s").status() == Status::ok);
  RawClient late = greeted(daemon);
  CHECK(try_resume(late, session, session.next - 1).status() == Status::token_expired);
}

TEST_CASE("a stop ends detached sessions at once") {
  Daemon daemon{one_store};
  Resumable session = begin(daemon);
  ask(session, proto::GrowRequest{1});
  session.client.close();
  wait_for_state(daemon, "detached");
  const auto began = std::chrono::steady_clock::now();
  CHECK(daemon.stop() == 0);
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(5));
}

TEST_CASE("a detached session hears of its lost lease when it comes back") {
  Daemon daemon{one_store};
  Resumable session = begin(daemon);
  ask(session, proto::GrowRequest{1});
  const bool heard_before = GENERATE(false, true);
  if (!heard_before) {
    session.client.close();
    wait_for_state(daemon, "detached");
  }
  RawClient reader = greeted(daemon);
  reader.open("s", Access::read);
  CHECK(reader.call(proto::BreakLeaseRequest{session.opened.epoch}).status() == Status::ok);
  if (heard_before) {
    CHECK(session.client.must_receive().is_notice());
    session.client.close();
    wait_until([&] { return daemon.log().find("session detached") != std::string::npos; });
  }
  resume(daemon, session, session.next - 1);
  const Frame notice = session.client.must_receive();
  CHECK(notice.is_notice());
  CHECK(notice.header.operation == proto::Operation::lease_lost);
  CHECK(ask(session, proto::GrowRequest{1}).status() == Status::lease_lost);
}

TEST_CASE("a flush that runs while the connection is lost is answered to the next one") {
  TempDir dir;
  Daemon daemon{with_config(dir, R"({"allow_faults": true})"), &dir};
  daemon.expect_complaint("faults can be ordered");
  Resumable session = begin(daemon, Access::write, proto::Publish::on_flush);
  ask(session, proto::GrowRequest{1});
  for (const char* const order : {"flush:cut=after", "flush:torn=30", "flush:cut=before", "flush:drip=1"}) {
    INFO(order);
    ask(session, proto::FaultsRequest{proto::FaultsWhat::add, proto::FaultsScope::session, order});
    ask(session, proto::GrowRequest{1});
    const std::uint64_t mark = session.next - 1;
    session.client.send_as(session.next, 0, proto::FlushRequest{});
    if (std::string_view(order) != "flush:drip=1") {
      CHECK_THROWS(session.client.must_receive());
    }
    resume(daemon, session, mark);
    const bool done = session.executed == mark + 1;
    CHECK(done == (std::string_view(order) != "flush:cut=before" && session.executed != mark));
    if (!done) session.client.send_as(session.next, 0, proto::FlushRequest{});
    const Frame flushed = session.client.must_receive();
    CHECK(flushed.header.request_id == mark + 1);
    CHECK(flushed.status() == Status::ok);
    ++session.next;
    ask(session, proto::FaultsRequest{proto::FaultsWhat::clear, proto::FaultsScope::session, {}});
  }
  ask(session, proto::CloseRequest{});
  CHECK(greeted(daemon).open("s", Access::read).pages == 5);
}

TEST_CASE("detached sessions count against the limits of live ones") {
  TempDir dir;
  Daemon daemon{with_config(dir, R"({"limits": {"connections": 12, "peer_percent": 100}})"), &dir};
  std::vector<Resumable> sessions;
  for (int i = 0; i < 9; ++i) {
    sessions.push_back(begin(daemon, Access::read, proto::Publish::on_write, proto::View::pinned));
    ask(sessions.back(), proto::SizeRequest{});
    sessions.back().client.close();
  }
  wait_until([&] { return count_of(daemon.log(), "session detached") == 9; });
  // Who comes for a session of its own finds no room, and who comes back does.
  std::vector<RawClient> others;
  bool refused = false;
  for (int i = 0; i < 8 && !refused; ++i) {
    others.push_back(greeted(daemon));
    refused = others.back().try_open("s", Access::read).status() == Status::limit_exceeded;
  }
  CHECK(refused);
  CHECK(others.size() == 4);
  others.clear();
  for (Resumable& session : sessions) {
    resume(daemon, session, session.next - 1);
    CHECK(ask(session, proto::SizeRequest{}).status() == Status::ok);
  }
}

TEST_CASE("many detached sessions stay, cost little, and all come back") {
  const std::size_t count = sanitized ? 300 : 10'000;  // the sanitizers take minutes for so many
  raise_open_files_limit();
  TempDir dir;
  Daemon daemon{with_config(dir, R"({"resume_linger": "1h", "limits": {"connections": )" + std::to_string(count + 100) +
                                     R"(, "peer_percent": 100}})"),
                &dir};
  daemon.expect_complaint("limits.connections can't be reached");
  {
    RawClient first = greeted(daemon);
    first.open("s");
    first.send_as(3, 0, proto::GrowRequest{1});
    first.must_receive();
    first.send_as(4, 0, proto::CloseRequest{});
    first.must_receive();
  }
  const std::size_t before = resident_kib(daemon.pid());
  std::vector<Resumable> sessions;
  sessions.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    sessions.push_back(begin(daemon, i % 2 == 0 ? Access::fork : Access::read));
    ask(sessions.back(), proto::ReadRequest{0, 65536});
    sessions.back().client.close();
  }
  const std::size_t each_kib = (resident_kib(daemon.pid()) - std::min(before, resident_kib(daemon.pid()))) / count;
  if (!sanitized) {
    CHECK(each_kib < 32);
  }
  for (Resumable& session : sessions) {
    resume(daemon, session, session.next - 1);
    CHECK(ask(session, proto::SizeRequest{}).as<proto::SizeAnswer>().pages == 1);
    session.client.close();
  }
  CHECK(daemon.stop() == 0);
}

}  // namespace pageserver::test
