// How one thread ends another's poll(2).
#pragma once

#include "base/unique_fd.hpp"

namespace pageserver::client {

/// A descriptor that polls readable from wake() until reset(). Thread-safe.
class Wakeup {
public:
  /// Throws MemoryError provider_error when the process has no descriptor left.
  Wakeup();
  int fd() const noexcept { return fd_.get(); }
  void wake() noexcept;
  void reset() noexcept;

private:
  UniqueFd fd_;
};

}  // namespace pageserver::client
