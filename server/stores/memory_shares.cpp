#include "server/stores/memory_shares.hpp"

#include <malloc.h>

#include <algorithm>
#include <exception>
#include <sstream>
#include <string>

#include "storage/file/file_io.hpp"
#include "storage/file/memory_limit.hpp"

namespace pageserver::server {

namespace {

std::uint64_t memory_bytes_of(const Limits& limits) {
  if (limits.memory_bytes != 0) return limits.memory_bytes;
  const std::uint64_t of_group = storage::cgroup_memory_bytes(storage::posix_file_system(), "");
  const std::uint64_t of_machine = storage::machine_memory_bytes();
  constexpr std::uint64_t unknown = 1ull << 30;
  const std::uint64_t by_machine = of_machine == 0 ? unknown : of_machine / 2;
  const std::uint64_t bytes = of_group == 0 ? by_machine : std::min(of_group / 4 * 3, by_machine);
  return std::max(bytes, memory_bytes_min(limits));
}

}  // namespace

MemoryShares::MemoryShares(const Limits& limits)
    : bytes(memory_bytes_of(limits)),
      name("limits.memory_bytes=" + std::to_string(bytes)),
      buffers(bytes / 4, name),
      private_bytes(bytes / 4, name),
      index(bytes / 4, name),
      tls(bytes / 16, name),
      home(bytes / 16, name),
      handshake_bytes(bytes / 16) {}

void trim_memory(std::uint64_t bytes) noexcept {
#ifdef __GLIBC__
  try {
    std::istringstream status{storage::text_of_file(storage::posix_file_system(), "/proc/self/status")};
    for (std::string word; status >> word;) {
      std::uint64_t kib = 0;
      if (word != "RssAnon:" || !(status >> kib)) continue;
      if (kib * 1024 > bytes / 4 * 3) ::malloc_trim(0);
      return;
    }
  } catch (const std::exception&) {
    // Without memory to look nothing is lost: it is done again.
  }
#endif
}

}  // namespace pageserver::server
