// The operating system's files, of which a test can hold some calls until it lets them go on.
#pragma once

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include "tests/support/catch.hpp"

#include "storage/file/forwarding_file_system.hpp"
#include "tests/support/daemon.hpp"

namespace pageserver::test {

/// Holds whoever passes while it is shut.
class Gate {
public:
  void shut() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    if (open_) return;
    ++held_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    --held_;
  }
  void wait_until_held(int count = 1) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, patience, [&] { return held_ >= count; }));
  }
  int held() {
    const std::lock_guard lock(mutex_);
    return held_;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int held_ = 0;
};

/// Calls on files named slow* pass the gate.
class SlowFiles final : public storage::ForwardingFileSystem {
public:
  SlowFiles() : ForwardingFileSystem(storage::posix_file_system()) {}
  explicit SlowFiles(storage::FileSystem& real) : ForwardingFileSystem(real) {}

  storage::IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    return opened(path, [&] { return below().open(path, flags, mode); });
  }
  storage::IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    return opened(name, [&] { return below().open_beneath(directory, name, flags, mode); });
  }
  int close(int file) noexcept override {
    {
      const std::lock_guard lock(mutex_);
      slow_.erase(file);
    }
    return below().close(file);
  }
  storage::IoResult read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) override {
    if (hold_data) hold(file);
    return below().read_at(file, offset, buffer);
  }
  storage::IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) override {
    if (hold_data || hold_write) hold(file);
    return below().write_at(file, offset, data);
  }
  storage::IoResult write_parts_at(int file, std::uint64_t offset,
                                   std::span<const std::span<const std::byte>> parts) override {
    if (hold_data || hold_write) hold(file);
    return below().write_parts_at(file, offset, parts);
  }
  storage::IoResult sync_data(int file) override {
    if (hold_sync) hold(file);
    return fail_sync ? storage::IoResult{-1, EIO} : below().sync_data(file);
  }
  storage::IoResult sync(int file) override { return fail_sync ? storage::IoResult{-1, EIO} : below().sync(file); }
  // What is mapped is read without a call that could be held.
  storage::IoResult map(int, std::uint64_t, const std::byte*&) override { return {-1, ENOTSUP}; }

  Gate gate;
  std::atomic<bool> hold_open{false};
  std::atomic<bool> hold_data{false};
  std::atomic<bool> hold_write{false};
  std::atomic<bool> hold_sync{false};
  std::atomic<bool> fail_sync{false};

private:
  template <class Open>
  storage::IoResult opened(const std::string& name, const Open& open) {
    const bool slow = name.find("slow") != std::string::npos;
    if (slow && hold_open) gate.pass();
    const auto result = open();
    if (slow && result.ok()) {
      const std::lock_guard lock(mutex_);
      slow_.insert(static_cast<int>(result.value));
    }
    return result;
  }
  void hold(int file) {
    bool slow = false;
    {
      const std::lock_guard lock(mutex_);
      slow = slow_.contains(file);
    }
    if (slow) gate.pass();
  }
  std::mutex mutex_;
  std::set<int> slow_;
};

}  // namespace pageserver::test
