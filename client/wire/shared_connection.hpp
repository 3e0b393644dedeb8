// One connection for several threads that block: the first thread that waits drives it for all.
//
//   thread A   run: submit, unlock ... drive: await the socket without the lock ... lock, take, complete ... done
//   thread B          run: submit, send_now, wait for A ................................ done, if its answers came
//   thread C                 run: submit, send_now, wait ................................ drives on for the rest
//
// There is no thread of the library's own: the driver runs everybody's completions, under the lock, and each of these
// finishes the Batch of the call that submitted it. When the driver's own batch is done it leaves, and one of the
// threads that wait drives on. Only the driver may end the connection, since it looks at the socket without the lock;
// others may send meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

#include "base/mutex.hpp"
#include "client/wire/connection.hpp"
#include "client/wire/wakeup.hpp"

namespace pageserver::client {

/// Requests of one call that are waited for together. Lives on the caller's stack until all of them ended, so each
/// completion must finish it, and must not throw: another thread may be the one that runs it.
class Batch {
public:
  Batch() = default;
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  void add() noexcept { ++outstanding_; }
  /// One request ended; the first error is kept.
  void finish(const MemoryError* error) noexcept {
    --outstanding_;
    if (error != nullptr && !error_) error_ = std::make_exception_ptr(*error);
  }
  /// As finish(), with what handling the answer threw.
  void finish_with(std::exception_ptr error) noexcept {
    --outstanding_;
    if (!error_) error_ = std::move(error);
  }
  bool done() const noexcept { return outstanding_ == 0; }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

private:
  std::size_t outstanding_ = 0;
  std::exception_ptr error_;
};

/// Threads: any number at the same time. A call's requests are submitted together under the lock, so that calls take
/// effect one after the other, each as a whole, while the requests of many are in flight.
class SharedConnection {
public:
  SharedConnection(const Endpoint& endpoint, const ConnectionOptions& options) : connection_{endpoint, options} {}

  /// Runs `submit(connection, batch)` under the lock and waits for what it added to the batch. Throws what `submit`
  /// threw (once what it had submitted before has ended), else the batch's first error.
  template <class Submit>
  void run(Submit submit) PAGESERVER_EXCLUDES(mutex_) {
    // Before the lock: in a child after fork(2) a thread of the parent may have held it.
    if (is_forked()) connection().check_usable(proto::Operation::close);
    const Lock lock{mutex_};
    Batch batch;
    std::exception_ptr failed;
    try {
      submit(connection_, batch);
    } catch (...) {
      failed = std::current_exception();
    }
    if (!batch.done()) {
      ++round_trips_;
      wait(batch);
    }
    if (failed) std::rethrow_exception(failed);
    batch.rethrow();
  }

  /// As run(), for what needs no round trip: takes in what the daemon has said meanwhile, so that a lost lease or a
  /// closed connection is known, and throws as a request of `operation` would.
  template <class Local>
  void look(proto::Operation operation, Local local) PAGESERVER_EXCLUDES(mutex_) {
    run([&](Connection& connection, Batch&) {
      mutex_.assert_held();
      if (!driving_ && !connection.ended()) connection.advance();
      connection.check_usable(operation);
      local();
    });
  }

  /// How many calls waited for the daemon. Inside run() only.
  std::uint64_t round_trips() const noexcept PAGESERVER_REQUIRES(mutex_) { return round_trips_; }
  /// The lock under which `submit` and all completions run: it guards what they share.
  const Mutex& mutex() const PAGESERVER_RETURN_CAPABILITY(mutex_) { return mutex_; }
  /// For `submit` and completions, which clang takes for functions that hold nothing.
  void assert_held() const PAGESERVER_ASSERT_HELD(mutex_) {}

  bool is_forked() const noexcept { return connection().is_forked(); }
  /// Without the lock: only before or after all threads, for opening and closing, or for what never changes once the
  /// connection is open, such as server() and is_forked().
  Connection& connection() noexcept PAGESERVER_NO_THREAD_SAFETY_ANALYSIS { return connection_; }
  const Connection& connection() const noexcept PAGESERVER_NO_THREAD_SAFETY_ANALYSIS { return connection_; }

private:
  void wait(const Batch& batch) PAGESERVER_REQUIRES(mutex_);
  void drive(const Batch& batch) PAGESERVER_REQUIRES(mutex_);
  Connection::Arrival await_unlocked(const Connection::Wait& wait) PAGESERVER_REQUIRES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  Connection connection_ PAGESERVER_GUARDED_BY(mutex_);
  Wakeup wakeup_;
  std::uint64_t round_trips_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  // A thread is in drive(): only it may end the connection, since it polls the socket.
  bool driving_ PAGESERVER_GUARDED_BY(mutex_) = false;
  std::size_t waiting_ PAGESERVER_GUARDED_BY(mutex_) = 0;  // threads that wait for the driver
  // One thread has met another in here: from then on a driver sleeps where it can be woken.
  bool several_threads_ PAGESERVER_GUARDED_BY(mutex_) = false;
};

}  // namespace pageserver::client
