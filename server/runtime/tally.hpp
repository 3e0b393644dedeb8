// A number that one thread changes and others look at.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

namespace pageserver::server {

/// Changed by one thread at a time, read by any. Costs what a plain number does: nothing is locked, and what readers
/// see may be a moment old.
class Tally {
public:
  void set(std::uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  template <class Enum>
  requires std::is_enum_v<Enum>
  void set(Enum value) noexcept { set(static_cast<std::uint64_t>(value)); }
  void set(std::int64_t value) noexcept { set(static_cast<std::uint64_t>(value)); }
  void add(std::uint64_t more) noexcept { set(get() + more); }
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }
  operator std::uint64_t() const noexcept { return get(); }

private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace pageserver::server
