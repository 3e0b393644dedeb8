// Faults on order, frame by frame: what each does to the request, to its answer, and to nobody else.
#include <sys/wait.h>

#include <filesystem>

#include "proto/fault_order.hpp"
#include "tests/daemon/helpers.hpp"
#include "tests/support/wait.hpp"

namespace pageserver::test {
namespace {

using proto::Access;
using proto::FaultsScope;
using proto::FaultsWhat;
using proto::Status;
using Clock = std::chrono::steady_clock;

struct Faulty : Daemon {
  explicit Faulty(std::vector<std::string> more = {}, TempDir* shared_dir = nullptr)
      : Daemon(with(std::move(more)), shared_dir) {
    expect_complaint("faults can be ordered");
    expect_complaint("fault on order");
  }

private:
  static std::vector<std::string> with(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"--store", "demo={dir}/demo.img", "--allow-faults"});
    return flags;
  }
};

struct Ordered {
  std::vector<std::string> orders;
  std::vector<std::uint64_t> seen, struck;
};

Ordered ask(RawClient& client, FaultsWhat what, std::string_view orders = {},
            FaultsScope scope = FaultsScope::session) {
  const Frame frame = client.call(proto::FaultsRequest{what, scope, orders});
  INFO(orders << ": " << (frame.status() == Status::ok ? "" : frame.text()));
  REQUIRE(frame.status() == Status::ok);
  Ordered found;
  for (const proto::FaultsEntry& entry : frame.as<proto::FaultsAnswer>().entries) {
    found.orders.emplace_back(entry.order);
    found.seen.push_back(entry.seen);
    found.struck.push_back(entry.struck);
  }
  return found;
}

void order(RawClient& client, std::string_view orders, FaultsScope scope = FaultsScope::session) {
  ask(client, FaultsWhat::add, orders, scope);
}

Frame refused(RawClient& client, std::string_view orders, FaultsScope scope = FaultsScope::session) {
  return client.call(proto::FaultsRequest{FaultsWhat::add, scope, orders});
}

/// A writer with one page.
RawClient writer_on(const Daemon& daemon) {
  RawClient client = session_on(daemon, "demo");
  client.grow(1);
  return client;
}

std::vector<std::byte> published(const Daemon& daemon, std::uint64_t offset, std::uint32_t length) {
  return session_on(daemon, "demo", Access::read).read(offset, length);
}

}  // namespace

TEST_CASE("faults: a daemon without --allow-faults has no such feature, and answers unsupported") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  RawClient client = RawClient::tcp(daemon.port());
  CHECK((client.hello().features & proto::feature_faults) == 0);
  client.open("demo");
  const Frame frame = refused(client, "any:always:no_space");
  CHECK(frame.status() == Status::unsupported);
  CHECK(frame.text().find("--allow-faults") != std::string::npos);
  client.grow(1);
}

TEST_CASE("faults: a daemon that allows them says so, loudly") {
  Faulty daemon;
  daemon.wait_for_log(" WARN ");
  RawClient client = RawClient::tcp(daemon.port());
  CHECK((client.hello().features & proto::feature_faults) != 0);
}

TEST_CASE("faults: a status is answered instead of the request, for the request that was ordered") {
  Faulty daemon;
  RawClient client = writer_on(daemon);
  RawClient other = session_on(daemon, "demo", Access::fork);
  order(client, "write:2:no_space, read:at=100+1:always:status=damaged");
  client.write(0, pattern(10, 1));
  const Frame frame = client.call(proto::WriteRequest{0, pattern(10, 2)});
  CHECK(frame.status() == Status::no_space);
  CHECK(frame.text().find("a fault on order (write:2:no_space)") != std::string::npos);
  CHECK(client.read(0, 10) == pattern(10, 1));
  CHECK(client.call(proto::ReadRequest{50, 51}).status() == Status::damaged);
  CHECK(client.call(proto::ReadRequest{50, 50}).status() == Status::ok);
  CHECK(client.call(proto::CommitRequest{}).status() == Status::invalid_argument);  // a change of it was refused
  other.write(0, pattern(10, 3));
  other.write(0, pattern(10, 4));
  const Ordered found = ask(client, FaultsWhat::list);
  CHECK(found.orders == std::vector<std::string>{"write:2:no_space", "read:at=100+1:always:status=damaged"});
  CHECK(found.seen == std::vector<std::uint64_t>{2, 1});
  CHECK(found.struck == std::vector<std::uint64_t>{1, 1});
  CHECK(ask(other, FaultsWhat::list).orders.empty());
  CHECK(ask(client, FaultsWhat::clear).struck == found.struck);
  CHECK(ask(client, FaultsWhat::list).orders.empty());
  CHECK(client.call(proto::ReadRequest{50, 51}).status() == Status::ok);
}

TEST_CASE("faults: a connection is cut before a request, or after it was carried out") {
  Faulty daemon;
  {
    RawClient client = writer_on(daemon);
    order(client, "write:3:cut=before");
    const auto data = pattern(10, 1);
    for (std::uint64_t i = 0; i < 4; ++i) client.send(proto::WriteRequest{i * 10, data});
    CHECK(client.must_receive().status() == Status::ok);
    CHECK(client.must_receive().status() == Status::ok);
    CHECK_FALSE(client.receive());
    CHECK(published(daemon, 10, 10) == data);
    CHECK(published(daemon, 20, 20) == std::vector<std::byte>(20));
  }
  RawClient client = session_on(daemon, "demo");  // the lease is free
  order(client, "write:cut=after");
  client.send(proto::WriteRequest{100, pattern(10, 2)});
  client.send(proto::WriteRequest{200, pattern(10, 2)});
  CHECK_FALSE(client.receive());
  CHECK(published(daemon, 100, 10) == pattern(10, 2));
  CHECK(published(daemon, 200, 10) == std::vector<std::byte>(10));
}

TEST_CASE("faults: a flush that is cut after it was carried out has made its transaction visible") {
  Faulty daemon;
  writer_on(daemon);
  for (const bool before : {true, false}) {
    INFO(before);
    RawClient client = RawClient::tcp(daemon.port());
    client.hello();
    proto::OpenRequest open;
    open.store = "demo";
    open.wait_ms = 10'000;
    open.publish = proto::Publish::on_flush;
    REQUIRE(client.call(open).status() == Status::ok);
    order(client, before ? "flush:cut=before" : "flush:cut=after");
    client.write(0, pattern(10, 3));
    client.send(proto::FlushRequest{});
    CHECK_FALSE(client.receive());
    CHECK((published(daemon, 0, 10) == pattern(10, 3)) == !before);
  }
}

TEST_CASE("faults: an answer is torn inside its frame") {
  Faulty daemon;
  const std::string_view text = GENERATE("read:torn", "read:torn=25", "read:torn=0", "read:torn=1000");
  INFO(text);
  RawClient client = writer_on(daemon);
  client.write(0, pattern(100, 1));
  order(client, text);
  client.send(proto::ReadRequest{0, 100});
  std::size_t bytes = 0;
  std::array<std::byte, 4096> room{};
  for (ssize_t got = 0; (got = ::recv(client.fd(), room.data() + bytes, room.size() - bytes, 0)) > 0;)
    bytes += static_cast<std::size_t>(got);
  CHECK(bytes == (text == "read:torn" ? 62 : text == "read:torn=25" ? 25 : text == "read:torn=0" ? 0 : 124));
  if (bytes == 124) CHECK(std::equal(room.begin() + 24, room.begin() + 124, pattern(100, 1).begin()));
}

TEST_CASE("faults: an answer that drips comes whole, a few bytes at a time, and in order with others") {
  Faulty daemon;
  RawClient client = writer_on(daemon);
  client.write(0, pattern(200, 1));
  order(client, "read:drip=20,read:3:drip=1KiB");
  const auto began = Clock::now();
  client.send(proto::ReadRequest{0, 200});
  client.send(proto::PingRequest{});
  client.send(proto::ReadRequest{0, 10});
  const Frame first = client.must_receive();
  CHECK(first.as<proto::ReadAnswer>().data.size() == 200);
  CHECK(std::equal(first.payload.begin(), first.payload.end(), pattern(200, 1).begin()));
  CHECK(Clock::now() - began >= std::chrono::milliseconds(110));  // 224 bytes: 12 parts, a pause between two
  CHECK(client.must_receive().header.operation == proto::Operation::ping);
  CHECK(client.must_receive().payload == pattern(10, 1));
  CHECK(client.read(0, 200) == pattern(200, 1));
}

TEST_CASE("faults: a stop and a kick in the middle of an answer that drips come behind the whole of it") {
  const bool kicks = GENERATE(false, true);
  Faulty daemon;
  RawClient client = writer_on(daemon);
  client.write(0, pattern(60'000, 1));
  order(client, "read:drip=10");
  client.send(proto::ReadRequest{0, 60'000});
  REQUIRE(client.readable_within(patience));
  if (kicks) {
    RawClient operating = RawClient::tcp(daemon.port());
    operating.hello();
    operating.call(proto::KickRequest{1, proto::KickWhat::connection, "enough"});
  } else {
    ::kill(daemon.pid(), SIGTERM);
  }
  CHECK(client.must_receive().payload == pattern(60'000, 1));
  const Frame goodbye = client.must_receive();
  CHECK(goodbye.header.operation == proto::Operation::goodbye);
  CHECK(goodbye.status() == (kicks ? Status::kicked : Status::stopping));
  CHECK_FALSE(client.receive());
  client.close();
  if (!kicks) CHECK(daemon.process().wait() == 0);
}

TEST_CASE("faults: a delay holds up a request and those behind it, and nobody else") {
  Faulty daemon;
  RawClient client = writer_on(daemon);
  RawClient other = session_on(daemon, "demo", Access::read);
  order(client, "write:delay=200ms,any:always:delay=10ms..20ms:seed=3");
  const auto began = Clock::now();
  client.send(proto::WriteRequest{0, pattern(10, 1)});
  client.send(proto::ReadRequest{0, 10});
  CHECK(other.read(0, 10) == std::vector<std::byte>(10));
  CHECK(client.must_receive().status() == Status::ok);
  CHECK(Clock::now() - began >= std::chrono::milliseconds(210));
  CHECK(client.must_receive().payload == pattern(10, 1));
  CHECK(Clock::now() - began >= std::chrono::milliseconds(220));
  CHECK(ask(client, FaultsWhat::list).struck == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("faults: a request that hangs ends with its connection, which frees the lease, and with the daemon") {
  Faulty daemon;
  {
    RawClient client = writer_on(daemon);
    order(client, "write:hang");
    client.send(proto::WriteRequest{0, pattern(10, 1)});
    CHECK_FALSE(client.readable_within(std::chrono::milliseconds(100)));
  }
  RawClient next = RawClient::tcp(daemon.port());
  next.hello();
  CHECK(next.try_open("demo", Access::write, 10'000).status() == Status::ok);
  CHECK(next.read(0, 10) == std::vector<std::byte>(10));
  order(next, "read:hang");
  next.send(proto::ReadRequest{0, 10});
  CHECK_FALSE(next.readable_within(std::chrono::milliseconds(100)));
  CHECK(daemon.stop() == 0);
  CHECK(next.must_receive().status() == Status::ok);  // what had arrived is carried out
}

TEST_CASE("faults: a lease is lost on order, for the writer alone that ordered it") {
  Faulty daemon;
  RawClient client = writer_on(daemon);
  order(client, "write:2:lease_lost");
  client.write(0, pattern(10, 1));
  client.send(proto::WriteRequest{0, pattern(10, 2)});
  Frame frame = client.must_receive();
  if (frame.header.operation == proto::Operation::lease_lost) frame = client.must_receive();
  CHECK(frame.status() == Status::lease_lost);
  CHECK(frame.text().find("a fault on order (write:2:lease_lost)") != std::string::npos);
  RawClient next = session_on(daemon, "demo");
  CHECK(next.read(0, 10) == pattern(10, 1));
  next.write(0, pattern(10, 3));
  RawClient reader = session_on(daemon, "demo", Access::read);
  const Frame no = refused(reader, "read:lease_lost");
  CHECK(no.status() == Status::invalid_argument);
  CHECK(no.text().find("access=write") != std::string::npos);
}

TEST_CASE("faults: a fork loses its version on order") {
  Faulty daemon;
  RawClient client = writer_on(daemon);
  RawClient fork = session_on(daemon, "demo", Access::fork);
  order(fork, "read:2:snapshot_too_old");
  CHECK(fork.read(0, 10) == std::vector<std::byte>(10));
  CHECK(fork.call(proto::ReadRequest{0, 10}).status() == Status::snapshot_too_old);
  CHECK(fork.call(proto::ReadRequest{0, 10}).status() == Status::snapshot_too_old);
  CHECK(refused(client, "read:snapshot_too_old").status() == Status::invalid_argument);
}

TEST_CASE("faults: after a sync that failed on order a session writes no more, and others do") {
  Faulty daemon;
  RawClient client = writer_on(daemon);
  order(client, "any:sync_failed");
  client.write(0, pattern(10, 1));
  const Frame failed = client.call(proto::FlushRequest{});
  CHECK(failed.status() == Status::provider_error);
  CHECK(failed.text().find("a sync failed") != std::string::npos);
  CHECK(client.call(proto::WriteRequest{0, pattern(10, 2)}).status() == Status::provider_error);
  CHECK(client.call(proto::FlushRequest{}).status() == Status::provider_error);
  CHECK(client.read(0, 10) == pattern(10, 1));
  CHECK(client.call(proto::CloseRequest{}).status() == Status::ok);
  RawClient next = session_on(daemon, "demo");
  next.write(0, pattern(10, 3));
  next.flush();
}

TEST_CASE("faults: orders for a store strike each of its sessions, until they are cleared") {
  Faulty daemon({"--store", "other={dir}/other.img"});
  RawClient client = writer_on(daemon);
  order(client, "read:2:no_space", FaultsScope::store);
  RawClient second = session_on(daemon, "demo", Access::read);
  RawClient elsewhere = session_on(daemon, "other");
  elsewhere.grow(1);
  CHECK(client.call(proto::ReadRequest{0, 1}).status() == Status::ok);
  for (int i = 0; i < 3; ++i) CHECK(elsewhere.call(proto::ReadRequest{0, 1}).status() == Status::ok);
  CHECK(second.call(proto::ReadRequest{0, 1}).status() == Status::no_space);
  client.call(proto::CloseRequest{});
  CHECK(ask(second, FaultsWhat::list).orders.empty());
  const Ordered found = ask(second, FaultsWhat::clear, {}, FaultsScope::store);
  CHECK(found.seen == std::vector<std::uint64_t>{2});
  CHECK(found.struck == std::vector<std::uint64_t>{1});
  CHECK(ask(second, FaultsWhat::list, {}, FaultsScope::store).orders.empty());
}

TEST_CASE("faults: what is ordered wrongly is refused, with its place") {
  Faulty daemon;
  RawClient client = writer_on(daemon);
  const Frame frame = refused(client, "write:no_space,read:boom");
  CHECK(frame.status() == Status::invalid_argument);
  CHECK(frame.text().find("at byte 20: \"boom\"") != std::string::npos);
  CHECK(refused(client, "").status() == Status::invalid_argument);
  CHECK(client.call(proto::FaultsRequest{FaultsWhat::clear, FaultsScope::session, "read:hang"}).status() ==
        Status::invalid_argument);
  std::string many;
  for (std::size_t i = 0; i <= proto::fault_orders_max; ++i) many += "read:hang\n";
  CHECK(refused(client, many).status() == Status::limit_exceeded);
  CHECK(ask(client, FaultsWhat::list).orders.empty());
  RawClient front = RawClient::tcp(daemon.port());
  front.hello();
  CHECK(refused(front, "read:hang").status() == Status::invalid_argument);
}

TEST_CASE("faults: orders for a store, and those that end the daemon, take the right admin") {
  TempDir dir;
  std::ofstream(dir.file("c.json"))
      << R"({"rules": [{"who": "anyone", "stores": "*", "may": ["write", "fork", "read"]}]})";
  Faulty daemon({"--config", dir.file("c.json")});
  RawClient client = writer_on(daemon);
  for (const auto& [orders, scope] : {std::pair{"read:hang", FaultsScope::store},
                                      {"read:stop", FaultsScope::session},
                                      {"write:kill=after", FaultsScope::session}}) {
    const Frame frame = refused(client, orders, scope);
    CHECK(frame.status() == Status::permission_denied);
    CHECK(frame.text().find("it takes the right admin") != std::string::npos);
  }
  order(client, "read:no_space");
  CHECK(client.call(proto::ReadRequest{0, 1}).status() == Status::no_space);
}

TEST_CASE(
    "faults: a daemon is killed before a write, or after it reached the log, and comes back with what it answered") {
  const bool before = GENERATE(true, false);
  Faulty daemon;
  {
    RawClient client = writer_on(daemon);
    order(client, before ? "write:2:kill=before" : "write:2:kill=after");
    client.write(0, pattern(10, 1));
    client.send(proto::WriteRequest{100, pattern(10, 2)});
    CHECK(client.closed_within());
  }
  CHECK(daemon.process().wait() == 128 + SIGKILL);
  daemon.start_again();
  CHECK(published(daemon, 0, 10) == pattern(10, 1));
  CHECK((published(daemon, 100, 10) == pattern(10, 2)) == !before);
}

TEST_CASE(
    "faults: a daemon is killed in the middle of a record, of whichever size, and comes back without that change") {
  struct Case {
    const char* request;
    proto::Publish publish;
    std::size_t bytes;  // the last is written in parts, and its header at the end
  };
  const auto [request, publish, bytes] =
      GENERATE(Case{"write:2", proto::Publish::on_write, 10}, Case{"write:2", proto::Publish::on_write, 65536},
               Case{"flush:2", proto::Publish::on_flush, 10}, Case{"flush:2", proto::Publish::on_flush, 65536},
               Case{"commit", proto::Publish::on_flush, 3000}, Case{"grow", proto::Publish::on_write, 0},
               Case{"flush:2", proto::Publish::on_flush, 8u << 20});
  Faulty daemon;
  {
    RawClient setup = writer_on(daemon);
    setup.grow(160);
    setup.call(proto::FlushRequest{});
    setup.call(proto::CloseRequest{});
  }
  const auto pages = [&] {
    return session_on(daemon, "demo", proto::Access::read).call(proto::SizeRequest{}).as<proto::SizeAnswer>().pages;
  };
  const std::uint64_t pages_before = pages();
  const auto second = pattern(bytes, 2);
  INFO(request << ", " << bytes << " bytes");
  {
    RawClient client = RawClient::tcp(daemon.port());
    client.hello();
    proto::OpenRequest open;
    open.store = "demo";
    open.access = Access::write;
    open.publish = publish;
    REQUIRE(client.call(open).status() == Status::ok);
    order(client, std::string(request) + ":kill=inside");
    client.write(0, pattern(10, 1));
    if (request != std::string("commit")) client.call(proto::FlushRequest{});
    for (std::size_t at = 0; at < bytes; at += 1u << 20)
      client.send(
          proto::WriteRequest{100 + at, std::span(second).subspan(at, std::min<std::size_t>(bytes - at, 1u << 20))});
    if (request == std::string("grow")) client.send(proto::GrowRequest{1});
    if (request == std::string("flush:2")) client.send(proto::FlushRequest{});
    if (request == std::string("commit")) client.send(proto::CommitRequest{});
    while (client.receive()) {
    }
  }
  CHECK(daemon.process().wait() == 128 + SIGKILL);
  daemon.start_again();
  CHECK((published(daemon, 0, 10) == pattern(10, 1)) == (request != std::string("commit")));
  for (std::size_t at = 0; at < bytes; at += 1u << 20) {
    const auto part = static_cast<std::uint32_t>(std::min<std::size_t>(bytes - at, 1u << 20));
    CHECK(published(daemon, 100 + at, part) == std::vector<std::byte>(part));
  }
  CHECK(pages() == pages_before);
}

TEST_CASE("faults: a kill inside of a record is of the store for which it was ordered, whatever others are called") {
  TempDir dir;
  for (const char* folder : {"one", "two", "three"}) std::filesystem::create_directory(dir.file(folder));
  Faulty daemon({"--store", "one=" + dir.file("one/same.img"), "--store", "two=" + dir.file("two/same.img"), "--store",
                 "three=" + dir.file("three/same.img")});
  const auto writer = [&](const char* store, proto::Publish publish) {
    RawClient client = RawClient::tcp(daemon.port());
    client.hello();
    proto::OpenRequest open;
    open.store = store;
    open.access = Access::write;
    open.publish = publish;
    REQUIRE(client.call(open).status() == Status::ok);
    client.grow(1);
    client.call(proto::FlushRequest{});
    return client;
  };
  RawClient one = writer("one", proto::Publish::on_flush), two = writer("two", proto::Publish::on_flush),
            three = writer("three", proto::Publish::on_write);
  for (RawClient* client : {&one, &two}) {
    order(*client, "write:kill=inside");
    client->write(0, pattern(10, 1));  // private: the record comes with the flush
  }
  three.write(0, pattern(10, 1));
  CHECK(three.read(0, 10) == pattern(10, 1));
  one.send(proto::FlushRequest{});
  CHECK_FALSE(one.receive());
  CHECK(daemon.process().wait() == 128 + SIGKILL);
  CHECK_THAT(daemon.log(), Contains("fault on order ends the daemon order=\"write:kill=inside\" store=one"));
  daemon.start_again();
  CHECK(session_on(daemon, "three", Access::read).read(0, 10) == pattern(10, 1));
  CHECK(session_on(daemon, "one", Access::read).read(0, 10) == std::vector<std::byte>(10));
}

TEST_CASE("faults: a daemon stops in order at a request, which is answered") {
  Faulty daemon;
  RawClient client = writer_on(daemon);
  order(client, "write:2:stop");
  client.write(0, pattern(10, 1));
  CHECK(client.call(proto::WriteRequest{0, pattern(10, 2)}).status() == Status::ok);
  const auto goodbye = client.receive();
  REQUIRE(goodbye);
  CHECK(goodbye->header.operation == proto::Operation::goodbye);
  CHECK(goodbye->status() == Status::stopping);
  client.close();
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("faults: what happens at a close is that the connection is cut, and the session ends") {
  Faulty daemon;
  {
    RawClient client = writer_on(daemon);
    order(client, "close:cut=after");
    client.send(proto::CloseRequest{});
    CHECK_FALSE(client.receive());
  }
  RawClient next = session_on(daemon, "demo");
  order(next, "close:delay=50ms");
  const auto began = Clock::now();
  CHECK(next.call(proto::CloseRequest{}).status() == Status::ok);
  CHECK(Clock::now() - began >= std::chrono::milliseconds(50));
}

}  // namespace pageserver::test
