// Latencies in constant memory: 1 part in 128 exact over the whole range of 64 bits.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <vector>

namespace pageserver::pagectl {

class Histogram {
public:
  void add(std::uint64_t value) {
    ++counts_[index_of(value)];
    ++total_;
    if (value < min_) min_ = value;
    if (value > max_) max_ = value;
  }

  void add(const Histogram& other) {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
    if (other.min_ < min_) min_ = other.min_;
    if (other.max_ > max_) max_ = other.max_;
  }

  std::uint64_t total() const { return total_; }
  std::uint64_t min() const { return total_ == 0 ? 0 : min_; }
  std::uint64_t max() const { return max_; }

  /// The smallest value that at least `share` (0 to 1) of all values don't exceed; 0 when there are none.
  std::uint64_t percentile(double share) const {
    const double wanted = share * static_cast<double>(total_);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > 0 && static_cast<double>(seen) >= wanted) return value_of(i) < max_ ? value_of(i) : max_;
    }
    return max_;
  }

private:
  static constexpr unsigned exact_bits = 8;  // values below 2^8 are kept exactly; above, the 7 bits after the first

  static std::size_t index_of(std::uint64_t value) {
    if (value < (1u << exact_bits)) return static_cast<std::size_t>(value);
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - exact_bits;
    return (static_cast<std::size_t>(shift) << (exact_bits - 1)) + static_cast<std::size_t>(value >> shift);
  }
  /// The largest value that falls on `index`.
  static std::uint64_t value_of(std::size_t index) {
    if (index < (1u << exact_bits)) return index;
    const auto shift = (index >> (exact_bits - 1)) - 1;
    const std::uint64_t mantissa = index - (shift << (exact_bits - 1));
    return (mantissa << shift) + ((std::uint64_t{1} << shift) - 1);
  }

  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>((64 - exact_bits + 2) << (exact_bits - 1));
  std::uint64_t total_ = 0;
  std::uint64_t min_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t max_ = 0;
};

}  // namespace pageserver::pagectl
