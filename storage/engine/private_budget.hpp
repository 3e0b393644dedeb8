// What the private bytes of a session may take: of themselves, and together with those of others.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace pageserver::storage {

/// What is charged and what that is bounded by. Not thread-safe; the sums that others share are.
class PrivateBudget {
public:
  struct Bounds {
    std::uint64_t bytes_max = ~0ull;                    ///< beyond: limit_exceeded
    std::string bytes_max_name;                         ///< how messages call that limit
    std::string remedy = "discard";                     ///< what gives all of it back, for messages
    std::atomic<std::uint64_t>* total_bytes = nullptr;  ///< of all that share a bound; outlives this
    std::uint64_t total_bytes_max = ~0ull;
    std::string total_bytes_max_name;
    std::atomic<std::uint64_t>* part_bytes = nullptr;  ///< the part of `total_bytes` that one store reports, or null
  };

  /// `bounds` outlives this.
  explicit PrivateBudget(const Bounds& bounds) : bounds_{bounds} {}
  PrivateBudget(const PrivateBudget&) = delete;
  PrivateBudget& operator=(const PrivateBudget&) = delete;

  /// Throws limit_exceeded, on behalf of `action`, where that is more than there may be; then nothing is charged.
  void charge(std::string_view action, std::uint64_t bytes);
  void give_back(std::uint64_t bytes) noexcept;
  /// Gives back what was charged for the worst case, or for what is not there any more: all beyond `due`.
  void keep(std::uint64_t due) noexcept;
  std::uint64_t charged() const noexcept { return charged_; }

private:
  const Bounds& bounds_;
  std::uint64_t charged_ = 0;
};

}  // namespace pageserver::storage
