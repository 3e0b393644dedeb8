#include "client/pagectl/mount/mount_point.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <system_error>

#include <pageserver/error.hpp>

#include "base/text.hpp"
#include "base/unique_fd.hpp"

namespace pageserver::pagectl {
namespace {

[[noreturn]] void refuse_file(const std::string& path, const std::string& why) {
  throw MemoryError(Errc::invalid_argument, "mount: " + base::quoted(path) + " " + why);
}

std::string system_text(int error) { return std::generic_category().message(error); }

}  // namespace

MountPoint::MountPoint(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOTCONN)
      refuse_file(path,
                  "is a mount whose program is gone; clear it with `fusermount3 -u " + path + "`, then try again");
    if (errno != ENOENT) refuse_file(path, "can't be looked at: " + system_text(errno));
    const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
    if (!file.is_open()) refuse_file(path, "can't be made: " + system_text(errno));
    if (::fstat(file.get(), &status) != 0) refuse_file(path, "can't be looked at: " + system_text(errno));
    made_ = true;
  }
  device_ = status.st_dev;
  inode_ = status.st_ino;
  const std::unique_ptr<char, decltype(&std::free)> whole(::realpath(path.c_str(), nullptr), &std::free);
  if (!whole) refuse_file(path, "can't be resolved: " + system_text(errno));
  path_ = whole.get();
  if (!S_ISREG(status.st_mode)) refuse_file(path, "is no plain file: the image appears as one file, so name a file");
  struct statx more {};
  if (::statx(AT_FDCWD, path_.c_str(), 0, STATX_TYPE, &more) == 0 && (more.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0)
    refuse_file(path, "has something mounted over it; unmount that first (`fusermount3 -u " + path + "`)");
  if (status.st_size != 0)
    refuse_file(path, "holds " + std::to_string(status.st_size) +
                          " bytes, which the mount would hide; name an empty file, or one that is not there");
}

void MountPoint::remove() noexcept {
  struct stat status {};
  if (!made_ || ::lstat(path_.c_str(), &status) != 0) return;
  if (S_ISREG(status.st_mode) && status.st_size == 0 && status.st_dev == device_ && status.st_ino == inode_)
    ::unlink(path_.c_str());
}

}  // namespace pageserver::pagectl
