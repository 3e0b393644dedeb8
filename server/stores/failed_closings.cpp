#include "server/stores/failed_closings.hpp"

#include <new>
#include <utility>

#include "storage/file/file_io.hpp"

namespace pageserver::server {

namespace {

constexpr const char* closed_in_part =
    "closed in part, and the daemon is out of memory; the log is replayed when it is opened";

}  // namespace

FailedClosings::Room FailedClosings::room_for(const std::string& name) {
  std::map<std::string, std::string> one{{name, closed_in_part}};
  return one.extract(one.begin());
}

void FailedClosings::note(Room room, const char* failure) noexcept {
  try {
    room.mapped() = failure;
  } catch (const std::bad_alloc&) {
    // What was made before says enough.
  }
  const Lock lock{mutex_};
  failures_.erase(room.key());
  failures_.insert(std::move(room));
}

void FailedClosings::forget(const std::string& name) noexcept {
  const Lock lock{mutex_};
  failures_.erase(name);
}

std::vector<std::string> FailedClosings::lines(std::vector<std::string> without_memory) noexcept {
  const Lock lock{mutex_};
  if (failures_.empty()) return {};
  try {
    std::vector<std::string> lines;
    for (const auto& [name, failure] : failures_) lines.push_back("store " + storage::quoted(name) + ": " + failure);
    return lines;
  } catch (const std::bad_alloc&) {
    return without_memory;
  }
}

}  // namespace pageserver::server
