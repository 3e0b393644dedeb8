// A daemon that puts into every text of every answer what a terminal would obey: none of it arrives there.
#include "tests/support/catch.hpp"

#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "tests/pagectl/tool.hpp"
#include "tests/unit/client/fake_daemon.hpp"

using namespace pageserver;
using namespace pageserver::test;
using proto::Operation;

namespace {

const std::string evil =
    "x\x1b]0;owned\x07\x1b[2J\u009b31m\u0085\r\nforged line\u2028\u202egnp.exe\u2066\u061c\u200f\x7f";

proto::Holder evil_holder(proto::Access access) { return {evil, evil, 5, 6, 7, access, {}, {}, 1}; }

bool answer_with_evil(FakePeer& peer, const Request& request) {
  switch (request.header.operation) {
    case Operation::list: {
      proto::ListAnswer answer;
      answer.entries.push_back({});
      answer.entries.back().store = evil;
      peer.answer(request, answer);
      return true;
    }
    case Operation::stat: {
      proto::StatAnswer answer;
      answer.store = evil;
      answer.pages = 1;
      answer.writer = evil_holder(proto::Access::write);
      answer.oldest_holder = evil_holder(proto::Access::fork);
      answer.last_sync_error = evil;
      answer.image_warning = evil;
      peer.answer(request, answer);
      return true;
    }
    case Operation::break_lease: {
      proto::BreakLeaseAnswer answer;
      answer.broken = evil_holder(proto::Access::write);
      peer.answer(request, answer);
      return true;
    }
    case Operation::size:
    case Operation::open:
    case Operation::close: return false;
    default: peer.error(request, proto::Status::provider_error, evil); return true;
  }
}

void check_safe(const std::string& what, const std::string& out) {
  for (std::size_t at = 0; at < out.size();) {
    const auto end = std::min(out.find('\n', at), out.size());
    const auto line = out.substr(at, end - at);
    INFO(what << ": " << base::visible(line));
    CHECK_FALSE(base::has_unsafe(line));
    CHECK(line.find("forged line") != 0);
    at = end + 1;
  }
}

}  // namespace

TEST_CASE("no text of a daemon reaches the terminal raw, and --json stays JSON") {
  FakeImage image;
  image.bytes.resize(4 * page_size);
  image.before = answer_with_evil;
  FakeDaemon daemon{image};
  const auto uri = daemon.uri();
  const auto server = uri.substr(0, uri.rfind('/'));
  const std::vector<std::vector<std::string>> commands{
      {"list", server},    {"ping", server},          {"info", uri},
      {"lease", uri},      {"lease", uri, "--break"}, {"read", uri, "0", "100"},
      {"write", uri, "0"}, {"grow", uri, "1"},        {"hash", uri},
      {"create", uri},     {"remove", uri},           {"bench", uri, "--count", "1"},
      {"diff", uri, uri}};
  for (const auto& command : commands) {
    const auto plain = pagectl(command, "some input");
    check_safe(command[0], plain.out + plain.err);
    auto with_json = command;
    with_json.push_back("--json");
    const auto json = pagectl(with_json, "some input");
    check_safe(command[0] + " --json", json.out + json.err);
    INFO(command[0] << ": " << base::visible(json.out));
    if (!json.out.empty()) CHECK(nlohmann::json::accept(json.out));
  }
}

TEST_CASE("a daemon's name and its words of farewell do not reach the terminal raw either") {
  for (const bool greets : {false, true}) {
    FakeDaemon daemon{[&](FakePeer& peer) {
      const auto hello = peer.expect(Operation::hello);
      if (!greets) {
        peer.notice(Operation::goodbye, proto::Status::limit_exceeded, evil);
      } else {
        proto::HelloAnswer answer;
        answer.payload_bytes_max = (1u << 20) + proto::payload_overhead_bytes;
        answer.request_bytes_max = 1u << 20;
        answer.requests_in_flight_max = 64;
        answer.buffered_bytes_max = 64u << 20;
        answer.server_name = evil;
        peer.answer(hello, answer);
        const auto request = peer.next();
        if (request && request->header.operation == Operation::ping) peer.answer(*request, proto::PingAnswer{});
      }
      peer.wait_for_end();
    }};
    const auto uri = daemon.uri();
    const auto result = pagectl({"ping", uri.substr(0, uri.rfind('/'))});
    check_safe("ping", result.out + result.err);
    CHECK_FALSE((result.out + result.err).empty());
  }
}
