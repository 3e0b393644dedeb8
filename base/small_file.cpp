#include "base/small_file.hpp"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace pageserver::base {

SmallFile::SmallFile(const std::string& path, int flags) noexcept
    : file_{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | flags)} {
  if (!file_.is_open() || ::fstat(file_.get(), &status_) != 0) error_ = errno;
}

int SmallFile::read(std::string& text, std::size_t bytes_max) const {
  // What passes through here may be a secret.
  struct Part {
    std::array<char, 4096> bytes{};
    ~Part() { ::explicit_bzero(bytes.data(), bytes.size()); }
  } part;
  for (std::size_t all = 0;;) {
    const ssize_t got = ::read(file_.get(), part.bytes.data(), part.bytes.size());
    if (got == 0) return 0;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    text.append(part.bytes.data(), static_cast<std::size_t>(got));
    all += static_cast<std::size_t>(got);
    if (all > bytes_max) return EFBIG;
  }
}

}  // namespace pageserver::base
