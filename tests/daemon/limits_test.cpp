// Each limit is enforced, and its error names it.
#include <array>
#include <optional>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

// A daemon with a store `demo` and these limits.
struct Limited {
  explicit Limited(const std::string& limits) {
    std::ofstream(dir.file("c.json")) << "{\"limits\": {" + limits + "}}";
    daemon.emplace(std::vector<std::string>{"--config", "{dir}/c.json", "--store", "demo={dir}/demo.img"}, &dir);
  }
  TempDir dir;
  std::optional<Daemon> daemon;
};

}  // namespace

TEST_CASE("a connection over the limit is told so, and there is room again when one ends") {
  Limited limited(R"("connections": 3)");
  std::vector<RawClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(RawClient::tcp(limited.daemon->port()));
    clients.back().hello();
  }
  RawClient fourth = RawClient::tcp(limited.daemon->port());
  const Frame goodbye = fourth.must_receive();
  CHECK(goodbye.header.operation == proto::Operation::goodbye);
  CHECK(goodbye.status() == proto::Status::limit_exceeded);
  CHECK(goodbye.text().find("limits.connections=3") != std::string::npos);
  CHECK_FALSE(fourth.receive());
  fourth.close();
  limited.daemon->wait_for_log("connection refused");
  clients[0].call(proto::CloseRequest{});
  clients[0].close();
  // The end of the first is noticed a moment after it is seen from here.
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    RawClient next = RawClient::tcp(limited.daemon->port());
    proto::HelloRequest hello;
    hello.payload_bytes_max = 1u << 20;
    next.send(hello);
    // So many are refused in a row that the daemon may not have the time to tell each of them.
    const std::optional<Frame> answer = next.receive();
    if (answer && !answer->is_notice()) break;
    REQUIRE(std::chrono::steady_clock::now() < deadline);
  }
}

TEST_CASE("the image's size limit meets grow") {
  Limited limited(R"("size_bytes_max": "1MiB")");
  RawClient client = session_on(*limited.daemon, "demo");
  CHECK(client.grow(16) == 0);
  for (const std::uint64_t pages : {std::uint64_t{1}, std::uint64_t{1} << 48, UINT64_MAX}) {
    const Frame refused = client.call(proto::GrowRequest{pages});
    CHECK(refused.status() == proto::Status::limit_exceeded);
    if (pages == 1) CHECK(refused.text().find("1048576") != std::string::npos);
  }
  CHECK(client.grow(0) == 16);
}

TEST_CASE("a larger request limit is announced and works whole, and one byte more does not") {
  Limited limited(R"("request_bytes": "2MiB")");
  RawClient client = RawClient::tcp(limited.daemon->port());
  const auto hello = client.hello();
  REQUIRE(hello.request_bytes_max == 2u << 20);
  client.open("demo");
  client.grow(64);
  const auto data = pattern(2u << 20, 1);
  client.write(7, data);
  CHECK(client.read(7, 2u << 20) == data);
  const Frame refused = client.call(proto::ReadRequest{0, (2u << 20) + 1});
  CHECK(refused.status() == proto::Status::limit_exceeded);
  CHECK(refused.text().find("exceeds request_bytes_max=2097152") != std::string::npos);
  const Frame write = client.call(proto::WriteRequest{0, pattern((2u << 20) + 1, 1)});
  CHECK(write.status() == proto::Status::limit_exceeded);
  CHECK(client.call(proto::PingRequest{}).status() == proto::Status::ok);
}

TEST_CASE("a frame over the limit ends the connection with the numbers") {
  Limited limited("");
  RawClient client = session_on(*limited.daemon, "demo");
  std::array<std::byte, proto::frame_header_bytes> header{};
  proto::encode_header(header, {proto::Operation::write, 0, 9, (1u << 20) + 4097, proto::Status::ok, 0});
  client.send_bytes(header);
  const Frame goodbye = client.must_receive();
  CHECK(goodbye.header.operation == proto::Operation::goodbye);
  CHECK(goodbye.status() == proto::Status::limit_exceeded);
  CHECK(goodbye.text().find("payload_bytes_max=1052672") != std::string::npos);
  CHECK_FALSE(client.receive());
}

TEST_CASE("a client's own payload limit meets its reads") {
  Limited limited("");
  RawClient client = RawClient::tcp(limited.daemon->port());
  proto::HelloRequest hello;
  hello.payload_bytes_max = 69'632;
  client.call(hello);
  client.open("demo");
  client.grow(4);
  CHECK(client.call(proto::ReadRequest{0, 69'632}).status() == proto::Status::ok);
  CHECK(client.call(proto::ReadRequest{0, 69'633}).status() == proto::Status::limit_exceeded);
}

TEST_CASE("who says no hello in time is told and closed") {
  Limited limited(R"("hello_timeout": "200ms")");
  RawClient silent = RawClient::tcp(limited.daemon->port());
  RawClient slow = RawClient::tcp(limited.daemon->port());
  RawClient greeted = RawClient::tcp(limited.daemon->port());
  greeted.hello();
  proto::Bytes frame;
  proto::HelloRequest hello;
  hello.payload_bytes_max = 1u << 20;
  proto::encode(frame, 1, hello);
  // A byte now and then is no hello: one for each look at whether the daemon has closed.
  std::size_t sent = 0;
  while (sent < frame.size() - 1 && slow.send_bytes(std::span(frame).subspan(sent, 1))) {
    ++sent;
    if (slow.readable_within(std::chrono::milliseconds(20))) break;
  }
  for (RawClient* client : {&silent, &slow}) {
    const Frame goodbye = client->must_receive();
    CHECK(goodbye.status() == proto::Status::timed_out);
    CHECK(goodbye.text().find("limits.hello_timeout=200 ms") != std::string::npos);
    CHECK_FALSE(client->receive());
  }
  CHECK(greeted.call(proto::PingRequest{}).status() == proto::Status::ok);
}

TEST_CASE("a frame that does not go on is given up, however it trickles, and an idle session is not") {
  Limited limited(R"("stall_timeout": "300ms")");
  RawClient idle = session_on(*limited.daemon, "demo", proto::Access::read);
  RawClient client = session_on(*limited.daemon, "demo");
  proto::Bytes frame;
  proto::encode(frame, 9, proto::WriteRequest{0, pattern(60'000, 1)});
  client.send_bytes(std::span(frame).first(1000));
  std::size_t sent = 1000;
  while (sent < frame.size() && client.send_bytes(std::span(frame).subspan(sent, 1))) {
    ++sent;
    if (client.readable_within(std::chrono::milliseconds(20))) break;
  }
  const Frame goodbye = client.must_receive();
  CHECK(goodbye.status() == proto::Status::timed_out);
  CHECK(goodbye.text().find("limits.stall_timeout=300 ms") != std::string::npos);
  // The lease went with the connection.
  CHECK(session_on(*limited.daemon, "demo").grow(0) == 0);
  CHECK(idle.call(proto::PingRequest{}).status() == proto::Status::ok);
}

TEST_CASE("a client that reads no answers is given up and its lease is free") {
  Limited limited(R"("stall_timeout": "300ms")");
  RawClient deaf = RawClient::tcp(limited.daemon->port(), 4096);
  deaf.hello();
  deaf.open("demo");
  deaf.grow(16);
  proto::Bytes batch;
  for (std::uint64_t i = 0; i < 64; ++i) proto::encode(batch, 10 + i, proto::ReadRequest{0, 1u << 20});
  deaf.send_bytes(batch);
  limited.daemon->wait_for_log("the peer reads no answers");
  RawClient next = RawClient::tcp(limited.daemon->port());
  next.hello();
  CHECK(next.try_open("demo", proto::Access::write, 30'000).status() == proto::Status::ok);
}

TEST_CASE(
    "a peer that reads nothing is dropped by the stall rule alone, and only when more is asked for than announced") {
  Limited limited(R"("stall_timeout": "3s", "keepalive": "2s")");
  Daemon& daemon = *limited.daemon;
  const auto connected = [&](bool tcp) {
    RawClient client = tcp ? RawClient::tcp(daemon.port(), 4096) : RawClient::local(daemon.socket_path());
    client.hello();
    client.open("demo", proto::Access::read);
    return client;
  };
  const auto data = pattern(1u << 20, 7);
  {
    RawClient writer = session_on(daemon, "demo");
    writer.grow(16);
    writer.write(0, data);
  }
  const auto ask = [](RawClient& client, int count) {
    proto::Bytes batch;
    for (int i = 0; i < count; ++i)
      proto::encode(batch, 10 + static_cast<unsigned>(i), proto::ReadRequest{0, 1u << 20});
    client.send_bytes(batch);
  };
  // What is read in part is answered to the last byte, though the reader pauses for longer than both limits.
  std::vector<RawClient> paused;
  for (const bool tcp : {true, false}) ask(paused.emplace_back(connected(tcp)), 4);
  const RawClient watcher = connected(false);
  std::size_t dropped = 0;
  for (int round = 0; round < 2; ++round) {
    std::vector<RawClient> greedy;
    for (const bool tcp : {true, false}) ask(greedy.emplace_back(connected(tcp)), 64);
    dropped += greedy.size();
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (count_of(daemon.log(), "reason=\"the peer reads no answers\" stall_timeout_ms=3000") < dropped) {
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      // Nothing comes to it: this waits for the log alone.
      CHECK_FALSE(watcher.readable_within(std::chrono::milliseconds(20)));
    }
  }
  CHECK(count_of(daemon.log(), "the connection was lost") == 0);
  CHECK(count_of(daemon.log(), "acknowledges nothing") == 0);
  for (RawClient& client : paused) {
    for (unsigned i = 0; i < 4; ++i) {
      const Frame frame = client.must_receive();
      CHECK(frame.header.request_id == 10 + i);
      CHECK((frame.as<proto::ReadAnswer>().data.size() == data.size() &&
             std::equal(data.begin(), data.end(), frame.as<proto::ReadAnswer>().data.begin())));
    }
    CHECK(client.call(proto::PingRequest{}).status() == proto::Status::ok);
  }
}

TEST_CASE("beyond its share of requests a connection is read no further, and nothing is lost") {
  Limited limited(R"("requests_in_flight": 4)");
  RawClient client = session_on(*limited.daemon, "demo");
  client.grow(1);
  proto::Bytes batch;
  for (std::uint64_t i = 0; i < 1000; ++i) proto::encode(batch, 10 + i, proto::ReadRequest{i, 8});
  client.send_bytes(batch);
  for (std::uint64_t i = 0; i < 1000; ++i) REQUIRE(client.must_receive().header.request_id == 10 + i);
}

TEST_CASE("out of descriptors the daemon refuses instead of spinning, and serves again when there are some") {
  raise_open_files_limit();
  TempDir dir;
  // The limit is the child's own: the shell sets it, then becomes the daemon.
  Process daemon({"/bin/sh", "-c", "ulimit -n 40; exec \"$@\"", "sh", pageserverd_path(), "--unix", dir.file("s"),
                  "--store", "demo=" + dir.file("demo.img")});
  daemon.wait_for_err(" INFO start ");
  std::vector<RawClient> clients;
  // Known ones, since strangers would make way.
  for (int i = 0; i < 60; ++i) {
    clients.push_back(RawClient::local(dir.file("s")));
    proto::HelloRequest request;
    request.payload_bytes_max = 1u << 20;
    clients.back().send(request);
    (void)clients.back().receive();
  }
  daemon.wait_for_err(" WARN connections refused for want of descriptors");
  // Several looks in a row at which every thread sleeps, while connections are refused or wait: one that spins is never
  // found asleep.
  constexpr int looks_needed = 10;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (int calm = 0; calm < looks_needed;) {
    calm = sleeping_threads(daemon.pid()).empty() ? 0 : calm + 1;
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    CHECK_FALSE(clients[0].readable_within(std::chrono::milliseconds(5)));
  }
  CHECK(count_of(daemon.err_so_far(), "connections refused for want of descriptors") == 1);
  clients.clear();
  const auto is_served = [&] {
    RawClient again = RawClient::local(dir.file("s"));
    proto::HelloRequest request;
    request.payload_bytes_max = 1u << 20;
    again.send(request);
    const auto frame = again.receive();
    return frame && !frame->is_notice();
  };
  while (!is_served()) REQUIRE(std::chrono::steady_clock::now() < deadline);
  daemon.signal(SIGTERM);
  CHECK(daemon.wait() == 0);
}
