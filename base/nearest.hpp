// Which of the known words a mistyped one may have meant. Header only, so that every part may use it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pageserver::base {

/// How many letters have to be added, removed, changed or exchanged with their neighbour.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before, above(b.size() + 1), here(b.size() + 1);
  std::iota(above.begin(), above.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    here[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      here[j + 1] = std::min({above[j + 1] + 1, here[j] + 1, above[j] + (a[i] == b[j] ? 0u : 1u)});
      if (i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j])
        here[j + 1] = std::min(here[j + 1], before[j - 1] + 1);
    }
    before = above;
    std::swap(above, here);
  }
  return above[b.size()];
}

/// The nearest of `candidates`, unless all are too far from `text` to be meant.
inline std::optional<std::string> nearest(std::string_view text, const std::vector<std::string_view>& candidates) {
  std::optional<std::string> best;
  std::size_t best_distance = std::max<std::size_t>(2, text.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    // A word of two letters has nothing to do with most that are two steps away.
    const std::size_t found = edit_distance(text, candidate);
    if (found >= best_distance || found >= candidate.size()) continue;
    best_distance = found;
    best = candidate;
  }
  return best;
}

}  // namespace pageserver::base
