// XXH3-64 for processors with AVX2: half the time of what every processor has. C types alone, since the source that
// defines these is compiled for such processors: an inline function of a C++ header that is compiled there could be the
// one that the linker keeps for all.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pageserver::storage {

/// One way to compute it. `state` is an XXH3_state_t, which is the same for all ways.
struct Xxh3 {
  std::uint64_t (*hash)(const void* bytes, std::size_t length);
  void (*update)(void* state, const void* bytes, std::size_t length);
  std::uint64_t (*digest)(const void* state);
};

/// To be used only where the processor has AVX2. Null where it was compiled for another kind of processor.
extern const Xxh3* const xxh3_wide;

}  // namespace pageserver::storage
