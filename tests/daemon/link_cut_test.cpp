// A client on another host whose link is cut: it can't say goodbye, so the daemon's kernel has to find out. Hosts are
// network namespaces that the test makes, with one link between them.
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>
#include <pageserver/async_session.hpp>
#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include <fstream>
#include <string>
#include "tests/support/catch.hpp"

#include "tests/daemon/child.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/skip.hpp"

namespace pageserver::test {
namespace {

/// Two namespaces joined by a pair of virtual Ethernet devices; removed at the end. The addresses are of the range
/// that RFC 5737 keeps for documentation, and exist inside the namespaces only.
class TwoHosts {
public:
  TwoHosts() {
    works_ = ip({"netns", "add", server()}) && ip({"netns", "add", client()}) &&
             ip({"-n", server(), "link", "add", "s0", "type", "veth", "peer", "name", "c0", "netns", client()}) &&
             ip({"-n", server(), "addr", "add", "192.0.2.1/24", "dev", "s0"}) &&
             ip({"-n", client(), "addr", "add", "192.0.2.2/24", "dev", "c0"}) &&
             ip({"-n", server(), "link", "set", "s0", "up"}) && ip({"-n", client(), "link", "set", "c0", "up"});
  }
  TwoHosts(const TwoHosts&) = delete;
  TwoHosts& operator=(const TwoHosts&) = delete;
  ~TwoHosts() {
    ip({"netns", "del", server()});
    ip({"netns", "del", client()});
  }

  bool works() const { return works_; }
  std::string server() const { return "pageserver-s" + id_; }
  std::string client() const { return "pageserver-c" + id_; }
  bool cut() { return ip({"-n", client(), "link", "set", "c0", "down"}); }

private:
  static bool ip(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "ip");
    return run(std::move(arguments)).status == 0;
  }
  const std::string id_ = std::to_string(::getpid());  // the test's, also in a child of it
  bool works_ = false;
};

bool enter(const std::string& host) {
  const int space = ::open(("/run/netns/" + host).c_str(), O_RDONLY | O_CLOEXEC);
  if (space < 0) return false;
  const bool entered = ::setns(space, CLONE_NEWNET) == 0;
  ::close(space);
  return entered;
}

}  // namespace

namespace {

/// A daemon on one of two hosts, and a writer on the other that holds the lease, and does `work` before it stands
/// still.
template <class Work>
void check_lease_is_freed(Work work) {
  TwoHosts hosts;
  if (::geteuid() != 0 || !hosts.works()) {
    skip("needs root and network namespaces (ip netns)");
    return;
  }
  TempDir dir;
  {
    std::ofstream config{dir.file("config.json")};
    config << R"({"limits": {"keepalive": "3s"}})";
  }
  Process daemon{{"ip", "netns", "exec", hosts.server(), pageserverd_path(), "--config", dir.file("config.json"),
                  "--listen", "192.0.2.1:6553", "--insecure", "--unix", dir.file("d.sock"), "--port-file",
                  dir.file("port"), "--store", "s=" + dir.file("s.img")}};
  daemon.wait_for_err("192.0.2.1:6553");
  const std::string local = "pageserver+unix:///s?socket=" + dir.file("d.sock");
  open(local)->grow(16);

  Child writer{[&](auto report) {
    if (!enter(hosts.client())) {
      report("could not enter its namespace");
      return;
    }
    work([&] { report("holds"); });
  }};
  REQUIRE(writer.next_line() == "holds");
  try {
    open(local);
    FAIL("the lease was free although a writer holds it");
  } catch (const MemoryError& error) {
    CHECK(error.code() == Errc::busy);
    CHECK(std::string{error.what()}.find("far") != std::string::npos);
  }
  REQUIRE(hosts.cut());
  // Far less than what the kernel takes to give up by itself, or the stall rule.
  const auto next = open(local + "&wait_ms=30000");
  CHECK(next->pages() == 16);
  daemon.signal(SIGTERM);
  CHECK(daemon.wait() == 0);
}

}  // namespace

TEST_CASE("the lease of a client whose link was cut is freed") {
  check_lease_is_freed([](auto holds) {
    const auto image = open("pageserver://192.0.2.1:6553/s?name=far");
    image->write(0, std::as_bytes(std::span{"far"}));
    holds();
    ::pause();
  });
}

TEST_CASE("the lease of a client whose link was cut while it was sent answers is freed") {
  for (const bool reads : {true, false}) {
    CAPTURE(reads);
    check_lease_is_freed([reads](auto holds) {
      AsyncSession session("pageserver://192.0.2.1:6553/s?name=far");
      std::vector<std::byte> buffer(1u << 20);
      const auto done = [](const auto&...) {};
      for (int i = 0; i < 3; ++i) session.read(0, buffer, done);
      holds();
      while (reads) {
        session.read(0, buffer, done);
        session.run_until([&] { return session.outstanding() < 3; });
      }
      ::pause();
    });
  }
}

}  // namespace pageserver::test
