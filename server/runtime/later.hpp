// Something that is done on a worker's loop after a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace pageserver::server {

class Worker;

/// Lives on the worker, or where its loop does not run.
class Later {
public:
  /// `worker` outlives it. Takes the room that it needs.
  explicit Later(Worker& worker);
  Later(const Later&) = delete;
  Later& operator=(const Later&) = delete;
  ~Later();

  /// Something waits for its time.
  bool waits() const noexcept;
  /// `task` runs once the time is over, unless something waits already. Throws, having done nothing, where there is no
  /// memory.
  void begin(std::chrono::milliseconds time, std::function<void()> task);
  /// What waits is not done any more.
  void cancel() noexcept;

private:
  struct Io;
  const std::shared_ptr<Io> io_;
};

}  // namespace pageserver::server
