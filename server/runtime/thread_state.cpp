#include "server/runtime/thread_state.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "base/unique_fd.hpp"

namespace pageserver::server {

bool waits_in_kernel(pid_t thread) noexcept {
  char path[64] = "/proc/self/task/";
  char* const digits = path + std::strlen(path);
  char* const end = std::to_chars(digits, path + sizeof path - sizeof "/stat", thread).ptr;
  std::memcpy(end, "/stat", sizeof "/stat");
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  char text[128];
  const ssize_t length = file.get() < 0 ? -1 : ::read(file.get(), text, sizeof text);
  // "12 (name) S 1 ...", and a name of ours has no parenthesis.
  const char* const close =
      length <= 0 ? nullptr : static_cast<const char*>(std::memchr(text, ')', static_cast<std::size_t>(length)));
  if (close == nullptr || close + 2 >= text + length) return true;  // who can't know helps
  return close[2] != 'R';
}

}  // namespace pageserver::server
