// The real daemon on disks that are slow, or do not answer at all.
#include <signal.h>

#include <optional>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"
#include "tests/daemon/slow_daemon.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

/// A client whose list does not come back from the directory's disk.
RawClient hangs_in_a_list(SlowDaemon& daemon) {
  daemon.disk.hold(DiskOrder::lists);
  RawClient client = daemon.greeted();
  client.send(proto::ListRequest{});
  daemon.wait_until_held();
  return client;
}

}  // namespace

TEST_CASE("a stop ends with its grace, and in order, although a call about the directory never comes back") {
  SlowDaemon daemon("/stores");
  std::ofstream(daemon.stores / "a.img").flush();
  RawClient writer = daemon.session("demo");
  writer.grow(1);
  const RawClient lists = hangs_in_a_list(daemon);
  // Ten thousand more behind it.
  proto::Bytes requests;
  for (std::uint64_t i = 0; i < 100; ++i) proto::encode(requests, 1000 + i, proto::ListRequest{});
  std::vector<RawClient> queued;
  for (int i = 0; i < 100; ++i) {
    queued.push_back(daemon.greeted());
    REQUIRE(queued.back().send_bytes(requests));
  }
  // The others are served meanwhile, and stores are closed.
  writer.write(0, pattern(8, 1));
  daemon.process->signal(SIGTERM);
  CHECK(daemon.process->wait() == 0);
  CHECK(daemon.process->err_so_far().find(" INFO stop status=0") != std::string::npos);
  CHECK(daemon.process->err_so_far().find("which does not come back") != std::string::npos);
}

TEST_CASE(
    "a second signal after the stop has ended ends the process at once, with the stop's status and no complaint") {
  SlowDaemon daemon("/stores", "10s");
  RawClient writer = daemon.session("demo");
  writer.grow(1);
  const RawClient lists = hangs_in_a_list(daemon);
  daemon.process->signal(SIGTERM);
  daemon.process->wait_for_err(" INFO stop status=0");
  daemon.process->signal(SIGTERM);
  CHECK(daemon.process->wait() == 0);
  CHECK(daemon.process->err_so_far().find(" WARN ") == std::string::npos);
}

TEST_CASE("a session that asks for much at once gives its thread up in between, and sends what it has answered") {
  SlowDaemon daemon("demo.img.log");
  RawClient writer = daemon.session("demo");
  writer.grow(1);
  const auto data = pattern(1000, 1);
  writer.write(0, data);  // in the log until a checkpoint, and read from there
  RawClient reader = daemon.session("demo", proto::Access::read);
  constexpr std::uint64_t reads = 40;
  proto::Bytes batch;
  for (std::uint64_t i = 0; i < reads; ++i) proto::encode(batch, 1000 + i, proto::ReadRequest{0, 1000});
  daemon.disk.slow_down(DiskOrder::reads, 500);  // longer than a turn
  REQUIRE(reader.send_bytes(batch));
  for (std::uint64_t i = 0; i < reads; ++i) {
    const Frame answer = reader.must_receive();
    REQUIRE(answer.header.request_id == 1000 + i);
    REQUIRE(answer.as<proto::ReadAnswer>().data.size() == data.size());
  }
  CHECK(daemon.disk.slowed() >= reads);
  reader.call(proto::CloseRequest{}).as<proto::CloseAnswer>();
  daemon.process->wait_for_err(" INFO session close");
  const std::string log = daemon.process->err_so_far();
  const std::size_t closed = log.find(" INFO session close");
  REQUIRE(closed != std::string::npos);
  const std::size_t sends = log.find(" sends=", closed);
  REQUIRE(sends != std::string::npos);
  CHECK(std::stoull(log.substr(sends + 7)) >= reads);
}

TEST_CASE("while writes to the log take long, readers of that store and of others are served beside them") {
  SlowDaemon daemon("demo.img.log");
  RawClient writer = daemon.session("demo");
  writer.grow(1);
  writer.write(0, pattern(8, 1));
  std::vector<RawClient> readers;
  for (int i = 0; i < 4; ++i) readers.push_back(daemon.session("demo", proto::Access::read));
  daemon.disk.hold(DiskOrder::writes);
  const auto data = pattern(8, 2);
  writer.send(proto::WriteRequest{0, data});
  daemon.wait_until_held();
  for (int i = 0; i < 2000; ++i)
    for (RawClient& reader : readers) REQUIRE(reader.read(0, 8) == pattern(8, 1));
  CHECK(daemon.disk.held() == 1);
  daemon.disk.let_go();
  CHECK(writer.must_receive().status() == proto::Status::ok);
  CHECK(readers.front().read(0, 8) == data);
}

TEST_CASE("a stop in which a store's disk does not answer ends with its grace, and says so") {
  SlowDaemon daemon("demo.img.log", "1s");
  RawClient writer = daemon.session("demo");
  writer.grow(1);
  daemon.disk.hold(DiskOrder::writes);
  const auto data = pattern(8, 1);
  writer.send(proto::WriteRequest{0, data});
  daemon.wait_until_held();
  CHECK(daemon.greeted().call(proto::PingRequest{}).status() == proto::Status::ok);
  daemon.process->signal(SIGTERM);
  CHECK(daemon.process->wait() == 1);
  CHECK(daemon.process->err_so_far().find("the grace period is over") != std::string::npos);
}
