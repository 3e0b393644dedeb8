// What those who run a daemon ask it, against a daemon that the test plays.
#include <poll.h>

#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>
#include "tests/support/catch.hpp"

#include "client/wire/administration.hpp"
#include "tests/unit/client/wire_peer.hpp"

using namespace pageserver;
using namespace pageserver::client;
using namespace pageserver::test;

namespace {

proto::SessionEntry entry_of(std::uint64_t connection) {
  proto::SessionEntry entry;
  entry.connection_id = connection;
  entry.address = "unix";
  return entry;
}

proto::SessionsAnswer page(std::vector<std::uint64_t> ids, std::uint64_t until, bool more) {
  proto::SessionsAnswer answer;
  for (const std::uint64_t id : ids) answer.entries.push_back(entry_of(id));
  answer.described_until = until;
  answer.more = more;
  return answer;
}

struct Asked {
  WirePeer peer;
  std::optional<Connection> connection;

  explicit Asked(std::uint64_t features = proto::features_all) {
    Limits limits;
    limits.features = features;
    peer.hello(limits);
    connection.emplace(peer.take_client_end(), Endpoint{"h", 6553, ""}, ConnectionOptions{});
    (void)peer.requests();
  }
};

/// Answers the requests with ids from 2 on, each once it is there.
template <class Call>
auto with_answers(Asked& asked, const std::vector<proto::SessionsAnswer>& answers, Call call) {
  std::thread daemon([&] {
    for (std::size_t i = 0; i < answers.size(); ++i) {
      std::vector<Request> requests;
      while (requests.empty() && !asked.peer.closed()) {
        pollfd there{asked.peer.fd(), POLLIN, 0};
        ::poll(&there, 1, 1000);
        requests = asked.peer.requests();
      }
      if (requests.empty()) return;
      asked.peer.answer(requests.front().header.request_id, answers[i]);
    }
  });
  struct Join {
    std::thread& thread;
    ~Join() { thread.join(); }
  } const join{daemon};
  return call();
}

Errc code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const MemoryError& error) {
    return error.errc();
  }
  return Errc::provider_error;
}

}  // namespace

TEST_CASE("a daemon that is too old to say who uses it is not asked") {
  Asked asked(proto::features_all & ~proto::feature_sessions);
  CHECK(code_of([&] { list_sessions(*asked.connection, ""); }) == Errc::unsupported);
  CHECK(code_of([&] { ask_load(*asked.connection, "s"); }) == Errc::unsupported);
  CHECK(code_of([&] { kick(*asked.connection, proto::KickWhat::session, 1, ""); }) == Errc::unsupported);
  CHECK(asked.peer.requests().empty());
}

TEST_CASE("what can't be asked for is not sent") {
  Asked asked;
  CHECK(code_of([&] { list_sessions(*asked.connection, "../up"); }) == Errc::invalid_argument);
  CHECK(code_of([&] { kick(*asked.connection, proto::KickWhat::session, 1, "two\nlines"); }) == Errc::invalid_argument);
  CHECK(code_of([&] { kick(*asked.connection, proto::KickWhat::session, 1, std::string(256, 'x')); }) ==
        Errc::invalid_argument);
  CHECK(asked.peer.requests().empty());
}

TEST_CASE("sessions are asked for until there are no more, also behind an empty answer") {
  Asked asked;
  const auto found = with_answers(asked, {page({3, 5}, 5, true), page({}, 90, true), page({91}, 91, false)},
                                  [&] { return list_sessions(*asked.connection, "s"); });
  REQUIRE(found.size() == 3);
  CHECK(found[0].connection_id == 3);
  CHECK(found[2].connection_id == 91);
  CHECK(found[0].address == "unix");
}

TEST_CASE("answers that make no progress are a protocol error, and not asked for without end") {
  for (const auto& answers : {std::vector{page({}, 0, true)}, std::vector{page({3, 3}, 3, false)},
                              std::vector{page({4}, 3, false)}, std::vector{page({5}, 5, true), page({5}, 5, true)}}) {
    Asked asked;
    CHECK(with_answers(asked, answers, [&] { return code_of([&] { list_sessions(*asked.connection, ""); }); }) ==
          Errc::protocol_error);
  }
}
