// An image as a file: sizes in whole pages, growth by writing, what is flushed when. Knows nothing of FUSE.
#pragma once

#include <ctime>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <pageserver/session.hpp>

#include "base/mutex.hpp"

namespace pageserver::pagectl {

/// Threads: any, several at once. Every call but the plain looks throws MemoryError or FileRefusal; errno_of() says
/// what a program is told of either.
class MountedImage {
public:
  enum class Kind : std::uint8_t {
    writer,  ///< nobody else changes it
    fork,    ///< nobody else sees it
    live,    ///< others change it: size and bytes have to be asked for
    fixed,   ///< nobody changes it
  };
  using Report = std::function<void(const std::string& text)>;

  /// `report` is told once why the image can't be used any more, and of each error of the medium; from any thread.
  MountedImage(std::unique_ptr<MemoryProvider> provider, Kind kind, Report report);

  Kind kind() const { return kind_; }
  bool is_writable() const { return kind_ == Kind::writer || kind_ == Kind::fork; }

  struct Facts {
    std::uint64_t size_bytes = 0;
    timespec changed{};  ///< by this mount, or seen by it
  };
  /// Of a live image the newest published version's, by one round trip.
  Facts facts();
  /// What utimensat() says.
  void set_changed(timespec changed);

  /// Fills `buffer` as far as the image goes, and returns how many bytes that are.
  std::size_t read(std::uint64_t offset, std::span<std::byte> buffer);
  /// All of it. Past the end the image grows by the whole pages that the bytes need. `append`: at the end of what the
  /// program takes for the file, which must be whole pages before and after it (EINVAL).
  void write(std::uint64_t offset, std::span<const std::byte> data, bool append);
  /// ftruncate: up in whole pages; part of a page is EINVAL, less than the image has is EPERM. Whether it grew.
  bool resize(std::uint64_t size_bytes);
  /// fallocate, with its `mode` (EOPNOTSUPP: this one not).
  void allocate(int mode, std::uint64_t offset, std::uint64_t length);
  /// lseek SEEK_DATA and SEEK_HOLE (ENXIO: from there on there is none).
  std::uint64_t find_data(std::uint64_t offset);
  std::uint64_t find_hole(std::uint64_t offset);

  /// fsync: what was written and grown before is published and durable.
  void flush();
  /// The same where anything was written or grown since the last flush() that went well began; else nothing.
  void flush_changes();
  /// Ends the session. Flushes nothing.
  void close();

  /// Why every call fails from now on. Takes in what the daemon has said meanwhile, without waiting.
  std::optional<std::string> lost();
  /// Makes it so: what is not flushed would not be whole.
  void lose(const std::string& why) { end(why); }
  /// Whether that is known already.
  bool is_lost() const { return is_lost_; }
  /// Throws EIO when it is lost.
  void check_alive();
  /// Readable when lost() may have news; -1: there are none.
  int socket() const;

private:
  template <class Work>
  auto guarded(Work work);
  void end(const std::string& why);
  bool grow_to(std::uint64_t size_bytes);
  void zero(std::uint64_t offset, std::uint64_t length);
  std::vector<ByteRange> data_from(std::uint64_t offset, std::uint64_t size);
  void touch();
  std::uint64_t size_now();

  std::unique_ptr<MemoryProvider> provider_;
  Session* session_;  // the same, where it is one
  const Kind kind_;
  const Report report_;

  Mutex calls_;                            // of a provider that is for one thread at a time
  Mutex growth_;                           // one growth after the other
  std::atomic<std::uint64_t> size_bytes_;  // never less than what was seen: images do not shrink
  std::atomic<std::uint64_t> changes_{0};
  std::atomic<std::uint64_t> changes_flushed_{0};
  std::atomic<bool> is_lost_{false};

  Mutex state_;
  std::string why_lost_ PAGESERVER_GUARDED_BY(state_);
  timespec changed_ PAGESERVER_GUARDED_BY(state_){};
  Version seen_ PAGESERVER_GUARDED_BY(state_);
};

}  // namespace pageserver::pagectl
