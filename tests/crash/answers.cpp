#include "tests/crash/answers.hpp"

#include <algorithm>
#include <map>

namespace pageserver::test {
namespace {

using History = AnswerHistory;

std::string number(std::uint64_t value) { return std::to_string(value); }

/// The versions as the answers to publishes say.
class Sequence {
public:
  struct State {
    std::uint64_t pages = 0;
    std::uint64_t mark = 0;
    const History::Publish* by = nullptr;
  };

  explicit Sequence(const History& history) : first_{history.first_version} {
    std::vector<const History::Publish*> done;
    for (const auto& publish : history.publishes)
      if (publish.outcome == History::Outcome::done) done.push_back(&publish);
    std::sort(done.begin(), done.end(), [](const auto* a, const auto* b) { return a->version < b->version; });
    State state{history.first_pages, 0, nullptr};
    states_.push_back(state);
    for (const auto* publish : done) {
      if (publish->version != first_ + states_.size()) {
        problem_ = "version " + number(publish->version) + " was answered to a publish, and " +
                   number(first_ + states_.size()) + " to " +
                   (publish->version < first_ + states_.size() ? "another one, too" : "none");
        return;
      }
      state.pages += publish->grown_pages;
      if (publish->number != 0) state.mark = publish->number;
      state.by = publish;
      states_.push_back(state);
    }
  }

  const std::optional<std::string>& problem() const { return problem_; }
  const State* at(std::uint64_t version) const {
    return version < first_ || version - first_ >= states_.size() ? nullptr : &states_[version - first_];
  }
  std::uint64_t first() const { return first_; }
  const std::vector<State>& states() const { return states_; }

private:
  std::uint64_t first_;
  std::vector<State> states_;
  std::optional<std::string> problem_;
};

std::string text(const History::View& view) {
  return view.what + " answered version " + number(view.version) + " with " + number(view.pages) + " pages";
}

std::optional<std::string> wrong_views(const History& history, const Sequence& sequence) {
  for (const auto& view : history.views) {
    const auto* state = sequence.at(view.version);
    if (state == nullptr) return text(view) + ", which no publish was told to have made";
    if (state->pages != view.pages) return text(view) + ", and that version has " + number(state->pages);
  }
  return std::nullopt;
}

/// Whoever asks after an answer sees no older version, and nobody sees one before it is asked for.
std::optional<std::string> wrong_order(const History& history, const Sequence& sequence) {
  struct Seen {
    History::Time time;
    std::uint64_t version;
    std::string what;
  };
  std::vector<Seen> seen;
  for (const auto& view : history.views)
    if (!view.held) seen.push_back({view.time, view.version, text(view)});
  for (std::size_t at = 1; at < sequence.states().size(); ++at) {
    const auto& publish = *sequence.states()[at].by;
    seen.push_back({publish.time, publish.version, "the publish of version " + number(publish.version)});
  }
  std::sort(seen.begin(), seen.end(), [](const auto& a, const auto& b) { return a.time.asked < b.time.asked; });
  std::vector<const Seen*> by_answer;
  for (const auto& one : seen) by_answer.push_back(&one);
  std::sort(by_answer.begin(), by_answer.end(),
            [](const auto* a, const auto* b) { return a->time.answered < b->time.answered; });
  const Seen* newest = nullptr;
  std::size_t answered = 0;
  for (const auto& one : seen) {
    for (; answered < by_answer.size() && by_answer[answered]->time.answered < one.time.asked; ++answered)
      if (newest == nullptr || by_answer[answered]->version > newest->version) newest = by_answer[answered];
    if (newest != nullptr && newest->version > one.version) return one.what + ", asked for after " + newest->what;
    const auto* state = sequence.at(one.version);
    if (state != nullptr && state->by != nullptr && state->by->time.asked > one.time.answered)
      return one.what + ", before that was asked for";
  }
  return std::nullopt;
}

std::optional<std::string> wrong_marks(const History& history, const Sequence& sequence) {
  std::map<std::uint64_t, const History::Publish*> by_number;
  for (const auto& publish : history.publishes)
    if (publish.number != 0) by_number[publish.number] = &publish;
  for (const auto& mark : history.marks) {
    if (mark.version != 0) {
      const auto* state = sequence.at(mark.version);
      if (state == nullptr) return "a mark was read in version " + number(mark.version) + ", which is nobody's";
      if (state->mark != mark.number)
        return "version " + number(mark.version) + " holds the mark " + number(mark.number) + " and not " +
               number(state->mark);
      continue;
    }
    if (mark.number == 0) continue;
    const auto found = by_number.find(mark.number);
    if (found == by_number.end()) return "the mark " + number(mark.number) + " was never written";
    if (found->second->outcome == History::Outcome::refused)
      return "the mark " + number(mark.number) + " was seen, and its publish was answered as refused";
    if (found->second->time.asked > mark.time.answered)
      return "the mark " + number(mark.number) + " was seen before its publish was asked for";
  }
  return std::nullopt;
}

std::optional<std::string> wrong_refreshes(const History& history, const Sequence& sequence) {
  for (const auto& refresh : history.refreshes) {
    const auto* const from = sequence.at(refresh.from);
    const auto* const to = sequence.at(refresh.to);
    const std::string what = "refresh from version " + number(refresh.from) + " to " + number(refresh.to);
    if (from == nullptr || to == nullptr || refresh.to < refresh.from) return what + ": no such versions";
    if (refresh.everything) continue;
    for (const auto& range : refresh.changed) {
      const std::string named = what + " names " + number(range.offset) + "+" + number(range.length);
      if (range.offset + range.length > to->pages * history.page_bytes) return named + ", which is past the end";
      const bool in_marks = range.offset + range.length <= history.page_bytes;
      if (!in_marks && range.offset < from->pages * history.page_bytes) return named + ", which nobody published";
      if (refresh.from == refresh.to) return named + ", and it is the same version";
    }
    const bool marked = std::any_of(refresh.changed.begin(), refresh.changed.end(),
                                    [](const auto& range) { return range.offset == 0 && range.length >= 8; });
    if (from->mark != to->mark && !marked) return what + " does not name the mark";
  }
  return std::nullopt;
}

std::optional<std::string> wrong_leases(const History& history, const Sequence& sequence) {
  std::map<std::uint64_t, const History::Lease*> by_epoch;
  for (const auto& lease : history.leases) {
    if (!by_epoch.emplace(lease.epoch, &lease).second) return "epoch " + number(lease.epoch) + " was given twice";
    if (lease.lost && lease.broken.asked == 0) return "epoch " + number(lease.epoch) + " was lost, and nobody broke it";
  }
  std::uint64_t epoch = 0;
  for (std::size_t at = 1; at < sequence.states().size(); ++at) {
    const auto& publish = *sequence.states()[at].by;
    const auto found = by_epoch.find(publish.epoch);
    if (publish.epoch < epoch) return "version " + number(publish.version) + " is of a lease before that of the last";
    epoch = publish.epoch;
    if (found != by_epoch.end() && found->second->broken.asked != 0 &&
        publish.time.asked > found->second->broken.answered)
      return "version " + number(publish.version) + " was published after its lease was broken";
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> contradiction(const AnswerHistory& history) {
  const Sequence sequence{history};
  if (sequence.problem()) return sequence.problem();
  for (const auto check : {wrong_views, wrong_order, wrong_marks, wrong_refreshes, wrong_leases})
    if (auto problem = check(history, sequence)) return problem;
  return std::nullopt;
}

}  // namespace pageserver::test
