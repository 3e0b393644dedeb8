// Where a store's slow work runs.
#pragma once

#include <functional>

namespace pageserver::storage {

/// Runs tasks one after the other, in the order given, never inside submit(). A store has one lane for syncs and one
/// for checkpoints, so that neither waits for the other and no caller waits for either. The daemon's lanes are threads;
/// a simulation's lane is a queue that the test steps through.
class Background {
public:
  Background() = default;
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  virtual ~Background() = default;

  /// Takes over `task`, which must not throw. Callable from any thread, also from inside a task.
  virtual void submit(std::function<void()> task) = 0;
};

}  // namespace pageserver::storage
