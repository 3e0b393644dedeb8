// What the daemon's integration tests share.
#pragma once

#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/support/bytes.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/raw_client.hpp"

namespace pageserver::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;  // memory is not what the program alone takes
#else
inline constexpr bool sanitized = false;
#endif

/// Resident memory of a process in KiB.
inline std::size_t resident_kib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; status >> word;) {
    std::size_t kib = 0;
    if (word == "VmRSS:" && status >> kib) return kib;
  }
  throw std::runtime_error("no VmRSS for process " + std::to_string(pid));
}

/// A thousand sockets are more than the usual soft limit.
inline void raise_open_files_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// For each thread how often it went to sleep or was made to wait; empty when one is not asleep.
inline std::string sleeping_threads(pid_t pid) {
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
/// Connected, greeted, with a session.
inline RawClient session_on(const Daemon& daemon, std::string_view store, proto::Access access = proto::Access::write) {
  RawClient client = RawClient::tcp(daemon.port());
  client.hello();
  client.open(store, access);
  return client;
}

inline std::size_t count_of(const std::string& text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

}  // namespace pageserver::test
