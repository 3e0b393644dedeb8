#include "server/listener.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "server/config/config_values.hpp"
#include "server/runtime/peers.hpp"

namespace pageserver::server {

namespace {

constexpr int backlog = 1024;
constexpr int accepts_in_a_row = 64;
constexpr std::chrono::milliseconds pause_time{100};
constexpr std::chrono::seconds complaint_interval{10};

[[noreturn]] void fail(const std::string& name, const std::string& why) {
  throw std::runtime_error("listen on " + name + ": " + why);
}

void set_option(int socket, int level, int option, int value) {
  // An option that this kernel lacks costs what it would have given, not the connection.
  [[maybe_unused]] const int ignored = ::setsockopt(socket, level, option, &value, sizeof value);
}

void prepare_tcp(int socket, std::chrono::milliseconds keepalive) {
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  if (keepalive.count() <= 0) return;
  // Half of the time until the first probe, three probes in the other half. That finds a host that is gone while there
  // is nothing to send; Connection::look_at_peer() looks after the rest. TCP_USER_TIMEOUT would as well, but also drop
  // a peer whose window is closed, though its host answers each probe.
  const int seconds = std::max(2, static_cast<int>((keepalive.count() + 999) / 1000));
  constexpr int probes = 3;
  const int idle = seconds / 2;
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, idle);
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, (seconds - idle) / probes));
  set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, probes);
  // Kernels before 6.15 lack it: there probes of a closed window, and what is sent again, are up to two minutes apart.
  constexpr int rto_max_ms = 44;
  constexpr int rto_max_least = 1000;
  set_option(socket, IPPROTO_TCP, rto_max_ms,
             std::clamp(static_cast<int>(keepalive.count() / 4), rto_max_least, 120'000));
}

struct NumericAddress {
  std::string host;
  std::uint16_t port = 0;
};

// A socket that takes in both versions of IP, as a service manager's may, names clients of IPv4 by mapped addresses:
// they are who they are, and not all one network of IPv6.
NumericAddress numeric(const sockaddr_storage& address) {
  char host[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    ::inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    return {host, ntohs(v4.sin_port)};
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, &address, sizeof v6);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
    ::inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], host, sizeof host);
  else
    ::inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
  return {host, ntohs(v6.sin6_port)};
}

std::string text_of(const sockaddr_storage& address) {
  const NumericAddress found = numeric(address);
  return format_address(found.host, found.port);
}

// Numeric addresses only, and the one name that means the same everywhere.
socklen_t parse(const ListenAddress& address, sockaddr_storage& out) {
  const std::string host = address.host == "localhost" ? "127.0.0.1" : address.host;
  sockaddr_in v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    std::memcpy(&out, &v4, sizeof v4);
    return sizeof v4;
  }
  sockaddr_in6 v6{};
  if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(address.port);
    std::memcpy(&out, &v6, sizeof v6);
    return sizeof v6;
  }
  fail(format_address(address.host, address.port), "not a numeric address; write 127.0.0.1, 0.0.0.0, [::1] or [::]");
}

bool someone_answers(const sockaddr_un& address) {
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.is_open()) return true;
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         errno != ECONNREFUSED;
}

void bind_local(int socket, const sockaddr_un& address, const std::string& name, const std::string& path) {
  const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
  if (::bind(socket, generic, sizeof address) == 0) return;
  if (errno != EADDRINUSE) fail(name, std::strerror(errno));
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) {
    fail(name, "something that is not a socket is in the place");
  }
  if (someone_answers(address)) fail(name, "another server is listening there");
  ::unlink(path.c_str());
  if (::bind(socket, generic, sizeof address) != 0) fail(name, std::strerror(errno));
}

}  // namespace

struct Listener::Io {
  Io(asio::io_context& context, int socket) : timer(context), descriptor(context, socket) {}
  asio::steady_timer timer;
  asio::posix::stream_descriptor descriptor;  // last: once it has the socket nothing else can fail
};

Listener::Listener() = default;

Listener::~Listener() { close(); }

std::unique_ptr<Listener> Listener::tcp(const ListenAddress& address, std::chrono::milliseconds keepalive) {
  std::unique_ptr<Listener> listener(new Listener);
  if (address.passed) {
    listener->keepalive_ = keepalive;
    listener->is_tls_ = address.tls;
    listener->name_ = format_address(address.host, address.port);
    listener->socket_.reset(*address.passed);
    return listener;
  }
  const std::string wanted = format_address(address.host, address.port);
  sockaddr_storage storage{};
  const socklen_t length = parse(address, storage);
  listener->keepalive_ = keepalive;
  listener->is_tls_ = address.tls;
  listener->socket_.reset(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int socket = listener->socket_.get();
  if (socket < 0) fail(wanted, std::strerror(errno));
  set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  // [::] and 0.0.0.0 can be listened on side by side.
  if (storage.ss_family == AF_INET6) set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&storage), length) != 0 || ::listen(socket, backlog) != 0) {
    const int error = errno;
    fail(wanted, error == EADDRINUSE ? "the address is in use by another program; choose another port or end it"
                                     : std::strerror(error));
  }
  sockaddr_storage bound{};
  socklen_t bound_length = sizeof bound;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &bound_length);
  listener->name_ = text_of(bound);
  return listener;
}

std::unique_ptr<Listener> Listener::local(const UnixListen& address) {
  std::unique_ptr<Listener> listener(new Listener);
  listener->is_tcp_ = false;
  listener->name_ = "unix:" + address.path;
  if (address.passed) {
    listener->socket_.reset(*address.passed);
    return listener;
  }
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (address.path.size() >= sizeof name.sun_path) {
    fail(listener->name_, "the path has " + std::to_string(address.path.size()) + " bytes, at most " +
                              std::to_string(sizeof name.sun_path - 1) + " fit");
  }
  std::memcpy(name.sun_path, address.path.c_str(), address.path.size() + 1);
  listener->socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int socket = listener->socket_.get();
  if (socket < 0) fail(listener->name_, std::strerror(errno));
  // Before bind, so that there is no moment with a wider mode; after it, for the bits that the umask took.
  ::fchmod(socket, address.mode);
  bind_local(socket, name, listener->name_, address.path);
  listener->path_ = address.path;
  struct stat status {};
  if (::lstat(address.path.c_str(), &status) == 0) {
    listener->device_ = status.st_dev;
    listener->inode_ = status.st_ino;
  }
  if (::chmod(address.path.c_str(), address.mode) != 0 || ::listen(socket, backlog) != 0) {
    fail(listener->name_, std::strerror(errno));
  }
  return listener;
}

void Listener::start(Worker& front, Log& log, Accepted accepted) {
  log_ = &log;
  accepted_ = std::move(accepted);
  io_ = std::make_unique<Io>(front.context(), socket_.get());
  [[maybe_unused]] const int now_of_io = socket_.release();
  front.after_trouble([this] { go_on(); });
  wait();
}

void Listener::close() noexcept {
  closed_ = true;
  if (io_ != nullptr) {
    io_->timer.cancel();
    std::error_code ignored;
    io_->descriptor.close(ignored);
  }
  socket_.reset();
  if (path_.empty()) return;
  struct stat status {};
  const bool ours = ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_;
  if (ours) ::unlink(path_.c_str());
  path_.clear();
}

// What waited has thrown before it waited again.
void Listener::go_on() {
  if (!waiting_ && !held_ && !closed_ && io_ != nullptr) pause("out of memory");
}

void Listener::accept_more() {
  if (!std::exchange(held_, false) || closed_ || io_ == nullptr) return;
  accept_all();
}

void Listener::wait() {
  io_->descriptor.async_wait(asio::posix::descriptor_base::wait_read, [this](const std::error_code& error) {
    waiting_ = false;
    if (closed_) return;
    if (error) return pause(error.message());
    accept_all();
  });
  waiting_ = true;
}

void Listener::accept_all() {
  for (int i = 0; i < accepts_in_a_row; ++i) {
    if (!accept_one()) return;
  }
  wait();
}

bool Listener::accept_one() {
  UniqueFd socket(::accept4(io_->descriptor.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket.is_open()) {
    if (is_tcp_) prepare_tcp(socket.get(), keepalive_);
    try {
      Origin origin = origin_of(socket.get());
      origin.tls = is_tls_;
      if (!accepted_(std::move(socket), std::move(origin))) {
        held_ = true;
        return false;
      }
    } catch (const std::exception& error) {
      pause(error.what());
      return false;
    }
    return !closed_;
  }
  const int error = errno;
  if (error == EAGAIN || error == EWOULDBLOCK) {
    wait();
    return false;
  }
  // A connection that was gone before it was accepted, or what lies before it on the network.
  for (const int passing : {EINTR, ECONNABORTED, EPROTO, EPERM, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
                            EOPNOTSUPP, ENETUNREACH, ETIMEDOUT})
    if (error == passing) return true;
  pause(std::strerror(error));
  return false;
}

// The connection that can't be accepted stays in the queue, so the socket stays readable: waiting for that would spin.
void Listener::pause(std::string_view error) {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_complaint_ >= complaint_interval) {
    last_complaint_ = now;
    log_->warn("accept failed", {{"listener", name_},
                                 {"error", error},
                                 {"remedy", "raise the limit of open files, or lower limits.connections"}});
  }
  io_->timer.expires_after(pause_time);
  io_->timer.async_wait([this](const std::error_code& aborted) {
    waiting_ = false;
    if (aborted || closed_) return;
    accept_all();
  });
  waiting_ = true;
}

Listener::Origin Listener::origin_of(int socket) const {
  if (is_tcp_) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0)
      return {.address = "gone", .peer = "gone"};
    return {.address = text_of(address), .peer = peer_name_of_host(numeric(address).host)};
  }
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
    return {.address = "unix", .peer = "uid unknown"};
  // Another container's process has no number here.
  return {.address = peer.pid <= 0 ? "unix" : "unix pid " + std::to_string(peer.pid),
          .peer = "uid " + std::to_string(peer.uid)};
}

}  // namespace pageserver::server
