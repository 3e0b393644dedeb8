// How a connection is made.
//
// A Unix socket connects at once; where the daemon's backlog is full, dial() asks again every few milliseconds. For TCP
// the name is resolved on a thread of its own, and the addresses are tried one after the other. Each gets an equal part
// of the time that is left, so that one that never answers leaves time for the others. The error names every address.
#include "client/wire/dial.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <algorithm>
#include <asio.hpp>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <pageserver/error.hpp>

#include "base/mutex.hpp"
#include "client/wire/connection.hpp"
#include "client/wire/error_text.hpp"

namespace pageserver::client {
namespace {

using Addresses = std::vector<asio::ip::tcp::endpoint>;

[[noreturn]] void fail(const Endpoint& endpoint, Errc code, const std::string& message) {
  throw MemoryError{code, error_text(endpoint.uri(), "connect", message)};
}

/// What getaddrinfo answered, on its way from the thread that asked.
struct Lookup {
  Mutex mutex;
  CondVar changed;
  bool done PAGESERVER_GUARDED_BY(mutex) = false;
  int error PAGESERVER_GUARDED_BY(mutex) = 0;
  Addresses addresses PAGESERVER_GUARDED_BY(mutex);
};

Addresses addresses_of(const addrinfo* entry) {
  Addresses addresses;
  for (; entry != nullptr; entry = entry->ai_next) {
    asio::ip::tcp::endpoint address;
    if (entry->ai_addrlen > address.capacity()) continue;
    address.resize(entry->ai_addrlen);
    std::memcpy(address.data(), entry->ai_addr, entry->ai_addrlen);
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
  }
  return addresses;
}

/// Runs on a thread of its own: an exception would end the program.
void look_up(const std::shared_ptr<Lookup>& lookup, const std::string& host, const std::string& port) noexcept {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  Addresses addresses;
  try {
    addresses = addresses_of(found);
  } catch (const std::exception&) {
    error = EAI_MEMORY;
  }
  if (found != nullptr) ::freeaddrinfo(found);
  const Lock lock{lookup->mutex};
  lookup->error = error;
  lookup->addresses = std::move(addresses);
  lookup->done = true;
  lookup->changed.notify_all();
}

/// getaddrinfo can't be interrupted and a name server may take minutes: a thread of its own asks, and is left to
/// itself when time is up. (Asio's resolver does the same, but waits for its thread at the end.)
Addresses resolve(const Endpoint& endpoint, Deadline deadline) {
  asio::error_code error;
  const auto numeric = asio::ip::make_address(endpoint.host, error);
  if (!error) return {asio::ip::tcp::endpoint{numeric, endpoint.port}};
  const auto lookup = std::make_shared<Lookup>();
  try {
    std::thread{look_up, lookup, endpoint.host, std::to_string(endpoint.port)}.detach();
  } catch (const std::system_error& failed) {
    fail(endpoint, Errc::provider_error, std::string{"no thread to resolve the name with: "} + failed.what());
  }
  Lock lock{lookup->mutex};
  if (!lookup->changed.wait_until(lock, deadline, [&]() PAGESERVER_REQUIRES(lookup->mutex) { return lookup->done; }))
    fail(endpoint, Errc::timed_out, "the name " + endpoint.host + " could not be resolved in time");
  if (lookup->error != 0 || lookup->addresses.empty())
    fail(endpoint, Errc::connection_lost,
         "the name " + endpoint.host + " could not be resolved: " + ::gai_strerror(lookup->error));
  return std::move(lookup->addresses);
}

/// 0 once the connection that is being made is, else why not: ETIMEDOUT when `deadline` passed first.
int await_connection(int fd, Deadline deadline) {
  for (;;) {
    pollfd polled{fd, POLLOUT, 0};
    const auto left = timespec_until(deadline);
    const int ready = ::ppoll(&polled, 1, deadline == never ? nullptr : &left, nullptr);
    if (ready < 0 && errno != EINTR) return errno;
    if (ready > 0) break;
    if (ready == 0 && Clock::now() >= deadline) return ETIMEDOUT;
  }
  int error = 0;
  socklen_t length = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

/// Connects until `deadline`; an empty error is success, ETIMEDOUT says that it passed.
UniqueFd connect_tcp(const asio::ip::tcp::endpoint& address, Deadline deadline, asio::error_code& error) {
  const auto protocol = address.protocol();
  UniqueFd fd{::socket(protocol.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol.protocol())};
  int failed = 0;
  if (fd.get() < 0 || ::connect(fd.get(), address.data(), static_cast<socklen_t>(address.size())) != 0) failed = errno;
  // A signal does not end it either: it goes on by itself.
  if (failed == EINPROGRESS || failed == EINTR) failed = await_connection(fd.get(), deadline);
  error.assign(failed, asio::error::get_system_category());
  return fd;
}

void set_tcp_options(int fd) {
  // Requests are small and waited for; and a host that is gone without a word is found within minutes, not hours.
  const auto set = [fd](int level, int option, int value) {
    (void)::setsockopt(fd, level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 15);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

std::string text_of(const asio::ip::tcp::endpoint& address) {
  const auto host = address.address().to_string();
  return (address.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(address.port());
}

/// When the first of `addresses` has had its part of the time that is left.
Deadline share_of(Deadline deadline, std::size_t addresses) {
  if (deadline == never) return never;
  const auto now = Clock::now();
  return now + std::max(deadline - now, Clock::duration::zero()) / addresses;
}

UniqueFd dial_tcp(const Endpoint& endpoint, Deadline deadline) {
  const auto addresses = resolve(endpoint, deadline);
  std::string tried;
  bool all_timed_out = true;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    asio::error_code error;
    auto fd = connect_tcp(addresses[i], share_of(deadline, addresses.size() - i), error);
    if (!error) {
      set_tcp_options(fd.get());
      return fd;
    }
    all_timed_out = all_timed_out && error == asio::error::timed_out;
    tried += (tried.empty() ? "" : ", ") + text_of(addresses[i]) + " (" + error.message() + ")";
  }
  if (all_timed_out) fail(endpoint, Errc::timed_out, "no answer from " + tried + "; see connect_timeout in the URI");
  fail(endpoint, Errc::connection_lost, "tried " + tried + "; is pageserverd running there?");
}

/// A Unix socket connects at once or not at all: errno is the answer, EAGAIN a full backlog.
UniqueFd connect_unix(const std::string& path, int& error) {
  UniqueFd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  int result = fd.get();
  while (result >= 0 &&
         (result = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address)) < 0 &&
         errno == EINTR)
    result = 0;
  error = result < 0 ? errno : 0;
  return fd;
}

UniqueFd dial_unix(const Endpoint& endpoint, Deadline deadline) {
  constexpr std::size_t path_bytes_max = sizeof(sockaddr_un::sun_path) - 1;
  const auto& path = endpoint.socket_path;
  if (path.size() > path_bytes_max)
    fail(endpoint, Errc::invalid_argument,
         "the socket's path has " + std::to_string(path.size()) + " bytes, at most " + std::to_string(path_bytes_max) +
             " are possible");
  for (;;) {
    int error = 0;
    auto fd = connect_unix(path, error);
    if (error == 0) return fd;
    if (error == EACCES || error == EPERM)
      fail(endpoint, Errc::permission_denied, system_text(error) + "; see the mode of the socket and of its folders");
    if (error != EAGAIN) fail(endpoint, Errc::connection_lost, system_text(error) + "; is pageserverd running there?");
    const auto left = deadline - Clock::now();
    if (left <= Clock::duration::zero())
      fail(endpoint, Errc::timed_out, "the daemon took no connection in time; see connect_timeout in the URI");
    // There is nothing to wait on for room in a backlog, so ask again shortly.
    std::this_thread::sleep_for(std::min<Clock::duration>(left, std::chrono::milliseconds{5}));
  }
}

}  // namespace

UniqueFd dial(const Endpoint& endpoint, Deadline deadline) {
  return endpoint.is_unix() ? dial_unix(endpoint, deadline) : dial_tcp(endpoint, deadline);
}

}  // namespace pageserver::client
