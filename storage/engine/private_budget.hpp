// Bounds the private bytes of a session: alone, and together with those of other sessions.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace pageserver::storage {

/// Counts the charged bytes against their bounds. Not thread-safe, but for the sums that sessions share.
class PrivateBudget {
public:
  struct Bounds {
    std::uint64_t bytes_max = ~0ull;                    ///< beyond: limit_exceeded
    std::string bytes_max_name;                         ///< the limit's name, for messages
    std::string remedy = "discard";                     ///< for messages: the call that gives all of it back
    std::atomic<std::uint64_t>* total_bytes = nullptr;  ///< the sum of all that share a bound; outlives this
    std::uint64_t total_bytes_max = ~0ull;
    std::string total_bytes_max_name;
    std::atomic<std::uint64_t>* part_bytes = nullptr;  ///< the part of `total_bytes` that one store reports, or null
    std::shared_ptr<std::atomic<std::uint64_t>> owner_bytes;  ///< of all that one owner has, or null
    std::uint64_t owner_bytes_max = ~0ull;
    std::string owner_bytes_max_name;
  };

  /// `bounds` outlives this.
  explicit PrivateBudget(const Bounds& bounds) : bounds_{bounds} {}
  PrivateBudget(const PrivateBudget&) = delete;
  PrivateBudget& operator=(const PrivateBudget&) = delete;

  /// Charges `bytes`. Throws limit_exceeded, naming `action`, when a bound would be passed; then nothing is charged.
  void charge(std::string_view action, std::uint64_t bytes);
  void give_back(std::uint64_t bytes) noexcept;
  /// Lowers the charge to `due`.
  void keep(std::uint64_t due) noexcept;
  std::uint64_t charged() const noexcept { return charged_; }

private:
  const Bounds& bounds_;
  std::uint64_t charged_ = 0;
};

}  // namespace pageserver::storage
