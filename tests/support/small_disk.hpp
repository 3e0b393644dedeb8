// A disk of few bytes, for tests of what people meet on one: a tmpfs in a mount namespace of the test's own.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/temp_dir.hpp"

namespace pageserver::test {

/// Programs that this thread starts afterwards see it too; nobody else does. Make it before any other thread.
class SmallDisk {
public:
  explicit SmallDisk(std::uint64_t bytes) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return;
    const std::string size = "size=" + std::to_string(bytes);
    works_ = ::mount("none", dir_.path().c_str(), "tmpfs", 0, size.c_str()) == 0;
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    if (works_) ::umount2(dir_.path().c_str(), MNT_DETACH);
  }

  /// False, and said, where this needs rights that the test has not.
  bool works() const {
    if (!works_) std::cout << "SKIPPED: needs root and mount namespaces\n";
    return works_;
  }
  std::string file(const std::string& name) const { return dir_.file(name); }

  std::uint64_t free_bytes() const {
    struct statvfs status {};
    if (::statvfs(dir_.path().c_str(), &status) != 0) throw std::runtime_error{"statvfs failed"};
    return status.f_bavail * status.f_frsize;
  }
  /// A file of `bytes` bytes that takes all its blocks.
  void fill(const std::string& name, std::uint64_t bytes) const {
    std::ofstream out{file(name), std::ios::binary};
    const std::vector<char> part(1 << 20, 'x');
    for (std::uint64_t done = 0; done < bytes; done += part.size())
      out.write(part.data(), static_cast<std::streamsize>(std::min<std::uint64_t>(part.size(), bytes - done)));
    out.close();
    if (!out) throw std::runtime_error{"there is no room for " + std::to_string(bytes) + " bytes"};
  }
  /// Leaves `bytes` free.
  void fill_but(const std::string& name, std::uint64_t bytes) const { fill(name, free_bytes() - bytes); }
  void remove(const std::string& name) const { std::filesystem::remove(file(name)); }

private:
  TempDir dir_;
  bool works_ = false;
};

}  // namespace pageserver::test
