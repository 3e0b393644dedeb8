// Signals that ask for the stop of a daemon that other threads may just be making, or taking down.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/mutex.hpp"

namespace pageserver::server {

/// Threads: any. What is called runs while nobody else is inside: it need not fear for what it uses.
class StopRequest {
public:
  enum class Heard : std::uint8_t { first, again, ended };

  bool asked() const noexcept { return asked_; }
  /// The daemon has come to its end in order.
  bool ended() const noexcept { return ended_; }
  /// The signal that asked first; 0: none did.
  int number() const noexcept { return number_; }

  /// A signal asks: `act` gets what it is told by that.
  template <class Act>
  void hear(int number, const Act& act) {
    const Lock lock{mutex_};
    if (ended_) return act(Heard::ended);
    if (asked_.exchange(true)) return act(Heard::again);
    number_ = number;
    act(Heard::first);
  }
  /// `say` is the last that is said in order.
  template <class Say>
  void end(const Say& say) {
    const Lock lock{mutex_};
    say();
    ended_ = true;
  }
  /// From here on a signal finds nothing to stop in order.
  void leave() noexcept {
    const Lock lock{mutex_};
    asked_ = true;
  }

private:
  Mutex mutex_;
  std::atomic<bool> asked_{false};
  std::atomic<bool> ended_{false};
  std::atomic<int> number_{0};
};

}  // namespace pageserver::server
