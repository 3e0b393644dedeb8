#include "server/stores/directory_files.hpp"

#include <cerrno>
#include <new>
#include <optional>
#include <utility>

#include "storage/file/file_io.hpp"
#include "storage/file/forwarding_file_system.hpp"
#include "storage/file/mutation.hpp"

namespace pageserver::server {

namespace {

using storage::FileStatus;
using storage::FileSystem;
using storage::IoResult;

class DirectoryFiles final : public storage::ForwardingFileSystem {
public:
  DirectoryFiles(FileSystem& base, int directory, std::string prefix, std::string link)
      : ForwardingFileSystem(base), directory_(directory), prefix_(std::move(prefix)), link_(std::move(link)) {}

  IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    if (storage::mutated(storage::Mutation::open_by_path)) return below().open(path, flags, mode);
    const std::optional<std::string> name = path == prefix_ ? "." : name_of(path);
    return name ? below().open_beneath(directory_, *name, flags, mode) : outside();
  }
  // Beyond the directory, looking is harmless: messages explain missing folders and permissions by it. So is what has
  // the directory's own path now, by which a store tells that the next start would look elsewhere. Where that goes
  // through a symbolic link, it is what the link leads to now.
  IoResult status_of(const std::string& path, FileStatus& status) override {
    if (!link_.empty() && path == prefix_) return status_of_link(status);
    const std::optional<std::string> name = name_of(path);
    return name ? below().status_beneath(directory_, *name, status) : below().status_of(path, status);
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
  IoResult status_of_link(FileStatus& status) {
    try {
      std::string leads_to;
      const IoResult found = below().real_path(link_, leads_to);
      return found.ok() ? below().status_of(leads_to, status) : found;
    } catch (const std::bad_alloc&) {
      return {-1, ENOMEM};
    }
  }
  std::optional<std::string> name_of(const std::string& path) const {
    if (storage::is_home_path(path)) {
      if (storage::parent_folder(path) != prefix_ || path == prefix_) return {};
      return storage::file_name(path);
    }
    if (path.size() <= prefix_.size() + 1 || path.compare(0, prefix_.size(), prefix_) != 0) return {};
    if (path[prefix_.size()] != '/') return {};
    std::string name = path.substr(prefix_.size() + 1);
    if (name.find('/') != std::string::npos || name == "." || name == "..") return {};
    return name;
  }

  const int directory_;
  const std::string prefix_;
  const std::string link_;
};

}  // namespace

std::shared_ptr<FileSystem> make_directory_files(FileSystem& base, int directory, std::string prefix,
                                                 std::string link) {
  return std::make_shared<DirectoryFiles>(base, directory, std::move(prefix), std::move(link));
}

std::shared_ptr<FileSystem> borrow_files(FileSystem& base) { return {std::shared_ptr<void>(), &base}; }

}  // namespace pageserver::server
