// A sample of `pagectl top` as lines, sorted, for a terminal of any size or for none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "client/pagectl/commands/top_sample.hpp"
#include "client/pagectl/terminal/screen.hpp"

namespace pageserver::pagectl {

enum class TopOrder : std::uint8_t { requests, bytes_read, bytes_written, store, idle };

struct TopView {
  TopOrder order = TopOrder::requests;
  bool turned = false;
  std::size_t scrolled = 0;  ///< sessions above the first one that is shown; made less where there are not so many
};

/// 'o', 'r', 'w', 's', 'i': the order, or the same one turned. False for another key.
bool choose_order(TopView& view, char key);
void sort(TopSample& sample, const TopView& view);

inline constexpr Screen::Size no_screen{std::numeric_limits<std::size_t>::max(),
                                        std::numeric_limits<std::size_t>::max()};

/// Of a sorted sample. Columns that do not fit are left out, the less important ones first; where there are not rows
/// enough for all stores they get a third. With `no_screen` all of it, and no line about keys.
std::vector<Screen::Line> top_lines(const TopSample& sample, const std::string& server, TopView& view,
                                    Screen::Size size);

}  // namespace pageserver::pagectl
