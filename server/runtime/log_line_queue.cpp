#include "server/runtime/log_line_queue.hpp"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.hpp"

namespace pageserver::server {

struct LogLineQueue::State {
  const int descriptor;
  const std::size_t bytes_max;
  const Notice notice;

  Mutex mutex;
  CondVar changed;
  std::vector<std::string> lines PAGESERVER_GUARDED_BY(mutex);
  std::size_t bytes PAGESERVER_GUARDED_BY(mutex) = 0;  ///< of `lines`
  std::uint64_t dropped PAGESERVER_GUARDED_BY(mutex) = 0;
  std::uint64_t dropped_ever PAGESERVER_GUARDED_BY(mutex) = 0;
  bool writing PAGESERVER_GUARDED_BY(mutex) = false;  ///< the thread has lines in hand
  bool ending PAGESERVER_GUARDED_BY(mutex) = false;

  State(int to, std::size_t bytes_at_most, Notice of_dropped)
      : descriptor{to}, bytes_max{bytes_at_most}, notice{std::move(of_dropped)} {}
};

namespace {

// False when the descriptor does not take it. A pipe that poll() calls writable takes PIPE_BUF bytes without blocking.
bool write_text(int descriptor, std::string_view text) {
  while (!text.empty()) {
    pollfd ready{descriptor, POLLOUT, 0};
    if (::poll(&ready, 1, -1) < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    const ssize_t put = ::write(descriptor, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (put > 0) text.remove_prefix(static_cast<std::size_t>(put));
    if (put < 0 && errno != EINTR && errno != EAGAIN) return false;
  }
  return true;
}

}  // namespace

LogLineQueue::LogLineQueue(int descriptor, std::size_t bytes_max, Notice notice)
    : state_(std::make_shared<State>(descriptor, bytes_max, std::move(notice))) {
  std::thread([state = state_] {
    ::pthread_setname_np(::pthread_self(), "log");
    write_lines(state);
  }).detach();
}

LogLineQueue::~LogLineQueue() {
  drain(std::chrono::seconds(1));
  const Lock lock{state_->mutex};
  state_->ending = true;
  state_->changed.notify_all();
}

void LogLineQueue::push(std::string line) noexcept {
  const Lock lock{state_->mutex};
  try {
    if (state_->bytes + line.size() <= state_->bytes_max) {
      state_->lines.push_back(std::move(line));
      state_->bytes += state_->lines.back().size();
      state_->changed.notify_all();
      return;
    }
  } catch (const std::exception&) {
    // Out of memory is one more reason to drop a line.
  }
  ++state_->dropped;
  ++state_->dropped_ever;
}

void LogLineQueue::drop() noexcept {
  const Lock lock{state_->mutex};
  ++state_->dropped;
  ++state_->dropped_ever;
}

std::uint64_t LogLineQueue::dropped() const noexcept {
  const Lock lock{state_->mutex};
  return state_->dropped_ever;
}

void LogLineQueue::drain(std::chrono::milliseconds limit) noexcept {
  Lock lock{state_->mutex};
  state_->changed.wait_for(
      lock, limit, [&]() PAGESERVER_REQUIRES(state_->mutex) { return state_->lines.empty() && !state_->writing; });
}

void LogLineQueue::write_lines(const std::shared_ptr<State>& state) noexcept {
  std::vector<std::string> lines;
  Lock lock{state->mutex};
  for (;;) {
    state->changed.wait(lock,
                        [&]() PAGESERVER_REQUIRES(state->mutex) { return !state->lines.empty() || state->ending; });
    if (state->lines.empty()) return;
    lines.swap(state->lines);
    state->bytes = 0;
    state->writing = true;
    std::uint64_t dropped = std::exchange(state->dropped, 0);
    lock.unlock();
    std::uint64_t refused = 0;
    for (const std::string& line : lines) refused += write_text(state->descriptor, line) ? 0u : 1u;
    dropped += refused;
    lines.clear();
    // After what stood before the gap. What the descriptor refuses now is said once it takes lines again.
    if (dropped != 0) {
      try {
        if (write_text(state->descriptor, state->notice(dropped))) dropped = 0;
      } catch (const std::exception&) {
        // Said with the next lines.
      }
    }
    lock.lock();
    state->dropped += dropped;
    state->dropped_ever += refused;
    state->writing = false;
    state->changed.notify_all();
  }
}

}  // namespace pageserver::server
