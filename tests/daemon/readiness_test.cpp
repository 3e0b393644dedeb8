// Health as an orchestrator asks for it, while disks hang and stores are recovered. Needs DISK_SHIM_PATH.
#include <string>
#include "tests/support/catch.hpp"

#include "tests/daemon/slow_daemon.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

/// Two stores, of which only `slow` is on the disk that the test holds.
struct Served {
  TempDir dir;
  SlowDisk disk{dir.file("order"), "slow.img"};

  Process start() {
    return Process({"/usr/bin/env", disk.environment(), std::string("LD_PRELOAD=") + DISK_SHIM_PATH, pageserverd_path(),
                    "--unix", dir.file("d.sock"), "--metrics", "0", "--store", "slow=" + dir.file("slow.img"),
                    "--store", "well=" + dir.file("well.img")});
  }
  RawClient session(std::string_view store) const {
    RawClient client = RawClient::local(dir.file("d.sock"));
    client.hello();
    client.open(store);
    return client;
  }
};

HttpAnswer ask(const Process& process, const std::string& target) {
  return http_get(RawClient::tcp(metrics_port(process)), target);
}

}  // namespace

TEST_CASE("readiness: a store whose disk hangs is not ready and is named, and the daemon lives and tells its metrics") {
  Served served;
  Process process = served.start();
  process.wait_for_err(" INFO start ");
  RawClient writer = served.session("slow");
  writer.grow(1);
  writer.write(0, pattern(8, 1));
  CHECK(ask(process, "/readyz").code == 200);
  served.disk.hold(DiskOrder::syncs);
  writer.send(proto::FlushRequest{});
  wait_until([&] { return ask(process, "/readyz").code == 503; });
  const HttpAnswer verbose = ask(process, "/readyz?verbose");
  CHECK(verbose.code == 503);
  CHECK(verbose.body.find("[-] store slow: ") != std::string::npos);
  CHECK(verbose.body.find("[+] store well\n") != std::string::npos);
  CHECK(ask(process, "/livez").code == 200);
  const std::string metrics = ask(process, "/metrics").body;
  CHECK(sample_of(metrics, "pageserver_disk_calls_stuck") >= 1);
  CHECK(sample_of(metrics, "pageserver_store_size_bytes{store=\"slow\"}") == page_size);
  served.disk.let_go();
  CHECK(writer.receive()->status() == proto::Status::ok);
  wait_until([&] { return ask(process, "/readyz").code == 200; });
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
}

TEST_CASE("readiness: a daemon that recovers a store is not ready, lives, and says how far it is") {
  Served served;
  {
    Process process = served.start();
    process.wait_for_err(" INFO start ");
    RawClient writer = served.session("slow");
    writer.grow(1);
    writer.write(0, pattern(8, 1));
    writer.flush();
    process.signal(SIGKILL);
    process.wait();
  }
  served.disk.hold(DiskOrder::syncs);
  Process process = served.start();
  static_cast<void>(metrics_port(process));
  wait_until([&] { return served.disk.held() != 0; });
  wait_until(
      [&] { return ask(process, "/readyz?verbose").body.find("store slow: recovering: ") != std::string::npos; });
  const HttpAnswer ready = ask(process, "/readyz?verbose");
  CHECK(ready.code == 503);
  CHECK(ready.body.find("the daemon is starting") != std::string::npos);
  CHECK(ready.body.find("store slow: recovering: ") != std::string::npos);
  CHECK(ask(process, "/livez").code == 200);
  CHECK(sample_of(ask(process, "/metrics").body, "pageserver_ready") == 0);
  served.disk.let_go();
  process.wait_for_err(" INFO start ");
  wait_until([&] { return ask(process, "/readyz").code == 200; });
  const std::string metrics = ask(process, "/metrics").body;
  CHECK(sample_of(metrics, "pageserver_recoveries_total") == 1);
  CHECK(sample_of(metrics, "pageserver_recovery_records_total") == 2);
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
}
