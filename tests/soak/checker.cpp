// Whether a history can be true: see history.hpp.
#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

#include "tests/soak/history.hpp"

namespace pageserver::test::soak {

namespace {

/// The states after `base`, which is `image`: what a read would have found in each of them.
class Ahead {
public:
  Ahead(const Image& image, std::span<const Change> changes, std::size_t base)
      : image_{image}, changes_{changes}, base_{base} {}

  /// Nothing when the read fits state `state`; else the first thing that does not.
  std::optional<std::string> mismatch(const Read& read, std::size_t state) {
    std::uint64_t cells = image_.cells.size();
    for (std::size_t at = base_; at < state; ++at) cells += changes_[at].grown_pages * cells_per_page;
    if (read.pages != 0 && read.pages * cells_per_page != cells)
      return std::to_string(read.pages) + " pages instead of " + std::to_string(cells / cells_per_page);
    for (const Run& run : read.runs) {
      if (run.first + run.cells > cells) return text(run) + " is past the end, cell " + std::to_string(cells);
      if (auto wrong = mismatch(run, state)) return wrong;
    }
    return std::nullopt;
  }

private:
  std::optional<std::string> mismatch(const Run& run, std::size_t state) {
    const std::uint64_t* cells = image_.cells.data() + run.first;
    if (state != base_) {
      overlay(run, state);
      cells = scratch_.data();
    }
    for (std::uint64_t at = 0; at < run.cells; ++at) {
      if (cells[at] != run.number)
        return "cell " + std::to_string(run.first + at) + " held " + std::to_string(cells[at]) + ", read was " +
               std::to_string(run.number);
    }
    return std::nullopt;
  }
  void overlay(const Run& run, std::size_t state) {
    scratch_.assign(run.cells, 0);
    const std::uint64_t end = run.first + run.cells;
    const std::uint64_t known = std::min<std::uint64_t>(end, image_.cells.size());
    for (std::uint64_t cell = run.first; cell < known; ++cell) scratch_[cell - run.first] = image_.cells[cell];
    for (std::size_t at = base_; at < state; ++at) {
      for (const Run& change : changes_[at].runs) {
        const std::uint64_t from = std::max(run.first, change.first);
        const std::uint64_t to = std::min(end, change.first + change.cells);
        for (std::uint64_t cell = from; cell < to; ++cell) scratch_[cell - run.first] = change.number;
      }
    }
  }

  const Image& image_;
  std::span<const Change> changes_;
  std::size_t base_;
  std::vector<std::uint64_t> scratch_;
};

std::optional<std::string> order_of(const std::vector<Change>& changes) {
  for (std::size_t at = 1; at < changes.size(); ++at) {
    if (changes[at - 1].asked > changes[at].asked || changes[at - 1].answered > changes[at].answered)
      return "two writers at a time: " + text(changes[at - 1]) + "; " + text(changes[at]);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> contradiction(const Life& life) {
  const std::vector<Change>& changes = life.changes;
  if (auto wrong = order_of(changes)) return wrong;
  std::vector<const Read*> reads;
  for (const Read& read : life.reads) reads.push_back(&read);
  std::stable_sort(reads.begin(), reads.end(), [](const auto* a, const auto* b) { return a->asked < b->asked; });

  // States are numbered by how many changes are in them. `image` is state `at`, which never runs backwards: the oldest
  // state that a read may have seen grows with the time at which it was asked for.
  Image image = life.before;
  std::size_t at = 0;
  // Reads whose answer is still ahead of the one looked at, with the state chosen for them, soonest answer first.
  using Chosen = std::pair<Time, std::size_t>;
  std::priority_queue<Chosen, std::vector<Chosen>, std::greater<>> open;
  std::size_t seen_before = 0;
  for (const Read* read : reads) {
    while (!open.empty() && open.top().first < read->asked) {
      seen_before = std::max(seen_before, open.top().second);
      open.pop();
    }
    // A change answered before the read was asked for is in it; one asked for after the read's answer is not.
    const auto first =
        static_cast<std::size_t>(std::partition_point(changes.begin(), changes.end(),
                                                      [&](const Change& c) { return c.answered < read->asked; }) -
                                 changes.begin());
    const auto last =
        static_cast<std::size_t>(std::partition_point(changes.begin(), changes.end(),
                                                      [&](const Change& c) { return c.asked <= read->answered; }) -
                                 changes.begin());
    const std::size_t lowest = std::max(first, seen_before);
    const auto where = [&] {
      return text(*read) + "; time allows states " + std::to_string(first) + " to " + std::to_string(last) +
             ", an earlier read saw state " + std::to_string(seen_before);
    };
    if (lowest > last) return where();
    while (at < lowest) image.apply(changes[at++]);
    Ahead ahead{image, changes, at};
    std::size_t state = lowest;
    std::string tried;
    while (auto wrong = ahead.mismatch(*read, state)) {
      if (tried.size() < 2000) {
        tried += "\n  state " + std::to_string(state) +
                 (state == 0 ? "" : ", after change " + std::to_string(changes[state - 1].number)) + ": " + *wrong;
      }
      if (++state > last) return where() + tried;
    }
    // The oldest state that will do leaves most room for the reads that come later.
    open.emplace(read->answered, state);
  }
  return std::nullopt;
}

std::optional<Left> left_in(const Image& found, const Image& newest, std::span<const Change> pending,
                            std::span<const Change> failed) {
  std::optional<Left> left;
  if (found == newest) left = Left{};
  Image state = newest;
  for (std::size_t at = 0; at < pending.size(); ++at) {
    state.apply(pending[at]);
    if (found == state) left = Left{at + 1, std::nullopt};
  }
  for (std::size_t at = 0; at < failed.size() && !left; ++at) {
    state = newest;
    state.apply(failed[at]);
    if (found == state) left = Left{0, at};
  }
  return left;
}

}  // namespace pageserver::test::soak
