#include "server/runtime/later.hpp"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <exception>
#include <system_error>
#include <utility>

#include "server/runtime/worker.hpp"

namespace pageserver::server {

struct Later::Io {
  explicit Io(asio::io_context& context) : timer(context) {}
  asio::steady_timer timer;
  bool waits = false;
  std::uint64_t begun = 0;
};

Later::Later(Worker& worker) : io_(std::make_shared<Io>(worker.context())) {}

// Its handler may still be on its way.
Later::~Later() { cancel(); }

bool Later::waits() const noexcept { return io_->waits; }

void Later::begin(std::chrono::milliseconds time, std::function<void()> task) {
  if (io_->waits) return;
  io_->timer.expires_after(time);
  io_->timer.async_wait([io = io_, number = ++io_->begun, task = std::move(task)](const std::error_code& error) {
    // Without an error where it was cancelled when its time was over already.
    if (error || !io->waits || io->begun != number) return;
    io->waits = false;
    task();
  });
  io_->waits = true;
}

void Later::cancel() noexcept {
  io_->waits = false;
  try {
    io_->timer.cancel();
  } catch (const std::exception&) {
    // It finds that nothing waits.
  }
}

}  // namespace pageserver::server
