// A daemon whose disk the test can slow down and hold. Needs DISK_SHIM_PATH.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/daemon/helpers.hpp"
#include "tests/support/disk_shim.hpp"

namespace pageserver::test {

/// A daemon with the store `demo` and a directory, on a disk that is slow for files with `part` in their path.
class SlowDaemon {
public:
  /// `limits`: of the configuration, such as `"disk_threads": 4`.
  explicit SlowDaemon(const std::string& part, const std::string& grace = "2s", const std::string& limits = "")
      : stores(shim_dir_.path() / "stores"), disk(shim_dir_.file("order"), part) {
    std::filesystem::create_directory(stores);
    std::ofstream(shim_dir_.file("c.json"))
        << R"({"directory": {"path": ")" << stores.string() << R"(", "create": true, "remove": true}, "grace": ")"
        << grace << R"(", "limits": {)" << limits << "}}";
    process.emplace(std::vector<std::string>{
        "/usr/bin/env", disk.environment(), std::string("LD_PRELOAD=") + DISK_SHIM_PATH, pageserverd_path(), "--unix",
        socket_path(), "--store", "demo=" + shim_dir_.file("demo.img"), "--config", shim_dir_.file("c.json")});
    process->wait_for_err(" INFO start ");
  }

  std::string socket_path() const { return shim_dir_.file("d.sock"); }
  RawClient greeted() const {
    RawClient client = RawClient::local(socket_path());
    client.hello();
    return client;
  }
  RawClient session(std::string_view store, proto::Access access = proto::Access::write) const {
    RawClient client = greeted();
    client.open(store, access);
    return client;
  }
  void wait_until_held() const {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (disk.held() == 0) REQUIRE(std::chrono::steady_clock::now() < deadline);
  }

private:
  TempDir shim_dir_;

public:
  const std::filesystem::path stores;
  SlowDisk disk;
  std::optional<Process> process;
};

}  // namespace pageserver::test
