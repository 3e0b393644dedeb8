// An image in this process's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <pageserver/memory_provider.hpp>

namespace pageserver {

/// An image that lives and dies with the object. flush() succeeds and does nothing. Growing past what the process
/// can allocate is no_space and changes nothing. Pages take memory once they are written to. Writes of any length are
/// atomic. close() gives the memory back.
class PAGESERVER_EXPORT HeapProvider final : public MemoryProvider {
public:
  HeapProvider();
  HeapProvider(HeapProvider&&) noexcept;
  HeapProvider& operator=(HeapProvider&&) noexcept;
  ~HeapProvider() override;

  std::uint64_t size() override;
  std::uint64_t pages() override;
  std::uint64_t grow(std::uint64_t new_pages) override;
  void read(std::uint64_t offset, std::span<std::byte> buffer) override;
  void write(std::uint64_t offset, std::span<const std::byte> data) override;
  std::uint64_t atomic_write_bytes() override;
  void flush() override;
  void close() override;

private:
  void release() noexcept;
  void check_open() const;

  std::byte* image_ = nullptr;
  std::uint64_t size_ = 0;
  bool closed_ = false;
};

}  // namespace pageserver
