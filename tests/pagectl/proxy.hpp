// A man in the middle that stops passing bytes on: a network that hangs at a place that the test chooses.
#pragma once

#include <cstdint>
#include <thread>

namespace pageserver::test {

class StallingProxy {
public:
  /// Listens on a loopback port and passes one connection on to 127.0.0.1:`port`. After `bytes`, both directions
  /// together, nothing passes any more.
  StallingProxy(std::uint16_t port, std::uint64_t bytes);
  StallingProxy(const StallingProxy&) = delete;
  StallingProxy& operator=(const StallingProxy&) = delete;
  ~StallingProxy();

  std::uint16_t port() const { return port_; }
  /// Returns once the proxy has stalled. Throws after `patience`.
  void wait_until_stalled();
  /// Closes both connections.
  void cut();

private:
  void run(std::uint16_t port, std::uint64_t bytes);

  int listener_ = -1;
  int stop_ = -1;     // eventfd: the destructor ends the thread
  int stalled_ = -1;  // eventfd
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace pageserver::test
