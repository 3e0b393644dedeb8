// The memory that a page-based engine runs on: a growable array of bytes, sized in pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <pageserver/error.hpp>
#include <pageserver/export.hpp>

namespace pageserver {

/// Bytes in a page. The WebAssembly page size, which wasm-dbms and the Internet Computer's stable memory share.
inline constexpr std::uint64_t page_size = 65536;

/// A memory image: `pages() * page_size` bytes, addressed by byte offset.
///
/// Errors: every call may throw MemoryError (error.hpp). A call that throws has changed nothing that a later read
/// could see, with two exceptions. connection_lost, timed_out and protocol_error: the call may or may not have been
/// applied, and every later call on the same object throws the same error again. And a write() longer than
/// atomic_write_bytes() may have been made in part, unless it is out_of_bounds or read_only.
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

  /// The most bytes of a write() that is applied whole or not at all: for everybody who reads the image meanwhile, when
  /// it throws, and when a process is killed in it. Of a longer one a part may be there. Where this is page_size the
  /// promise is for a write that lies within one page. 1: there is no promise. Never changes, and costs nothing.
  virtual std::uint64_t atomic_write_bytes() = 0;

  /// Returns once everything that was written and grown before is durable: it survives a kill of every process
  /// involved and loss of power. A provider without a durable medium (the heap) returns at once.
  virtual void flush() = 0;

  /// Ends the use of the image, and says what the destructor has to keep to itself. When it returns the file, or the
  /// lease, is free for others. It flushes nothing: what was not flushed before is as durable as after the destructor,
  /// and what a session has not published (Publish::on_flush, a fork) is dropped.
  ///
  /// Whatever it throws, the object is closed: every later call but close(), which then does nothing, throws
  /// invalid_argument. In a child after fork(2) it throws connection_lost as every call does, and closes nothing.
  ///
  /// Threads: one, with no other inside.
  virtual void close() = 0;

protected:
  MemoryProvider(MemoryProvider&&) = default;
  MemoryProvider& operator=(MemoryProvider&&) = default;
};

}  // namespace pageserver
