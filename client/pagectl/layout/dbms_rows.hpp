// The record pages of one table: which slots there are, what is in each, and what the lists say of them.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/pagectl/layout/dbms_table.hpp"

namespace pageserver::layout::dbms {

/// The page list of a table, to look pages up in.
class ListedPages {
public:
  explicit ListedPages(std::vector<ListedPage> pages);
  std::size_t size() const { return pages_.size(); }
  const ListedPage& at(std::size_t place) const { return pages_[place]; }
  /// The place of a page in the list; nothing when it is not in it.
  std::optional<std::uint32_t> place(std::uint32_t page) const;

private:
  static constexpr std::uint32_t empty = 0xFFFFFFFF;
  std::vector<ListedPage> pages_;
  std::vector<std::uint32_t> table_;  // places, by a hash of the page
};

/// One bit for each slot of a table's record pages.
class SlotBits {
public:
  SlotBits(std::size_t pages, std::uint32_t slots_per_page)
      : slots_(slots_per_page), words_((pages * slots_per_page + 63) / 64) {}
  bool test(std::uint32_t place, std::uint32_t slot) const {
    return (word(place, slot) >> (bit(place, slot) % 64) & 1u) != 0;
  }
  void set(std::uint32_t place, std::uint32_t slot) {
    words_[bit(place, slot) / 64] |= std::uint64_t{1} << (bit(place, slot) % 64);
  }
  void clear() { std::fill(words_.begin(), words_.end(), 0); }

private:
  std::size_t bit(std::uint32_t place, std::uint32_t slot) const {
    return static_cast<std::size_t>(place) * slots_ + slot;
  }
  std::uint64_t word(std::uint32_t place, std::uint32_t slot) const { return words_[bit(place, slot) / 64]; }
  std::uint32_t slots_;
  std::vector<std::uint64_t> words_;
};

/// A slot that is not empty, or the zeros up to the next one.
struct Slot {
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;  ///< to the next slot
  Bytes body;               ///< of a row, behind its length
  bool row = false;
};
/// Calls `sink` with the slots of a record page in front of `used`. Nothing is a slot behind a row that goes on past
/// the page's end: that is the fault. A template, since an image has a slot for some hundred bytes of it.
template <class Sink>
std::optional<Fault> each_slot(Bytes page, std::uint32_t slot_bytes, std::uint32_t used, const Sink& sink) {
  const bool shifts = std::has_single_bit(slot_bytes);
  const auto rounded = [&](std::uint32_t bytes) {
    return shifts ? (bytes + slot_bytes - 1) & ~(slot_bytes - 1) : (bytes + slot_bytes - 1) / slot_bytes * slot_bytes;
  };
  std::uint32_t at = 0;
  while (at < used && at + 2 <= page.size()) {
    const std::uint32_t length = number_at<std::uint16_t>(page, at);
    if (length == 0) {
      std::uint32_t end = at + slot_bytes;
      while (end < used && end + 2 <= page.size() && number_at<std::uint16_t>(page, end) == 0) end += slot_bytes;
      end = std::min(end, used);
      sink(Slot{at, end - at, {}, false});
      at = end;
      continue;
    }
    if (length > page.size() - at - 2) {
      return Fault{at, "says that it has " + std::to_string(length) + " bytes, and its page ends " +
                           std::to_string(page.size() - at - 2) + " bytes behind that"};
    }
    const std::uint32_t whole = rounded(2 + length);
    sink(Slot{at, whole, page.subspan(at + 2, length), true});
    at += whole;
  }
  return std::nullopt;
}

}  // namespace pageserver::layout::dbms
