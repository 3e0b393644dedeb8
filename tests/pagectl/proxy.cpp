#include "tests/pagectl/proxy.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <stdexcept>

#include "tests/support/process.hpp"
#include "tests/support/relay.hpp"

namespace pageserver::test {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

void set(int event) {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(event, &one, sizeof one));
}

}  // namespace

StallingProxy::StallingProxy(std::uint16_t port, std::uint64_t bytes) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = loopback(0);
  socklen_t length = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(listener_, 1) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw std::runtime_error("the proxy can't listen");
  }
  port_ = ntohs(address.sin_port);
  stop_ = ::eventfd(0, EFD_CLOEXEC);
  stalled_ = ::eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread(&StallingProxy::run, this, port, bytes);
}

StallingProxy::~StallingProxy() {
  set(stop_);
  thread_.join();
  for (const int file : {listener_, stop_, stalled_}) ::close(file);
}

void StallingProxy::run(std::uint16_t port, std::uint64_t bytes) {
  std::array<pollfd, 2> first{{{stop_, POLLIN, 0}, {listener_, POLLIN, 0}}};
  ::poll(first.data(), first.size(), -1);
  if (first[0].revents != 0) return;
  const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto address = loopback(port);
  bool open = ::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  std::array<pollfd, 3> all{{{stop_, POLLIN, 0}, {client, POLLIN, 0}, {server, POLLIN, 0}}};
  while (open && bytes > 0 && all[0].revents == 0) {
    ::poll(all.data(), all.size(), -1);
    const auto pass = [&](int from, int to) {
      const std::uint64_t passed = relay(from, to, bytes);
      bytes -= passed;
      open = passed != 0;
    };
    if (all[1].revents != 0) pass(client, server);
    if (open && bytes > 0 && all[2].revents != 0) pass(server, client);
  }
  if (bytes == 0) set(stalled_);
  ::poll(all.data(), 1, -1);
  ::close(client);
  ::close(server);
}

void StallingProxy::wait_until_stalled() {
  pollfd waiting{stalled_, POLLIN, 0};
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(patience).count();
  if (::poll(&waiting, 1, static_cast<int>(limit)) != 1) throw std::runtime_error("the proxy did not stall");
}

void StallingProxy::cut() { set(stop_); }

}  // namespace pageserver::test
