#include "client/dial.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <algorithm>
#include <asio.hpp>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <pageserver/error.hpp>

#include "client/error_mapping.hpp"

namespace pageserver::client {
namespace {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;
using Addresses = std::vector<asio::ip::tcp::endpoint>;

[[noreturn]] void fail(const Endpoint& endpoint, Errc code, const std::string& message) {
  throw MemoryError{code, error_text(endpoint.uri(), "connect", message)};
}

/// What getaddrinfo answered, on its way from the thread that asked.
struct Lookup {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  int error = 0;
  Addresses addresses;
};

void look_up(const std::shared_ptr<Lookup>& lookup, const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  Addresses addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    asio::ip::tcp::endpoint address;
    if (entry->ai_addrlen > address.capacity()) continue;
    address.resize(entry->ai_addrlen);
    std::memcpy(address.data(), entry->ai_addr, entry->ai_addrlen);
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
  }
  if (found != nullptr) ::freeaddrinfo(found);
  const std::lock_guard lock{lookup->mutex};
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
    std::thread{look_up, lookup, endpoint.host, endpoint.port}.detach();
  } catch (const std::system_error& failed) {
    fail(endpoint, Errc::provider_error, std::string{"no thread to resolve the name with: "} + failed.what());
  }
  std::unique_lock lock{lookup->mutex};
  if (!lookup->changed.wait_until(lock, deadline, [&] { return lookup->done; }))
    fail(endpoint, Errc::timed_out, "the name " + endpoint.host + " could not be resolved in time");
  if (lookup->error != 0 || lookup->addresses.empty())
    fail(endpoint, Errc::connection_lost,
         "the name " + endpoint.host + " could not be resolved: " + ::gai_strerror(lookup->error));
  return std::move(lookup->addresses);
}

/// Connects within `limit`; an empty error is success. asio::error::timed_out when the limit passed.
UniqueFd connect_tcp(const asio::ip::tcp::endpoint& address, Clock::duration limit, asio::error_code& error) {
  // Not Asio's own open(): the descriptor must be closed on exec from its first moment.
  const auto protocol = address.protocol();
  UniqueFd fd{::socket(protocol.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol.protocol())};
  if (fd.get() < 0) {
    error.assign(errno, asio::error::get_system_category());
    return fd;
  }
  asio::io_context context{1};
  asio::ip::tcp::socket socket{context};
  socket.assign(protocol, fd.get(), error);
  if (error) return {};
  (void)fd.release();
  bool done = false;
  socket.async_connect(address, [&](const asio::error_code& result) {
    error = result;
    done = true;
  });
  context.run_for(limit);
  if (!done) {
    asio::error_code ignored;
    socket.close(ignored);
    context.restart();
    context.run();
    error = asio::error::timed_out;
    return {};
  }
  if (error) return {};
  return UniqueFd{socket.release(error)};
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

UniqueFd dial_tcp(const Endpoint& endpoint, Deadline deadline) {
  const auto addresses = resolve(endpoint, deadline);
  std::string tried;
  bool all_timed_out = true;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const auto left = std::max(deadline - Clock::now(), Clock::duration::zero());
    asio::error_code error;
    auto fd = connect_tcp(addresses[i], left / (addresses.size() - i), error);
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
  try {
    return endpoint.is_unix() ? dial_unix(endpoint, deadline) : dial_tcp(endpoint, deadline);
  } catch (const MemoryError&) {
    throw;
  } catch (const std::system_error& error) {
    // Asio's own: no descriptor left for its event loop, above all.
    fail(endpoint, Errc::provider_error, error.what());
  }
}

}  // namespace pageserver::client
