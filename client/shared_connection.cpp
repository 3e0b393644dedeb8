#include "client/shared_connection.hpp"

#include <poll.h>
#include <array>

namespace pageserver::client {

void SharedConnection::wait(std::unique_lock<std::mutex>& lock, const Batch& batch) {
  while (!batch.done()) {
    if (!driving_) {
      drive(lock, batch);
      continue;
    }
    // The driver may be asleep in poll(2) and not know that there is something to send.
    connection_.send_now();
    if (connection_.has_unsent()) wakeup_.wake();
    ++waiting_;
    changed_.wait(lock, [&] { return batch.done() || !driving_; });
    --waiting_;
  }
}

void SharedConnection::drive(std::unique_lock<std::mutex>& lock, const Batch& batch) {
  driving_ = true;
  for (;;) {
    const std::size_t completed = connection_.advance();
    if (batch.done()) break;
    if (completed > 0 && waiting_ > 0) changed_.notify_all();
    // What completed may have let something else out: look again before sleeping.
    if (completed == 0) wait_for_socket(lock);
  }
  driving_ = false;
  // Those whose requests are done return; one of the others drives on.
  if (waiting_ > 0) changed_.notify_all();
}

void SharedConnection::wait_for_socket(std::unique_lock<std::mutex>& lock) {
  std::array<pollfd, 2> polled{pollfd{connection_.socket(), connection_.poll_events(), 0},
                               pollfd{wakeup_.fd(), POLLIN, 0}};
  const auto deadline = connection_.next_deadline();
  timespec left{};
  if (deadline != never) left = timespec_until(deadline);
  lock.unlock();
  (void)::ppoll(polled.data(), polled.size(), deadline == never ? nullptr : &left, nullptr);
  lock.lock();
  if ((polled[1].revents & POLLIN) != 0) wakeup_.reset();
}

}  // namespace pageserver::client
