#include "client/pagectl/commands/layout_report.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "client/pagectl/terminal/numbers.hpp"

namespace pageserver::pagectl {
namespace {

using Json = nlohmann::ordered_json;
using layout::dbms::IndexReport;
using layout::dbms::TableReport;

std::string percent(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return "0 %";
  return std::to_string(part * 100 / whole) + " %";
}

std::string count_text(std::uint64_t count, const std::string& one, const std::string& more) {
  return std::to_string(count) + " " + (count == 1 ? one : more);
}

std::string column_text(const layout::dbms::Column& column) {
  return column.name + " " + layout::dbms::type_text(column.type) + (column.key ? " key" : "") +
         (column.nullable ? " nullable" : "") + (column.unique && !column.key ? " unique" : "") +
         (column.automatic ? " automatic" : "") +
         (column.foreign_key ? " -> " + column.foreign_key->table + "(" + column.foreign_key->column + ")" : "");
}

std::string index_text(const IndexReport& index) {
  std::string text = "(" + layout::dbms::joined(index.columns) + ")" + (index.unique ? " unique" : "") +
                     ": root page " + std::to_string(index.root);
  if (index.levels == 0) return text + ", which leads to no leaf";
  return text + ", " + count_text(index.entries, "entry", "entries") + " in " +
         count_text(index.leaves, "leaf", "leaves") + " below " + count_text(index.nodes, "node", "nodes") +
         ", leaves " + percent(index.used_bytes, index.leaves * page_size) + " full";
}

/// Each page where they are few, else how many are so full.
std::string fill_text(const TableReport& report) {
  std::string text;
  if (report.record_pages.size() <= 8) {
    for (const auto& page : report.record_pages) {
      text +=
          (text.empty() ? "page " : ", page ") + std::to_string(page.page) + " " + percent(page.row_bytes, page_size);
    }
    return text;
  }
  std::array<std::uint64_t, 10> pages{};
  for (const auto& page : report.record_pages)
    ++pages[static_cast<std::size_t>(std::min<std::uint64_t>(page.row_bytes * 10 / page_size, 9))];
  for (std::size_t i = 0; i < pages.size(); ++i) {
    if (pages[i] == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(pages[i]) + " at " + std::to_string(10 * i) + "-" +
            std::to_string(10 * i + 10) + " %";
  }
  return text;
}

std::string row(const std::string& key, const std::string& value) {
  return "  " + key + std::string(key.size() < 9 ? 9 - key.size() : 1, ' ') + value + "\n";
}

}  // namespace

void JsonStream::next() {
  out_.text(first_ ? "\n" : ",\n");
  out_.text(in_list_ ? "    " : "  ");
  first_ = false;
}
void JsonStream::member(const std::string& key, const Json& value) {
  next();
  out_.text(json_text(key) + ": " + json_text(value));
}
void JsonStream::begin_list(const std::string& key) {
  next();
  out_.text(json_text(key) + ": [");
  in_list_ = first_ = true;
}
void JsonStream::element(const Json& value) {
  next();
  out_.text(json_text(value));
}
void JsonStream::end_list() {
  out_.text(first_ ? "]" : "\n  ]");
  in_list_ = first_ = false;
}
void JsonStream::finish() { out_.text("\n}\n"); }

std::unique_ptr<Image> open_to_look(const Context& context, const std::string& uri, const std::string& command) {
  OpenMode mode;
  mode.progress = context.progress_kind();
  mode.one_version = true;
  mode.session_name = "pagectl " + command;
  return open_image(uri, mode);
}

std::string layout_text(const layout::Recognised& found) {
  switch (found.kind) {
    case layout::Kind::empty: return "empty";
    case layout::Kind::unknown: return "unknown";
    case layout::Kind::manager: return "memories of ic-stable-structures behind a memory manager";
    case layout::Kind::structure: return "a structure of ic-stable-structures";
    case layout::Kind::database: break;
  }
  return found.database->release() == layout::dbms::Release::before_0_10 ? "a wasm-dbms database as 0.9 makes it"
                                                                         : "a wasm-dbms database of 0.10 or later";
}

std::string layout_name(const layout::Recognised& found) {
  switch (found.kind) {
    case layout::Kind::empty: return "empty";
    case layout::Kind::unknown: return "unknown";
    case layout::Kind::manager: return "ic-stable-memories";
    case layout::Kind::structure: return "ic-stable-structure";
    case layout::Kind::database: break;
  }
  return found.database->release() == layout::dbms::Release::before_0_10 ? "wasm-dbms-0.9" : "wasm-dbms-0.10";
}

std::string finding_text(const layout::Finding& finding) {
  return std::string(finding.severity == layout::Severity::warning ? "warning: " : "") + "page " +
         std::to_string(finding.page) + " offset " + std::to_string(finding.offset) + ": " + finding.text + " [" +
         finding.kind + "]";
}

Json finding_json(const layout::Finding& finding) {
  return {{"severity", finding.severity == layout::Severity::warning ? "warning" : "error"},
          {"kind", finding.kind},
          {"page", finding.page},
          {"offset", finding.offset},
          {"text", finding.text}};
}

std::string pages_run_text(std::uint64_t first, std::uint64_t count) {
  if (count == 1) return "page " + std::to_string(first);
  return "pages " + std::to_string(first) + "-" + std::to_string(first + count - 1);
}

std::string page_numbers_text(const std::vector<std::uint32_t>& pages) {
  constexpr std::size_t runs_max = 8;
  std::string text;
  std::size_t runs = 0;
  for (std::size_t i = 0; i < pages.size();) {
    std::size_t end = i + 1;
    while (end < pages.size() && pages[end] == pages[i] + (end - i)) ++end;
    if (runs++ == runs_max) return text + ", ...";
    text += (text.empty() ? "" : ", ") + std::to_string(pages[i]);
    if (end > i + 1) text += "-" + std::to_string(pages[end - 1]);
    i = end;
  }
  return text.empty() ? "none" : text;
}

std::string table_text(const TableReport& report) {
  std::string text = "table " + report.table->name + ": ";
  if (!report.schema) {
    text += "its schema on page " + std::to_string(report.table->places.schema) + " can't be read\n";
  } else {
    text += count_text(report.rows, "row", "rows") + " in " + pages_text(report.record_pages.size()) + "\n";
    std::string columns;
    for (const auto& column : report.schema->columns) columns += (columns.empty() ? "" : ", ") + column_text(column);
    text += row("columns", columns);
  }
  const auto& places = report.table->places;
  std::vector<std::uint32_t> numbers;
  for (const auto& page : report.record_pages) numbers.push_back(page.page);
  text += row("pages", "schema " + std::to_string(places.schema) + ", page list " + std::to_string(places.page_list) +
                           ", free list " + std::to_string(places.free_list) + ", index list " +
                           std::to_string(places.index_list) +
                           (places.counters ? ", counters " + std::to_string(*places.counters) : "") + ", records " +
                           page_numbers_text(numbers) + ", free segments " + page_numbers_text(report.free_tables));
  text += row("space", bytes_text(report.row_bytes) + " of rows, " + bytes_text(report.free_segment_bytes) + " in " +
                           count_text(report.free_segments, "free segment", "free segments") + ", " +
                           bytes_text(report.free_end_bytes) + " free at the ends of pages");
  if (!report.record_pages.empty()) text += row("fill", fill_text(report));
  for (const IndexReport& index : report.indexes) text += row("index", index_text(index));
  for (const auto& counter : report.counters) text += row("counter", counter.column + " " + counter.value);
  text.pop_back();
  return text;
}

Json table_json(const TableReport& report) {
  const auto& places = report.table->places;
  auto columns = Json::array();
  if (report.schema) {
    for (const auto& column : report.schema->columns) {
      Json one{{"name", column.name},     {"type", layout::dbms::type_text(column.type)},
               {"key", column.key},       {"nullable", column.nullable},
               {"unique", column.unique}, {"automatic", column.automatic},
               {"foreign_key", nullptr}};
      if (column.foreign_key) {
        one["foreign_key"] = {{"table", column.foreign_key->table},
                              {"column", column.foreign_key->column},
                              {"on_delete", column.foreign_key->cascades ? "cascade" : "restrict"}};
      }
      columns.push_back(std::move(one));
    }
  }
  auto pages = Json::array();
  for (const auto& page : report.record_pages) {
    pages.push_back({{"page", page.page},
                     {"rows", page.rows},
                     {"row_bytes", page.row_bytes},
                     {"free_end_bytes", page.free_end_bytes}});
  }
  auto indexes = Json::array();
  for (const IndexReport& index : report.indexes) {
    indexes.push_back({{"columns", index.columns},
                       {"unique", index.unique},
                       {"root", index.root},
                       {"levels", index.levels},
                       {"nodes", index.nodes},
                       {"leaves", index.leaves},
                       {"entries", index.entries},
                       {"used_bytes", index.used_bytes}});
  }
  auto counters = Json::array();
  for (const auto& counter : report.counters) counters.push_back({{"column", counter.column}, {"last", counter.value}});
  return {{"name", report.table->name},
          {"readable", report.schema.has_value()},
          {"columns", std::move(columns)},
          {"rows", report.rows},
          {"row_bytes", report.row_bytes},
          {"free_segments", report.free_segments},
          {"free_segment_bytes", report.free_segment_bytes},
          {"free_end_bytes", report.free_end_bytes},
          {"schema_page", places.schema},
          {"page_list_page", places.page_list},
          {"free_list_page", places.free_list},
          {"index_list_page", places.index_list},
          {"counters_page", places.counters ? Json(*places.counters) : Json(nullptr)},
          {"free_segment_pages", report.free_tables},
          {"record_pages", std::move(pages)},
          {"indexes", std::move(indexes)},
          {"counters", std::move(counters)}};
}

std::string structure_text(const layout::stable::Structure& structure) {
  std::string text = structure.text.empty() ? structure.name : structure.text;
  if (structure.version != 0) text += " of version " + std::to_string(structure.version);
  text += ", " + pages_text(structure.pages);
  if (structure.entries) text += ", " + count_text(*structure.entries, "entry", "entries");
  for (const auto& [name, number] : structure.numbers) text += ", " + name + " " + std::to_string(number);
  return text;
}

Json structure_json(const layout::stable::Structure& structure) {
  Json numbers = Json::object();
  for (const auto& [name, number] : structure.numbers) numbers[name] = number;
  return {{"structure", structure.name},
          {"version", structure.version},
          {"pages", structure.pages},
          {"entries", structure.entries ? Json(*structure.entries) : Json(nullptr)},
          {"numbers", std::move(numbers)}};
}

void find_orphans(layout::Source& source, const layout::Owners& owners,
                  const std::function<void(const OrphanRun&)>& sink) {
  for (std::uint64_t page = owners.first(); page < owners.end();) {
    if (owners.of(page).role != layout::Role::none) {
      ++page;
      continue;
    }
    OrphanRun run{page, 0, true};
    while (page < owners.end() && owners.of(page).role == layout::Role::none) ++page;
    run.count = page - run.first;
    source.read_data(run.first, page, [&](std::uint64_t, layout::Source::Page bytes) {
      run.zeros = run.zeros && layout::all_zero(bytes);
    });
    sink(run);
  }
}

std::string orphan_text(const OrphanRun& run) {
  return pages_run_text(run.first, run.count) + (run.count == 1 ? " belongs" : " belong") + " to nothing, " +
         (run.zeros ? "all zeros" : "not zeros");
}

}  // namespace pageserver::pagectl
