#include "server/connection/host_watch.hpp"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace pageserver::server {

namespace {

// At most this many looks in a row, spread over the keepalive time, find that the peer's host answers nothing.
constexpr int looks_until_gone = 4;

/// What the kernel still has to send, or to see acknowledged.
int unsent_bytes(int socket) {
  int bytes = 0;
  return ::ioctl(socket, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

}  // namespace

std::chrono::milliseconds HostWatch::interval() const noexcept { return keepalive_ / looks_until_gone; }

// A closed window is none of this function's business: whoever closes it answers each probe.
bool HostWatch::is_gone(int socket) noexcept {
  looks_ = false;
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return false;
  if (info.tcpi_unacked == 0 && info.tcpi_probes == 0 && unsent_bytes(socket) == 0) {
    unanswered_ = 0;
    return false;
  }
  looks_ = true;
  const bool asked = info.tcpi_probes != 0 || info.tcpi_last_data_sent < info.tcpi_last_ack_recv;
  const bool unanswered = asked && std::chrono::milliseconds(info.tcpi_last_ack_recv) >= interval();
  unanswered_ = unanswered ? unanswered_ + 1 : 0;
  return unanswered_ >= looks_until_gone;
}

}  // namespace pageserver::server
