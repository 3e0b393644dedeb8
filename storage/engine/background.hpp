// A lane: where a store's slow work runs.
#pragma once

#include <functional>
#include <list>
#include <utility>

namespace pageserver::storage {

/// Runs tasks one after the other, in the order given, never inside submit(). A store has one lane for syncs and one
/// for checkpoints: neither waits for the other, and no caller waits for either. The daemon's lanes run on threads of a
/// pool; in the simulation a lane is a queue that the test steps through.
class Background {
public:
  Background() = default;
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  virtual ~Background() = default;

  /// A task, with the memory that its place in the queue takes; or nothing.
  using Ready = std::list<std::function<void()>>;

  /// Takes over `task`, which must not throw. Callable from any thread, also from inside a task.
  void submit(std::function<void()> task) {
    Ready ready;
    ready.push_back(std::move(task));
    submit_ready(std::move(ready));
  }
  /// The same without taking memory, for callers that may not fail any more: they make the task ready before.
  virtual void submit_ready(Ready task) noexcept = 0;
};

}  // namespace pageserver::storage
