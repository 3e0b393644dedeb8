// Which rows two databases do not have in common.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "client/pagectl/layout/dbms_database.hpp"

namespace pageserver::layout::dbms {

struct ChangedColumn {
  std::string name;
  std::string first;
  std::string second;
};
/// A row that only one has, or that both have under one key with other columns.
struct RowChange {
  std::string key;                     ///< as text
  std::string first;                   ///< the row as text; empty: the first has none
  std::string second;                  ///< likewise
  std::vector<ChangedColumn> columns;  ///< where both have it
};

enum class TableState {
  same,
  only_first,
  only_second,
  other_schema,  ///< rows are counted, and not compared
  rows_differ,
  unreadable  ///< a schema that can't be read
};
struct TableDiff {
  std::string name;
  TableState state = TableState::same;
  std::uint64_t rows_first = 0;
  std::uint64_t rows_second = 0;
  std::uint64_t only_first = 0;
  std::uint64_t only_second = 0;
  std::uint64_t changed = 0;
  std::uint64_t unreadable = 0;  ///< rows of either that can't be read, and are not compared
};

/// Calls `row` with the changes of a table, and `table` behind them with what they come to: all tables of both in the
/// order of their names. Rows are told by their key column. Of rows that are the same only sums are kept.
void compare_databases(const Database& first, const Database& second,
                       const std::function<void(const std::string& table, const RowChange&)>& row,
                       const std::function<void(const TableDiff&)>& table);

}  // namespace pageserver::layout::dbms
