// The file in whose place an image appears.
#pragma once

#include <sys/types.h>

#include <string>

namespace pageserver::pagectl {

/// A plain, empty file: made here where there is none, and then removed by remove() if it still is what was made.
class MountPoint {
public:
  /// Throws MemoryError invalid_argument where the mount would hide something, or can't be.
  explicit MountPoint(const std::string& path);

  /// Absolute, and without links.
  const std::string& path() const { return path_; }
  void remove() noexcept;

private:
  std::string path_;
  bool made_ = false;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace pageserver::pagectl
