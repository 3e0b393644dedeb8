// Whether it pays to poll for the next message before sleeping for it: at the client answers, at the daemon requests.
// Pure: it is told what each wait took.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace pageserver::base {

/// The longest time that a connection polls, where `poll_us` is `auto`, in microseconds.
inline constexpr std::uint32_t poll_us_auto = 100;
/// The most that `poll_us=` may ask for, in microseconds.
inline constexpr std::uint32_t poll_us_max = 1000;

/// What `poll_us` means where this process can use `processors` of them: `auto` (empty) is poll_us_auto, and 0 where
/// there is one, since polling would keep the peer from answering. A number means itself, at most poll_us_max.
std::chrono::nanoseconds poll_bound(std::optional<std::uint32_t> poll_us, unsigned processors);

/// Keeps an estimate of how long waits take lately. While that is below the bound, a wait begins with polling for at
/// most the bound; a few long waits in a row end it, and a few short ones begin it again.
///
/// Threads: one at a time.
class PollBudget {
public:
  using Duration = std::chrono::nanoseconds;

  explicit PollBudget(Duration bound) : bound_{bound} {}

  /// For how long the next wait should poll; zero: not at all.
  Duration window() const { return estimate_ < bound_ ? bound_ : Duration::zero(); }
  /// False: no wait will ever poll, and record() need not be called.
  bool is_on() const { return bound_ > Duration::zero(); }
  /// A wait, by polling or sleeping, has taken this long.
  void record(Duration waited);

private:
  Duration bound_;
  Duration estimate_{};  // starts at "short": the first waits find out
};

}  // namespace pageserver::base
