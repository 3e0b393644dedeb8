#include "tests/pagectl/mounted.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "tests/support/catch.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/wait.hpp"

namespace pageserver::test {

bool can_mount() {
  const UniqueFd device{::open("/dev/fuse", O_RDWR | O_CLOEXEC)};
  if (!device.is_open()) {
    skip("/dev/fuse can't be opened here, so nothing can be mounted");
    return false;
  }
  if (::access("/usr/bin/fusermount3", X_OK) != 0) {
    skip("there is no fusermount3 here (package fuse3), so nothing is unmounted by itself");
    return false;
  }
  const TempDir dir;
  Process tried({pagectl_program(), "mount", "--foreground", "--json", "heap:", dir.file("tried")});
  try {
    tried.next_line();
  } catch (const std::exception&) {
    skip("mounting is refused here: " + tried.err_so_far());
    return false;
  }
  tried.signal(SIGTERM);
  REQUIRE(tried.wait() == 0);
  return true;
}

bool is_mounted(const std::string& file) {
  return (" " + read_file("/proc/self/mounts")).find(" " + file + " fuse.pageserver") != std::string::npos;
}

Mount::Mount(const std::string& uri, std::string at, const std::vector<std::string>& options) : file(std::move(at)) {
  std::vector<std::string> words{pagectl_program(), "mount", "--foreground", "--json"};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {uri, file});
  process = std::make_unique<Process>(words);
  INFO(uri);
  process->next_line();
  wait_until([&] { return process->out_so_far().find("\n}\n") != std::string::npos; });
  INFO(process->out_so_far() << process->err_so_far());
  REQUIRE(nlohmann::json::parse(process->out_so_far()).contains("pid"));
}

Mount::~Mount() {
  if (process->running()) ::umount2(file.c_str(), MNT_DETACH);
}

int Mount::unmount() const {
  const auto result = run({"fusermount3", "-u", file});
  CHECK(result.err == "");
  return process->wait();
}

UniqueFd opened(const std::string& file, int flags) {
  UniqueFd descriptor{::open(file.c_str(), flags | O_CLOEXEC)};
  INFO(file << ": errno " << errno);
  REQUIRE(descriptor.is_open());
  return descriptor;
}

UniqueFd opened(const std::string& file) { return opened(file, O_RDWR); }

int errno_after(long result) { return result < 0 ? errno : 0; }

int write_at(const UniqueFd& file, std::uint64_t offset, const std::string& bytes) {
  return errno_after(::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)));
}

std::string read_at(const UniqueFd& file, std::uint64_t offset, std::size_t length) {
  std::string bytes(length, '\0');
  const auto got = ::pread(file.get(), bytes.data(), length, static_cast<off_t>(offset));
  INFO("errno " << errno);
  REQUIRE(got >= 0);
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

std::uint64_t size_of(const std::string& file) {
  struct stat status {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_size);
}

std::string stored(const Served& served, std::uint64_t offset, std::uint64_t length, const std::string& store) {
  return pagectl({"read", served.daemon->unix_uri(store), std::to_string(offset), std::to_string(length)}).out;
}

}  // namespace pageserver::test
