// What a service manager is told, as sd_notify(3) has it: datagrams of text to the socket that the environment names.
// A few lines instead of libsystemd, which would be one more library for a program that mostly runs without it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"

namespace pageserver::server {

class Notifier {
public:
  /// To the socket in NOTIFY_SOCKET: a path, or @NAME for one without a file. Where there is none, or it is no such
  /// socket, nothing is told. Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, once.
  static Notifier from_environment();

  bool is_on() const noexcept { return socket_.is_open(); }
  /// How often it must hear WATCHDOG=1, if it listens for that.
  std::optional<std::chrono::microseconds> watchdog() const noexcept { return watchdog_; }
  /// One message of lines such as "READY=1". Never waits; what the manager does not take is lost.
  void tell(std::string_view lines) const noexcept;

private:
  UniqueFd socket_;
  std::optional<std::chrono::microseconds> watchdog_;
};

/// One line of text, for STATUS=: without what would end it.
std::string status_line(std::string_view text);

}  // namespace pageserver::server
