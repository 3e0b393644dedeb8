#include "server/port_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string_view>

namespace pageserver::server {

namespace {

/// What a daemon wrote, all of it or a part; an empty file, too, as mktemp makes it.
bool holds_addresses(int file) {
  struct stat status {};
  constexpr std::size_t bytes_max = 64u << 10;
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) return false;
  if (static_cast<std::size_t>(status.st_size) > bytes_max) return false;
  std::string text(bytes_max, '\0');
  const ssize_t got = ::read(file, text.data(), text.size());
  if (got < 0) return false;
  text.resize(static_cast<std::size_t>(got));
  return text.find_first_not_of("0123456789abcdef.:[]\n") == std::string::npos;
}

}  // namespace

PortFile::~PortFile() { remove(); }

void PortFile::fail(int error) const {
  throw std::runtime_error("write the port file \"" + path_ + "\": " + std::strerror(error));
}

void PortFile::clear(const std::string& path) const {
  const UniqueFd old(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!old.is_open()) {
    if (errno == ENOENT) return;
    fail(errno);
  }
  if (::flock(old.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw std::runtime_error("the port file \"" + path_ +
                             "\" is that of a running daemon; name another one, or stop that daemon first");
  }
  if (!holds_addresses(old.get())) {
    throw std::runtime_error("the port file \"" + path_ + "\": \"" + path +
                             "\" holds something else than addresses, and would be lost; remove it, or name another "
                             "file");
  }
  ::unlink(path.c_str());
}

void PortFile::take_place() {
  if (path_.empty()) return;
  const std::string temporary = path_ + ".tmp";
  clear(path_);
  clear(temporary);
  file_.reset(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file_.is_open()) fail(errno);
  made_ = temporary;
  // Where files can't be locked, the file is only not protected.
  ::flock(file_.get(), LOCK_EX | LOCK_NB);
}

void PortFile::write(const std::vector<std::string>& addresses) {
  if (path_.empty()) return;
  std::string text;
  for (const std::string& address : addresses) text += address + "\n";
  const ssize_t put = ::write(file_.get(), text.data(), text.size());
  if (put != static_cast<ssize_t>(text.size())) fail(put < 0 ? errno : ENOSPC);
  // Renamed into place, so that whoever waits for the file finds all of it.
  if (::rename(made_.c_str(), path_.c_str()) != 0) fail(errno);
  made_ = path_;
}

void PortFile::remove() noexcept {
  if (made_.empty()) return;
  struct stat ours {
  }, there{};
  const bool is_ours = ::fstat(file_.get(), &ours) == 0 && ::stat(made_.c_str(), &there) == 0 &&
                       ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
  if (is_ours) ::unlink(made_.c_str());
  made_.clear();
}

}  // namespace pageserver::server
