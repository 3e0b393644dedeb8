#include "server/stores/recoveries.hpp"

#include <algorithm>
#include <utility>

namespace pageserver::server {

void Recoveries::note(const std::string& store, Recovery recovery) {
  const Lock lock{mutex_};
  of_store_.insert_or_assign(store, std::move(recovery));
  if (of_store_.size() <= stores_max) return;
  of_store_.erase(std::min_element(of_store_.begin(), of_store_.end(), [](const auto& one, const auto& other) {
    return one.second.unix_ms < other.second.unix_ms;
  }));
}

std::optional<Recovery> Recoveries::find(const std::string& store) const {
  const Lock lock{mutex_};
  const auto found = of_store_.find(store);
  return found == of_store_.end() ? std::nullopt : std::optional{found->second};
}

void Recoveries::forget(const std::string& store) {
  const Lock lock{mutex_};
  of_store_.erase(store);
}

}  // namespace pageserver::server
