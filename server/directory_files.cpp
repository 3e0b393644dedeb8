#include "server/directory_files.hpp"

#include <cerrno>
#include <optional>
#include <utility>

#include "storage/forwarding_file_system.hpp"

namespace pageserver::server {

namespace {

using storage::FileSystem;
using storage::IoResult;

class DirectoryFiles final : public storage::ForwardingFileSystem {
public:
  DirectoryFiles(FileSystem& base, int directory, std::string prefix)
      : ForwardingFileSystem(base), directory_(directory), prefix_(std::move(prefix)) {}

  IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    if (path == prefix_) return below().open(path, flags, mode);
    const std::optional<std::string> name = name_of(path);
    return name ? below().open_beneath(directory_, *name, flags, mode) : outside();
  }
  // status_of() and real_path() go on as they are: looking is harmless, and messages explain missing folders and
  // permissions by it.
  // rename(2) follows no link in the last component, and no other component is there to change.
  IoResult rename(const std::string& from, const std::string& to) override {
    return name_of(from) && name_of(to) ? below().rename(from, to) : outside();
  }
  IoResult remove(const std::string& path) override {
    const std::optional<std::string> name = name_of(path);
    return name ? below().remove_beneath(directory_, *name) : outside();
  }
  IoResult list(const std::string& directory, std::vector<std::string>& names) override {
    return directory == prefix_ ? below().list(directory, names) : outside();
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
