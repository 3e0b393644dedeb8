// Medians, quartiles and ratios of samples that belong together.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <vector>

namespace pageserver::bench {

/// The value below which the share `q` (0 to 1) of the samples lies, interpolated between neighbours. Throws
/// std::invalid_argument without samples.
inline double quantile(std::vector<double> samples, double q) {
  if (samples.empty()) throw std::invalid_argument("quantile of no samples");
  std::sort(samples.begin(), samples.end());
  const double at = q * static_cast<double>(samples.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  if (below + 1 == samples.size()) return samples.back();
  const double part = at - static_cast<double>(below);
  return samples[below] + part * (samples[below + 1] - samples[below]);
}

struct Summary {
  double median = 0;
  double low = 0;   ///< first quartile
  double high = 0;  ///< third quartile
  double min = 0;
  double max = 0;
};

inline Summary summarize(const std::vector<double>& samples) {
  return {quantile(samples, 0.5), quantile(samples, 0.25), quantile(samples, 0.75), quantile(samples, 0),
          quantile(samples, 1)};
}

/// Round by round: `ours[i] / theirs[i]`. What slows a whole round down slows both and cancels out.
inline std::vector<double> paired_ratios(std::span<const double> ours, std::span<const double> theirs) {
  if (ours.size() != theirs.size()) throw std::invalid_argument("ratios of rounds that are not pairs");
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / theirs[i]);
  return ratios;
}

}  // namespace pageserver::bench
