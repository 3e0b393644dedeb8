// The operating system's files with faults on demand: short transfers, interruptions, failing calls, calls that are
// held back, and a count of everything.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "storage/file/forwarding_file_system.hpp"

namespace pageserver::test {

enum class Call : std::size_t {
  open,
  read,
  write,
  truncate,
  reserve,
  punch_hole,
  seek_data,
  seek_hole,
  start_writeback,
  sync_data,
  sync,
  status,
  status_of,
  lock,
  rename,
  remove,
  list,
  close,  ///< the file is closed all the same
  count
};

inline constexpr auto call_count = static_cast<std::size_t>(Call::count);

/// Threads: faults are set up before other threads come; everything else from any.
class FaultyFileSystem : public storage::ForwardingFileSystem {
public:
  static constexpr int forever = std::numeric_limits<int>::max();

  explicit FaultyFileSystem(storage::FileSystem& real = storage::posix_file_system()) : ForwardingFileSystem{real} {}

  /// After `skip` more calls of that kind the next `times` fail with `error`.
  void fail(Call call, int error, int skip = 0, int times = forever) {
    const std::lock_guard lock{mutex_};
    rules_[index(call)] = {error, skip, times};
  }
  void heal(Call call) { fail(call, 0, 0, 0); }
  /// Runs before each call of that kind, without a lock held.
  void before(Call call, std::function<void()> hook) { hooks_[index(call)] = std::move(hook); }
  /// Longest transfer that one call makes.
  void transfer_at_most(std::size_t bytes) { transfer_bytes_max_ = bytes; }
  /// Every other call of that kind is interrupted.
  void interrupt(Call call) { interrupted_[index(call)] = true; }
  /// No file can be read past the page cache, as on tmpfs.
  void refuse_direct_reads() { direct_reads_ = false; }
  std::uint64_t calls(Call call) const { return counts_[index(call)]; }
  std::uint64_t open_files() const { return open_files_; }

  storage::IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    return opened(faulty(Call::open, [&] { return below().open(path, flags, mode); }));
  }
  storage::IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    if ((flags & O_DIRECT) != 0 && !direct_reads_) return {-1, EINVAL};
    return opened(faulty(Call::open, [&] { return below().open_beneath(directory, name, flags, mode); }));
  }
  int close(int file) noexcept override {
    --open_files_;
    const int error = below().close(file);
    const auto said = faulty(Call::close, [] { return storage::IoResult{}; });
    return said.ok() ? error : said.error;
  }
  storage::IoResult read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) override {
    return faulty(Call::read, [&] { return below().read_at(file, offset, buffer.first(shortened(buffer.size()))); });
  }
  storage::IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) override {
    return faulty(Call::write, [&] { return below().write_at(file, offset, data.first(shortened(data.size()))); });
  }
  storage::IoResult write_parts_at(int file, std::uint64_t offset,
                                   std::span<const std::span<const std::byte>> parts) override {
    // What a short transfer leaves is up to the caller, as with the system call.
    std::size_t bytes = 0;
    for (const auto& part : parts) bytes += part.size();
    if (transfer_bytes_max_ < bytes) return write_at(file, offset, parts.front());
    return faulty(Call::write, [&] { return below().write_parts_at(file, offset, parts); });
  }
  storage::IoResult truncate(int file, std::uint64_t size_bytes) override {
    return faulty(Call::truncate, [&] { return below().truncate(file, size_bytes); });
  }
  storage::IoResult reserve(int file, std::uint64_t offset, std::uint64_t length) override {
    return faulty(Call::reserve, [&] { return below().reserve(file, offset, length); });
  }
  storage::IoResult punch_hole(int file, std::uint64_t offset, std::uint64_t length) override {
    return faulty(Call::punch_hole, [&] { return below().punch_hole(file, offset, length); });
  }
  storage::IoResult seek_data(int file, std::uint64_t offset) override {
    return faulty(Call::seek_data, [&] { return below().seek_data(file, offset); });
  }
  storage::IoResult seek_hole(int file, std::uint64_t offset) override {
    return faulty(Call::seek_hole, [&] { return below().seek_hole(file, offset); });
  }
  void start_writeback(int file, std::uint64_t offset, std::uint64_t length) noexcept override {
    ++counts_[index(Call::start_writeback)];
    below().start_writeback(file, offset, length);
  }
  storage::IoResult sync_data(int file) override {
    return faulty(Call::sync_data, [&] { return below().sync_data(file); });
  }
  storage::IoResult sync(int file) override {
    return faulty(Call::sync, [&] { return below().sync(file); });
  }
  storage::IoResult size(int file) override {
    return faulty(Call::status, [&] { return below().size(file); });
  }
  storage::IoResult status(int file, storage::FileStatus& status) override {
    return faulty(Call::status, [&] { return below().status(file, status); });
  }
  storage::IoResult status_of(const std::string& path, storage::FileStatus& status) override {
    return faulty(Call::status_of, [&] { return below().status_of(path, status); });
  }
  storage::IoResult lock(int file, storage::LockKind lock) override {
    return faulty(Call::lock, [&] { return below().lock(file, lock); });
  }
  storage::IoResult status_beneath(int directory, const std::string& name, storage::FileStatus& status) override {
    return faulty(Call::status_of, [&] { return below().status_beneath(directory, name, status); });
  }
  storage::IoResult rename_beneath(int directory, const std::string& from, const std::string& to) override {
    return faulty(Call::rename, [&] { return below().rename_beneath(directory, from, to); });
  }
  storage::IoResult rename_new_beneath(int directory, const std::string& from, const std::string& to) override {
    return faulty(Call::rename, [&] { return below().rename_new_beneath(directory, from, to); });
  }
  storage::IoResult remove_beneath(int directory, const std::string& name) override {
    return faulty(Call::remove, [&] { return below().remove_beneath(directory, name); });
  }
  storage::IoResult list(int directory, const std::string& prefix, std::vector<std::string>& names) override {
    return faulty(Call::list, [&] { return below().list(directory, prefix, names); });
  }

private:
  struct Rule {
    int error = 0;
    int skip = 0;
    int times = 0;
  };

  static constexpr std::size_t index(Call call) { return static_cast<std::size_t>(call); }

  std::size_t shortened(std::size_t bytes) const { return std::min(bytes, transfer_bytes_max_); }

  storage::IoResult opened(storage::IoResult result) {
    if (result.ok()) ++open_files_;
    return result;
  }

  int due_error(Call call) {
    const std::lock_guard lock{mutex_};
    const auto count = ++counts_[index(call)];
    if (interrupted_[index(call)] && count % 2 == 1) return EINTR;
    auto& rule = rules_[index(call)];
    if (rule.times == 0) return 0;
    if (rule.skip > 0) {
      --rule.skip;
      return 0;
    }
    if (rule.times != forever) --rule.times;
    return rule.error;
  }

  template <class Real>
  storage::IoResult faulty(Call call, Real&& real) {
    if (hooks_[index(call)]) hooks_[index(call)]();
    if (const int error = due_error(call); error != 0) return {-1, error};
    return real();
  }

  std::mutex mutex_;
  std::array<Rule, call_count> rules_{};
  std::array<bool, call_count> interrupted_{};
  bool direct_reads_ = true;
  std::array<std::atomic<std::uint64_t>, call_count> counts_{};
  std::array<std::function<void()>, call_count> hooks_{};
  static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();
  std::size_t transfer_bytes_max_ = unlimited;
  std::atomic<std::uint64_t> open_files_{0};
};

}  // namespace pageserver::test
