// Compiled with -mavx2 where the compiler has it (engine_sources.cmake), and never together with other sources.
#include "storage/log/xxh3_wide.hpp"

#ifdef __AVX2__
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pageserver::storage {
namespace {

constexpr Xxh3 wide{
    [](const void* bytes, std::size_t length) -> std::uint64_t { return XXH3_64bits(bytes, length); },
    [](void* state, const void* bytes, std::size_t length) {
      static_cast<void>(XXH3_64bits_update(static_cast<XXH3_state_t*>(state), bytes, length));
    },
    [](const void* state) -> std::uint64_t { return XXH3_64bits_digest(static_cast<const XXH3_state_t*>(state)); }};

}  // namespace

const Xxh3* const xxh3_wide = &wide;

}  // namespace pageserver::storage
#else
namespace pageserver::storage {

const Xxh3* const xxh3_wide = nullptr;

}  // namespace pageserver::storage
#endif
