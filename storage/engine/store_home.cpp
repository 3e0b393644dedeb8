#include "storage/engine/store_home.hpp"

#include <algorithm>
#include <utility>

#include "storage/file/file_io.hpp"

namespace pageserver::storage {

StoreHome::StoreHome(FileHome home, std::string shown_path, std::chrono::milliseconds timeout)
    : home_{std::move(home)},
      shown_path_{std::move(shown_path)},
      timeout_{timeout},
      calls_{home_.lease == nullptr ? nullptr : std::make_unique<HomeCalls>(timeout, [this] {
        return std::make_exception_ptr(late_error("flush of"));
      })} {}

void StoreHome::keep_in_memory(base::MemoryShare& share) {
  if (home_.control != nullptr) home_.control->keep_in_memory(share);
}

MemoryError StoreHome::lost_error() const {
  if (lost())
    return {Errc::lease_lost, quoted(shown_path_) + ": this daemon does not have the store any more: " +
                                  home_.lease->why() + "; open it where it is served now"};
  return {Errc::timed_out,
          quoted(shown_path_) +
              ": the lease on the store could not be renewed in time, so that another may have taken it over; see to "
              "the cluster, and open a new session"};
}

MemoryError StoreHome::late_error(std::string_view action) const {
  // Twice as long as it takes until the lease is asked for again.
  constexpr std::chrono::milliseconds verdict_time_max{1000};
  if (!may_answer()) home_.lease->await_verdict(std::min(timeout_, verdict_time_max));
  if (lost()) return lost_error();
  return {Errc::timed_out,
          std::string{action} + " " + quoted(shown_path_) +
              ": the cluster has not answered within home_timeout=" + std::to_string(timeout_.count()) +
              " ms; what was asked for may still be done, once it does: see to its OSDs, and open a new session"};
}

// What tasks of the engine have in hand meets a lease that is lost, and changes nothing.
void StoreHome::give_up(const std::string& why, FileSystem& file_system) {
  if (home_.control == nullptr)
    throw MemoryError{Errc::unsupported, "give up " + quoted(shown_path_) +
                                             ": it lies in a file of this machine; stop the daemon instead"};
  if (const int error = home_.control->give_up(why); error != 0)
    throw file_error(file_system, "give up", shown_path_, error);
}

HomeStat StoreHome::report() const {
  HomeStat stat;
  stat.name = home_.control == nullptr ? "file" : home_.name;
  stat.holder = home_.holder;
  stat.epoch = home_.epoch;
  if (home_.control != nullptr) stat.health = home_.control->health({});
  return stat;
}

}  // namespace pageserver::storage
