#include "server/stores/directory_files.hpp"

#include <cerrno>
#include <optional>
#include <utility>

#include "base/mutation.hpp"
#include "storage/file/forwarding_file_system.hpp"

namespace pageserver::server {

namespace {

using storage::FileStatus;
using storage::FileSystem;
using storage::IoResult;

class DirectoryFiles final : public storage::ForwardingFileSystem {
public:
  DirectoryFiles(FileSystem& base, int directory, std::string prefix)
      : ForwardingFileSystem(base), directory_(directory), prefix_(std::move(prefix)) {}

  IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    if (storage::mutated(storage::Mutation::open_by_path)) return below().open(path, flags, mode);
    const std::optional<std::string> name = path == prefix_ ? "." : name_of(path);
    return name ? below().open_beneath(directory_, *name, flags, mode) : outside();
  }
  // Beyond the directory, looking is harmless: messages explain missing folders and permissions by it.
  IoResult status_of(const std::string& path, FileStatus& status) override {
    if (path == prefix_) return below().status(directory_, status);
    const std::optional<std::string> name = name_of(path);
    return name ? below().status_beneath(directory_, *name, status) : below().status_of(path, status);
  }
  IoResult list_beginning(int directory, const std::string& prefix, std::vector<std::string>& names) override {
    return below().list_beginning(directory, prefix, names);
  }
  /// Links are not followed, so that there is nothing to resolve.
  IoResult real_path(const std::string& path, std::string& resolved) override {
    FileStatus status;
    const IoResult found = status_of(path, status);
    if (found.ok()) resolved = path;
    return found;
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

  const int directory_;
  const std::string prefix_;
};

}  // namespace

std::shared_ptr<FileSystem> make_directory_files(FileSystem& base, int directory, std::string prefix) {
  return std::make_shared<DirectoryFiles>(base, directory, std::move(prefix));
}

std::shared_ptr<FileSystem> borrow_files(FileSystem& base) { return {std::shared_ptr<void>(), &base}; }

}  // namespace pageserver::server
