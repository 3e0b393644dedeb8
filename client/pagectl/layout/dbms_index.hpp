// One index of a table, against its rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/pagectl/layout/dbms_rows.hpp"
#include "client/pagectl/layout/dbms_table.hpp"

namespace pageserver::layout::dbms {

/// Rows are taken one by one, in any order, and then the index is walked. Of neither are more than sums kept: where a
/// sum does not come out, the entries that went into it are looked at again.
class IndexCheck {
public:
  /// `indexes`: how many the table has.
  IndexCheck(const Database& database, const Table& table, const ListedIndex& index, bool deep, std::size_t indexes);

  /// What the schema says of it; without, its keys are not compared with rows.
  void know(const Schema& schema, bool unique);
  void take_row(const Schema& schema, const std::vector<Field>& fields, std::uint32_t page, std::uint32_t offset);
  /// `live` says where rows begin, and `seen` hears which of them have an entry; null: they are not compared.
  IndexReport run(const ListedPages& pages, std::uint32_t slot_bytes, const SlotBits* live, SlotBits* seen,
                  Findings& findings);
  /// Behind run(): rows without an entry, and entries with another key than their row.
  void check_rows(const Schema& schema, const ListedPages& pages, std::uint32_t slot_bytes, const SlotBits& live,
                  const SlotBits& seen, Findings& findings);

private:
  std::uint64_t& sum_of(std::uint64_t hash) { return sums_[hash % sums_.size()]; }

  const Database& database_;
  const Table& table_;
  const ListedIndex index_;
  const bool deep_;
  bool unique_ = false;
  std::optional<std::vector<std::size_t>> places_;
  std::vector<std::uint64_t> sums_;
  std::uint32_t levels_ = 0;
  std::string key_;
};

}  // namespace pageserver::layout::dbms
