#include "client/pagectl/layout/dbms_rows.hpp"

#include <bit>
#include <utility>

namespace pageserver::layout::dbms {
namespace {

std::size_t hash_of_page(std::uint32_t page) { return (page * std::uint64_t{0x9E3779B97F4A7C15}) >> 40; }

}  // namespace

ListedPages::ListedPages(std::vector<ListedPage> pages) : pages_(std::move(pages)) {
  table_.assign(std::bit_ceil(2 * pages_.size() + 1), empty);
  for (std::uint32_t i = 0; i < pages_.size(); ++i) {
    if (place(pages_[i].page)) continue;  // listed twice, which is a finding of its own
    std::size_t at = hash_of_page(pages_[i].page);
    while (table_[at % table_.size()] != empty) ++at;
    table_[at % table_.size()] = i;
  }
}

std::optional<std::uint32_t> ListedPages::place(std::uint32_t page) const {
  for (std::size_t at = hash_of_page(page);; ++at) {
    const std::uint32_t found = table_[at % table_.size()];
    if (found == empty) return std::nullopt;
    if (pages_[found].page == page) return found;
  }
}

}  // namespace pageserver::layout::dbms
