// One table: its rows, its free space, its indexes, and whether they agree.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/pagectl/layout/dbms_database.hpp"

namespace pageserver::layout::dbms {

struct IndexReport {
  std::vector<std::string> columns;
  bool unique = false;
  std::uint32_t root = 0;
  std::uint32_t levels = 0;  ///< 0: it can't be walked
  std::uint64_t nodes = 0;   ///< inner ones
  std::uint64_t leaves = 0;
  std::uint64_t entries = 0;
  std::uint64_t used_bytes = 0;  ///< of the leaves
};
struct CounterReport {
  std::string column;
  std::string value;  ///< the last one that was given away
};
struct RecordPage {
  std::uint32_t page = 0;
  std::uint32_t rows = 0;
  std::uint32_t row_bytes = 0;  ///< with lengths and padding
  std::uint32_t free_end_bytes = 0;
};
struct TableReport {
  const Table* table = nullptr;
  std::optional<Schema> schema;  ///< nothing: it can't be read, and only lists are counted
  std::vector<RecordPage> record_pages;
  std::vector<std::uint32_t> free_tables;
  std::uint64_t rows = 0;
  std::uint64_t row_bytes = 0;  ///< with lengths and padding
  std::uint64_t free_segments = 0;
  std::uint64_t free_segment_bytes = 0;
  std::uint64_t free_end_bytes = 0;  ///< at the ends of record pages
  std::vector<IndexReport> indexes;
  std::vector<CounterReport> counters;
};

enum class Depth {
  counts,  ///< each page is read once; rows and entries are counted, and what that shows is found
  all      ///< rows against free space, columns, and the entries of every index
};

TableReport examine_table(const Database& database, const Table& table, Depth depth, Findings& findings);

}  // namespace pageserver::layout::dbms
