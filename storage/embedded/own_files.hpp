// The files that a store in the program's own process has open.
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <compare>
#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include "storage/file/file_io.hpp"
#include "storage/file/forwarding_file_system.hpp"

namespace pageserver::storage {

/// Tells one file from another, whatever its path.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  auto operator<=>(const FileIdentity&) const = default;
};

inline FileIdentity identity_of(const FileStatus& status) { return {status.device, status.inode}; }

/// Forwards the calls of one store, and notes the descriptors that it has open, so that a child after fork(2) can close
/// them and touch nothing else. The image is the file that the store locks. Threads: any; close_all() in a child alone.
///
/// The descriptors are in blocks of slots that only grow, without a lock: a child could find it locked for ever by a
/// thread of the parent.
class OwnFiles final : public ForwardingFileSystem {
public:
  explicit OwnFiles(FileSystem& below) : ForwardingFileSystem{below} {}
  ~OwnFiles() override {
    for (Slots* more = first_.more.load(); more != nullptr;) delete std::exchange(more, more->more.load());
  }

  IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    return noted(below().open(path, flags, mode));
  }
  IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    return noted(below().open_beneath(directory, name, flags, mode));
  }
  IoResult lock(int file, LockKind lock) override {
    FileStatus status;
    const IoResult looked = retried([&] { return below().status(file, status); });
    if (!looked.ok()) return looked;
    image_ = identity_of(status);
    return below().lock(file, lock);
  }
  int close(int file) noexcept override {
    // Forgotten first: the next file to be opened may get this number, and a child must not close that.
    forget(file);
    return below().close(file);
  }

  const FileIdentity& image() const noexcept { return image_; }

  /// In a child after fork(2): closes the child's copies of all descriptors.
  void close_all() noexcept {
    for (Slots* slots = &first_; slots != nullptr; slots = slots->more)
      for (auto& slot : slots->files)
        if (const int file = slot.exchange(none) - 1; file >= 0) below().close(file);
  }

private:
  static constexpr int none = 0;  // a slot has the descriptor plus one
  struct Slots {
    std::array<std::atomic<int>, 32> files{};
    std::atomic<Slots*> more{nullptr};
  };

  IoResult noted(IoResult opened) noexcept {
    if (!opened.ok() || note(static_cast<int>(opened.value))) return opened;
    below().close(static_cast<int>(opened.value));
    return {-1, ENOMEM};
  }
  bool note(int file) noexcept {
    for (Slots* slots = &first_;;) {
      for (auto& slot : slots->files) {
        int expected = none;
        if (slot.compare_exchange_strong(expected, file + 1)) return true;
      }
      Slots* more = slots->more;
      if (more == nullptr) {
        auto* const fresh = new (std::nothrow) Slots;
        if (fresh == nullptr) return false;
        if (slots->more.compare_exchange_strong(more, fresh))
          more = fresh;
        else
          delete fresh;
      }
      slots = more;
    }
  }
  void forget(int file) noexcept {
    for (Slots* slots = &first_; slots != nullptr; slots = slots->more)
      for (auto& slot : slots->files) {
        int expected = file + 1;
        if (slot.compare_exchange_strong(expected, none)) return;
      }
  }

  Slots first_;
  FileIdentity image_;
};

}  // namespace pageserver::storage
