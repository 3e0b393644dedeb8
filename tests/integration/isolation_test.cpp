// A store whose disk hangs delays nobody but its own sessions. The server runs inside the test, over files whose calls
// the test can hold.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "server/server.hpp"
#include "tests/integration/helpers.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

/// Holds whoever passes while it is shut.
class Gate {
public:
  void shut() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    if (open_) return;
    ++held_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    --held_;
  }
  void wait_until_held() {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, patience, [&] { return held_ > 0; }));
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int held_ = 0;
};

/// Calls on files named slow* pass the gate.
class SlowFiles final : public storage::FileSystem {
public:
  storage::IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    const bool slow = path.find("slow") != std::string::npos;
    if (slow && hold_open) gate.pass();
    const auto result = real_.open(path, flags, mode);
    if (slow && result.ok()) {
      const std::lock_guard lock(mutex_);
      slow_.insert(static_cast<int>(result.value));
    }
    return result;
  }
  storage::IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    if (name.find("slow") != std::string::npos && hold_open) gate.pass();
    return real_.open_beneath(directory, name, flags, mode);
  }
  void close(int file) noexcept override {
    {
      const std::lock_guard lock(mutex_);
      slow_.erase(file);
    }
    real_.close(file);
  }
  storage::IoResult read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) override {
    if (hold_data) hold(file);
    return real_.read_at(file, offset, buffer);
  }
  storage::IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) override {
    if (hold_data) hold(file);
    return real_.write_at(file, offset, data);
  }
  storage::IoResult truncate(int file, std::uint64_t size) override { return real_.truncate(file, size); }
  storage::IoResult reserve(int file, std::uint64_t offset, std::uint64_t length) override {
    return real_.reserve(file, offset, length);
  }
  storage::IoResult punch_hole(int file, std::uint64_t offset, std::uint64_t length) override {
    return real_.punch_hole(file, offset, length);
  }
  storage::IoResult seek_data(int file, std::uint64_t offset) override { return real_.seek_data(file, offset); }
  storage::IoResult seek_hole(int file, std::uint64_t offset) override { return real_.seek_hole(file, offset); }
  storage::IoResult sync_data(int file) override {
    if (hold_sync) hold(file);
    if (fail_sync) return {-1, EIO};
    return real_.sync_data(file);
  }
  storage::IoResult sync(int file) override { return fail_sync ? storage::IoResult{-1, EIO} : real_.sync(file); }
  storage::IoResult status(int file, storage::FileStatus& status) override { return real_.status(file, status); }
  storage::IoResult status_of(const std::string& path, storage::FileStatus& status) override {
    return real_.status_of(path, status);
  }
  storage::IoResult real_path(const std::string& path, std::string& resolved) override {
    return real_.real_path(path, resolved);
  }
  storage::IoResult file_system_type(int file) override { return real_.file_system_type(file); }
  storage::IoResult lock(int file, storage::Lock lock) override { return real_.lock(file, lock); }
  storage::IoResult rename(const std::string& from, const std::string& to) override { return real_.rename(from, to); }
  storage::IoResult remove(const std::string& path) override { return real_.remove(path); }
  storage::IoResult remove_beneath(int directory, const std::string& name) override {
    return real_.remove_beneath(directory, name);
  }
  storage::IoResult list(const std::string& directory, std::vector<std::string>& names) override {
    return real_.list(directory, names);
  }

  Gate gate;
  std::atomic<bool> hold_open{false};
  std::atomic<bool> hold_data{false};
  std::atomic<bool> hold_sync{false};
  std::atomic<bool> fail_sync{false};

private:
  void hold(int file) {
    bool slow = false;
    {
      const std::lock_guard lock(mutex_);
      slow = slow_.contains(file);
    }
    if (slow) gate.pass();
  }
  storage::FileSystem& real_ = storage::posix_file_system();
  std::mutex mutex_;
  std::set<int> slow_;
};

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

}  // namespace

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
