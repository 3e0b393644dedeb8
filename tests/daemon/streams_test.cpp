// Standard streams that are closed, full or that nobody reads, signals at any time, and limits on a file's size.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <thread>
#include "tests/support/catch.hpp"

#include "server/runtime/log_line_queue.hpp"
#include "tests/daemon/helpers.hpp"
#include "tests/support/skip.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

/// The daemon behind a shell that first does what `before` says, such as closing a stream. Its log goes where the shell
/// sends it.
class ShellDaemon {
public:
  ShellDaemon(const TempDir& dir, const std::string& before, std::vector<std::string> flags)
      : port_file_(dir.file("port")), process_(argv(dir, before, std::move(flags))) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!std::filesystem::exists(port_file_)) {
      if (!process_.running()) throw std::runtime_error("the daemon ended: " + process_.err_so_far());
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("the daemon does not serve");
      std::this_thread::yield();
    }
    std::string line;
    std::ifstream(port_file_) >> line;
    port_ = static_cast<std::uint16_t>(std::stoul(line.substr(line.rfind(':') + 1)));
  }
  Process& process() noexcept { return process_; }
  std::uint16_t port() const noexcept { return port_; }
  RawClient session(std::string_view store, proto::Access access = proto::Access::write) const {
    RawClient client = RawClient::tcp(port_);
    client.hello();
    client.open(store, access);
    return client;
  }

private:
  static std::vector<std::string> argv(const TempDir& dir, const std::string& before, std::vector<std::string> flags) {
    std::vector<std::string> all{"bash",     "-c",          before,        pageserverd_path(),
                                 "--listen", "127.0.0.1:0", "--port-file", dir.file("port")};
    all.insert(all.end(), flags.begin(), flags.end());
    return all;
  }

  std::string port_file_;
  Process process_;
  std::uint16_t port_ = 0;
};

int threads_of(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; status >> word;) {
    int count = 0;
    if (word == "Threads:" && status >> count) return count;
  }
  return 0;
}

std::ptrdiff_t log_files_beside(const std::string& image) {
  const std::filesystem::directory_iterator files{std::filesystem::path(image).parent_path()};
  return std::count_if(begin(files), end(files), [](const auto& file) {
    return file.path().filename().string().find(".img.log.") != std::string::npos;
  });
}

constexpr char exec_with[] = "exec \"$0\" \"$@\" ";

std::string all_of(int descriptor) {
  std::string text(1u << 20, '\0');
  const ssize_t got = ::read(descriptor, text.data(), text.size());
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

}  // namespace

TEST_CASE("whoever stalls in reading the log holds up no session, no ping and no stop") {
  TempDir dir;
  REQUIRE(::mkfifo(dir.file("log").c_str(), 0600) == 0);
  // Keeps the pipe open, and reads nothing.
  const int reader = ::open(dir.file("log").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  ShellDaemon daemon(dir, exec_with + ("2>\"" + dir.file("log") + "\""), {"--store", "demo=" + dir.file("demo.img")});
  RawClient open = daemon.session("demo");
  open.grow(1);
  // Several times what a pipe holds.
  for (int i = 0; i < 1000; ++i) daemon.session("demo", proto::Access::read);
  CHECK(open.call(proto::PingRequest{}).status() == proto::Status::ok);
  open.write(0, bytes_of("still here"));
  open.flush();
  open.close();
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 0);
  CHECK(all_of(reader).find(" INFO start ") != std::string::npos);
  ::close(reader);
}

TEST_CASE("lines that find no room are counted, and a line says how many once there is room") {
  ::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  REQUIRE(::fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096);
  const int size = ::fcntl(ends[1], F_GETPIPE_SZ);
  std::string text;
  {
    server::LogLineQueue queue(ends[1], 10'000,
                               [](std::uint64_t dropped) { return "dropped " + std::to_string(dropped) + "\n"; });
    const std::string line(99, 'x');
    const int pushed = 500 + size / 100;
    for (int i = 0; i < pushed; ++i) queue.push(line + "\n");
    REQUIRE(::fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (text.find("dropped ") == std::string::npos && std::chrono::steady_clock::now() < deadline) {
      text += all_of(ends[0]);
      queue.push("later\n");  // what was dropped is said behind the next line that finds room
    }
    const std::size_t at = text.find("dropped ");
    REQUIRE(at != std::string::npos);
    const std::size_t dropped = std::stoul(text.substr(at + 8));
    CHECK(dropped >= 1);
    CHECK(count_of(text, line) <= static_cast<std::size_t>(pushed));
    ::close(ends[0]);
    queue.push("nobody reads this\n");  // refused, and no harm
  }
  ::close(ends[1]);
}

TEST_CASE("the daemon works with any of its standard streams closed, full or without a reader") {
  for (const char* streams : {"<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full",
                              "2> >(head -c 1 >/dev/null)"}) {
    INFO(streams);
    TempDir dir;
    ShellDaemon daemon(dir, std::string(exec_with) + streams,
                       {"--store", "demo=" + dir.file("demo.img"), "--store", "other=" + dir.file("other.img")});
    {
      RawClient client = daemon.session("demo");
      client.grow(2);
      client.write(65536, pattern(65536, 4));
      client.flush();
      for (int i = 0; i < 5; ++i) daemon.session("other", proto::Access::read);
      CHECK(client.read(65536, 65536) == pattern(65536, 4));
    }
    daemon.process().signal(SIGTERM);
    CHECK(daemon.process().wait() == 0);
    std::ifstream image(dir.file("demo.img"), std::ios::binary);
    std::string bytes(2 * 65536, '\1');
    image.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    CHECK(bytes.substr(0, 65536) == std::string(65536, '\0'));
    CHECK(bytes_of(bytes.substr(65536)) == pattern(65536, 4));
  }
}

TEST_CASE("a limit on the size of files ends no daemon: what could not go into the image is refused") {
  TempDir dir;
  std::ofstream(dir.file("demo.img")).flush();
  std::filesystem::resize_file(dir.file("demo.img"), 64 * 65536);
  const auto data = pattern(65536, 2);
  // In units of 1,024 bytes, or of 512 as POSIX has it: half of the image, or a quarter.
  ShellDaemon daemon(dir, "ulimit -f 2048; " + std::string(exec_with),
                     {"--store", "demo=" + dir.file("demo.img"), "--store", "other=" + dir.file("other.img")});
  RawClient client = daemon.session("demo");
  const Frame refused = client.call(proto::WriteRequest{63 * 65536, data});
  CHECK(refused.status() == proto::Status::limit_exceeded);
  CHECK(refused.text().find("ulimit -f") != std::string::npos);
  client.write(0, data);
  client.flush();
  CHECK(client.read(0, 65536) == data);
  RawClient other = daemon.session("other");
  other.grow(1);
  client.close();
  other.close();
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("a signal that comes while the daemon starts ends it in order, and nothing is lost") {
  TempDir dir;
  const auto data = pattern(1u << 20, 7);
  {
    Daemon daemon({"--store", "demo={dir}/demo.img"}, &dir);
    RawClient client = session_on(daemon, "demo");
    client.grow(256);
    for (std::uint64_t at = 0; at < 16; ++at) client.write(at << 20, data);
    client.flush();
    daemon.kill_hard();
  }
  for (int round = 1; round <= 5; ++round) {
    Process starting({pageserverd_path(), "--listen", "127.0.0.1:0", "--store", "demo=" + dir.file("demo.img")});
    // Until it is the daemon, the signal would meet what this program does on it.
    for (std::string name; name != "pageserverd" && starting.running();) {
      std::ifstream("/proc/" + std::to_string(starting.pid()) + "/comm") >> name;
      std::this_thread::yield();
    }
    // Rounds differ in how far the start has come: by the threads that it has made.
    while (starting.running() && threads_of(starting.pid()) < round) std::this_thread::yield();
    starting.signal(SIGTERM);
    const int status = starting.wait();
    // Before the program's first lines the signal has its usual effect.
    CHECK((status == 0 || status == 128 + SIGTERM));
  }
  Daemon daemon({"--store", "demo={dir}/demo.img"}, &dir);
  RawClient client = session_on(daemon, "demo");
  for (std::uint64_t at = 0; at < 16; ++at) CHECK(client.read(at << 20, 1u << 20) == data);
}

TEST_CASE("a signal that comes in the middle of a checkpoint ends the daemon in order, a second one at once") {
  constexpr std::uint64_t blocks = 40;
  const bool twice = GENERATE(false, true);
  TempDir dir;
  std::ofstream(dir.file("c.json")) << R"({"limits": {"log_bytes": "64MiB", "checkpoint_pace": 1}})";
  for (unsigned round = 1; round <= 3; ++round) {
    const auto data = pattern(1u << 20, round);
    const std::string image = dir.file("demo.img");
    Daemon daemon({"--store", "demo=" + image, "--config", "{dir}/c.json"}, &dir);
    RawClient client = session_on(daemon, "demo");
    if (client.call(proto::SizeRequest{}).as<proto::SizeAnswer>().pages == 0) client.grow(blocks * 16);
    for (std::uint64_t at = 0; at < blocks; ++at) client.write(at << 20, data);
    // More than half of the log: a checkpoint is due. It has begun to copy once the first bytes are in the image.
    const auto deadline = std::chrono::steady_clock::now() + patience;
    for (std::vector<char> first(4096); std::memcmp(first.data(), data.data(), first.size()) != 0;) {
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      std::ifstream(image, std::ios::binary).read(first.data(), static_cast<std::streamsize>(first.size()));
    }
    if (twice) daemon.expect_complaint("stopped at once");
    daemon.process().signal(SIGTERM);
    if (twice) daemon.process().signal(SIGTERM);
    const int status = daemon.process().wait();
    // The first may have been all that it takes, before the second was there.
    CHECK((status == 0 || (twice && status == 1)));
    if (status == 0) CHECK(log_files_beside(image) == 0);
    daemon.start_again();
    RawClient again = session_on(daemon, "demo", proto::Access::read);
    for (std::uint64_t at = 0; at < blocks; ++at) REQUIRE(again.read(at << 20, 1u << 20) == data);
  }
}

TEST_CASE("a replay is said aloud: store, records, bytes") {
  TempDir dir;
  Daemon daemon({"--store", "demo={dir}/demo.img"}, &dir);
  {
    RawClient client = session_on(daemon, "demo");
    client.grow(1);
    client.write(0, bytes_of("logged"));
    client.flush();
    daemon.kill_hard();
  }
  daemon.start_again();
  daemon.wait_for_log(" INFO recovered store=demo ");
  daemon.wait_for_log("records=2 ");
}

TEST_CASE("the port file of a killed daemon is gone before the next one serves, that of a running one stays") {
  TempDir dir;
  const std::vector<std::string> failing{pageserverd_path(),
                                         "--listen",
                                         "127.0.0.1:0",
                                         "--port-file",
                                         dir.file("port"),
                                         "--store",
                                         "demo=" + dir.file("no/such/folder.img")};
  {
    Daemon daemon({"--store", "demo={dir}/demo.img"}, &dir);
    const RunResult refused = run(failing);
    CHECK(refused.status == 1);
    CHECK(refused.err.find("a running daemon") != std::string::npos);
    CHECK(std::filesystem::exists(dir.file("port")));
    daemon.kill_hard();
  }
  REQUIRE(std::filesystem::exists(dir.file("port")));
  const RunResult failed = run(failing);
  CHECK(failed.status == 1);
  CHECK(failed.err.find("no/such/folder") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(dir.file("port")));
}

TEST_CASE("a start that gets no thread says so") {
  if (::geteuid() != 0) return skip("root alone can become the user whose threads are counted");
  TempDir dir;
  std::filesystem::permissions(dir.path(), std::filesystem::perms::all);
  const RunResult failed =
      run({"setpriv", "--reuid", "64200", "--clear-groups", "prlimit", "--nproc=1", "bash", "-c", "exec \"$0\" \"$@\"",
           pageserverd_path(), "--unix", dir.file("d.sock"), "--store", "demo=" + dir.file("demo.img")});
  INFO(failed.err);
  CHECK(failed.status == 1);
  CHECK(failed.err.find("start failed") != std::string::npos);
}
