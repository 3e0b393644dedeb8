// What a service manager is told, on a socket of the test's own. Needs DISK_SHIM_PATH.
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "base/unique_fd.hpp"
#include "tests/daemon/slow_daemon.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

/// A status that ends with what would part it from more.
bool has_loose_end(const std::string& message) {
  const std::string text = message.substr(0, message.find_last_not_of('\n') + 1);
  return text.empty() || std::string(";: ").find(text.back()) != std::string::npos;
}

/// The manager's end.
class Manager {
public:
  explicit Manager(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    if (path.front() == '@') address.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0)
      throw std::runtime_error("no socket for a manager");
  }

  /// The next message that has `text`; what comes before it is kept in `heard`.
  std::string wait_for(std::string_view text) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline) {
      pollfd ready{socket_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 100) <= 0) continue;
      char message[4096];
      const ssize_t got = ::recv(socket_.get(), message, sizeof message, 0);
      if (got < 0) continue;
      heard.emplace_back(message, static_cast<std::size_t>(got));
      if (heard.back().find(text) != std::string::npos) return heard.back();
    }
    std::string all;
    for (const std::string& one : heard) all += one + "\n--\n";
    throw std::runtime_error("not heard: " + std::string(text) + "; but\n" + all);
  }
  bool has_heard(std::string_view text) const {
    return std::any_of(heard.begin(), heard.end(),
                       [&](const std::string& one) { return one.find(text) != std::string::npos; });
  }

  std::vector<std::string> heard;

private:
  UniqueFd socket_;
};

struct Served {
  TempDir dir;
  SlowDisk disk{dir.file("order"), "slow.img"};
  std::string notify_path = dir.file("notify");
  std::string watchdog;
  bool in_a_folder = false;  ///< and not configured by its name

  Process start() {
    std::vector<std::string> argv{"/usr/bin/env", disk.environment(), std::string("LD_PRELOAD=") + DISK_SHIM_PATH,
                                  "NOTIFY_SOCKET=" + notify_path};
    if (!watchdog.empty()) argv.push_back("WATCHDOG_USEC=" + watchdog);
    for (const std::string& word : {pageserverd_path(), std::string("--unix"), dir.file("d.sock"),
                                    std::string(in_a_folder ? "--directory" : "--store"),
                                    in_a_folder ? dir.path().string() : "slow=" + dir.file("slow.img")})
      argv.push_back(word);
    return Process(std::move(argv));
  }
  RawClient session() const {
    RawClient client = RawClient::local(dir.file("d.sock"));
    client.hello();
    client.open("slow");
    return client;
  }
};

}  // namespace

TEST_CASE("service: ready is told once it serves, and stopping when a signal asks for that") {
  Served served;
  Manager manager(served.notify_path);
  Process process = served.start();
  const std::string ready = manager.wait_for("READY=1");
  CHECK(ready.find("STATUS=serving 1 configured stores") != std::string::npos);
  process.wait_for_err(" INFO start ");
  process.signal(SIGTERM);
  manager.wait_for("STOPPING=1");
  CHECK(process.wait() == 0);
  CHECK_FALSE(manager.has_heard("WATCHDOG=1"));
}

TEST_CASE("service: a socket without a file is told as well, and one that is gone is no fault") {
  Served served;
  served.notify_path = "@pageserver-test-" + std::to_string(::getpid());
  {
    Manager manager(served.notify_path);
    Process process = served.start();
    manager.wait_for("READY=1");
    process.signal(SIGTERM);
    CHECK(process.wait() == 0);
  }
  Process process = served.start();
  process.wait_for_err(" INFO start ");
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
}

TEST_CASE("service: a recovery is not ready, asks for time, and says how far it is") {
  Served served;
  Manager manager(served.notify_path);
  {
    Process process = served.start();
    manager.wait_for("READY=1");
    RawClient writer = served.session();
    writer.grow(1);
    writer.write(0, pattern(8, 1));
    writer.flush();
    process.signal(SIGKILL);
    process.wait();
  }
  manager.heard.clear();
  served.disk.hold(DiskOrder::syncs);
  Process process = served.start();
  const std::string starting = manager.wait_for("recovering: ");
  CHECK(starting.find("EXTEND_TIMEOUT_USEC=") != std::string::npos);
  CHECK(starting.find("STATUS=starting: store slow: ") != std::string::npos);
  CHECK_FALSE(has_loose_end(starting));
  CHECK_FALSE(manager.has_heard("READY=1"));
  served.disk.let_go();
  manager.wait_for("READY=1");
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
}

TEST_CASE("service: a stop that takes its time says what is still open") {
  for (const bool in_a_folder : {false, true}) {
    Served served;
    served.in_a_folder = in_a_folder;
    if (in_a_folder) std::ofstream(served.dir.file("slow.img")).flush();
    Manager manager(served.notify_path);
    Process process = served.start();
    manager.wait_for("READY=1");
    RawClient writer = served.session();
    writer.grow(1);
    writer.write(0, pattern(8, 1));
    served.disk.hold(DiskOrder::syncs);
    process.signal(SIGTERM);
    const std::string stopping = manager.wait_for("STATUS=stopping: ");
    // Of those in a folder it says nothing: they are not what it is configured for.
    CHECK((stopping.find("; still open: slow") != std::string::npos) == !in_a_folder);
    CHECK_FALSE(has_loose_end(stopping));
    served.disk.let_go();
    CHECK(process.wait() == 0);
  }
}

TEST_CASE("service: the watchdog is fed through the stores, and not while one of them hangs") {
  Served served;
  served.watchdog = "400000";
  Manager manager(served.notify_path);
  Process process = served.start();
  manager.wait_for("WATCHDOG=1");
  manager.wait_for("WATCHDOG=1");
  RawClient writer = served.session();
  writer.grow(1);
  writer.write(0, pattern(8, 1));
  served.disk.hold(DiskOrder::syncs);
  writer.send(proto::FlushRequest{});
  const std::string status = manager.wait_for("STATUS=not ready: store slow");
  CHECK(status.find("WATCHDOG=1") == std::string::npos);
  served.disk.let_go();
  CHECK(writer.receive()->status() == proto::Status::ok);
  manager.wait_for("WATCHDOG=1");
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
}
