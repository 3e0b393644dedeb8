#include "tests/crash/model.hpp"

#include <algorithm>

namespace pageserver::test {

void Model::commit(std::uint64_t number) {
  pending_->number = number;
  sequence_.push_back(std::move(*pending_));
  pending_.reset();
  failed_.clear();
}

void Model::fail() {
  failed_.push_back(std::move(*pending_));
  pending_.reset();
}

void Model::set_entry(std::uint64_t entry) {
  sequence_.back().entry = entry;
  sequence_.back().entry_is_old = true;
  sequence_.back().entry_may_go = false;
}

void Model::let_entry_go() { sequence_.back().entry_may_go = sequence_.back().entry_is_old; }

bool Model::allows(const BlockBytes& image, Crash crash, std::uint64_t entry) const {
  const std::uint64_t hash = image.hash();
  if (pending_ && pending_->is(hash, entry)) return true;
  if (std::any_of(failed_.begin(), failed_.end(), [&](const Published& one) { return one.is(hash, entry); })) {
    return true;
  }
  const std::size_t first = crash == Crash::kill ? newest() : durable_;
  for (std::size_t index = sequence_.size(); index-- > first;) {
    if (sequence_[index].is(hash, entry)) return true;
  }
  return false;
}

bool Model::adopt(const BlockBytes& image, Crash crash, std::uint64_t entry) {
  if (!allows(image, crash, entry)) return false;
  const std::uint64_t hash = image.hash();
  const std::size_t first = crash == Crash::kill ? newest() : durable_;
  std::size_t index = sequence_.size();
  while (index-- > first) {
    if (sequence_[index].is(hash, entry)) break;
  }
  if (index < first || index >= sequence_.size()) {  // what was in progress, or failed, is there
    sequence_.push_back({image, 0, entry});
    index = newest();
  }
  sequence_.resize(index + 1);
  pending_.reset();
  failed_.clear();
  return true;
}

std::string Model::describe(const BlockBytes& image, Crash crash) const {
  const std::uint64_t hash = image.hash();
  std::string where = "is none of the published states";
  for (std::size_t index = 0; index < sequence_.size(); ++index) {
    if (sequence_[index].image.hash() == hash) where = "is state " + std::to_string(index);
  }
  if (where.find("none") != std::string::npos) {
    // The state that shares most with it tells what is missing or mixed in.
    std::vector<std::byte> mine(static_cast<std::size_t>(image.size()));
    image.read(0, mine);
    std::size_t best = 0, best_different = SIZE_MAX, first_at = 0;
    for (std::size_t index = 0; index < sequence_.size(); ++index) {
      const BlockBytes& other = sequence_[index].image;
      if (other.size() != image.size()) continue;
      std::vector<std::byte> theirs(mine.size());
      other.read(0, theirs);
      std::size_t different = 0, first = 0;
      for (std::size_t at = 0; at < mine.size(); ++at) {
        if (mine[at] != theirs[at] && different++ == 0) first = at;
      }
      if (different <= best_different) best = index, best_different = different, first_at = first;
    }
    if (best_different != SIZE_MAX) {
      where += "; nearest is state " + std::to_string(best) + " with " + std::to_string(best_different) +
               " bytes different from byte " + std::to_string(first_at);
    }
  }
  return "image of " + std::to_string(image.size() / 65536) + " pages " + where + "; newest " +
         std::to_string(newest()) + ", durable at least " + std::to_string(durable_) +
         (pending_ ? ", one publish in progress" : "") + (failed_.empty() ? "" : ", failed publishes") +
         (crash == Crash::kill ? "; after a kill" : "; after a loss of power");
}

}  // namespace pageserver::test
