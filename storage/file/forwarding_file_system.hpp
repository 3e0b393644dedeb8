// A file system that hands every call to another one. Classes that change a few calls derive from it.
#pragma once

#include "storage/file/file_system.hpp"
#include "storage/file/mutation.hpp"

namespace pageserver::storage {

class ForwardingFileSystem : public FileSystem {
public:
  /// `below` outlives this.
  explicit ForwardingFileSystem(FileSystem& below) : below_{below} {}

  IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    return below_.open(path, flags, mode);
  }
  IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    return below_.open_beneath(directory, name, flags, mode);
  }
  int close(int file) noexcept override { return below_.close(file); }

  IoResult read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) override {
    return below_.read_at(file, offset, buffer);
  }
  IoResult read_until(int file, std::uint64_t offset, std::span<std::byte> buffer, Moment deadline) override {
    return below_.read_until(file, offset, buffer, deadline);
  }
  IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) override {
    return below_.write_at(file, offset, data);
  }
  IoResult write_parts_at(int file, std::uint64_t offset, std::span<const std::span<const std::byte>> parts) override {
    return below_.write_parts_at(file, offset, parts);
  }
  IoResult truncate(int file, std::uint64_t size_bytes) override { return below_.truncate(file, size_bytes); }
  IoResult reserve(int file, std::uint64_t offset, std::uint64_t length) override {
    return below_.reserve(file, offset, length);
  }
  IoResult punch_hole(int file, std::uint64_t offset, std::uint64_t length) override {
    return below_.punch_hole(file, offset, length);
  }
  IoResult seek_data(int file, std::uint64_t offset) override { return below_.seek_data(file, offset); }
  IoResult seek_hole(int file, std::uint64_t offset) override { return below_.seek_hole(file, offset); }
  void start_writeback(int file, std::uint64_t offset, std::uint64_t length) noexcept override {
    below_.start_writeback(file, offset, length);
  }
  void drop_from_memory(int file, std::uint64_t offset, std::uint64_t length) noexcept override {
    below_.drop_from_memory(file, offset, length);
  }
  IoResult sync_data(int file) override {
    if (mutated(Mutation::drop_forwarded_sync)) return {};
    return below_.sync_data(file);
  }
  IoResult sync(int file) override { return below_.sync(file); }

  IoResult size(int file) override { return below_.size(file); }
  IoResult status(int file, FileStatus& status) override { return below_.status(file, status); }
  IoResult status_of(const std::string& path, FileStatus& status) override { return below_.status_of(path, status); }
  IoResult status_beneath(int directory, const std::string& name, FileStatus& status) override {
    return below_.status_beneath(directory, name, status);
  }
  IoResult real_path(const std::string& path, std::string& resolved) override {
    return below_.real_path(path, resolved);
  }
  IoResult file_system_type(int file) override { return below_.file_system_type(file); }
  IoResult lock(int file, LockKind lock) override { return below_.lock(file, lock); }
  void unlock(int file) noexcept override { below_.unlock(file); }
  IoResult home_of(int file, FileHome& home) override { return below_.home_of(file, home); }

  IoResult map(int file, std::uint64_t length, const std::byte*& address) override {
    return below_.map(file, length, address);
  }
  void unmap(const std::byte* address, std::uint64_t length) noexcept override { below_.unmap(address, length); }

  std::int64_t now_ns() noexcept override { return below_.now_ns(); }
  std::int64_t file_clock_ns() noexcept override { return below_.file_clock_ns(); }
  Boot boot() noexcept override { return below_.boot(); }

  IoResult rename_new_beneath(int directory, const std::string& from, const std::string& to) override {
    return below_.rename_new_beneath(directory, from, to);
  }
  IoResult rename_beneath(int directory, const std::string& from, const std::string& to) override {
    return below_.rename_beneath(directory, from, to);
  }
  IoResult remove_beneath(int directory, const std::string& name) override {
    return below_.remove_beneath(directory, name);
  }
  IoResult list(int directory, const std::string& prefix, std::vector<std::string>& names) override {
    return below_.list(directory, prefix, names);
  }

protected:
  FileSystem& below() const noexcept { return below_; }

private:
  FileSystem& below_;
};

}  // namespace pageserver::storage
