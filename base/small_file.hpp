// A file that is read as a whole: a configuration, tokens, certificates, a key.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <string>

#include "base/unique_fd.hpp"

namespace pageserver::base {

/// Threads: one at a time.
class SmallFile {
public:
  /// `flags`: of open(2), besides those for reading.
  explicit SmallFile(const std::string& path, int flags = 0) noexcept;

  /// errno of the opening, or 0.
  int error() const noexcept { return error_; }
  const struct stat& status() const noexcept { return status_; }
  /// More than its owner may change it, or more than owner and group may read it: a container gets its secrets by the
  /// group. A pipe has no others, such as that of <(...) in a shell.
  bool is_open_to_others() const noexcept { return S_ISREG(status_.st_mode) && (status_.st_mode & 0037u) != 0; }
  /// Appends what it has. Returns errno, EFBIG where that is more than `bytes_max`, or 0. Throws std::bad_alloc.
  int read(std::string& text, std::size_t bytes_max) const;

private:
  UniqueFd file_;
  struct stat status_ {};
  int error_ = 0;
};

}  // namespace pageserver::base
