#include "storage/file/home.hpp"

#include <cerrno>
#include <ctime>
#include <utility>

namespace pageserver::storage {

static_assert(taken_over_error == EKEYREVOKED);

std::int64_t HomeLease::now_ns() noexcept {
  struct timespec time {};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

std::string HomeLease::why() const {
  const Lock lock{mutex_};
  return why_;
}

void HomeLease::ask_for(std::string who) noexcept {
  const Lock lock{mutex_};
  wanted_by_ = std::move(who);
}

std::string HomeLease::wanted_by() const {
  const Lock lock{mutex_};
  return wanted_by_;
}

void HomeLease::await_verdict(std::chrono::milliseconds time) const {
  Lock lock{mutex_};
  changed_.wait_for(lock, time, [this] { return lost() || may_answer(); });
}

void HomeLease::renew(std::int64_t until_ns) noexcept {
  const Lock lock{mutex_};
  if (!lost()) valid_until_ns_.store(until_ns, std::memory_order_release);
  changed_.notify_all();
}

void HomeLease::lose(std::string why) noexcept {
  const Lock lock{mutex_};
  if (lost_) return;
  why_ = std::move(why);
  valid_until_ns_ = 0;
  lost_ = true;
  changed_.notify_all();
}

}  // namespace pageserver::storage
