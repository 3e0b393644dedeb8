// Which page belongs to what, for a stretch of an image at a time: bounded memory, whatever the image's size.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pageserver::layout {

enum class Role : std::uint8_t {
  none,
  directory,
  rights,
  unclaimed_list,
  unclaimed,
  schema,
  page_list,
  free_list,
  free_table,
  index_list,
  counters,
  records,
  index_node,
  index_leaf
};
inline constexpr std::size_t roles = 14;
/// "record page", "index leaf"
const char* role_text(Role role);
/// "records", "index_leaf": for programs.
const char* role_name(Role role);

struct Owner {
  Role role = Role::none;
  std::uint16_t table = 0;  ///< its number in the order of names; of a page that belongs to a table
};

/// Of pages `[first, first + count)`.
class Owners {
public:
  Owners(std::uint64_t first, std::uint64_t count) : first_(first), owners_(static_cast<std::size_t>(count)) {}

  std::uint64_t first() const { return first_; }
  std::uint64_t end() const { return first_ + owners_.size(); }
  bool covers(std::uint64_t page) const { return page >= first_ && page < end(); }
  /// Who has the page; nobody where it lies elsewhere.
  Owner of(std::uint64_t page) const {
    if (!covers(page)) return {};
    const std::uint16_t word = owners_[static_cast<std::size_t>(page - first_)];
    return {static_cast<Role>(word & 15u), static_cast<std::uint16_t>(word >> 4)};
  }
  void set(std::uint64_t page, Owner owner) {
    if (covers(page)) {
      owners_[static_cast<std::size_t>(page - first_)] =
          static_cast<std::uint16_t>(static_cast<unsigned>(owner.role) | static_cast<unsigned>(owner.table) << 4);
    }
  }

private:
  std::uint64_t first_;
  std::vector<std::uint16_t> owners_;  // four bits of role, twelve of the table, of which page 0 has room for 2,620
};

}  // namespace pageserver::layout
