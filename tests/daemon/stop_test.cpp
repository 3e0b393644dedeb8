// How the daemon stops, and what survives when it can't.
#include <thread>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"

using namespace pageserver;
using namespace pageserver::test;

TEST_CASE("SIGTERM says goodbye to every session, flushes, and ends with status 0") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  RawClient writer = session_on(daemon, "demo");
  RawClient reader = session_on(daemon, "demo", proto::Access::read);
  RawClient greeted = RawClient::tcp(daemon.port());
  greeted.hello();
  writer.grow(2);
  const auto data = pattern(65536, 3);
  writer.write(65536, data);
  daemon.process().signal(SIGTERM);
  for (RawClient* client : {&writer, &reader, &greeted}) {
    const Frame goodbye = client->must_receive();
    CHECK(goodbye.is_notice());
    CHECK(goodbye.header.operation == proto::Operation::goodbye);
    CHECK(goodbye.status() == proto::Status::stopping);
    CHECK_FALSE(client->receive());
    client->close();
  }
  CHECK(daemon.process().wait() == 0);
  daemon.wait_for_log(" INFO stop status=0");
  std::ifstream image(daemon.file("demo.img"), std::ios::binary);
  image.seekg(65536);
  std::string bytes(65536, '\0');
  image.read(bytes.data(), 65536);
  CHECK(bytes_of(bytes) == data);
  CHECK(std::filesystem::file_size(daemon.file("demo.img")) == 2 * 65536);
}

TEST_CASE("SIGINT stops as SIGTERM does, and SIGHUP and SIGPIPE do not") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  daemon.process().signal(SIGHUP);
  daemon.process().signal(SIGPIPE);
  RawClient client = session_on(daemon, "demo");
  CHECK(client.grow(1) == 0);
  client.close();
  daemon.process().signal(SIGINT);
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("requests that had arrived before the stop are answered before the goodbye") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  RawClient client = session_on(daemon, "demo");
  client.grow(4);
  proto::Bytes batch;
  const auto data = pattern(100, 1);
  constexpr std::uint64_t count = 500;
  for (std::uint64_t i = 0; i < count; ++i) proto::encode(batch, 1000 + i, proto::WriteRequest{i * 100, data});
  proto::encode(batch, 1000 + count, proto::FlushRequest{});
  REQUIRE(client.send_bytes(batch));
  // Its first answer proves that the batch has arrived, as one send of this size does.
  CHECK(client.must_receive().header.request_id == 1000);
  daemon.process().signal(SIGTERM);
  std::uint64_t next = 1001;
  for (;;) {
    const Frame frame = client.must_receive();
    if (frame.is_notice()) break;
    CHECK(frame.header.request_id == next++);
    CHECK(frame.status() == proto::Status::ok);
  }
  CHECK(next == 1001 + count);
  client.close();
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("a client that does not read can't hold up the stop, and a second signal ends it at once") {
  TempDir dir;
  Daemon daemon({"--store", "demo={dir}/demo.img"}, &dir);
  RawClient writer = session_on(daemon, "demo");
  writer.grow(16);
  const auto data = pattern(1000, 9);
  writer.write(0, data);
  writer.flush();
  RawClient deaf = RawClient::tcp(daemon.port(), 4096);
  deaf.hello();
  deaf.open("demo", proto::Access::read);
  proto::Bytes batch;
  for (std::uint64_t i = 0; i < 64; ++i) proto::encode(batch, 10 + i, proto::ReadRequest{0, 1u << 20});
  REQUIRE(deaf.send_bytes(batch));
  CHECK(deaf.must_receive().status() == proto::Status::ok);  // the others are on their way
  daemon.process().signal(SIGTERM);
  daemon.wait_for_log(" INFO stopping ");
  CHECK(writer.must_receive().is_notice());
  daemon.expect_complaint("stopped at once");
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 1);
  daemon.wait_for_log("stopped at once reason=\"a second signal\"");
  CHECK_FALSE(std::filesystem::exists(daemon.socket_path()));
  daemon.start_again();
  RawClient again = session_on(daemon, "demo");
  CHECK(again.read(0, 1000) == data);
}

TEST_CASE("the grace period ends the sessions of clients that do not read") {
  TempDir dir;
  std::ofstream(dir.file("c.json")) << R"({"grace": "200ms"})";
  Daemon daemon({"--config", "{dir}/c.json", "--store", "demo={dir}/demo.img"}, &dir);
  {
    RawClient writer = session_on(daemon, "demo");
    writer.grow(16);
  }
  RawClient deaf = RawClient::tcp(daemon.port(), 4096);
  deaf.hello();
  deaf.open("demo", proto::Access::read);
  proto::Bytes batch;
  for (std::uint64_t i = 0; i < 64; ++i) proto::encode(batch, 10 + i, proto::ReadRequest{0, 1u << 20});
  REQUIRE(deaf.send_bytes(batch));
  CHECK(deaf.must_receive().status() == proto::Status::ok);
  CHECK(daemon.stop() == 0);
  daemon.wait_for_log("the grace period is over");
}

TEST_CASE("a session waiting in line is told that the server stops") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  RawClient holder = session_on(daemon, "demo");
  RawClient waiter = RawClient::tcp(daemon.port());
  waiter.hello();
  proto::OpenRequest request;
  request.store = "demo";
  request.wait_ms = 600'000;
  waiter.send(request);
  while (holder.call(proto::StatRequest{}).as<proto::StatAnswer>().writers_waiting == 0) {
  }
  daemon.process().signal(SIGTERM);
  Frame frame = waiter.must_receive();
  if (!frame.is_notice()) {
    // It gave up its place, or the holder's end made it the writer for a moment.
    CHECK((frame.status() == proto::Status::busy || frame.status() == proto::Status::ok));
    frame = waiter.must_receive();
  }
  CHECK(frame.status() == proto::Status::stopping);
  holder.close();
  waiter.close();
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("SIGKILL in mid-traffic loses no answered write") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  for (unsigned round = 0; round < 5; ++round) {
    RawClient client = session_on(daemon, "demo");
    const std::uint64_t pages = client.call(proto::SizeRequest{}).as<proto::SizeAnswer>().pages;
    if (pages == 0) client.grow(64);
    constexpr std::size_t block = 1000;
    constexpr std::uint64_t blocks = 4000;
    // Killed by another thread once some answers came, with writes in flight.
    std::uint64_t answered = 0;
    proto::Bytes batch;
    for (std::uint64_t i = 0; i < blocks; ++i) {
      const auto data = pattern(block, round * 7919 + static_cast<unsigned>(i));
      proto::encode(batch, 100 + i, proto::WriteRequest{i * block, data});
    }
    std::thread sender([&] { client.send_bytes(batch); });
    for (; answered < 200 + round * 300; ++answered) {
      REQUIRE(client.must_receive().status() == proto::Status::ok);
    }
    daemon.kill_hard();
    try {
      while (const auto frame = client.receive()) {
        if (frame->status() == proto::Status::ok) ++answered;
      }
    } catch (const std::runtime_error&) {  // cut in the middle of a frame
    }
    sender.join();
    daemon.start_again();
    RawClient reader = session_on(daemon, "demo", proto::Access::read);
    for (std::uint64_t i = 0; i < answered; ++i) {
      INFO("round " << round << " block " << i << " of " << answered);
      REQUIRE(reader.read(i * block, block) == pattern(block, round * 7919 + static_cast<unsigned>(i)));
    }
  }
}
