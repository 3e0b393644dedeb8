// What sessions leave behind: nothing.
#include <pageserver/open.hpp>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include "tests/support/catch.hpp"

#include "tests/support/daemon.hpp"

namespace pageserver::test {
namespace {

/// A field of /proc/PID/status in KiB.
std::uint64_t status_kib(pid_t pid, const std::string& field) {
  std::ifstream status{"/proc/" + std::to_string(pid) + "/status"};
  for (std::string line; std::getline(status, line);)
    if (line.rfind(field + ":", 0) == 0) return std::stoull(line.substr(field.size() + 1));
  FAIL("no " << field << " for process " << pid);
  return 0;
}

std::size_t open_files(pid_t pid) {
  const std::filesystem::directory_iterator files{"/proc/" + std::to_string(pid) + "/fd"};
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

/// One session of each kind in turn; what it wrote is dropped with it.
void one_session(Daemon& daemon, std::uint64_t turn) {
  static constexpr std::array<const char*, 5> kinds{"access=read", "access=read&view=pinned", "access=write",
                                                    "access=write&publish=on_flush", "access=fork"};
  const char* kind = kinds[turn % kinds.size()];
  const auto session = open(daemon.unix_uri("s", kind));
  std::array<std::byte, 64> bytes{};
  session->read(turn % 4096, bytes);
  if (turn % kinds.size() >= 2) session->write(turn % 4096, bytes);
}

}  // namespace

TEST_CASE("forty thousand sessions leave neither memory nor descriptors behind") {
  // AddressSanitizer keeps what was freed, by default 256 MiB: more than the warm-up frees.
  const char* const options = std::getenv("ASAN_OPTIONS");
  ::setenv("ASAN_OPTIONS", (std::string(options == nullptr ? "" : options) + ":quarantine_size_mb=4").c_str(), 1);
  Daemon daemon{{"--store", "s={dir}/s.img", "--log-level", "warn"}};
  open(daemon.unix_uri("s"))->grow(16);
  constexpr std::uint64_t warm_up = 5'000;
  constexpr std::uint64_t sessions = 40'000;
  for (std::uint64_t turn = 0; turn < warm_up; ++turn) one_session(daemon, turn);
  const std::uint64_t before_kib = status_kib(daemon.pid(), "VmRSS");
  const std::size_t files_before = open_files(daemon.pid());
  for (std::uint64_t turn = warm_up; turn < sessions; ++turn) one_session(daemon, turn);
  // 2 MiB: sixty bytes for each session would show.
  CHECK(status_kib(daemon.pid(), "VmRSS") <= before_kib + 2048);
  CHECK(open_files(daemon.pid()) <= files_before + 1);  // the last connection may not be gone yet
  CHECK(daemon.stop() == 0);
}

}  // namespace pageserver::test
