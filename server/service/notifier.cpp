#include "server/service/notifier.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/units.hpp"

namespace pageserver::server {

namespace {

std::string take_variable(const char* name) {
  const char* const value = std::getenv(name);
  std::string text = value == nullptr ? std::string() : std::string(value);
  ::unsetenv(name);
  return text;
}

UniqueFd connected(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() < 2 || path.size() >= sizeof address.sun_path || (path.front() != '/' && path.front() != '@'))
    return {};
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path.front() == '@') address.sun_path[0] = '\0';
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (!socket.is_open() || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) return {};
  return socket;
}

}  // namespace

// Before there is another thread: the environment has no lock.
Notifier Notifier::from_environment() {
  Notifier notifier;
  const std::string path = take_variable("NOTIFY_SOCKET");
  const std::string interval = take_variable("WATCHDOG_USEC");
  const std::string process = take_variable("WATCHDOG_PID");
  notifier.socket_ = connected(path);
  const auto us = base::parse_number(interval);
  const bool ours = process.empty() || process == std::to_string(::getpid());
  constexpr std::uint64_t day_us = 86'400'000'000;
  if (us && *us != 0 && ours) notifier.watchdog_ = std::chrono::microseconds(std::min(*us, day_us));
  return notifier;
}

void Notifier::tell(std::string_view lines) const noexcept {
  if (!socket_.is_open()) return;
  [[maybe_unused]] const ssize_t ignored =
      ::send(socket_.get(), lines.data(), lines.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

std::string status_line(std::string_view text) {
  std::string line(text.substr(0, 1000));
  std::replace(line.begin(), line.end(), '\n', ' ');
  while (line.ends_with(' ')) line.pop_back();
  return "STATUS=" + line;
}

}  // namespace pageserver::server
