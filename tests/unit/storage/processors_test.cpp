#include <sched.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/catch.hpp"

#include "storage/file/memory_limit.hpp"
#include "storage/file/processors.hpp"
#include "tests/support/temp_dir.hpp"

using namespace pageserver;
using namespace pageserver::storage;

namespace {

/// A root with files of control groups.
class Root {
public:
  void file(const std::string& path, const std::string& text) const {
    const std::filesystem::path full = folder_.path().string() + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream{full} << text;
  }
  std::uint64_t memory() const { return cgroup_memory_bytes(posix_file_system(), folder_.path().string()); }
  unsigned processors() const { return cgroup_processors(posix_file_system(), folder_.path().string()); }

private:
  test::TempDir folder_;
};

}  // namespace

TEST_CASE("without control groups there is no quota") {
  const Root root;
  CHECK(root.processors() == 0);
  root.file("/proc/self/cgroup", "0::/\n");
  CHECK(root.processors() == 0);
}

TEST_CASE("the quota of cgroup v2 counts in whole processors, at least one") {
  const Root root;
  root.file("/proc/self/cgroup", "0::/daemon.slice\n");
  root.file("/sys/fs/cgroup/daemon.slice/cpu.max", "max 100000\n");
  CHECK(root.processors() == 0);
  root.file("/sys/fs/cgroup/daemon.slice/cpu.max", "350000 100000\n");
  CHECK(root.processors() == 3);
  root.file("/sys/fs/cgroup/daemon.slice/cpu.max", "50000 100000\n");
  CHECK(root.processors() == 1);
}

TEST_CASE("the least quota of all groups above counts") {
  const Root root;
  root.file("/proc/self/cgroup", "0::/a/b\n");
  root.file("/sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
  root.file("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
  CHECK(root.processors() == 2);
}

TEST_CASE("the quota of cgroup v1 counts, also where the path is the host's and not ours") {
  const Root root;
  root.file("/proc/self/cgroup", "5:devices:/x\n4:cpu,cpuacct:/docker/0123\n");
  root.file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  root.file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  CHECK(root.processors() == 0);
  root.file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n");
  CHECK(root.processors() == 2);
}

TEST_CASE("an affinity of one processor leaves one usable") {
  unsigned usable = 0;
  // A thread of its own: the mask is the thread's.
  std::thread{[&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(::sched_getcpu()), &one);
    if (::sched_setaffinity(0, sizeof one, &one) == 0) usable = usable_processors();
  }}.join();
  CHECK(usable == 1);
  CHECK(usable_processors() >= 1);
}

TEST_CASE("the least memory limit of all groups counts, of cgroup v2") {
  const Root root;
  CHECK(root.memory() == 0);
  root.file("/proc/self/cgroup", "0::/a/b\n");
  CHECK(root.memory() == 0);
  root.file("/sys/fs/cgroup/a/b/memory.max", "max\n");
  root.file("/sys/fs/cgroup/a/memory.max", "1073741824\n");
  CHECK(root.memory() == 1073741824);
  root.file("/sys/fs/cgroup/a/b/memory.high", "536870912\n");
  CHECK(root.memory() == 536870912);
}

TEST_CASE("the memory limit of cgroup v1 counts, and its largest number is none") {
  const Root root;
  root.file("/proc/self/cgroup", "9:cpu,cpuacct:/c\n4:memory:/docker/f00\n");
  root.file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK(root.memory() == 0);
  root.file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
  CHECK(root.memory() == 268435456);
}
