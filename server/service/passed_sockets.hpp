// Sockets that the service manager made and listens on already, as sd_listen_fds(3) has it: descriptors from 3 on, and
// variables of the environment that say how many there are and what each is for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pageserver::server {

/// What is spoken on one.
enum class PassedKind : std::uint8_t { tcp, tls, local, metrics };
/// "tcp", "tls", "unix", "metrics": as the manager names it.
std::string_view to_string(PassedKind kind) noexcept;

struct PassedSocket {
  int descriptor = -1;  ///< open for as long as the process lives, or until somebody takes it over
  PassedKind kind = PassedKind::tcp;
  std::string host;  ///< numeric; empty: it is a Unix socket
  std::uint16_t port = 0;
  std::string path;  ///< of a Unix socket; "@NAME" for one without a file
};

struct PassedSockets {
  std::vector<PassedSocket> sockets;
  /// One line for each that can't be used, with its number and what it is.
  std::vector<std::string> faults;
};

/// Takes LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES out of the environment, once, before there is another thread. What
/// was meant for another process is not looked at. The descriptors do not block from now on, and no program that this
/// one starts gets them.
PassedSockets take_passed_sockets();

}  // namespace pageserver::server
