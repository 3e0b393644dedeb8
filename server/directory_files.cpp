#include "server/directory_files.hpp"

#include <cerrno>
#include <optional>

namespace pageserver::server {

namespace {

using storage::FileStatus;
using storage::FileSystem;
using storage::IoResult;
using storage::Lock;

class DirectoryFiles final : public FileSystem {
public:
  DirectoryFiles(FileSystem& base, int directory, std::string prefix)
      : base_(base), directory_(directory), prefix_(std::move(prefix)) {}

  IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    if (path == prefix_) return base_.open(path, flags, mode);
    const std::optional<std::string> name = name_of(path);
    return name ? base_.open_beneath(directory_, *name, flags, mode) : outside();
  }
  IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    return base_.open_beneath(directory, name, flags, mode);
  }
  void close(int file) noexcept override { base_.close(file); }
  IoResult read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) override {
    return base_.read_at(file, offset, buffer);
  }
  IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) override {
    return base_.write_at(file, offset, data);
  }
  IoResult truncate(int file, std::uint64_t size_bytes) override { return base_.truncate(file, size_bytes); }
  IoResult reserve(int file, std::uint64_t offset, std::uint64_t length) override {
    return base_.reserve(file, offset, length);
  }
  IoResult punch_hole(int file, std::uint64_t offset, std::uint64_t length) override {
    return base_.punch_hole(file, offset, length);
  }
  IoResult seek_data(int file, std::uint64_t offset) override { return base_.seek_data(file, offset); }
  IoResult seek_hole(int file, std::uint64_t offset) override { return base_.seek_hole(file, offset); }
  IoResult sync_data(int file) override { return base_.sync_data(file); }
  IoResult sync(int file) override { return base_.sync(file); }
  IoResult status(int file, FileStatus& status) override { return base_.status(file, status); }
  // Looking is harmless, and messages explain missing folders and permissions by it.
  IoResult status_of(const std::string& path, FileStatus& status) override { return base_.status_of(path, status); }
  IoResult real_path(const std::string& path, std::string& resolved) override {
    return base_.real_path(path, resolved);
  }
  // rename(2) follows no link in the last component, and no other component is there to change.
  IoResult rename(const std::string& from, const std::string& to) override {
    return name_of(from) && name_of(to) ? base_.rename(from, to) : outside();
  }
  IoResult file_system_type(int file) override { return base_.file_system_type(file); }
  IoResult lock(int file, Lock lock) override { return base_.lock(file, lock); }
  IoResult remove(const std::string& path) override {
    const std::optional<std::string> name = name_of(path);
    return name ? base_.remove_beneath(directory_, *name) : outside();
  }
  IoResult remove_beneath(int directory, const std::string& name) override {
    return base_.remove_beneath(directory, name);
  }
  IoResult list(const std::string& directory, std::vector<std::string>& names) override {
    return directory == prefix_ ? base_.list(directory, names) : outside();
  }

private:
  static IoResult outside() { return {-1, EXDEV}; }
  std::optional<std::string> name_of(const std::string& path) const {
    if (path.size() <= prefix_.size() + 1 || path.compare(0, prefix_.size(), prefix_) != 0) return {};
    if (path[prefix_.size()] != '/') return {};
    std::string name = path.substr(prefix_.size() + 1);
    if (name.find('/') != std::string::npos || name == "." || name == "..") return {};
    return name;
  }

  FileSystem& base_;
  const int directory_;
  const std::string prefix_;
};

}  // namespace

std::shared_ptr<FileSystem> make_directory_files(FileSystem& base, int directory, std::string prefix) {
  return std::make_shared<DirectoryFiles>(base, directory, std::move(prefix));
}

std::shared_ptr<FileSystem> borrow_files(FileSystem& base) { return {std::shared_ptr<void>(), &base}; }

}  // namespace pageserver::server
