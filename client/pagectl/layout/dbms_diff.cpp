#include "client/pagectl/layout/dbms_diff.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "client/pagectl/layout/dbms_rows.hpp"

namespace pageserver::layout::dbms {
namespace {

constexpr std::size_t parts = 4096;
/// So many bytes of rows are kept at once.
constexpr std::uint64_t group_bytes_max = std::uint64_t{4} << 20;

/// Rows that fall into one part by their keys.
struct Part {
  std::uint64_t sum = 0;  // of the first's rows less the second's
  std::uint64_t bytes = 0;
};

struct Side {
  const Database* database;
  const Table* table;
};

using RowSink = std::function<void(const std::string& key, Bytes body)>;

/// The rows of a table with their keys. Those that can't be read are counted.
void each_row(const Side& side, const Schema& schema, std::uint64_t& rows, std::uint64_t& unreadable,
              const RowSink& sink) {
  const std::uint32_t slot_bytes = schema.slot_bytes();
  const auto places = schema.places({schema.key});
  if (slot_bytes < 3 || slot_bytes > page_bytes || !places) return;
  const ListedPages pages(side.database->lists(*side.table, nullptr).pages);
  std::vector<Field> fields;
  std::string key;
  std::size_t fed = 0;
  side.database->source().read_pages(
      [&]() -> std::optional<std::uint64_t> {
        while (fed < pages.size()) {
          const std::uint32_t page = pages.at(fed).page;
          const bool first = pages.place(page) == fed;
          ++fed;
          if (first && page < side.database->source().pages()) return page;
        }
        return std::nullopt;
      },
      [&](std::uint64_t page, Bytes bytes) {
        const std::uint64_t free = pages.at(*pages.place(static_cast<std::uint32_t>(page))).free_bytes;
        const std::uint32_t used = free > page_bytes ? page_bytes : page_bytes - static_cast<std::uint32_t>(free);
        const auto fault = each_slot(bytes, slot_bytes, used, [&](const Slot& slot) {
          if (!slot.row) return;
          ++rows;
          if (parse_row(schema, slot.body, fields)) {
            ++unreadable;
            return;
          }
          make_key(schema, fields, *places, key);
          sink(key, slot.body);
        });
        if (fault) ++unreadable;
      });
}

class TableComparison {
public:
  TableComparison(const Side& first, const Side& second, const Schema& schema, TableDiff& diff,
                  const std::function<void(const std::string&, const RowChange&)>& row)
      : first_(first), second_(second), schema_(schema), diff_(diff), row_(row) {}

  void run() {
    sum_up();
    std::size_t begin = 0;
    while (begin < parts) {
      std::size_t end = begin;
      std::uint64_t bytes = 0;
      while (end < parts && (bytes == 0 || bytes + wanted_bytes(end) <= group_bytes_max)) bytes += wanted_bytes(end++);
      if (bytes > 0) compare(begin, end);
      begin = end;
    }
    if (diff_.only_first + diff_.only_second + diff_.changed > 0) diff_.state = TableState::rows_differ;
  }

private:
  static std::size_t part_of(const std::string& key) { return hash_of(bytes_of(key)) % parts; }
  std::uint64_t wanted_bytes(std::size_t part) const { return parts_[part].sum == 0 ? 0 : parts_[part].bytes; }

  void sum_up() {
    const auto add = [&](const std::string& key, Bytes body, bool first) {
      Part& part = parts_[part_of(key)];
      const std::uint64_t hash = hash_of(body) * 0x9E3779B97F4A7C15u ^ hash_of(bytes_of(key));
      part.sum += first ? hash : 0 - hash;
      part.bytes += key.size() + body.size() + 64;
    };
    each_row(first_, schema_, diff_.rows_first, diff_.unreadable,
             [&](const std::string& key, Bytes body) { add(key, body, true); });
    each_row(second_, schema_, diff_.rows_second, diff_.unreadable,
             [&](const std::string& key, Bytes body) { add(key, body, false); });
  }

  struct Less {
    bool operator()(const std::string& a, const std::string& b) const {
      const auto order = compare_keys(bytes_of(a), bytes_of(b));
      return order == std::partial_ordering::unordered ? a < b : order == std::partial_ordering::less;
    }
  };

  void compare(std::size_t begin, std::size_t end) {
    std::map<std::string, std::pair<std::string, std::string>, Less> rows;
    const auto keep = [&](const std::string& key, Bytes body, bool first) {
      const std::size_t part = part_of(key);
      if (part < begin || part >= end || parts_[part].sum == 0) return;
      auto& pair = rows[key];
      (first ? pair.first : pair.second) = text_of(body);
    };
    std::uint64_t ignored = 0;
    each_row(first_, schema_, ignored, ignored, [&](const std::string& key, Bytes body) { keep(key, body, true); });
    each_row(second_, schema_, ignored, ignored, [&](const std::string& key, Bytes body) { keep(key, body, false); });
    for (const auto& [key, pair] : rows)
      if (pair.first != pair.second) tell(key, pair.first, pair.second);
  }

  void tell(const std::string& key, const std::string& first, const std::string& second) {
    RowChange change;
    change.key = key_text(bytes_of(key));
    std::vector<Field> fields_first, fields_second;
    if (!first.empty() && !parse_row(schema_, bytes_of(first), fields_first))
      change.first = row_text(schema_, fields_first);
    if (!second.empty() && !parse_row(schema_, bytes_of(second), fields_second))
      change.second = row_text(schema_, fields_second);
    const auto text = [&](std::size_t column, const Field& field) {
      return field.null ? std::string("null") : value_text(schema_.columns[column].type, field.value);
    };
    for (std::size_t i = 0; i < std::min(fields_first.size(), fields_second.size()); ++i) {
      const Field& a = fields_first[i];
      const Field& b = fields_second[i];
      if (a.null == b.null && std::equal(a.value.begin(), a.value.end(), b.value.begin(), b.value.end())) continue;
      change.columns.push_back({schema_.columns[i].name, text(i, a), text(i, b)});
    }
    ++(first.empty() ? diff_.only_second : second.empty() ? diff_.only_first : diff_.changed);
    row_(diff_.name, change);
  }

  const Side first_;
  const Side second_;
  const Schema& schema_;
  TableDiff& diff_;
  const std::function<void(const std::string&, const RowChange&)>& row_;
  std::vector<Part> parts_ = std::vector<Part>(parts);
};

const Table* table_called(const Database& database, const std::string& name) {
  const auto found = std::find_if(database.tables().begin(), database.tables().end(),
                                  [&](const Table& table) { return table.name == name; });
  return found == database.tables().end() ? nullptr : &*found;
}

std::uint64_t count_rows(const Side& side, const std::optional<Schema>& schema) {
  std::uint64_t rows = 0, unreadable = 0;
  if (schema) each_row(side, *schema, rows, unreadable, [](const std::string&, Bytes) {});
  return rows;
}

/// The bytes of a schema, which say all of it.
std::string schema_bytes(const Database& database, const Table& table, const Schema& schema) {
  std::vector<std::byte> bytes(schema.encoded_bytes);
  database.source().read(std::uint64_t{table.places.schema} * page_bytes, bytes);
  return text_of(bytes);
}

}  // namespace

void compare_databases(const Database& first, const Database& second,
                       const std::function<void(const std::string&, const RowChange&)>& row,
                       const std::function<void(const TableDiff&)>& table) {
  std::vector<std::string> names;
  for (const Table& one : first.tables()) names.push_back(one.name);
  for (const Table& one : second.tables()) names.push_back(one.name);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (const std::string& name : names) {
    TableDiff diff;
    diff.name = name;
    const Side a{&first, table_called(first, name)};
    const Side b{&second, table_called(second, name)};
    const auto schema_a = a.table != nullptr ? first.schema(*a.table, nullptr) : std::nullopt;
    const auto schema_b = b.table != nullptr ? second.schema(*b.table, nullptr) : std::nullopt;
    if (a.table == nullptr || b.table == nullptr) {
      diff.state = a.table == nullptr ? TableState::only_second : TableState::only_first;
    } else if (!schema_a || !schema_b) {
      diff.state = TableState::unreadable;
    } else if (schema_bytes(first, *a.table, *schema_a) != schema_bytes(second, *b.table, *schema_b)) {
      diff.state = TableState::other_schema;
    } else {
      TableComparison(a, b, *schema_a, diff, row).run();
      table(diff);
      continue;
    }
    if (a.table != nullptr) diff.rows_first = count_rows(a, schema_a);
    if (b.table != nullptr) diff.rows_second = count_rows(b, schema_b);
    table(diff);
  }
}

}  // namespace pageserver::layout::dbms
