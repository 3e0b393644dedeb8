// What one peer may have of what all share: the others always find some.
#include <sys/socket.h>

#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

// Two peers: who comes over loopback, and the user of the Unix socket.
struct Shared {
  explicit Shared(const std::string& limits, const std::string& log = "{}") {
    std::filesystem::create_directory(dir.path() / "stores");
    for (const char* name : {"a", "b", "c", "d", "e"})
      std::ofstream(dir.path() / "stores" / (std::string(name) + ".img")).flush();
    std::ofstream(dir.file("c.json")) << R"({"limits": {)" << limits << R"(}, "log": )" << log << "}";
    daemon.emplace(std::vector<std::string>{"--config", "{dir}/c.json", "--directory", "{dir}/stores", "--store",
                                            "demo={dir}/demo.img"},
                   &dir);
  }
  RawClient tcp() const {
    RawClient client = RawClient::tcp(daemon->port());
    client.hello();
    return client;
  }
  RawClient local() const {
    RawClient client = RawClient::local(daemon->socket_path());
    client.hello();
    return client;
  }

  TempDir dir;
  std::optional<Daemon> daemon;
};

void check_refused(const Frame& frame, std::string_view text) {
  INFO(frame.text());
  CHECK(frame.status() == proto::Status::limit_exceeded);
  CHECK(frame.text().find(text) != std::string::npos);
}

}  // namespace

TEST_CASE("one address has its share of the connections, and others still come in") {
  Shared shared(R"("connections": 20, "peer_percent": 50)");
  std::vector<RawClient> clients;
  for (int i = 0; i < 10; ++i) clients.push_back(shared.tcp());
  const auto refused = RawClient::tcp(shared.daemon->port()).must_receive();
  CHECK(refused.header.operation == proto::Operation::goodbye);
  check_refused(refused, "10 connections of 127.0.0.1 are open, limits.peer_percent=50 of limits.connections=20");
  for (int i = 0; i < 5; ++i) clients.push_back(shared.local());
  for (RawClient& client : clients) CHECK(client.call(proto::PingRequest{}).status() == proto::Status::ok);
}

TEST_CASE("one address has its share of a line for a lease, and the line has its end") {
  Shared shared(R"("lease_line": 5, "peer_percent": 60)");
  RawClient writer = shared.local();
  writer.open("demo");
  std::vector<RawClient> line;
  const auto wait_in_line = [&](RawClient client) {
    proto::OpenRequest request;
    request.access = proto::Access::write;
    request.store = "demo";
    request.wait_ms = 60'000;
    client.send(request);
    line.push_back(std::move(client));
  };
  for (int i = 0; i < 3; ++i) wait_in_line(shared.tcp());
  const auto in_line = [&] { return writer.call(proto::StatRequest{}).as<proto::StatAnswer>().writers_waiting; };
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (in_line() != 3) REQUIRE(std::chrono::steady_clock::now() < deadline);
  check_refused(shared.tcp().try_open("demo", proto::Access::write, 60'000),
                "3 sessions of 127.0.0.1 wait for its lease, limits.peer_percent=60 of limits.lease_line=5");
  for (int i = 0; i < 2; ++i) wait_in_line(shared.local());
  while (in_line() != 5) REQUIRE(std::chrono::steady_clock::now() < deadline);
  check_refused(shared.local().try_open("demo", proto::Access::write, 60'000),
                "5 sessions wait for its lease, limits.lease_line=5");
  // Who leaves makes room.
  line.erase(line.begin());
  while (in_line() != 4) REQUIRE(std::chrono::steady_clock::now() < deadline);
  wait_in_line(shared.tcp());
  while (in_line() != 5) REQUIRE(std::chrono::steady_clock::now() < deadline);
}

TEST_CASE("one address has its share of the stores that may be open") {
  Shared shared(R"("stores": 5, "peer_percent": 50)");  // with `demo`, which is configured
  std::vector<RawClient> sessions;
  const auto try_open = [&](RawClient client, std::string_view store) {
    const Frame frame = client.try_open(store, proto::Access::read);
    sessions.push_back(std::move(client));
    return frame;
  };
  for (const char* store : {"a", "b", "c"}) CHECK(try_open(shared.tcp(), store).status() == proto::Status::ok);
  check_refused(try_open(shared.tcp(), "d"),
                "3 stores are open for 127.0.0.1, limits.peer_percent=50 of limits.stores=5");
  CHECK(try_open(shared.tcp(), "a").status() == proto::Status::ok);     // open already
  CHECK(try_open(shared.tcp(), "demo").status() == proto::Status::ok);  // open anyway
  CHECK(try_open(shared.local(), "d").status() == proto::Status::ok);
  // One that is not used any more counts no longer, and again once it is.
  sessions[1].call(proto::CloseRequest{});
  CHECK(try_open(shared.tcp(), "b").status() == proto::Status::ok);
  check_refused(try_open(shared.tcp(), "e"), "limits.peer_percent=50");
}

TEST_CASE("one address has its share of the bytes of forks") {
  Shared shared(R"("forks_bytes": "1MiB", "fork_bytes": "1MiB", "peer_percent": 50)");
  {
    RawClient writer = shared.local();
    writer.open("demo");
    writer.grow(32);
  }
  const auto fork = [](RawClient client) {
    client.open("demo", proto::Access::fork);
    return client;
  };
  RawClient one = fork(shared.tcp()), two = fork(shared.tcp()), other = fork(shared.local());
  one.write(0, pattern(1u << 18, 1));
  two.write(0, pattern(1u << 18, 1));
  check_refused(two.call(proto::WriteRequest{1u << 20, pattern(1, 1)}),
                "limits.peer_percent=50 of limits.forks_bytes=1048576, a peer's share=524288");
  other.write(0, pattern(1u << 19, 1));
  check_refused(other.call(proto::WriteRequest{1u << 20, pattern(1, 1)}), "limits.forks_bytes=1048576");
  one.call(proto::DiscardRequest{});
  two.write(1u << 20, pattern(1u << 18, 1));
}

TEST_CASE("lines of the log that one peer causes without end are counted, and others have theirs") {
  Shared shared("", R"({"peer_lines": 1})");
  constexpr int refused = 3000;
  {
    RawClient client = shared.tcp();
    for (int i = 0; i < refused; ++i) CHECK(client.try_open("nothing").status() == proto::Status::not_found);
    CHECK(shared.local().try_open("nobody").status() == proto::Status::not_found);
  }
  CHECK(shared.daemon->stop() == 0);
  const std::string log = shared.daemon->log();
  const std::size_t lines = count_of(log, "request refused action=open store=nothing");
  CHECK(lines >= 100);
  CHECK(lines <= 100 + refused / 20);  // the daemon takes some seconds at most for so many
  CHECK(count_of(log, "request refused action=open store=nobody") == 1);
  std::size_t left_out = 0;
  constexpr std::string_view said = "log lines left out peer=127.0.0.1 of=\"request refused\" lines=";
  for (std::size_t at = log.find(said); at != std::string::npos; at = log.find(said, at + 1))
    left_out += std::stoul(log.substr(at + said.size()));
  CHECK(lines + left_out == refused);
}

TEST_CASE("who goes on sending after goodbye is dropped, and holds nobody up") {
  Shared shared("");
  RawClient flooder = RawClient::tcp(shared.daemon->port());
  const std::vector<std::byte> garbage(1u << 16, std::byte{'x'});
  std::size_t sent = 0;
  // What the kernels of both ends hold comes on top of what the daemon takes.
  constexpr std::size_t much = 256u << 20;
  while (sent < much && flooder.send_bytes(garbage)) sent += garbage.size();
  CHECK(sent < much);
  CHECK(shared.tcp().call(proto::PingRequest{}).status() == proto::Status::ok);
}

TEST_CASE("a large frame without a session is answered by its header, and the connection goes on") {
  Shared shared("");
  RawClient client = shared.tcp();
  const Frame refused = client.call(proto::WriteRequest{0, pattern(1u << 20, 1)});
  CHECK(refused.status() == proto::Status::invalid_argument);
  INFO(refused.text());
  CHECK(refused.text().find("no session") != std::string::npos);
  CHECK(refused.text().find("at most 4096 bytes") != std::string::npos);
  CHECK(client.call(proto::PingRequest{}).status() == proto::Status::ok);
  // Behind an open that waits it is a request of the session like any other.
  proto::Bytes bytes;
  proto::OpenRequest open;
  open.access = proto::Access::write;
  open.store = "demo";
  proto::encode(bytes, 50, open);
  proto::encode(bytes, 51, proto::GrowRequest{16});
  proto::encode(bytes, 52, proto::WriteRequest{0, pattern(1u << 20, 1)});
  client.send_bytes(bytes);
  for (std::uint64_t id = 50; id <= 52; ++id) {
    const Frame answer = client.must_receive();
    CHECK(answer.header.request_id == id);
    CHECK(answer.status() == proto::Status::ok);
  }
  CHECK(client.read(0, 1u << 20) == pattern(1u << 20, 1));
}
