// The memory that a page-based engine runs on: a growable array of bytes, sized in pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <pageserver/export.hpp>

namespace pageserver {

/// Bytes in a page. The WebAssembly page size, which wasm-dbms and the Internet Computer's stable memory share.
inline constexpr std::uint64_t page_size = 65536;

/// A memory image: `pages() * page_size` bytes, addressed by byte offset.
///
/// Errors: every call may throw MemoryError (error.hpp). A call that throws has changed nothing that a later read
/// could see, unless its code is connection_lost, timed_out or protocol_error: then the call may or may not have
/// been applied, and every later call on the same object throws the same error again.
///
/// Threads: one object is used by one thread at a time unless the concrete provider promises more.
///
/// Buffers: `buffer` and `data` are used only until the call returns; no provider keeps a pointer to them.
class PAGESERVER_EXPORT MemoryProvider {
public:
  MemoryProvider() = default;
  MemoryProvider(const MemoryProvider&) = delete;
  MemoryProvider& operator=(const MemoryProvider&) = delete;
  virtual ~MemoryProvider();

  /// Size of the image in bytes: always `pages() * page_size`.
  virtual std::uint64_t size() = 0;

  /// Size of the image in pages. An image that was just created has 0 pages.
  virtual std::uint64_t pages() = 0;

  /// Appends `new_pages` pages of zeros and returns the previous number of pages. `grow(0)` changes nothing and
  /// returns `pages()`. Growing past what 64 bits, the file system or a configured limit can hold throws and
  /// changes nothing.
  virtual std::uint64_t grow(std::uint64_t new_pages) = 0;

  /// Fills `buffer` with the bytes at `offset`. Throws out_of_bounds, naming offset, length and size, unless
  /// `offset <= size()` and `buffer.size() <= size() - offset`; an empty read at `offset == size()` succeeds. On an
  /// error the content of `buffer` is unspecified.
  virtual void read(std::uint64_t offset, std::span<std::byte> buffer) = 0;

  /// Replaces the bytes at `offset` with `data`. Never grows the image; bounds as for read().
  virtual void write(std::uint64_t offset, std::span<const std::byte> data) = 0;

  /// Returns once everything that was written and grown before is durable: it survives a kill of every process
  /// involved and loss of power. A provider without a durable medium (the heap) returns at once.
  virtual void flush() = 0;

protected:
  MemoryProvider(MemoryProvider&&) = default;
  MemoryProvider& operator=(MemoryProvider&&) = default;
};

}  // namespace pageserver
