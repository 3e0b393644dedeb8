// Stands between a client and a daemon, and cuts the connection after so many bytes.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/relay.hpp"

namespace pageserver::test {

/// Passes connections on to the Unix socket `target`, one after the other.
class CutProxy {
public:
  struct Bytes {
    std::uint64_t to_daemon = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t to_client = std::numeric_limits<std::uint64_t>::max();
  };

  CutProxy(std::string path, std::string target) : path_{std::move(path)}, target_{std::move(target)} {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = address_of(path_);
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 8) != 0 || ::pipe(stop_.data()) != 0 || ::pipe(drop_.data()) != 0)
      throw std::runtime_error{"the proxy can't listen"};
    thread_ = std::thread{[this] { run(); }};
  }
  CutProxy(const CutProxy&) = delete;
  CutProxy& operator=(const CutProxy&) = delete;
  ~CutProxy() {
    ::close(stop_[1]);
    thread_.join();
    ::close(stop_[0]);
    ::close(drop_[0]);
    ::close(drop_[1]);
    for (const int fd : half_dead_) ::close(fd);
    ::close(listener_);
  }

  /// The next connection is cut once one of the two has passed. No connection is open now.
  void cut_after(Bytes bytes) {
    while (busy_) std::this_thread::yield();
    once_ = half_ = false;
    limit_ = bytes;
    passed_ = {0, 0};
  }
  /// As cut_after(), but for the next connection alone. With `half`, only the client's side of it is closed, as when
  /// its host vanished: the daemon's stays open until the proxy ends, and takes nothing any more.
  void cut_once_after(Bytes bytes, bool half = false) {
    cut_after(bytes);
    once_ = true;
    half_ = half;
  }
  /// Cuts the connection that is open, now; the next one passes.
  void drop() {
    dropped_ = true;
    const char now = 'd';
    if (::write(drop_[1], &now, 1) != 1) throw std::runtime_error{"the proxy can't be told"};
    while (dropped_) std::this_thread::yield();
  }
  /// What passed since cut_after().
  Bytes passed() {
    while (busy_) std::this_thread::yield();
    return passed_;
  }
  const std::string& path() const { return path_; }

private:
  static sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) throw std::runtime_error{"a path too long for a socket: " + path};
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
  }

  void run() {
    for (;;) {
      std::array<pollfd, 2> waits{{{stop_[0], POLLIN, 0}, {listener_, POLLIN, 0}}};
      ::poll(waits.data(), waits.size(), -1);
      if (waits[0].revents != 0) return;
      busy_ = true;
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      const int daemon = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const auto address = address_of(target_);
      if (::connect(daemon, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) serve(client, daemon);
      ::close(client);
      const bool keeps = half_ && once_ && is_cut();
      if (keeps)
        half_dead_.push_back(daemon);
      else
        ::close(daemon);
      if (once_ && is_cut()) limit_ = Bytes{};
      busy_ = false;
    }
  }

  bool is_cut() const { return passed_.to_daemon >= limit_.to_daemon || passed_.to_client >= limit_.to_client; }

  void serve(int client, int daemon) {
    while (!is_cut()) {
      std::array<pollfd, 4> waits{
          {{stop_[0], POLLIN, 0}, {client, POLLIN, 0}, {daemon, POLLIN, 0}, {drop_[0], POLLIN, 0}}};
      ::poll(waits.data(), waits.size(), -1);
      if (waits[0].revents != 0) return;
      if (waits[3].revents != 0) {
        char now = 0;
        (void)!::read(drop_[0], &now, 1);
        dropped_ = false;
        return;
      }
      if (waits[1].revents != 0 && !pass(client, daemon, limit_.to_daemon, passed_.to_daemon)) return;
      if (waits[2].revents != 0 && !pass(daemon, client, limit_.to_client, passed_.to_client)) return;
    }
  }

  static bool pass(int from, int to, std::uint64_t limit, std::uint64_t& passed) {
    const std::uint64_t now = relay(from, to, limit - passed);
    passed += now;
    return now != 0;
  }

  const std::string path_;
  const std::string target_;
  int listener_ = -1;
  std::array<int, 2> stop_{};
  std::array<int, 2> drop_{};
  std::atomic<bool> dropped_{false};
  std::atomic<bool> busy_{false};
  // Of the thread while it is busy.
  Bytes limit_;
  Bytes passed_{0, 0};
  bool once_ = false;
  bool half_ = false;
  std::vector<int> half_dead_;
  std::thread thread_;
};

}  // namespace pageserver::test
