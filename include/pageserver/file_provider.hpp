// An image in one flat file of this machine, byte for byte as WasiMemoryProvider of wasm-dbms keeps it.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <memory>

#include <pageserver/memory_provider.hpp>
#include <pageserver/session.hpp>

namespace pageserver {

namespace storage {
struct FileProviderAccess;
}

/// Opens or creates one file and keeps it locked while it is open: exclusively for Access::write, shared for
/// Access::read. The kernel releases the lock when the process dies. A file held by someone else is busy, and the text
/// says by whom as well as can be known.
///
/// The file holds the image and nothing else. A new file is empty (0 pages); a size that is no multiple of page_size is
/// provider_error naming file, size and remainder. grow() is sparse: it writes no zeros. flush() syncs the file, and
/// after creation its directory entry. A file that someone else truncates meanwhile makes reads fail with
/// provider_error, never the process. No write is atomic: a process that is killed in one leaves a part of it. close()
/// throws what the system says of writes that it had only seemed to take, as a file system on a network may; flush()
/// before it is the way to know.
///
/// In a child after fork(2) every call throws connection_lost: the lock is the parent's, and so is the size that it
/// knows. The child's destructor closes the child's descriptor and leaves the parent's lock. Once the parent has closed
/// the file others can open it, whatever the child has; when the parent was killed, once the child has ended as well.
///
/// Threads: one at a time.
class PAGESERVER_EXPORT FileProvider final : public MemoryProvider {
public:
  /// Access::write opens or creates; Access::read never creates and refuses write() and grow() with read_only.
  /// Access::fork is unsupported.
  explicit FileProvider(const std::filesystem::path& path, Access access = Access::write);
  FileProvider(FileProvider&&) noexcept;
  FileProvider& operator=(FileProvider&&) noexcept;
  ~FileProvider() override;

  std::uint64_t size() override;
  std::uint64_t pages() override;
  std::uint64_t grow(std::uint64_t new_pages) override;
  void read(std::uint64_t offset, std::span<std::byte> buffer) override;
  void write(std::uint64_t offset, std::span<const std::byte> data) override;
  std::uint64_t atomic_write_bytes() override;
  void flush() override;
  void close() override;

  const std::filesystem::path& path() const noexcept;

  /// Prints path and pages, such as `FileProvider("db.img", 19 pages)`.
  friend PAGESERVER_EXPORT std::ostream& operator<<(std::ostream& out, const FileProvider& provider);

private:
  friend struct storage::FileProviderAccess;
  struct State;

  explicit FileProvider(std::unique_ptr<State> state) noexcept;
  State& state() const;

  std::unique_ptr<State> state_;
};

}  // namespace pageserver
