// A store whose disk hangs delays nobody but its own sessions. The server runs inside the test, over files whose calls
// the test can hold.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include "tests/support/catch.hpp"

#include "server/server.hpp"
#include "tests/daemon/helpers.hpp"
#include "tests/daemon/slow_files.hpp"
#include "tests/support/file_system_walk.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

struct InProcess {
  explicit InProcess(server::Config with = {}) {
    with.listen = {{"127.0.0.1", 0}};
    with.stores.push_back({"", "slow", dir.file("slow.img"), false, true, {}, {}});
    with.stores.push_back({"", "fast", dir.file("fast.img"), false, true, {}, {}});
    server.emplace(with, log, files);
    server->start();
    const std::string address = server->tcp_addresses().at(0);
    port = static_cast<std::uint16_t>(std::stoul(address.substr(address.rfind(':') + 1)));
    thread = std::thread([this] { status = server->run(); });
  }
  ~InProcess() {
    files.gate.open();
    server->stop();
    thread.join();
    CHECK(status == expected_status);
  }
  void wait_until_refused() const {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    try {
      for (;;) {
        (void)RawClient::tcp(port);
        REQUIRE(std::chrono::steady_clock::now() < deadline);
      }
    } catch (const std::runtime_error&) {
      // Nobody listens any more.
    }
  }
  RawClient greeted() const {
    RawClient client = RawClient::tcp(port);
    client.hello();
    return client;
  }
  RawClient session(std::string_view store, proto::Access access = proto::Access::write) const {
    RawClient client = RawClient::tcp(port);
    client.hello();
    client.open(store, access);
    return client;
  }

  TempDir dir;
  SlowFiles files;
  server::Log log{server::LogFormat::text, server::LogLevel::error};
  std::optional<server::Server> server;
  std::uint16_t port = 0;
  std::thread thread;
  int status = -1;
  int expected_status = 0;
};

std::ptrdiff_t descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

}  // namespace

TEST_CASE("files that can be held: every call arrives below, but that nothing is mapped") {
  CountingFiles below;
  SlowFiles files(below);
  check_everything_arrives(files, below, "/folder", {{"map", ""}});
}

TEST_CASE("while one store's disk hangs, others are opened, read, written, flushed and listed") {
  InProcess in_process;
  RawClient slow = in_process.session("slow");
  slow.grow(1);
  RawClient fast = in_process.session("fast");
  fast.grow(16);
  in_process.files.hold_data = true;
  in_process.files.gate.shut();
  const auto held_data = pattern(8, 1);
  slow.send(proto::WriteRequest{0, held_data});
  in_process.files.gate.wait_until_held();
  for (unsigned i = 0; i < 200; ++i) {
    const auto data = pattern(1000, i);
    fast.write(i * 100, data);
    REQUIRE(fast.read(i * 100, 1000) == data);
  }
  fast.flush();
  RawClient another = in_process.session("fast", proto::Access::read);
  CHECK(another.call(proto::PingRequest{}).status() == proto::Status::ok);
  RawClient front = RawClient::tcp(in_process.port);
  front.hello();
  const Frame list = front.call(proto::ListRequest{});
  CHECK(list.as<proto::ListAnswer>().entries.size() == 2);
  CHECK(fast.call(proto::CloseRequest{}).status() == proto::Status::ok);
  CHECK(in_process.session("fast").grow(0) == 16);
  in_process.files.gate.open();
  CHECK(slow.must_receive().status() == proto::Status::ok);
}

TEST_CASE("while a write to the log is held, readers of the same store are opened and served") {
  server::Config config;
  config.threads = GENERATE(1u, 2u);
  InProcess in_process(config);
  RawClient writer = in_process.session("slow");
  writer.grow(1);
  const auto data = pattern(8, 1);
  writer.write(0, data);
  std::vector<RawClient> readers;
  for (int i = 0; i < 3; ++i) readers.push_back(in_process.session("slow", proto::Access::read));
  in_process.files.hold_write = true;
  in_process.files.gate.shut();
  const auto held_data = pattern(8, 2);
  writer.send(proto::WriteRequest{0, held_data});
  in_process.files.gate.wait_until_held();
  readers.push_back(in_process.session("slow", proto::Access::read));
  for (int i = 0; i < 500; ++i)
    for (RawClient& reader : readers) REQUIRE(reader.read(0, 8) == data);
  CHECK(in_process.files.gate.held() == 1);
  in_process.files.gate.open();
  CHECK(writer.must_receive().status() == proto::Status::ok);
  CHECK(readers.front().read(0, 8) == held_data);
}

TEST_CASE("while the disks of 50 of 200 stores hang, the others are served, and connections come and go") {
  constexpr int stores = 200;
  constexpr int hanging = 50;
  raise_open_files_limit();
  server::Config config;
  config.threads = 1;  // so that all of them share two loops
  const TempDir images;
  config.directory = server::DirectoryConfig{images.path().string(), true, true, false, 0640};
  const auto name = [](int i) { return (i < hanging ? "slow" : "s") + std::to_string(i); };
  for (int i = 0; i < stores; ++i) std::ofstream(images.file(name(i) + ".img")).flush();
  InProcess in_process(config);
  std::vector<RawClient> sessions;
  for (int i = 0; i < stores; ++i) {
    sessions.push_back(in_process.session(name(i)));
    sessions.back().grow(1);
  }
  in_process.files.hold_data = true;
  in_process.files.gate.shut();
  const auto data = pattern(1000, 1);
  for (int i = 0; i < hanging; ++i) sessions[static_cast<std::size_t>(i)].send(proto::WriteRequest{0, data});
  in_process.files.gate.wait_until_held(hanging);
  for (int i = hanging; i < stores; ++i) {
    RawClient& session = sessions[static_cast<std::size_t>(i)];
    session.write(0, data);
    session.flush();
    REQUIRE(session.read(0, 1000) == data);
  }
  for (int i = 0; i < 20; ++i) {
    RawClient client = in_process.session(name(stores - 1 - i), proto::Access::read);
    CHECK(client.call(proto::PingRequest{}).status() == proto::Status::ok);
    CHECK(client.call(proto::CloseRequest{}).status() == proto::Status::ok);
  }
  RawClient front = RawClient::tcp(in_process.port);
  front.hello();
  CHECK(front.call(proto::ListRequest{}).status() == proto::Status::ok);
  CHECK(in_process.files.gate.held() == hanging);
  in_process.files.gate.open();
  for (int i = 0; i < hanging; ++i)
    CHECK(sessions[static_cast<std::size_t>(i)].must_receive().status() == proto::Status::ok);
}

TEST_CASE("sessions without number on a store whose disk hangs leave threads for the others") {
  raise_open_files_limit();
  server::Config config;
  config.threads = 1;
  config.limits.disk_threads = 16;
  InProcess in_process(config);
  RawClient writer = in_process.session("slow");
  writer.grow(1);
  writer.write(0, pattern(1000, 1));
  writer.close();
  constexpr int sessions = 100;
  std::vector<RawClient> slow;
  for (int i = 0; i < sessions; ++i) slow.push_back(in_process.session("slow", proto::Access::read));
  in_process.files.hold_data = true;
  in_process.files.gate.shut();
  for (RawClient& client : slow) client.send(proto::ReadRequest{0, 1000});
  in_process.files.gate.wait_until_held(4);
  RawClient fast = in_process.session("fast");
  fast.grow(1);
  for (int i = 0; i < 20; ++i) {
    fast.write(0, pattern(1000, static_cast<unsigned>(i)));
    fast.flush();
    RawClient reader = in_process.session("fast", proto::Access::read);
    REQUIRE(reader.read(0, 1000) == pattern(1000, static_cast<unsigned>(i)));
  }
  CHECK(in_process.greeted().call(proto::ListRequest{}).status() == proto::Status::ok);
  CHECK(in_process.files.gate.held() <= 16 / 2 + 3);
  // Some end meanwhile.
  for (int i = 0; i < 10; ++i) slow[static_cast<std::size_t>(5 * i)].reset();
  in_process.files.gate.open();
  for (int i = 0; i < sessions; ++i)
    if (i >= 50 || i % 5 != 0)
      CHECK(slow[static_cast<std::size_t>(i)].must_receive().as<proto::ReadAnswer>().data.size() == 1000);
}

TEST_CASE("a held sync delays only the one who asked for it") {
  InProcess in_process;
  RawClient writer = in_process.session("slow");
  writer.grow(1);
  const auto data = pattern(100, 1);
  writer.write(0, data);
  RawClient reader = in_process.session("slow", proto::Access::read);
  in_process.files.hold_sync = true;
  in_process.files.gate.shut();
  writer.send(proto::FlushRequest{});
  in_process.files.gate.wait_until_held();
  for (int i = 0; i < 1000; ++i) REQUIRE(reader.read(0, 100) == data);
  in_process.files.gate.open();
  CHECK(writer.must_receive().header.operation == proto::Operation::flush);
}

TEST_CASE("a flush or commit whose client is gone meanwhile ends its session") {
  const bool commit = GENERATE(false, true);
  InProcess in_process;
  RawClient writer = in_process.session("slow");
  writer.grow(1);
  writer.write(0, pattern(100, 1));
  in_process.files.hold_sync = true;
  in_process.files.gate.shut();
  if (commit) {
    writer.send(proto::CommitRequest{});
  } else {
    writer.send(proto::FlushRequest{});
  }
  in_process.files.gate.wait_until_held();
  writer.reset();
  in_process.files.gate.open();
  RawClient next = RawClient::tcp(in_process.port);
  next.hello();
  CHECK(next.try_open("slow", proto::Access::write, 30'000).status() == proto::Status::ok);
  CHECK(next.read(0, 100) == pattern(100, 1));
}

TEST_CASE("while a directory store takes long to open, others are found, made and opened") {
  server::Config config;
  const TempDir stores;
  config.directory = server::DirectoryConfig{stores.path().string(), true, true, false, 0640};
  std::ofstream(stores.file("slow_one.img")).flush();
  std::ofstream(stores.file("quick.img")).flush();
  InProcess in_process(config);
  in_process.files.hold_open = true;
  in_process.files.gate.shut();
  RawClient waiting = RawClient::tcp(in_process.port);
  waiting.hello();
  proto::OpenRequest request;
  request.store = "slow_one";
  waiting.send(request);
  in_process.files.gate.wait_until_held();
  RawClient quick = in_process.session("quick");
  CHECK(quick.grow(1) == 0);
  RawClient admin = RawClient::tcp(in_process.port);
  admin.hello();
  CHECK(admin.call(proto::CreateRequest{"made", 1}).status() == proto::Status::ok);
  CHECK(admin.call(proto::ListRequest{}).status() == proto::Status::ok);
  CHECK(admin.call(proto::RemoveRequest{"made"}).status() == proto::Status::ok);
  in_process.files.gate.open();
  CHECK(waiting.must_receive().status() == proto::Status::ok);
}

TEST_CASE("while a store takes long to be made, others are listed and open ones are opened again") {
  server::Config config;
  const TempDir stores;
  config.directory = server::DirectoryConfig{stores.path().string(), true, true, false, 0640};
  std::ofstream(stores.file("quick.img")).flush();
  InProcess in_process(config);
  const RawClient quick = in_process.session("quick");
  in_process.files.hold_open = true;
  in_process.files.gate.shut();
  RawClient making = in_process.greeted();
  making.send(proto::CreateRequest{"slow_one", 1});
  in_process.files.gate.wait_until_held();
  for (const char* name : {"quick", "fast"}) {
    RawClient reader = in_process.session(name, proto::Access::read);
    CHECK(reader.call(proto::SizeRequest{}).as<proto::SizeAnswer>().pages == 0);
  }
  const auto listed = in_process.greeted().call(proto::ListRequest{}).as<proto::ListAnswer>();
  CHECK(listed.entries.size() >= 3);
  CHECK(in_process.files.gate.held() == 1);
  in_process.files.gate.open();
  CHECK(making.must_receive().status() == proto::Status::ok);
}

TEST_CASE("what connections asked of the directory is not carried out once they are gone, or the daemon stops") {
  const bool stops = GENERATE(false, true);
  constexpr int requests = 50;
  const TempDir stores;
  {
    server::Config config;
    config.directory = server::DirectoryConfig{stores.path().string(), true, true, false, 0640};
    InProcess in_process(config);
    in_process.files.hold_open = true;
    in_process.files.gate.shut();
    RawClient making = in_process.greeted();
    making.send(proto::CreateRequest{"slow_one", 1});
    in_process.files.gate.wait_until_held();
    const auto descriptors_before = descriptors();
    std::vector<RawClient> queued;
    for (int i = 0; i < requests; ++i) {
      queued.push_back(in_process.greeted());
      queued.back().send(proto::CreateRequest{"made" + std::to_string(i), 1});
    }
    if (stops) {
      in_process.server->stop();
      in_process.wait_until_refused();
      in_process.files.gate.open();
      for (RawClient& client : queued) {
        const auto frame = client.receive();
        REQUIRE(frame);
        CHECK(frame->header.operation == proto::Operation::goodbye);
        CHECK(frame->status() == proto::Status::stopping);
      }
    } else {
      for (RawClient& client : queued) client.reset();
      // Theirs and the daemon's.
      const auto deadline = std::chrono::steady_clock::now() + patience;
      while (descriptors() > descriptors_before) REQUIRE(std::chrono::steady_clock::now() < deadline);
      in_process.files.gate.open();
      CHECK(making.must_receive().status() == proto::Status::ok);
      RawClient last = in_process.greeted();
      last.call(proto::CreateRequest{"last", 1}).as<proto::CreateAnswer>();
    }
  }
  for (const auto& file : std::filesystem::directory_iterator(stores.path()))
    CHECK(file.path().filename().string().rfind("made", 0) == std::string::npos);
}

TEST_CASE("a store of the directory stays open for a while after its last session, and is closed then, whoever looks") {
  server::Config config;
  const TempDir stores;
  config.directory = server::DirectoryConfig{stores.path().string(), true, true, false, 0640};
  config.directory->linger = std::chrono::milliseconds(GENERATE(0, 100, 3'600'000));
  std::ofstream(stores.file("s.img")).flush();
  InProcess in_process(config);
  const auto is_open = [&] {
    const auto listed = in_process.greeted().call(proto::ListRequest{});
    for (const auto& entry : listed.as<proto::ListAnswer>().entries)
      if (entry.store == "s") return entry.open;
    return false;
  };
  for (int i = 0; i < 3; ++i) {
    RawClient client = in_process.session("s", proto::Access::read);
    client.call(proto::CloseRequest{}).as<proto::CloseAnswer>();
  }
  if (config.directory->linger > std::chrono::minutes(1)) {
    CHECK(is_open());
  } else {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    // Who sees what is going on there keeps it no more open than anybody else.
    RawClient looking = in_process.greeted();
    while (is_open()) {
      looking.call(proto::SessionsRequest{0, "s"}).as<proto::SessionsAnswer>();
      REQUIRE(std::chrono::steady_clock::now() < deadline);
    }
  }
  // Whatever lingers is in nobody's way.
  in_process.greeted().call(proto::RemoveRequest{"s"}).as<proto::RemoveAnswer>();
  CHECK(std::filesystem::is_empty(stores.path()));
}

TEST_CASE("a removal that waits for its store to be closed is answered busy when a session comes in between") {
  server::Config config;
  const TempDir stores;
  config.directory = server::DirectoryConfig{stores.path().string(), true, true, false, 0640};
  InProcess in_process(config);
  const auto greeted = [&] {
    RawClient client = RawClient::tcp(in_process.port);
    client.hello();
    return client;
  };
  RawClient admin = greeted();
  admin.call(proto::CreateRequest{"slow_one", 1}).as<proto::CreateAnswer>();
  const auto data = pattern(100, 1);
  RawClient first = in_process.session("slow_one");
  first.write(0, data);
  const Frame in_use = admin.call(proto::RemoveRequest{"slow_one"});
  CHECK(in_use.status() == proto::Status::busy);
  CHECK(in_use.text().find("1 sessions are on it") != std::string::npos);
  in_process.files.hold_sync = true;
  in_process.files.gate.shut();
  first.call(proto::CloseRequest{}).as<proto::CloseAnswer>();
  in_process.files.gate.wait_until_held();  // in the middle of the close
  admin.send(proto::RemoveRequest{"slow_one"});
  // Behind it on the same thread: once this is answered, the removal waits for the close.
  greeted().call(proto::ListRequest{}).as<proto::ListAnswer>();
  RawClient second = greeted();
  proto::OpenRequest open;
  open.store = "slow_one";
  open.access = proto::Access::read;
  second.send(open);
  // Whatever the disk does meanwhile.
  CHECK(admin.must_receive().status() == proto::Status::busy);
  in_process.files.gate.open();
  second.must_receive().as<proto::OpenAnswer>();
  CHECK(second.read(0, 100) == data);
  second.call(proto::CloseRequest{}).as<proto::CloseAnswer>();
  admin.call(proto::RemoveRequest{"slow_one"}).as<proto::RemoveAnswer>();
  CHECK(std::filesystem::is_empty(stores.path()));
}

TEST_CASE("several threads for a store serve its sessions with the same promises") {
  server::Config config;
  config.threads = 3;
  InProcess in_process(config);
  RawClient writer = in_process.session("fast");
  writer.grow(4);
  std::vector<std::thread> readers;
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> reads{0};
  std::atomic<bool> torn{false};
  for (int t = 0; t < 4; ++t) {
    readers.emplace_back([&] {
      RawClient reader = in_process.session("fast", proto::Access::read);
      while (!done) {
        const auto seen = reader.read(65000, 2000);
        if (std::count(seen.begin(), seen.end(), seen[0]) != 2000) torn = true;
        ++reads;
      }
    });
  }
  for (unsigned i = 0; i < 500 || reads < 500; ++i) {
    writer.write(65000, std::vector<std::byte>(2000, static_cast<std::byte>(i)));
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  CHECK_FALSE(torn);
}

TEST_CASE("a store that can't be closed makes the exit status 1") {
  InProcess in_process;
  RawClient writer = in_process.session("slow");
  writer.grow(1);
  writer.write(0, pattern(100, 1));
  in_process.files.fail_sync = true;
  const Frame refused = writer.call(proto::FlushRequest{});
  CHECK(refused.status() == proto::Status::provider_error);
  CHECK(refused.text().find("Input/output error") != std::string::npos);
  const Frame commit = writer.call(proto::CommitRequest{});
  CHECK(commit.header.operation == proto::Operation::commit);
  CHECK(commit.status() == proto::Status::provider_error);
  in_process.expected_status = 1;
}
