#include "server/orderly_stop.hpp"

#include <utility>

namespace pageserver::server {

void OrderlyStop::begin(std::string_view why) {
  if (stopping_.exchange(true)) return;
  steps_.begun();
  log_.info("stopping", {{"reason", why}, {"connections", connections_.count()}});
  go_on();
}

void OrderlyStop::go_on() {
  if (!stopping_) return;
  steps_.close_doors();
  // Half of the grace is for the clients, the rest for the disk.
  patience_.begin(half_over_ ? grace_ - grace_ / 2 : grace_ / 2, [this] { out_of_patience(); });
  bool none = true;
  connections_.for_each([&](Connection& connection) {
    none = false;
    half_over_ ? connection.abort() : connection.stop();
  });
  if (none) close_stores();
}

void OrderlyStop::none_left() noexcept {
  front_.post_in(none_left_, not_owned(this), [](void* self) { static_cast<OrderlyStop*>(self)->close_stores(); });
}

void OrderlyStop::out_of_patience() {
  if (half_over_)
    return steps_.give_up("the grace period is over and a store is not closed; its log is replayed at the next start");
  half_over_ = true;
  go_on();
}

void OrderlyStop::close_stores() {
  if (closing_stores_) return;
  catalog_.close_all([this](std::vector<std::string> failures) {
    {
      const Lock lock{mutex_};
      failures_ = std::move(failures);
    }
    front_.post_in(stores_closed_, not_owned(this),
                   [](void* self) { static_cast<OrderlyStop*>(self)->stores_closed(); });
  });
  closing_stores_ = true;
}

void OrderlyStop::stores_closed() {
  {
    const Lock lock{mutex_};
    for (const std::string& failure : failures_) log_.error("store not closed cleanly", {{"error", failure}});
    status_ = failures_.empty() ? 0 : 1;
  }
  patience_.cancel();
  steps_.over();
}

}  // namespace pageserver::server
