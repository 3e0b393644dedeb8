#include "server/runtime/handshakes.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <system_error>

namespace pageserver::server {

void Handshakes::start(std::size_t processors, Log& log) try {
  const std::size_t count = std::max<std::size_t>(1, processors / 4);
  workers_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    workers_.push_back(std::make_shared<Worker>("handshakes " + std::to_string(i), log));
    workers_.back()->start();
  }
} catch (const std::system_error& error) {
  if (error.code() != std::errc::resource_unavailable_try_again) throw;
  throw std::runtime_error(
      "TLS needs " + std::to_string(std::max<std::size_t>(1, processors / 4)) +
      " threads for handshakes, and the system gives fewer (" + error.code().message() +
      "); raise the limit of threads: pids_limit of a container, TasksMax of a service, ulimit -u");
}

void Handshakes::end() noexcept {
  for (const auto& worker : workers_) worker->stop();
  for (const auto& worker : workers_) worker->join();
}

void Handshakes::drain() {
  for (const auto& worker : workers_) worker->drain();
}

}  // namespace pageserver::server
