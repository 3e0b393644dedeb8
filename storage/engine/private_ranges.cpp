#include "storage/engine/private_ranges.hpp"

#include <utility>

namespace pageserver::storage {

void PrivateRanges::clear() noexcept {
  ranges_.clear();
  zero_count_ = 0;
}

PrivateRanges::Ranges::const_iterator PrivateRanges::first_behind(std::uint64_t offset) const {
  auto at = ranges_.upper_bound(offset);
  if (at != ranges_.begin() && std::prev(at)->second.end > offset) --at;
  return at;
}

PrivateRanges::Ranges::const_iterator PrivateRanges::first_at(std::uint64_t begin) const {
  auto at = ranges_.lower_bound(begin);
  if (at != ranges_.begin() && std::prev(at)->second.end >= begin) --at;
  return at;
}

bool PrivateRanges::inside(std::uint64_t begin, std::uint64_t end, bool zero) const {
  const auto at = first_behind(begin);
  return at != ranges_.end() && at->first <= begin && at->second.end >= end && at->second.zero == zero;
}

bool PrivateRanges::splits_zeros(std::uint64_t begin, std::uint64_t end) const {
  if (!inside(begin, end, true)) return false;
  const auto at = first_behind(begin);
  return at->first < begin && end < at->second.end;
}

std::size_t PrivateRanges::zeros_at(std::uint64_t begin, std::uint64_t end) const {
  std::size_t count = 0;
  for (auto at = first_at(begin); at != ranges_.end() && at->first <= end; ++at) count += at->second.zero ? 1u : 0u;
  return count;
}

std::size_t PrivateRanges::count_at(std::uint64_t begin, std::uint64_t end, std::size_t count_max) const {
  std::size_t count = 0;
  for (auto at = first_behind(begin); at != ranges_.end() && at->first < end && count < count_max; ++at) ++count;
  return count;
}

std::size_t PrivateRanges::count_after(std::uint64_t begin, std::uint64_t end, bool zero) const {
  std::size_t count = ranges_.size() + 1;
  for (auto at = first_at(begin); at != ranges_.end() && at->first <= end; ++at) {
    const bool joins = at->second.zero == zero;
    if (!joins && (at->first == end || at->second.end == begin)) continue;
    --count;
    if (!joins) count += (at->first < begin ? 1u : 0u) + (at->second.end > end ? 1u : 0u);
  }
  return count;
}

bool PrivateRanges::covers(std::uint64_t offset, std::uint64_t length) const {
  const std::uint64_t end = offset + length;
  std::uint64_t covered = offset;
  for (auto at = first_behind(offset); at != ranges_.end() && at->first <= covered && covered < end; ++at)
    covered = at->second.end;
  return covered >= end;
}

std::vector<LogRange> PrivateRanges::list(std::uint64_t offset, std::uint64_t length) const {
  std::vector<LogRange> found;
  for (auto at = first_behind(offset); at != ranges_.end() && at->first - std::min(at->first, offset) < length; ++at)
    found.push_back({at->first, at->second.end - at->first, at->second.zero});
  return found;
}

void PrivateRanges::set(std::uint64_t begin, std::uint64_t end, bool zero) {
  if (inside(begin, end, zero)) return;
  const std::size_t zeros_before = zeros_at(begin, end);
  place(begin, end, zero);
  zero_count_ += zeros_at(begin, end) - zeros_before;
}

void PrivateRanges::place(std::uint64_t begin, std::uint64_t end, bool zero) {
  // The map's nodes are made first, since only that can fail.
  Ranges fresh;
  fresh[begin] = {end, zero};
  auto at = ranges_.upper_bound(begin);
  if (at != ranges_.begin()) --at;
  if (at != ranges_.end() && at->first < begin && at->second.end > end) fresh[end] = at->second;
  if (at != ranges_.end() && at->first < begin && at->second.end > begin) at->second.end = begin;
  while (at != ranges_.end() && at->first < end) {
    if (at->first < begin) {
      ++at;
      continue;
    }
    if (at->second.end > end) {
      auto node = ranges_.extract(at);
      node.key() = end;
      ranges_.insert(std::move(node));
      break;
    }
    at = ranges_.erase(at);
  }
  ranges_.merge(fresh);
  auto middle = ranges_.find(begin);
  if (const auto next = std::next(middle);
      next != ranges_.end() && next->first == middle->second.end && next->second.zero == zero) {
    middle->second.end = next->second.end;
    ranges_.erase(next);
  }
  if (middle == ranges_.begin()) return;
  if (const auto previous = std::prev(middle); previous->second.end == begin && previous->second.zero == zero) {
    previous->second.end = middle->second.end;
    ranges_.erase(middle);
  }
}

}  // namespace pageserver::storage
