// A place where clients connect: a TCP address or a Unix socket.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/unique_fd.hpp"
#include "server/config/config.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/worker.hpp"

namespace pageserver::server {

/// Lives on the front worker once started.
class Listener {
public:
  /// Where a connection comes from.
  struct Origin {
    std::string address;  ///< "192.0.2.7:40112", "unix pid 4711"
    std::string peer;     ///< see Peer::name()
    bool tls = false;     ///< it speaks TLS, or should
  };
  /// A new connection: its socket, which does not block, and where it comes from. What it throws ends this connection
  /// alone; the listener waits a moment and goes on. False: no more before accept_more().
  using Accepted = std::function<bool(UniqueFd socket, Origin origin)>;

  /// Binds and listens, or throws std::runtime_error naming the address and what is in the way. A descriptor that was
  /// passed is taken over as it is.
  static std::unique_ptr<Listener> tcp(const ListenAddress& address, std::chrono::milliseconds keepalive);
  /// A stale socket file, on which nobody answers, is replaced. The file of a descriptor that was passed stays: who
  /// made it removes it.
  static std::unique_ptr<Listener> local(const UnixListen& address);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  /// Closes; a Unix socket's file is removed when it is still the one that was made.
  ~Listener();

  bool is_tcp() const noexcept { return is_tcp_; }
  /// "127.0.0.1:6553" with the real port, or "unix:PATH".
  const std::string& name() const noexcept { return name_; }

  void start(Worker& front, Log& log, Accepted accepted);
  /// After Accepted said that there shall be no more for now; else it does nothing.
  void accept_more();
  /// Stops accepting: what waits to be accepted is reset.
  void close() noexcept;

private:
  struct Io;
  Listener();
  void wait();
  void accept_all();
  /// False when there is nothing more to accept now.
  bool accept_one();
  void pause(std::string_view error);
  void go_on();
  Origin origin_of(int socket) const;

  UniqueFd socket_;  ///< until io_ has it
  bool is_tcp_ = true;
  bool is_tls_ = false;
  std::string name_;
  std::string path_;  // of a Unix socket
  std::uint64_t device_ = 0;
  std::uint64_t inode_ = 0;
  std::chrono::milliseconds keepalive_{0};
  Log* log_ = nullptr;
  Accepted accepted_;
  std::unique_ptr<Io> io_;
  bool waiting_ = false;  ///< for a connection, or for the end of a pause
  bool held_ = false;     ///< until accept_more()
  bool closed_ = false;
  std::chrono::steady_clock::time_point last_complaint_;
};

}  // namespace pageserver::server
