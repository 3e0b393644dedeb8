// What of the daemon's descriptors is for its stores.
#pragma once

#include <cstdint>

namespace pageserver::server {

/// Shares the descriptors between connections and stores: a connection that comes can wait, a store that can't have its
/// next file can't go on.
class OpenFilesBudget {
public:
  OpenFilesBudget() = default;
  /// `others`: what is neither a connection's nor a store's.
  OpenFilesBudget(std::uint64_t limit, std::uint64_t others, std::uint64_t store_files)
      : limit_{limit}, others_{others}, store_files_{store_files} {}

  /// How many connections there may be beside so many stores.
  std::uint64_t connections_max(std::uint64_t stores) const noexcept;
  /// What is kept for the files of so many stores.
  std::uint64_t kept_for(std::uint64_t stores) const noexcept;
  std::uint64_t limit() const noexcept { return limit_; }

private:
  std::uint64_t limit_ = ~0ull;
  std::uint64_t others_ = 0;
  std::uint64_t store_files_ = 0;
};

}  // namespace pageserver::server
