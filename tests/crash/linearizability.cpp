#include "tests/crash/linearizability.hpp"

#include <algorithm>
#include <map>
#include <queue>
#include <utility>

namespace pageserver::test {
namespace {

/// States are numbered by the last write in them: 0 to the number of writes.
struct States {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

using CellWrites = std::map<std::uint64_t, std::vector<std::uint64_t>>;

CellWrites writes_by_cell(const History& history) {
  CellWrites by_cell;
  for (std::size_t at = 0; at < history.writes.size(); ++at) {
    const History::Write& write = history.writes[at];
    for (std::uint64_t cell = 0; cell < write.cells; ++cell) by_cell[write.first_cell + cell].push_back(at + 1);
  }
  return by_cell;
}

std::string text(const History::Read& read) {
  return "read of cell " + std::to_string(read.first_cell) + " and " + std::to_string(read.values.size() - 1) +
         " more by session " + std::to_string(read.session) + ", asked " + std::to_string(read.asked) + ", answered " +
         std::to_string(read.answered);
}

/// Narrows `states` to those in which each cell holds what was read. A text when a value was never written there.
std::optional<std::string> narrow_by_values(const CellWrites& by_cell, const History::Read& read, States& states) {
  static const std::vector<std::uint64_t> none;
  for (std::size_t at = 0; at < read.values.size(); ++at) {
    const std::uint64_t value = read.values[at];
    const auto found = by_cell.find(read.first_cell + at);
    const std::vector<std::uint64_t>& numbers = found == by_cell.end() ? none : found->second;
    const auto next = std::upper_bound(numbers.begin(), numbers.end(), value);
    if (value != 0 && (next == numbers.begin() || *std::prev(next) != value)) {
      return text(read) + ": cell " + std::to_string(read.first_cell + at) + " holds " + std::to_string(value) +
             ", which was never written there";
    }
    states.first = std::max(states.first, value);
    if (next != numbers.end()) states.last = std::min(states.last, *next - 1);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> contradiction(const History& history) {
  const std::vector<History::Write>& writes = history.writes;
  for (std::size_t at = 1; at < writes.size(); ++at) {
    if (writes[at - 1].answered > writes[at].asked) return "the writes overlap: there was more than one writer";
  }
  const CellWrites by_cell = writes_by_cell(history);
  std::vector<const History::Read*> reads;
  for (const History::Read& read : history.reads) reads.push_back(&read);
  std::sort(reads.begin(), reads.end(), [](const auto* a, const auto* b) { return a->asked < b->asked; });

  // Reads whose answer is still ahead of the one looked at, with the state chosen for them, soonest answer first.
  using Chosen = std::pair<std::uint64_t, std::uint64_t>;
  std::priority_queue<Chosen, std::vector<Chosen>, std::greater<>> open;
  std::uint64_t seen_before = 0;  // the newest state that an answered read needs
  for (const History::Read* read : reads) {
    while (!open.empty() && open.top().first < read->asked) {
      seen_before = std::max(seen_before, open.top().second);
      open.pop();
    }
    // A write answered before the read was asked for is in it; one asked for after the read's answer is not.
    States states;
    states.first = static_cast<std::uint64_t>(
        std::partition_point(writes.begin(), writes.end(), [&](const auto& w) { return w.answered < read->asked; }) -
        writes.begin());
    states.last = static_cast<std::uint64_t>(
        std::partition_point(writes.begin(), writes.end(), [&](const auto& w) { return w.asked <= read->answered; }) -
        writes.begin());
    const States by_time = states;
    if (auto wrong = narrow_by_values(by_cell, *read, states)) return wrong;
    // The oldest state that will do leaves most room for the reads that come later.
    const std::uint64_t state = std::max(states.first, seen_before);
    if (state > states.last) {
      return text(*read) + ": time allows states " + std::to_string(by_time.first) + " to " +
             std::to_string(by_time.last) + ", the values states " + std::to_string(states.first) + " to " +
             std::to_string(states.last) + ", and an earlier read saw state " + std::to_string(seen_before);
    }
    open.emplace(read->answered, state);
  }
  return std::nullopt;
}

double concurrent_share(const History& history) {
  struct Operation {
    std::uint64_t asked, answered, session;
  };
  std::vector<Operation> all;
  for (const History::Write& write : history.writes) all.push_back({write.asked, write.answered, History::never});
  for (const History::Read& read : history.reads) all.push_back({read.asked, read.answered, read.session});
  if (all.empty()) return 0;
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.asked < b.asked; });
  std::vector<bool> concurrent(all.size());
  std::vector<std::size_t> open;
  for (std::size_t at = 0; at < all.size(); ++at) {
    std::erase_if(open, [&](std::size_t other) { return all[other].answered < all[at].asked; });
    for (const std::size_t other : open) {
      if (all[other].session == all[at].session) continue;
      concurrent[other] = concurrent[at] = true;
    }
    open.push_back(at);
  }
  return static_cast<double>(std::count(concurrent.begin(), concurrent.end(), true)) / static_cast<double>(all.size());
}

}  // namespace pageserver::test
