// Connections that have not said who they are: however many of them there are, who is known gets in.
#include <poll.h>

#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "base/tls/stream.hpp"
#include "tests/daemon/helpers.hpp"
#include "tests/daemon/secured.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

/// A daemon where strangers stay for as long as they may.
struct Visited : Secured {
  explicit Visited(const std::string& limits) {
    raise_open_files_limit();
    certificates.make("server", {});
    std::ofstream(certificates.file("c.json"))
        << R"({"limits": {"hello_timeout": "1h")" << (limits.empty() ? "" : ", ") << limits << "}}";
    start("server", {"--config", certificates.file("c.json"), "--metrics", "0"});
  }
  RawClient stranger(int address) const { return RawClient::tcp_from(address, daemon->port()); }
  double metric(const std::string& name) const {
    return sample_of(http_get(RawClient::tcp(metrics_port(daemon->process())), "/metrics").body, name);
  }
};

bool is_served(RawClient& client) { return client.call(proto::PingRequest{}).status() == proto::Status::ok; }

/// Those that the daemon has not ended.
std::size_t count_open(const std::vector<RawClient>& clients) {
  std::size_t count = 0;
  for (const RawClient& client : clients) {
    pollfd look{client.fd(), POLLIN | POLLRDHUP, 0};
    if (::poll(&look, 1, 0) == 0) ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("silent connections from several addresses keep no known client out, nor end one") {
  Visited visited(R"("connections": 100)");
  RawClient before = RawClient::tcp(visited.daemon->port());
  before.hello();
  std::vector<RawClient> silent, known;
  for (int i = 0; i < 100; ++i)
    for (const int address : {2, 3, 4}) silent.push_back(visited.stranger(address));
  // More than one: each takes the place of a stranger, and none that of a known one.
  for (int i = 0; i < 40; ++i) {
    known.push_back(i % 2 == 0 ? RawClient::tcp(visited.daemon->port()) : visited.stranger(2));
    known.back().hello();
    silent.push_back(visited.stranger(5));
  }
  CHECK(is_served(before));
  for (RawClient& client : known) CHECK(is_served(client));
  wait_until([&] { return count_open(silent) <= 100 - 41; });
  CHECK(visited.metric("pageserver_connections_refused_total{reason=\"stranger\"}") >= 340 - 59);
  CHECK(visited.metric("pageserver_connections_refused_total{reason=\"limit\"}") == 0);
}

TEST_CASE("handshakes that are begun and left alone keep no known client out") {
  Visited visited(R"("connections": 100)");
  std::ostringstream authority;
  authority << std::ifstream(visited.certificates.certificate("ca")).rdbuf();
  tls::Credentials credentials;
  credentials.authorities = authority.str();
  const auto context = tls::Context::of_client(credentials);
  std::vector<RawClient> clients;
  std::vector<std::unique_ptr<tls::Stream>> streams;
  for (int i = 0; i < 80; ++i)
    for (const int address : {2, 3, 4}) {
      clients.push_back(RawClient::tcp_from(address, visited.port_number()));
      streams.push_back(std::make_unique<tls::Stream>(context, clients.back().fd(), "localhost"));
      // What the daemon has said by then may or may not be here, and is not answered if it is not.
      (void)streams.back()->handshake();
    }
  std::vector<std::unique_ptr<Session>> known;
  for (int i = 0; i < 20; ++i) known.push_back(open_session(visited.uri("&access=read")));
  for (const auto& session : known) session->refresh();
}

TEST_CASE("strangers have a bound of their own, and each address a share of that") {
  Visited visited(R"("strangers": 20, "peer_percent": 50)");
  std::vector<RawClient> many, few;
  for (int i = 0; i < 5; ++i) few.push_back(visited.stranger(3));
  for (int i = 0; i < 30; ++i) many.push_back(visited.stranger(2));
  const Frame goodbye = many.front().must_receive();
  CHECK(goodbye.header.operation == proto::Operation::goodbye);
  CHECK(goodbye.status() == proto::Status::limit_exceeded);
  CHECK(goodbye.text().find("had not said hello; limits.strangers=20") != std::string::npos);
  CHECK_FALSE(many.front().receive());
  wait_until([&] { return count_open(many) == 10; });
  CHECK(count_open(few) == 5);
  // The newest of them stay. Who has said hello is none any more, and makes room for another.
  for (std::size_t i = 20; i < 30; ++i) {
    many[i].hello();
    few.push_back(visited.stranger(4));
  }
  CHECK(count_open(few) == 15);
  for (int i = 0; i < 6; ++i) few.push_back(visited.stranger(5 + i));
  wait_until([&] { return count_open(few) == 20; });
  for (std::size_t i = 20; i < 30; ++i) CHECK(is_served(many[i]));
}

TEST_CASE("five hundred clients of one address that come at the same moment all get in, with the limits that are set") {
  Visited visited("");
  std::vector<RawClient> clients;
  for (int i = 0; i < 500; ++i) clients.push_back(RawClient::tcp(visited.daemon->port()));
  for (RawClient& client : clients) client.hello();
  for (RawClient& client : clients) CHECK(is_served(client));
  CHECK(visited.metric("pageserver_connections_refused_total{reason=\"stranger\"}") == 0);
}
