// A wasm-dbms database of any size, written by ourselves: the engine would take hours for some that tests need.
#pragma once

#include <cstdint>
#include <string>

namespace pageserver::test {

struct MadeDatabase {
  std::uint32_t tables = 1;        ///< `t0`, `t1`, ...: id Uint64 key, name Text
  std::uint32_t record_pages = 1;  ///< of each, full of rows
  std::uint32_t name_bytes = 100;  ///< of each row
  std::uint32_t leaf_entries = 2000;
  std::uint32_t node_children = 2000;
};
/// Returns the number of rows of each table.
std::uint64_t make_database(const MadeDatabase& database, const std::string& path);

}  // namespace pageserver::test
