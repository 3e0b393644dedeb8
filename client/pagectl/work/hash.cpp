#include "client/pagectl/work/hash.hpp"

#include <algorithm>
#include <array>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "client/pagectl/work/block_reader.hpp"

namespace pageserver::pagectl {
namespace {

class Hasher {
public:
  Hasher() { XXH3_64bits_reset(&state_); }
  void add(std::span<const std::byte> bytes) { XXH3_64bits_update(&state_, bytes.data(), bytes.size()); }
  void add_zeros(std::uint64_t count) {
    static constexpr std::array<std::byte, page_size> zeros{};
    while (count > 0) {
      const auto part = std::min<std::uint64_t>(count, zeros.size());
      add(std::span(zeros).first(static_cast<std::size_t>(part)));
      count -= part;
    }
  }
  std::uint64_t digest() const { return XXH3_64bits_digest(&state_); }

private:
  XXH3_state_t state_;
};

}  // namespace

std::uint64_t hash_bytes(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::uint64_t hash_image(Image& image, Progress& progress) {
  const std::uint64_t size_bytes = image.size_bytes();
  DataScan scan({&image}, 0, size_bytes);
  BlockReader reader({&image}, [&] { return scan.next(); });
  Hasher hasher;
  std::uint64_t at = 0;
  // In steps, so that a long hole moves the progress line too.
  const auto zeros_until = [&](std::uint64_t end) {
    while (at < end) {
      const auto part = std::min<std::uint64_t>(end - at, 64ull << 20);
      hasher.add_zeros(part);
      at += part;
      progress.update(at);
    }
  };
  while (const auto block = reader.next()) {
    zeros_until(block->offset);
    hasher.add(block->bytes[0]);
    at = block->offset + block->length;
    progress.update(at);
  }
  zeros_until(size_bytes);
  return hasher.digest();
}

}  // namespace pageserver::pagectl
