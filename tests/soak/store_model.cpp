#include "tests/soak/store_model.hpp"

#include <algorithm>

namespace pageserver::test::soak {

std::vector<Change> StoreModel::pending() const {
  std::vector<Change> changes;
  for (const Ticket& open : open_) changes.push_back(open->change);
  return changes;
}

void StoreModel::apply(Open& open, Time answered) {
  open.state = Open::State::there;
  // An answer may have come to its client after the next writer had the lease: no change seems to overtake another.
  open.change.answered = life_.changes.empty() ? answered : std::max(answered, life_.changes.back().answered);
  newest_.apply(open.change);
  life_.changes.push_back(open.change);
  failed_.clear();
}

std::uint64_t StoreModel::take_over(const Image& found, Time answered, Lease lease) {
  const std::lock_guard lock(mutex_);
  if (distrusted_) throw Violation(name_ + ": nobody knows what was there");
  if (lease.incarnation == lease_.incarnation && lease.epoch < lease_.epoch) return 0;
  lease_ = lease;
  const auto left = left_in(found, newest_, pending(), {});
  if (!left) {
    throw Violation(
        name_ +
        ": a writer that was given the lease finds neither what was answered nor that and what was under way: " +
        difference(found, newest_));
  }
  for (std::size_t at = 0; at < open_.size(); ++at) {
    if (at < left->pending)
      apply(*open_[at], answered);
    else
      open_[at]->state = Open::State::not_there;
  }
  open_.clear();
  return ++writer_;
}

std::uint64_t StoreModel::next_number() {
  const std::lock_guard lock(mutex_);
  return ++number_;
}

StoreModel::Ticket StoreModel::begin(std::uint64_t writer, Change change) {
  const std::lock_guard lock(mutex_);
  auto ticket = std::make_shared<Open>();
  ticket->change = std::move(change);
  ticket->change.asked = now();
  ticket->stale = writer != writer_;
  if (!ticket->stale) open_.push_back(ticket);
  return ticket;
}

void StoreModel::end(const Ticket& ticket, Outcome outcome, Time answered) {
  const std::lock_guard lock(mutex_);
  if (outcome == Outcome::unknown) return;
  if (ticket->stale) {
    if (outcome == Outcome::done)
      throw Violation(name_ + ": a writer without the lease was answered with success: " + text(ticket->change));
    return;
  }
  if (ticket->state != Open::State::asked) {
    const bool there = ticket->state == Open::State::there;
    if (there == (outcome == Outcome::done)) return;
    throw Violation(name_ +
                    (there ? ": answered with an error, but the next writer found it: "
                           : ": answered with success, but the next writer did not find it: ") +
                    text(ticket->change));
  }
  const auto place = std::find(open_.begin(), open_.end(), ticket);
  if (outcome == Outcome::done) {
    if (place != open_.begin())
      throw Violation(name_ + ": answered before what was asked for earlier: " + text(ticket->change));
    apply(*ticket, answered);
  } else if (outcome == Outcome::failed) {
    failed_.push_back(ticket->change);
  }
  ticket->state = outcome == Outcome::done ? Open::State::there : Open::State::not_there;
  open_.erase(place);
}

void StoreModel::add(Read read) {
  const std::lock_guard lock(mutex_);
  if (!distrusted_) life_.reads.push_back(std::move(read));
}

void StoreModel::distrust() {
  const std::lock_guard lock(mutex_);
  distrusted_ = true;
}

bool StoreModel::distrusted() const {
  const std::lock_guard lock(mutex_);
  return distrusted_;
}

std::uint64_t StoreModel::pages() const {
  const std::lock_guard lock(mutex_);
  return newest_.pages();
}

void StoreModel::check_and_clear() {
  changes_in_all_ += life_.changes.size();
  reads_in_all_ += life_.reads.size();
  if (auto wrong = contradiction(life_)) throw Violation(name_ + ": " + *wrong);
  life_ = {};
  life_.before = newest_;
  open_.clear();
  failed_.clear();
  ++writer_;
  lease_ = {};
}

void StoreModel::end_life(const Image& found) {
  const std::lock_guard lock(mutex_);
  const auto left = left_in(found, newest_, pending(), failed_);
  if (left && left->failed) {
    Open open{failed_[*left->failed]};
    apply(open, never);
  } else {
    for (std::size_t at = 0; at < open_.size() && (!left || at < left->pending); ++at) apply(*open_[at], never);
  }
  // Whoever looks at last sees all of it: this is what finds that something that was answered, or seen, is lost.
  life_.reads.push_back({never, never, "the image after this life", found.pages(), runs_of(found)});
  if (!left) {
    const std::string wrong = contradiction(life_).value_or("");
    throw Violation(name_ + ": the image is none of the states that may be left: " + difference(found, newest_) + "\n" +
                    wrong);
  }
  check_and_clear();
}

void StoreModel::end_life_unseen() {
  const std::lock_guard lock(mutex_);
  for (const Ticket& open : open_) apply(*open, never);
  check_and_clear();
}

void StoreModel::replace(Image image) {
  const std::lock_guard lock(mutex_);
  newest_ = std::move(image);
  distrusted_ = false;
  life_ = {};
  life_.before = newest_;
}

std::string StoreModel::recent() const {
  const std::lock_guard lock(mutex_);
  std::string all = "store " + name_ + ": " + std::to_string(newest_.pages()) + " pages, " +
                    std::to_string(open_.size()) + " changes not answered, " + std::to_string(failed_.size()) +
                    " answered with an error\n";
  const auto last = [&all](const auto& some, std::size_t count) {
    for (std::size_t at = some.size() - std::min(some.size(), count); at < some.size(); ++at)
      all += "  " + text(some[at]) + "\n";
  };
  last(life_.changes, 30);
  last(pending(), 30);
  last(failed_, 10);
  last(life_.reads, 30);
  return all;
}

}  // namespace pageserver::test::soak
