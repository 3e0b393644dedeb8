// A store's two lanes, and which of its tasks are on their way there already.
#pragma once

#include <atomic>
#include <utility>

#include "storage/engine/background.hpp"

namespace pageserver::storage {

/// A sync serves everybody who waits when it begins, and a look at the image what was changed until then: so one of
/// each on its way is enough. From any thread. Without the engine's mutex it is cheaper: the lane's thread would wake
/// up to wait for that.
class Lanes {
public:
  /// Both outlive this.
  Lanes(Background& sync_lane, Background& checkpoint_lane) noexcept
      : sync_lane_{sync_lane}, checkpoint_lane_{checkpoint_lane} {}

  /// Submits the task of a sync, unless one is on its way that has not begun.
  void submit_sync(Background::Ready ready) noexcept {
    if (!sync_scheduled_.exchange(true)) sync_lane_.submit_ready(std::move(ready));
  }
  bool sync_scheduled() const noexcept { return sync_scheduled_; }
  /// A sync begins: whoever wants one from now on needs the next.
  void sync_begins() noexcept { sync_scheduled_ = false; }

  /// True for the one that is to submit the task that settles the image, by submit_to_sync_lane(); false while that is
  /// on its way.
  bool claim_settling() noexcept { return !settling_scheduled_.exchange(true); }
  /// It begins, or could not be submitted.
  void settling_begins() noexcept { settling_scheduled_ = false; }

  void submit_to_sync_lane(Background::Ready ready) noexcept { sync_lane_.submit_ready(std::move(ready)); }
  void submit_to_checkpoint_lane(Background::Ready ready) noexcept { checkpoint_lane_.submit_ready(std::move(ready)); }

private:
  Background& sync_lane_;
  Background& checkpoint_lane_;
  std::atomic<bool> sync_scheduled_{false};
  std::atomic<bool> settling_scheduled_{false};
};

}  // namespace pageserver::storage
