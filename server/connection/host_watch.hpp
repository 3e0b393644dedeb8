// Whether the host at the other end of a TCP connection is still there.
#pragma once

#include <chrono>

namespace pageserver::server {

/// Tells a host that is gone from a program that does not read: the first acknowledges nothing, the second closes its
/// window and answers each probe. TCP_USER_TIMEOUT can't: it drops both.
///
/// Threads: one at a time.
class HostWatch {
public:
  /// Zero `keepalive`: never looks. A host is gone when it owes an acknowledgement for about as long.
  explicit HostWatch(std::chrono::milliseconds keepalive) noexcept : keepalive_{keepalive} {}

  bool is_on() const noexcept { return keepalive_.count() > 0; }
  /// From one look to the next.
  std::chrono::milliseconds interval() const noexcept;
  /// So the peer's host has something to acknowledge, and is looked at.
  void note_sent() noexcept { looks_ = true; }
  /// Whether there is a reason for another look.
  bool wants_look() const noexcept { return is_on() && looks_; }
  /// Once an interval. True: the host owes an acknowledgement at each of the last looks.
  bool is_gone(int socket) noexcept;

private:
  std::chrono::milliseconds keepalive_;
  bool looks_ = false;
  int unanswered_ = 0;  // looks in a row
};

}  // namespace pageserver::server
