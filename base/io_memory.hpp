// Memory that the kernel fills: by recv(2), pread(2) and their kin.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace pageserver::base {

/// A cache line. Processors with fast short `rep movs` (AMD's since Zen 3) copy to an address that is no multiple of 32
/// at a third of the speed: 64 KiB took recv(2) 25 us there, and 7 us where it was one; pread(2) 42 and 10 us.
/// malloc(3) promises 16 bytes, and gives no more for large pieces.
inline constexpr std::align_val_t io_alignment{64};

/// How many bytes to leave before `used` ones, so that what comes behind them is aligned.
constexpr std::size_t io_padding(std::size_t used) noexcept {
  constexpr auto alignment = static_cast<std::size_t>(io_alignment);
  return (alignment - used % alignment) % alignment;
}

struct FreeIoMemory {
  void operator()(std::byte* memory) const noexcept { ::operator delete[](memory, io_alignment); }
};
using IoMemory = std::unique_ptr<std::byte[], FreeIoMemory>;

/// `bytes` of unspecified content. Throws std::bad_alloc.
inline IoMemory make_io_memory(std::size_t bytes) { return IoMemory{new (io_alignment) std::byte[bytes]}; }

/// For a std::vector.
template <class T>
struct IoAllocator {
  using value_type = T;
  IoAllocator() = default;
  template <class Other>
  explicit(false) IoAllocator(const IoAllocator<Other>& /*other*/) noexcept {}
  T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), io_alignment)); }
  void deallocate(T* memory, std::size_t /*count*/) noexcept { ::operator delete(memory, io_alignment); }
  bool operator==(const IoAllocator& /*other*/) const noexcept { return true; }
};
using IoBytes = std::vector<std::byte, IoAllocator<std::byte>>;

}  // namespace pageserver::base
