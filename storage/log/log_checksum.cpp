#include "storage/log/log_checksum.hpp"

#include <new>

#include "storage/log/xxh3_wide.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pageserver::storage {
namespace {

constexpr Xxh3 plain{
    [](const void* bytes, std::size_t length) -> std::uint64_t { return XXH3_64bits(bytes, length); },
    [](void* state, const void* bytes, std::size_t length) {
      static_cast<void>(XXH3_64bits_update(static_cast<XXH3_state_t*>(state), bytes, length));
    },
    [](const void* state) -> std::uint64_t { return XXH3_64bits_digest(static_cast<const XXH3_state_t*>(state)); }};

const Xxh3& choose() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  if (xxh3_wide != nullptr && __builtin_cpu_supports("avx2")) return *xxh3_wide;
#endif
  return plain;
}

const Xxh3& best() noexcept {
  static const Xxh3& chosen = choose();
  return chosen;
}

// XXH3 takes vectors for inputs above 240 bytes only.
constexpr std::size_t without_vectors_max = 240;

}  // namespace

std::uint64_t log_checksum(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() <= without_vectors_max) return XXH3_64bits(bytes.data(), bytes.size());
  return best().hash(bytes.data(), bytes.size());
}

LogChecksum::LogChecksum() : state_{XXH3_createState()} {
  if (state_ == nullptr) throw std::bad_alloc{};
  XXH3_64bits_reset(static_cast<XXH3_state_t*>(state_));
}
LogChecksum::~LogChecksum() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }
void LogChecksum::add(std::span<const std::byte> bytes) noexcept {
  if (!bytes.empty()) best().update(state_, bytes.data(), bytes.size());
}
std::uint64_t LogChecksum::value() const noexcept { return best().digest(state_); }

}  // namespace pageserver::storage
