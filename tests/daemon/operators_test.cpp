// What those who run the daemon see and do: sessions and kick, frame by frame, and what hangs.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"
#include "tests/daemon/slow_daemon.hpp"

using namespace pageserver;
using namespace pageserver::test;
using proto::Access;
using proto::KickWhat;
using proto::SessionState;
using proto::Status;
using proto::WaitsFor;

namespace {

const std::vector<std::string> two_stores{"--store", "demo={dir}/demo.img", "--store", "other={dir}/other.img"};

/// An entry whose texts are its own.
struct Entry : proto::SessionEntry {
  Entry() = default;
  explicit Entry(const proto::SessionEntry& from)
      : proto::SessionEntry(from),
        store(from.store),
        name(from.session_name),
        client(from.client_name),
        address(from.address) {}
  std::string store;
  std::string name;
  std::string client;
  std::string address;
};

RawClient greeted(const Daemon& daemon, std::string_view name = "raw") {
  RawClient client = RawClient::tcp(daemon.port());
  client.hello(name);
  return client;
}

struct Opening {
  Access access = Access::write;
  proto::View view = proto::View::live;
  proto::Publish publish = proto::Publish::on_write;
  std::uint32_t wait_ms = 0;
  std::string_view store = "demo";
  std::string_view name = "somebody";
};

proto::OpenRequest request_of(const Opening& opening) {
  proto::OpenRequest request;
  request.access = opening.access;
  request.view = opening.view;
  request.publish = opening.publish;
  request.wait_ms = opening.wait_ms;
  request.store = opening.store;
  request.session_name = opening.name;
  return request;
}

struct Opened {
  RawClient client;
  std::uint64_t session = 0;
};

Opened opened(RawClient client, const Opening& opening = {}) {
  const std::uint64_t id = client.call(request_of(opening)).as<proto::OpenAnswer>().session_id;
  return {std::move(client), id};
}

std::vector<Entry> sessions(RawClient& asking, std::string_view store = {}) {
  std::vector<Entry> all;
  for (proto::SessionsRequest request{0, store};;) {
    const Frame frame = asking.call(request);
    const auto answer = frame.as<proto::SessionsAnswer>();
    for (const auto& entry : answer.entries) all.emplace_back(entry);
    if (!answer.more) return all;
    REQUIRE(answer.described_until > request.after);
    request.after = answer.described_until;
  }
}

const Entry* find(const std::vector<Entry>& all, const std::function<bool(const Entry&)>& is) {
  const auto found = std::find_if(all.begin(), all.end(), is);
  return found == all.end() ? nullptr : &*found;
}

/// Asks until one of the sessions is as wanted, and returns it.
Entry wait_for(RawClient& asking, const std::function<bool(const Entry&)>& is) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto all = sessions(asking);
    if (const Entry* const found = find(all, is)) return *found;
    REQUIRE(std::chrono::steady_clock::now() < deadline);
  }
}

proto::Load load_of(RawClient& asking, std::string_view store) {
  return asking.call(proto::SessionsRequest{~0ull, store}).as<proto::SessionsAnswer>().load;
}

/// The last frame is goodbye `kicked`; its text.
std::string goodbye_of(RawClient& client) {
  for (;;) {
    const Frame frame = client.must_receive();
    if (frame.header.operation != proto::Operation::goodbye) continue;
    CHECK(frame.status() == Status::kicked);
    CHECK_FALSE(client.receive());
    return frame.text();
  }
}

/// Opened at once, without a place in the line.
void check_free(RawClient& client, std::string_view store = "demo") {
  CHECK(client.try_open(store).status() == Status::ok);
}

}  // namespace

TEST_CASE("sessions says who is connected, and what each does") {
  Daemon daemon{two_stores};
  Opened writer = opened(greeted(daemon, "writing 1.0"),
                         {Access::write, proto::View::live, proto::Publish::on_flush, 0, "demo", "importer"});
  writer.client.grow(2);
  writer.client.flush();
  writer.client.write(0, pattern(5000, 1));
  Opened pinned =
      opened(greeted(daemon), {Access::read, proto::View::pinned, proto::Publish::on_write, 0, "demo", "pin"});
  CHECK(pinned.client.read(0, 100).size() == 100);
  Opened fork = opened(greeted(daemon), {Access::fork, proto::View::live, proto::Publish::on_write, 0, "demo", "fork"});
  fork.client.write(65536, pattern(10, 2));
  RawClient waiting = greeted(daemon);
  waiting.send(request_of({Access::write, proto::View::live, proto::Publish::on_write, 600'000, "demo", "next"}));
  RawClient second = greeted(daemon);
  const RawClient silent = RawClient::tcp(daemon.port());
  RawClient local = RawClient::local(daemon.socket_path());
  local.hello("asking 2.0");
  wait_for(local, [](const Entry& e) { return e.name == "next" && e.state == SessionState::in_line; });
  second.send(request_of({Access::write, proto::View::live, proto::Publish::on_write, 600'000, "demo", "later"}));
  wait_for(local, [](const Entry& e) { return e.name == "later" && e.state == SessionState::in_line; });

  const auto all = sessions(local);
  CHECK(all.size() == 7);
  const Entry* one = find(all, [&](const Entry& e) { return e.session_id == writer.session; });
  REQUIRE(one != nullptr);
  CHECK(one->state == SessionState::session);
  CHECK(one->store == "demo");
  CHECK(one->name == "importer");
  CHECK(one->client == "writing 1.0");
  CHECK(one->address.starts_with("127.0.0.1:"));
  CHECK_FALSE(one->peer_known);
  CHECK(one->access == Access::write);
  CHECK(one->publish == proto::Publish::on_flush);
  CHECK(one->has_lease);
  CHECK(one->epoch != 0);
  CHECK(one->requests == 3);
  CHECK(one->bytes_written == 5000);
  CHECK(one->private_bytes >= 5000);
  CHECK(one->requests_in_flight == 0);
  CHECK(one->held_version == 0);
  one = find(all, [&](const Entry& e) { return e.session_id == pinned.session; });
  REQUIRE(one != nullptr);
  CHECK(one->view == proto::View::pinned);
  CHECK(one->held_version != 0);
  CHECK(one->bytes_read == 100);
  CHECK_FALSE(one->has_lease);
  one = find(all, [&](const Entry& e) { return e.session_id == fork.session; });
  REQUIRE(one != nullptr);
  CHECK(one->access == Access::fork);
  CHECK(one->private_bytes != 0);
  one = find(all, [](const Entry& e) { return e.name == "next"; });
  REQUIRE(one != nullptr);
  CHECK(one->place_in_line == 1);
  CHECK(one->waits_for == WaitsFor::lease);
  CHECK(one->requests_in_flight == 1);
  CHECK(one->session_id > fork.session);
  one = find(all, [](const Entry& e) { return e.name == "later"; });
  REQUIRE(one != nullptr);
  CHECK(one->place_in_line == 2);
  one = find(all, [](const Entry& e) { return e.state == SessionState::greeting; });
  REQUIRE(one != nullptr);
  CHECK(one->client.empty());
  one = find(all, [](const Entry& e) { return e.client == "asking 2.0"; });
  REQUIRE(one != nullptr);
  CHECK(one->state == SessionState::front);
  CHECK(one->session_id == 0);
  CHECK(one->peer_known);
  CHECK(one->peer_uid == ::getuid());
  CHECK(one->peer_pid == static_cast<std::uint32_t>(::getpid()));
  // The log has the same numbers.
  daemon.wait_for_log(" session=" + std::to_string(fork.session) + " ");

  // Of one store only.
  CHECK(sessions(local, "demo").size() == 5);
  CHECK(sessions(local, "other").empty());
  CHECK(sessions(local, "no-such-store").empty());
  CHECK(silent.fd() >= 0);

  // What is over is seen to be.
  writer.client.flush();
  one = nullptr;
  const Entry flushed = wait_for(local, [&](const Entry& e) { return e.session_id == writer.session; });
  CHECK(flushed.private_bytes == 0);
  pinned.client.close();
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (find(sessions(local), [&](const Entry& e) { return e.session_id == pinned.session; }) != nullptr)
    REQUIRE(std::chrono::steady_clock::now() < deadline);
}

TEST_CASE("a pin that moves on and a lease that is lost are seen") {
  Daemon daemon{two_stores};
  Opened writer = opened(greeted(daemon));
  writer.client.grow(1);
  Opened pinned = opened(greeted(daemon), {Access::read, proto::View::pinned});
  RawClient asking = greeted(daemon);
  const auto held = [&] {
    return wait_for(asking, [&](const Entry& e) { return e.session_id == pinned.session; }).held_version;
  };
  const std::uint64_t before = held();
  writer.client.write(0, pattern(8, 1));
  const auto refreshed = pinned.client.call(proto::RefreshRequest{}).as<proto::RefreshAnswer>();
  CHECK(refreshed.version.number > before);
  CHECK(held() == refreshed.version.number);
  CHECK(pinned.client.call(proto::BreakLeaseRequest{0}).as<proto::BreakLeaseAnswer>().broken.has_value());
  wait_for(asking, [&](const Entry& e) { return e.session_id == writer.session && e.lost_lease && !e.has_lease; });
}

TEST_CASE("sessions of many connections come in pages, and an id is never used again") {
  raise_open_files_limit();
  Daemon daemon{two_stores};
  constexpr std::size_t count = 300;
  std::vector<Opened> readers;
  std::vector<std::uint64_t> ids;
  for (std::size_t i = 0; i < count; ++i) {
    readers.push_back(opened(greeted(daemon), {Access::read, proto::View::live, proto::Publish::on_write, 0,
                                               i % 100 == 0 ? "other" : "demo"}));
    ids.push_back(readers.back().session);
  }
  RawClient asking = greeted(daemon);
  const Frame first = asking.call(proto::SessionsRequest{});
  const auto page = first.as<proto::SessionsAnswer>();
  CHECK(page.more);
  CHECK(page.entries.size() == proto::sessions_entries_max);
  CHECK(page.load.connections == count + 1);
  CHECK(sessions(asking).size() == count + 1);
  CHECK(sessions(asking, "other").size() == 3);
  // Behind the last one there is nothing.
  CHECK(asking.call(proto::SessionsRequest{~0ull, ""}).as<proto::SessionsAnswer>().entries.empty());
  readers.clear();
  for (int i = 0; i < 10; ++i) ids.push_back(opened(greeted(daemon), {Access::read}).session);
  // One that is refused takes a number, too, which no other gets.
  const Opened writer = opened(greeted(daemon));
  ids.push_back(writer.session);
  RawClient refused = greeted(daemon);
  CHECK(refused.try_open("demo").status() == Status::busy);
  ids.push_back(refused.open("other").session_id);
  std::sort(ids.begin(), ids.end());
  CHECK(std::adjacent_find(ids.begin(), ids.end()) == ids.end());
}

TEST_CASE("ten thousand sessions, or as many as can be, are listed, each once, those of one store without the others") {
  raise_open_files_limit();
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  // The daemon keeps two descriptors for each connection, and some for its stores.
  const std::size_t connections = std::min<std::size_t>(10'100, (limit.rlim_cur - 300) / 2);
  const std::size_t count = connections - 100;
  REQUIRE(count > 100);
  TempDir dir;
  std::ofstream(dir.file("c.json")) << R"({"limits": {"peer_percent": 100, "connections": )" << connections
                                    << R"(}, "log": {"level": "warn"}})";
  std::vector<std::string> arguments = two_stores;
  arguments.insert(arguments.end(), {"--config", "{dir}/c.json"});
  Daemon daemon{arguments, &dir};
  std::vector<Opened> readers;
  std::vector<std::uint64_t> ids;
  const std::size_t apart = count / 4;
  for (std::size_t i = 0; i < count; ++i) {
    RawClient client = RawClient::local(daemon.socket_path());
    client.hello();
    readers.push_back(opened(std::move(client), {Access::read, proto::View::live, proto::Publish::on_write, 0,
                                                 i % apart == 0 ? "other" : "demo"}));
    ids.push_back(readers.back().session);
  }
  RawClient asking = RawClient::local(daemon.socket_path());
  asking.hello();
  std::vector<std::uint64_t> listed;
  std::size_t answers = 0;
  for (proto::SessionsRequest request;; ++answers) {
    const Frame frame = asking.call(request);
    const auto answer = frame.as<proto::SessionsAnswer>();
    for (const auto& entry : answer.entries)
      if (entry.session_id != 0) listed.push_back(entry.session_id);
    if (!answer.more) break;
    request.after = answer.described_until;
  }
  std::sort(ids.begin(), ids.end());
  std::sort(listed.begin(), listed.end());
  CHECK(listed == ids);
  CHECK(answers == (count + 1) / proto::sessions_entries_max);
  CHECK(load_of(asking, "").connections == count + 1);
  // Where few are meant, an answer still comes of some connections only.
  std::size_t of_other = 0;
  answers = 0;
  for (proto::SessionsRequest request{0, "other"};; ++answers) {
    const Frame frame = asking.call(request);
    const auto answer = frame.as<proto::SessionsAnswer>();
    of_other += answer.entries.size();
    if (!answer.more) break;
    request.after = answer.described_until;
  }
  CHECK(of_other == (count + apart - 1) / apart);
  CHECK(answers >= count / 1024);
  CHECK(answers <= count / 1024 + 5);
  const RunResult told = run({pagectl_path(), "sessions", daemon.server_uri(), "--json"});
  CHECK(told.status == 0);
  CHECK(count_of(told.out, "\"session\":") >= count);
}

TEST_CASE("a writer that is kicked hears why, and the line goes on") {
  Daemon daemon{two_stores};
  Opened writer =
      opened(greeted(daemon), {Access::write, proto::View::live, proto::Publish::on_flush, 0, "demo", "stuck"});
  writer.client.grow(1);
  writer.client.flush();
  writer.client.write(0, pattern(100, 1));
  RawClient next = greeted(daemon);
  next.send(request_of({Access::write, proto::View::live, proto::Publish::on_write, 600'000}));
  RawClient asking = greeted(daemon, "pagectl test");
  wait_for(asking, [](const Entry& e) { return e.state == SessionState::in_line; });
  const Frame frame = asking.call(proto::KickRequest{writer.session, KickWhat::session, "the import hangs"});
  const auto kicked = frame.as<proto::KickAnswer>();
  CHECK(kicked.released);
  CHECK(kicked.kicked.session_id == writer.session);
  CHECK(kicked.kicked.session_name == "stuck");
  CHECK(kicked.kicked.has_lease);
  const std::string why = goodbye_of(writer.client);
  CHECK(why.find("session " + std::to_string(writer.session) + " was ended by \"pagectl test\" at 127.0.0.1:") == 0);
  CHECK(why.find(": the import hangs") != std::string::npos);
  CHECK(next.must_receive().status() == Status::ok);
  // What was not flushed is not there.
  CHECK(next.read(0, 100) == std::vector<std::byte>(100));
  CHECK(asking.call(proto::KickRequest{writer.session, KickWhat::session, ""}).status() == Status::not_found);
  daemon.wait_for_log(" INFO session kicked session=" + std::to_string(writer.session) + " ");
  daemon.wait_for_log(" INFO session close session=" + std::to_string(writer.session) + " ");
}

TEST_CASE("who waits in line, holds a version or does nothing can be kicked, and what it had is free") {
  Daemon daemon{two_stores};
  Opened writer = opened(greeted(daemon));
  writer.client.grow(2);
  RawClient asking = greeted(daemon);
  const auto kick = [&asking](std::uint64_t id, KickWhat what = KickWhat::session) {
    return asking.call(proto::KickRequest{id, what, ""}).as<proto::KickAnswer>().released;
  };
  const auto stat = [&writer] {
    const Frame frame = writer.client.call(proto::StatRequest{});
    return std::pair{frame, frame.as<proto::StatAnswer>()};
  };

  RawClient first = greeted(daemon);
  first.send(request_of({Access::write, proto::View::live, proto::Publish::on_write, 600'000, "demo", "first"}));
  const Entry waits = wait_for(asking, [](const Entry& e) { return e.name == "first" && e.place_in_line == 1; });
  RawClient second = greeted(daemon);
  second.send(request_of({Access::write, proto::View::live, proto::Publish::on_write, 600'000, "demo", "second"}));
  wait_for(asking, [](const Entry& e) { return e.name == "second" && e.place_in_line == 2; });
  CHECK(kick(waits.session_id));
  goodbye_of(first);
  wait_for(asking, [](const Entry& e) { return e.name == "second" && e.place_in_line == 1; });
  CHECK(stat().second.writers_waiting == 1);
  second.close();

  Opened pinned = opened(greeted(daemon), {Access::read, proto::View::pinned});
  Opened fork = opened(greeted(daemon), {Access::fork});
  fork.client.write(0, pattern(40'000, 1));
  CHECK(stat().second.fork_bytes >= 40'000);
  CHECK(stat().second.oldest_holder.has_value());
  CHECK(kick(fork.session));
  CHECK(stat().second.fork_bytes == 0);
  CHECK(kick(pinned.session));
  CHECK_FALSE(stat().second.oldest_holder.has_value());
  CHECK(stat().second.sessions_pinned + stat().second.sessions_fork == 0);
  goodbye_of(pinned.client);
  goodbye_of(fork.client);

  // By its connection: one without a session, one that has not said a word, and one with a session.
  RawClient front = greeted(daemon, "front");
  const Entry idle = wait_for(asking, [](const Entry& e) { return e.client == "front"; });
  CHECK(kick(idle.connection_id, KickWhat::connection));
  CHECK(goodbye_of(front).find("connection " + std::to_string(idle.connection_id) + " was ended") == 0);
  RawClient silent = RawClient::tcp(daemon.port());
  const Entry mute = wait_for(asking, [](const Entry& e) { return e.state == SessionState::greeting; });
  CHECK(kick(mute.connection_id, KickWhat::connection));
  goodbye_of(silent);
  const Entry own = wait_for(asking, [&](const Entry& e) { return e.session_id == writer.session; });
  CHECK(kick(own.connection_id, KickWhat::connection));
  goodbye_of(writer.client);
  RawClient free = greeted(daemon);
  check_free(free);
  CHECK(asking.call(proto::KickRequest{own.connection_id, KickWhat::connection, ""}).status() == Status::not_found);
  CHECK(asking.call(proto::KickRequest{0, KickWhat::session, ""}).status() == Status::not_found);
}

TEST_CASE("who asks for the end of its own connection gets it") {
  Daemon daemon{two_stores};
  RawClient asking = RawClient::tcp(daemon.port());
  const std::uint64_t own = asking.hello().connection_id;
  asking.send(proto::KickRequest{own, KickWhat::connection, "enough"});
  CHECK(goodbye_of(asking).find("enough") != std::string::npos);
}

TEST_CASE("a peer that does not read is not waited for") {
  Daemon daemon{two_stores};
  Opened writer = opened(greeted(daemon));
  writer.client.grow(64);
  RawClient deaf = RawClient::tcp(daemon.port(), 4096);
  deaf.hello();
  deaf.send(request_of({Access::read, proto::View::pinned, proto::Publish::on_write, 0, "demo", "deaf"}));
  REQUIRE(deaf.must_receive().status() == Status::ok);
  for (int i = 0; i < 32; ++i) deaf.send(proto::ReadRequest{0, 1u << 20});
  RawClient asking = greeted(daemon);
  const Entry stalled = wait_for(asking, [](const Entry& e) { return e.name == "deaf" && e.unsent_bytes != 0; });
  const auto began = std::chrono::steady_clock::now();
  CHECK(asking.call(proto::KickRequest{stalled.session_id, KickWhat::session, ""}).as<proto::KickAnswer>().released);
  // Less than it takes until it is given up for its silence.
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(30));
  CHECK(writer.client.call(proto::StatRequest{}).as<proto::StatAnswer>().sessions_pinned == 0);
  // It is listed as leaving for as long as its last bytes are waited for, and gone after that.
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto all = sessions(asking);
    const Entry* const left = find(all, [](const Entry& e) { return e.name == "deaf"; });
    if (left == nullptr) break;
    CHECK(left->state == SessionState::leaving);
    CHECK(left->kicked);
    REQUIRE(std::chrono::steady_clock::now() < deadline);
  }
}

TEST_CASE("sessions and kick are for connections without a session that have agreed on them") {
  Daemon daemon{two_stores};
  RawClient old = RawClient::tcp(daemon.port());
  proto::HelloRequest hello;
  hello.payload_bytes_max = 1u << 20;
  hello.features = proto::features_all & ~(proto::feature_sessions | proto::feature_load | proto::feature_faults);
  CHECK(old.call(hello).as<proto::HelloAnswer>().features == hello.features);
  CHECK(old.call(proto::SessionsRequest{}).status() == Status::unsupported);
  CHECK(old.call(proto::KickRequest{1, KickWhat::connection, ""}).status() == Status::unsupported);
  old.open("demo");
  CHECK_FALSE(old.call(proto::StatRequest{}).as<proto::StatAnswer>().load.has_value());
  CHECK(old.call(proto::SessionsRequest{}).status() == Status::unsupported);
  RawClient session = greeted(daemon);
  session.open("demo", Access::read);
  CHECK(session.call(proto::SessionsRequest{}).status() == Status::invalid_argument);
  CHECK(session.call(proto::KickRequest{1, KickWhat::connection, ""}).status() == Status::invalid_argument);
  CHECK(session.call(proto::StatRequest{}).as<proto::StatAnswer>().load.has_value());
}

TEST_CASE(
    "a flush that hangs is seen, who waits for it can be kicked, and the next writer need not wait for the disk") {
  SlowDaemon daemon("demo.img.log");
  Opened writer = opened(daemon.greeted());
  writer.client.grow(1);
  daemon.disk.hold(DiskOrder::syncs);
  writer.client.write(0, pattern(8, 1));
  writer.client.send(proto::FlushRequest{});
  writer.client.send(proto::ReadRequest{0, 8});
  daemon.wait_until_held();
  RawClient asking = daemon.greeted();
  const Entry hangs = wait_for(asking, [&](const Entry& e) {
    return e.session_id == writer.session && e.waits_for == WaitsFor::flush && e.request_ms >= 100;
  });
  CHECK(hangs.requests_in_flight == 2);
  CHECK(hangs.idle_ms == 0);
  // The store says so, too, and the daemon as a whole.
  for (const std::string_view store : {"demo", ""}) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (load_of(asking, store).store_calls_stuck == 0) REQUIRE(std::chrono::steady_clock::now() < deadline);
    CHECK(load_of(asking, store).stuck_ms >= 100);
  }
  CHECK(load_of(asking, "elsewhere").store_calls_stuck == 0);
  RawClient reader = daemon.session("demo", Access::read);
  const auto load = reader.call(proto::StatRequest{}).as<proto::StatAnswer>().load;
  REQUIRE(load);
  CHECK(load->store_calls_stuck == 1);
  CHECK(load->disk_calls_running >= 1);
  CHECK(load->connections == 3);

  CHECK(asking.call(proto::KickRequest{writer.session, KickWhat::session, ""}).as<proto::KickAnswer>().released);
  goodbye_of(writer.client);
  Opened next = opened(daemon.greeted());
  CHECK(next.client.read(0, 8) == pattern(8, 1));
  daemon.disk.let_go();
  next.client.flush();
}

TEST_CASE("a transaction that hangs half-way is carried out whole, and its writer is gone at once") {
  SlowDaemon daemon("demo.img.log");
  Opened writer = opened(daemon.greeted(), {Access::write, proto::View::live, proto::Publish::on_flush});
  writer.client.grow(1);
  writer.client.flush();
  writer.client.write(0, pattern(100, 1));
  writer.client.write(200, pattern(100, 2));
  daemon.disk.hold(DiskOrder::syncs);
  writer.client.send(proto::FlushRequest{});
  daemon.wait_until_held();
  RawClient asking = daemon.greeted();
  CHECK(asking.call(proto::KickRequest{writer.session, KickWhat::session, ""}).as<proto::KickAnswer>().released);
  goodbye_of(writer.client);
  // What is under way keeps the next writer waiting, as it must.
  RawClient next = daemon.greeted();
  CHECK(next.try_open("demo").status() == Status::busy);
  daemon.disk.let_go();
  REQUIRE(next.try_open("demo", Access::write, 60'000).status() == Status::ok);
  CHECK(next.read(0, 100) == pattern(100, 1));
  CHECK(next.read(200, 100) == pattern(100, 2));
}

TEST_CASE("who is stuck in a call to a disk loses its pin at once, and hears of it when the call comes back") {
  SlowDaemon daemon("demo.img.log");
  Opened writer = opened(daemon.greeted());
  writer.client.grow(1);
  const auto data = pattern(1000, 1);
  writer.client.write(0, data);  // in the log until a checkpoint, and read from there
  Opened pinned = opened(daemon.greeted(), {Access::read, proto::View::pinned});
  daemon.disk.hold(DiskOrder::reads);
  pinned.client.send(proto::ReadRequest{0, 1000});
  daemon.wait_until_held();
  RawClient asking = daemon.greeted();
  const Entry stuck =
      wait_for(asking, [&](const Entry& e) { return e.session_id == pinned.session && e.waits_for == WaitsFor::disk; });
  CHECK(stuck.requests_in_flight == 1);
  CHECK_FALSE(asking.call(proto::KickRequest{pinned.session, KickWhat::session, ""}).as<proto::KickAnswer>().released);
  const auto stat = writer.client.call(proto::StatRequest{});
  CHECK_FALSE(stat.as<proto::StatAnswer>().oldest_holder.has_value());
  CHECK(wait_for(asking, [&](const Entry& e) { return e.session_id == pinned.session; }).kicked);
  daemon.disk.let_go();
  goodbye_of(pinned.client);
}

TEST_CASE("who waits for others of its store, whose disk hangs, lets its version go at once when it is kicked") {
  SlowDaemon daemon("demo.img.log", "2s", R"("disk_threads": 4)");
  Opened writer = opened(daemon.greeted());
  writer.client.grow(1);
  const auto data = pattern(1000, 1);
  writer.client.write(0, data);  // in the log until a checkpoint, and read from there
  std::vector<Opened> pinned;
  for (int i = 0; i < 12; ++i) pinned.push_back(opened(daemon.greeted(), {Access::read, proto::View::pinned}));
  daemon.disk.hold(DiskOrder::reads);
  for (Opened& one : pinned) one.client.send(proto::ReadRequest{0, 1000});
  RawClient asking = daemon.greeted();
  const auto pins = [&] {
    const auto all = sessions(asking, "demo");
    return std::count_if(all.begin(), all.end(), [](const Entry& e) { return e.held_version != 0 && !e.kicked; });
  };
  CHECK(pins() == 12);
  // There are more than threads for one store.
  const Entry waits = wait_for(asking, [](const Entry& e) { return e.waits_for == WaitsFor::turn; });
  CHECK(load_of(asking, "demo").store_calls_waiting >= 1);
  asking.call(proto::KickRequest{waits.session_id, KickWhat::session, ""}).as<proto::KickAnswer>();
  CHECK(pins() == 11);
  // The others get what they asked for, and the kicked one its word, once the disk goes on.
  daemon.disk.let_go();
  for (Opened& one : pinned) {
    if (one.session == waits.session_id)
      goodbye_of(one.client);
    else
      CHECK(one.client.must_receive().as<proto::ReadAnswer>().data.size() == 1000);
  }
  CHECK(writer.client.call(proto::StatRequest{}).as<proto::StatAnswer>().sessions_pinned == 11);
}

TEST_CASE("a writer that is stuck in a write keeps nobody from being kicked, and the lease goes on behind it") {
  SlowDaemon daemon("demo.img.log");
  Opened writer = opened(daemon.greeted());
  writer.client.grow(1);
  daemon.disk.hold(DiskOrder::writes);
  writer.client.send(proto::WriteRequest{0, pattern(8, 1)});
  daemon.wait_until_held();
  RawClient asking = daemon.greeted();
  RawClient next = daemon.greeted();
  next.send(request_of({Access::write, proto::View::live, proto::Publish::on_write, 600'000}));
  CHECK_FALSE(asking.call(proto::KickRequest{writer.session, KickWhat::session, ""}).as<proto::KickAnswer>().released);
  wait_for(asking, [&](const Entry& e) { return e.session_id == writer.session && e.lost_lease; });
  daemon.disk.let_go();
  goodbye_of(writer.client);
  CHECK(next.must_receive().status() == Status::ok);
}

TEST_CASE("ping of a daemon is well while a store hangs, and that of the store says what hangs") {
  SlowDaemon daemon("demo.img.log");
  Opened writer = opened(daemon.greeted());
  writer.client.grow(1);
  writer.client.write(0, pattern(1000, 1));  // in the log until a checkpoint, and read from there
  const std::string server = "pageserver+unix:///?socket=" + daemon.socket_path();
  const std::string store = "pageserver+unix:///demo?socket=" + daemon.socket_path();
  CHECK(run({pagectl_path(), "ping", store}).status == 0);

  daemon.disk.hold(DiskOrder::syncs);
  writer.client.send(proto::FlushRequest{});
  daemon.wait_until_held();
  // The store answers all the same; a call that hangs for as long as the timeout is what is wrong with it.
  RunResult result = run({pagectl_path(), "ping", store, "--timeout", "300ms", "--wait", "0"});
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (result.status == 0 && std::chrono::steady_clock::now() < deadline)
    result = run({pagectl_path(), "ping", store, "--timeout", "300ms"});
  CHECK(result.status == 1);
  CHECK_THAT(result.err, Contains("the store answers, and not all of it: 1 call to its disk is stuck, for "));
  CHECK_THAT(result.err, Contains("session " + std::to_string(writer.session) + " (somebody at unix pid ") &&
                             Contains("has waited for flush for "));
  CHECK(run({pagectl_path(), "ping", server}).status == 0);
  daemon.disk.let_go();
  CHECK(writer.client.must_receive().status() == Status::ok);

  daemon.disk.hold(DiskOrder::reads);
  result = run({pagectl_path(), "ping", store, "--timeout", "400ms"});
  CHECK(result.status == 1);
  CHECK_THAT(result.err,
             Contains("the daemon is there, and the store did not answer within 400 ms: 1 call to its disk is "
                      "stuck, for ") &&
                 Contains("has waited for disk for "));
  CHECK(run({pagectl_path(), "ping", server}).status == 0);
  daemon.disk.let_go();
  CHECK(run({pagectl_path(), "ping", store}).status == 0);
}

TEST_CASE("a stop with a kick under way ends in order") {
  SlowDaemon daemon("demo.img.log");
  Opened writer = opened(daemon.greeted());
  writer.client.grow(1);
  daemon.disk.hold(DiskOrder::writes);
  writer.client.send(proto::WriteRequest{0, pattern(8, 1)});
  daemon.wait_until_held();
  RawClient asking = daemon.greeted();
  asking.send(proto::KickRequest{writer.session, KickWhat::session, ""});
  daemon.process->wait_for_err(" INFO session kicked ");
  daemon.process->signal(SIGTERM);
  daemon.process->wait_for_err(" INFO stopping ");
  daemon.disk.let_go();
  CHECK(daemon.process->wait() == 0);
}
