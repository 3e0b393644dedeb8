#include "server/service/passed_sockets.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/text.hpp"
#include "base/units.hpp"

namespace pageserver::server {

namespace {

constexpr int first_descriptor = 3;
constexpr std::uint64_t passed_max = 64;
constexpr std::array kinds{PassedKind::tcp, PassedKind::tls, PassedKind::local, PassedKind::metrics};

std::optional<std::string> take_from_environment(const char* name) {
  const char* const value = std::getenv(name);
  if (value == nullptr) return {};
  std::string text(value);
  ::unsetenv(name);
  return text;
}

std::vector<std::string> split_names(std::string_view text) {
  std::vector<std::string> names;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t colon = std::min(text.find(':', at), text.size());
    names.emplace_back(text.substr(at, colon - at));
    at = colon + 1;
  }
  return names;
}

std::string socket_type_name(int type) {
  switch (type) {
    case SOCK_DGRAM: return "a datagram socket";
    case SOCK_SEQPACKET: return "a socket for sequenced packets";
    case SOCK_RAW: return "a raw socket";
    default: return "a socket of type " + std::to_string(type);
  }
}

int option_of(int socket, int option) {
  int value = -1;
  socklen_t length = sizeof value;
  return ::getsockopt(socket, SOL_SOCKET, option, &value, &length) == 0 ? value : -1;
}

/// What a descriptor is that is no listening stream socket; empty when it is one.
std::string what_else(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return "not open";
  if (S_ISREG(status.st_mode)) return "a regular file";
  if (S_ISDIR(status.st_mode)) return "a folder";
  if (S_ISFIFO(status.st_mode)) return "a pipe";
  if (S_ISCHR(status.st_mode)) return "a device";
  if (!S_ISSOCK(status.st_mode)) return "no socket";
  const int type = option_of(descriptor, SO_TYPE);
  if (type != SOCK_STREAM) return socket_type_name(type);
  if (option_of(descriptor, SO_ACCEPTCONN) != 1)
    return "a socket that does not listen (with Accept=no it would, in systemd's unit)";
  return {};
}

/// Where it listens; false for a family that the daemon does not speak over.
bool read_address(PassedSocket& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(socket.descriptor, reinterpret_cast<sockaddr*>(&address), &length) != 0) return false;
  char host[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    socket.host = ::inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    socket.port = ntohs(v4.sin_port);
    return true;
  }
  if (address.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof v6);
    socket.host = ::inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
    socket.port = ntohs(v6.sin6_port);
    return true;
  }
  if (address.ss_family != AF_UNIX) return false;
  sockaddr_un local{};
  std::memcpy(&local, &address, sizeof local);
  const std::size_t bytes = length - offsetof(sockaddr_un, sun_path);
  if (bytes != 0 && local.sun_path[0] == '\0')
    socket.path = "@" + std::string(local.sun_path + 1, bytes - 1);
  else
    socket.path = std::string(local.sun_path, ::strnlen(local.sun_path, bytes));
  return true;
}

// systemd calls a socket after its unit, "pageserver.socket", where FileDescriptorName= says nothing, and other
// managers give no names at all.
bool says_nothing(std::string_view name) { return name.empty() || name == "unknown" || name.ends_with(".socket"); }

/// Why it can't be what its name says; empty when it can.
std::string decide_kind(const std::string& name, PassedSocket& socket) {
  const bool local = socket.host.empty();
  if (says_nothing(name)) {
    socket.kind = local ? PassedKind::local : PassedKind::tcp;
    return {};
  }
  for (const PassedKind kind : kinds) {
    if (name != to_string(kind)) continue;
    socket.kind = kind;
    if (kind == PassedKind::metrics || local == (kind == PassedKind::local)) return {};
    return local ? "is a Unix socket; call it \"unix\" or \"metrics\" (FileDescriptorName=)"
                 : "is a TCP socket; call it \"tcp\", \"tls\" or \"metrics\" (FileDescriptorName=)";
  }
  return "has a name that says nothing here; call it \"tcp\", \"tls\", \"unix\" or \"metrics\" (FileDescriptorName=)";
}

std::string shown_descriptor(int descriptor, const std::string& name) {
  return "LISTEN_FDS: descriptor " + std::to_string(descriptor) + (name.empty() ? " " : " " + base::quoted(name) + " ");
}

/// Why not; empty when it is among `sockets` now.
std::string take_one(int descriptor, const std::string& name, std::vector<PassedSocket>& sockets) {
  const std::string shown = shown_descriptor(descriptor, name);
  if (const std::string other = what_else(descriptor); !other.empty())
    return shown + "is " + other + "; a listening stream socket is needed";
  PassedSocket socket;
  socket.descriptor = descriptor;
  if (!read_address(socket)) return shown + "is a socket of another family; TCP and Unix sockets are served";
  if (const std::string why = decide_kind(name, socket); !why.empty()) return shown + why;
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0 || ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) != 0 ||
      ::fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0)
    return shown + "can't be prepared: " + std::strerror(errno);
  sockets.push_back(std::move(socket));
  return {};
}

}  // namespace

std::string_view to_string(PassedKind kind) noexcept {
  switch (kind) {
    case PassedKind::tcp: return "tcp";
    case PassedKind::tls: return "tls";
    case PassedKind::local: return "unix";
    case PassedKind::metrics: return "metrics";
  }
  return "";
}

PassedSockets take_passed_sockets() {
  PassedSockets found;
  const auto count_text = take_from_environment("LISTEN_FDS");
  const auto process = take_from_environment("LISTEN_PID");
  const auto names_text = take_from_environment("LISTEN_FDNAMES");
  static_cast<void>(take_from_environment("LISTEN_PIDFDID"));
  if (!count_text || process != std::to_string(::getpid())) return found;
  const auto count = base::parse_number(*count_text, passed_max);
  if (!count) {
    found.faults.push_back("LISTEN_FDS=" + base::quoted(*count_text) + ": expected a number of descriptors from 0 to " +
                           std::to_string(passed_max));
    return found;
  }
  std::vector<std::string> names(*count);
  if (names_text) {
    if (std::vector<std::string> said = split_names(*names_text); said.size() == names.size())
      names = std::move(said);
    else if (!names_text->empty()) {
      found.faults.push_back("LISTEN_FDNAMES=" + base::quoted(*names_text) + " has " + std::to_string(said.size()) +
                             " names, and LISTEN_FDS says that there are " + *count_text + " descriptors");
      return found;
    }
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::string fault = take_one(first_descriptor + static_cast<int>(i), names[i], found.sockets);
    if (!fault.empty()) found.faults.push_back(std::move(fault));
  }
  return found;
}

}  // namespace pageserver::server
