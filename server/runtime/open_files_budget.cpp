#include "server/runtime/open_files_budget.hpp"

#include <algorithm>

namespace pageserver::server {

std::uint64_t OpenFilesBudget::kept_for(std::uint64_t stores) const noexcept {
  // Where the limit is too low for both, neither gets all.
  return std::min(stores * store_files_, limit_ / 2);
}

std::uint64_t OpenFilesBudget::connections_max(std::uint64_t stores) const noexcept {
  constexpr std::uint64_t files_of_connection = 2;  // its socket, and what it writes in private when that is much
  const std::uint64_t taken = others_ + kept_for(stores);
  return std::max((limit_ - std::min(limit_, taken)) / files_of_connection, limit_ / 8);
}

}  // namespace pageserver::server
