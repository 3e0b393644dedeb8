#include "client/wire/shared_connection.hpp"

namespace pageserver::client {

void SharedConnection::wait(const Batch& batch) {
  while (!batch.done()) {
    if (!driving_) {
      drive(batch);
      continue;
    }
    // The driver may be asleep and not know that there is something to send.
    several_threads_ = true;
    connection_.send_now();
    if (connection_.has_unsent()) wakeup_.wake();
    ++waiting_;
    changed_.wait(mutex_, [&]() PAGESERVER_REQUIRES(mutex_) { return batch.done() || !driving_; });
    --waiting_;
  }
}

// Connection::await() is the one call that others may submit beside.
Connection::Arrival SharedConnection::await_unlocked(const Connection::Wait& wait) {
  const Unlocked unlocked{mutex_};
  return connection().await(wait);
}

void SharedConnection::drive(const Batch& batch) {
  driving_ = true;
  std::size_t completed = connection_.push();
  bool again = false;
  while (!batch.done()) {
    if (completed > 0 && waiting_ > 0) changed_.notify_all();
    // A thread alone may sleep in recvmsg(2) for some milliseconds, where it can't be woken: so long may the first
    // thread that comes beside it have to wait, once, to send more than the socket takes.
    auto wait = connection_.plan_wait(never, wakeup_.fd());
    if (again) wait.only_sleep();
    if (several_threads_) wait.may_block = false;
    const auto arrival = await_unlocked(wait);
    if (arrival.woken) wakeup_.reset();
    again = arrival.got.would_block && !arrival.room;
    completed = connection_.take(arrival);
    // What completed may have let something else out, and another thread may have left something to send.
    if (!batch.done()) completed += connection_.push();
  }
  connection_.rest();
  driving_ = false;
  // Those whose requests are done return; one of the others drives on.
  if (waiting_ > 0) changed_.notify_all();
}

}  // namespace pageserver::client
