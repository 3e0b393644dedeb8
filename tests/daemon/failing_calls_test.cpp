// Calls of the real daemon are made to fail in turn. It may refuse, or drop the connection that asked. It goes on
// serving, and keeps what it has answered.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <new>

#include "tests/daemon/helpers.hpp"
#include "tests/support/fault_shim.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

constexpr std::uint64_t always = UINT64_MAX;

/// A daemon with the store `demo`, a directory, and the shim.
class FailingDaemon {
public:
  FailingDaemon() {
    const std::string path = shim_dir_.file("order");
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(::ftruncate(file, sizeof(FaultOrder)) == 0);
    void* const mapped = ::mmap(nullptr, sizeof(FaultOrder), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    REQUIRE(mapped != MAP_FAILED);
    order_ = new (mapped) FaultOrder{};
    std::ofstream(shim_dir_.file("c.json"))
        << R"({"directory": {"path": ")" << dir_.path().string()
        << R"(", "create": true, "remove": true}, "limits": {"log_bytes": "4MiB"}, "grace": "4s"})";
    start();
  }
  FailingDaemon(const FailingDaemon&) = delete;
  FailingDaemon& operator=(const FailingDaemon&) = delete;
  ~FailingDaemon() { ::munmap(order_, sizeof(FaultOrder)); }

  void start() {
    disarm();
    process_.emplace(std::vector<std::string>{
        "/usr/bin/env", std::string(fault_order_variable) + "=" + shim_dir_.file("order"),
        std::string("LD_PRELOAD=") + FAULT_SHIM_PATH, pageserverd_path(), "--unix", socket_path(), "--store",
        "demo=" + shim_dir_.file("demo.img"), "--config", shim_dir_.file("c.json")});
    process_->wait_for_err(" INFO start ");
  }
  void kill_and_start() {
    disarm();
    process_->signal(SIGKILL);
    process_->wait();
    start();
  }

  void arm(FaultKind kind, std::uint64_t first, std::uint64_t count = 1, int error = ENOMEM) {
    order_->first = first;
    order_->count = count;
    order_->error = static_cast<std::uint32_t>(error);
    order_->calls = 0;
    order_->failed = 0;
    order_->kind = kind;
  }
  /// How many failed since arm().
  std::uint64_t disarm() {
    order_->kind = FaultKind::none;
    return order_->failed;
  }
  std::uint64_t failed() const { return order_->failed; }

  std::string socket_path() const { return shim_dir_.file("s"); }
  Process& process() { return *process_; }

private:
  TempDir shim_dir_;
  TempDir dir_;
  FaultOrder* order_ = nullptr;
  std::optional<Process> process_;
};

RawClient session_of(const FailingDaemon& daemon, std::string_view store, proto::Access access = proto::Access::write) {
  RawClient client = RawClient::local(daemon.socket_path());
  client.hello();
  // A session that ends at this moment may still have the lease.
  client.try_open(store, access, access == proto::Access::write ? 20'000 : 0).as<proto::OpenAnswer>();
  return client;
}

/// For each thread how often it went to sleep or was made to wait; empty when one is not asleep.
std::string sleeping_threads(pid_t pid) {
  std::string all;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("State:") && line.find('S', 6) == std::string::npos) return {};
      if (line.find("ctxt_switches:") != std::string::npos) all += task.path().filename().string() + ' ' + line + '\n';
    }
  }
  return all;
}

}  // namespace

TEST_CASE("a listener whose new connections can't be waited for goes on accepting") {
  FailingDaemon daemon;
  for (const auto& [kind, error] : {std::pair{FaultKind::epoll_ctl, ENOSPC}, std::pair{FaultKind::epoll_ctl, ENOMEM},
                                    std::pair{FaultKind::accept, EMFILE}, std::pair{FaultKind::accept, ENOBUFS},
                                    std::pair{FaultKind::accept, EINVAL}}) {
    CAPTURE(static_cast<int>(kind), error);
    daemon.arm(kind, 1, 3, error);
    for (int i = 0; i < 3; ++i) {
      RawClient client = RawClient::local(daemon.socket_path());
      try {
        client.hello();
      } catch (const std::runtime_error&) {
        // Dropped: there was nothing to tell it with.
      }
    }
    CHECK(daemon.disarm() == 3);
    // Descriptors have one owner: whoever comes now, beside a session with files of its own, is not cut off.
    RawClient session = session_of(daemon, "demo");
    session.grow(1);
    for (int i = 0; i < 4; ++i) {
      RawClient client = RawClient::local(daemon.socket_path());
      client.hello();
      session.write(0, bytes_of("still here"));
      session.flush();
      CHECK(session.read(0, 10) == bytes_of("still here"));
    }
  }
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("a connection that can't be taken on by its store's worker ends, and the worker does not spin") {
  FailingDaemon daemon;
  RawClient other = session_of(daemon, "demo", proto::Access::read);
  RawClient client = RawClient::local(daemon.socket_path());
  client.hello();
  daemon.arm(FaultKind::epoll_ctl, 1, always, ENOSPC);
  proto::OpenRequest request;
  request.store = "demo";
  client.send(request);
  CHECK(client.closed_within());
  CHECK(daemon.disarm() >= 1);
  // Several looks in a row at which every thread sleeps, and none has run since the look before. A thread that spins is
  // never found asleep, however little time it gets.
  constexpr int looks_needed = 10;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::string before;
  for (int calm = 0; calm < looks_needed;) {
    const std::string now = sleeping_threads(daemon.process().pid());
    calm = !now.empty() && now == before ? calm + 1 : 0;
    before = now;
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    CHECK_FALSE(other.readable_within(std::chrono::milliseconds(20)));
  }
  CHECK(other.call(proto::PingRequest{}).status() == proto::Status::ok);
  session_of(daemon, "demo").grow(1);
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("each allocation of a session's requests fails in turn, and the daemon goes on and keeps what it answered") {
  FailingDaemon daemon;
  std::vector<std::byte> image(4 * 65536);
  {
    RawClient client = session_of(daemon, "demo");
    client.grow(4);
    client.flush();
  }
  std::uint64_t turn = 0;
  std::vector<std::byte> unanswered;  // by the operation under test
  // What a write that was not answered may have left: the bytes before it or its own. One that was refused: none.
  const auto write = [&](RawClient& client, std::uint64_t offset, std::size_t length) {
    const auto data = pattern(length, static_cast<unsigned>(++turn));
    bool answered = false;
    try {
      answered = client.call(proto::WriteRequest{offset, data}).status() == proto::Status::ok;
      unanswered.clear();
    } catch (const std::runtime_error&) {
      unanswered = data;
    }
    if (answered) std::copy(data.begin(), data.end(), image.begin() + static_cast<std::ptrdiff_t>(offset));
    return answered;
  };
  const auto call = [](RawClient& client, const auto& request) { client.call(request); };
  using Operation = std::function<void(FailingDaemon&, RawClient&)>;
  const std::vector<std::pair<std::string, Operation>> operations{
      {"read",
       [&](auto&, RawClient& c) {
         call(c, proto::ReadRequest{5, 100'000});
       }},
      {"write", [&](auto&, RawClient& c) { write(c, 65536, 8); }},
      {"large write", [&](auto&, RawClient& c) { write(c, 65536, 100'000); }},
      {"grow", [&](auto&, RawClient& c) { call(c, proto::GrowRequest{0}); }},
      {"flush", [&](auto&, RawClient& c) { call(c, proto::FlushRequest{}); }},
      {"stat", [&](auto&, RawClient& c) { call(c, proto::StatRequest{}); }},
      {"ping", [&](auto&, RawClient& c) { call(c, proto::PingRequest{}); }},
      {"close", [&](auto&, RawClient& c) { call(c, proto::CloseRequest{}); }},
      {"hello", [&](FailingDaemon& d, auto&) { RawClient::local(d.socket_path()).hello(); }},
      {"list",
       [&](FailingDaemon& d, auto&) {
         RawClient other = RawClient::local(d.socket_path());
         other.hello();
         call(other, proto::ListRequest{});
       }},
      {"open",
       [&](FailingDaemon& d, auto&) {
         RawClient other = RawClient::local(d.socket_path());
         other.hello();
         other.open("demo", proto::Access::read);
       }},
  };
  std::uint64_t all_turns = 0;
  for (const auto& [name, operation] : operations) {
    // The operation itself may make more calls than a bounded test can fail one by one.
    constexpr std::uint64_t turns_max = 120;
    std::uint64_t turns = 0;
    for (std::uint64_t k = 1; k <= turns_max; ++k, ++turns) {
      CAPTURE(name, k);
      RawClient client = session_of(daemon, "demo");
      unanswered.clear();
      daemon.arm(FaultKind::memory, k);
      try {
        operation(daemon, client);
      } catch (const std::runtime_error&) {
        // Refused, or its connection is gone.
      }
      const bool fired = daemon.disarm() != 0;
      client.close();
      RawClient after = session_of(daemon, "demo");
      const auto of_operation = std::move(unanswered);
      REQUIRE(write(after, 0, 16));
      after.flush();
      // A write that was answered is there. One that was not is there or not, whole: from here on it is what is there.
      const auto now = after.read(0, static_cast<std::uint32_t>(image.size()));
      const bool as_before = std::equal(image.begin(), image.end(), now.begin());
      auto with_unanswered = image;
      std::copy(of_operation.begin(), of_operation.end(), with_unanswered.begin() + 65536);
      REQUIRE((as_before || (!of_operation.empty() && with_unanswered == now)));
      image = now;
      if (!fired) break;
    }
    all_turns += turns;
    daemon.kill_and_start();
    CHECK(session_of(daemon, "demo", proto::Access::read).read(0, static_cast<std::uint32_t>(image.size())) == image);
  }
  CHECK(all_turns > 15);
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 0);
}
