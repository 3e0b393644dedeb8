// What a table is made of, and its rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/pagectl/layout/dbms_format.hpp"
#include "client/pagectl/layout/dbms_value.hpp"

namespace pageserver::layout::dbms {

struct ForeignKey {
  std::string table;
  std::string column;
  bool cascades = false;
};
struct Column {
  std::string name;
  Type type;
  bool nullable = false;
  bool automatic = false;
  bool unique = false;
  bool key = false;
  std::optional<ForeignKey> foreign_key;
  bool has_default = false;
};
struct IndexColumns {
  std::vector<std::string> names;
  bool unique = false;
};
struct Schema {
  std::string name;
  std::string key;
  std::uint32_t alignment = 0;  ///< as it is written; see slot_bytes()
  std::vector<Column> columns;
  std::vector<IndexColumns> indexes;
  std::size_t encoded_bytes = 0;

  /// Where rows begin: at multiples of this. Rows of one length lie back to back, each behind its length.
  std::uint32_t slot_bytes() const;
  /// The columns of an index by their place in `columns`; nothing when one of them is not there.
  std::optional<std::vector<std::size_t>> places(const std::vector<std::string>& names) const;
};
std::optional<Fault> parse_schema(Bytes page, Schema& schema);

/// The columns of one row: what each is, without what says that it is there.
struct Field {
  Bytes value;
  bool null = false;
};
/// `body` is what stands behind the row's length. `at` of a fault counts from there.
std::optional<Fault> parse_row(const Schema& schema, Bytes body, std::vector<Field>& fields);

/// The key under which an index has the row.
void make_key(const Schema& schema, const std::vector<Field>& fields, const std::vector<std::size_t>& places,
              std::string& key);

/// "id=7, name="...""
std::string row_text(const Schema& schema, const std::vector<Field>& fields);
std::string joined(const std::vector<std::string>& names);

}  // namespace pageserver::layout::dbms
