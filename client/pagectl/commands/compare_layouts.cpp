#include "client/pagectl/commands/compare_layouts.hpp"

#include <optional>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "client/pagectl/commands/describe.hpp"
#include "client/pagectl/commands/layout_report.hpp"
#include "client/pagectl/layout/dbms_diff.hpp"
#include "client/pagectl/work/compare.hpp"
#include "client/pagectl/work/image_source.hpp"

namespace pageserver::pagectl {
namespace {

using Json = nlohmann::ordered_json;
using layout::dbms::RowChange;
using layout::dbms::TableDiff;
using layout::dbms::TableState;

const layout::dbms::Database& database_in(const layout::Recognised& found, Image& image) {
  if (found.database) return *found.database;
  throw MemoryError(Errc::unsupported, "diff --layout of " + image.name() + ": it is " + layout_text(found) +
                                           ", and rows are those of a wasm-dbms database; without --layout pages are "
                                           "compared");
}

const char* state_name(TableState state) {
  switch (state) {
    case TableState::same: return "same";
    case TableState::only_first: return "only_in_a";
    case TableState::only_second: return "only_in_b";
    case TableState::other_schema: return "other_schema";
    case TableState::rows_differ: return "rows_differ";
    case TableState::unreadable: break;
  }
  return "unreadable";
}

std::string difference_text(const TableDiff& diff, Image& a, Image& b) {
  const std::string name = "table " + diff.name + ": ";
  const auto rows = [](std::uint64_t count) { return std::to_string(count) + (count == 1 ? " row" : " rows"); };
  const std::string unread =
      diff.unreadable == 0 ? "" : ", and " + rows(diff.unreadable) + " can't be read: see `pagectl verify`";
  switch (diff.state) {
    case TableState::same: return name + "the same " + rows(diff.rows_first) + unread;
    case TableState::only_first: return name + "only in " + a.name() + ", " + rows(diff.rows_first);
    case TableState::only_second: return name + "only in " + b.name() + ", " + rows(diff.rows_second);
    case TableState::other_schema:
      return name + "another schema in each, " + rows(diff.rows_first) + " and " + rows(diff.rows_second) +
             ": rows are not compared";
    case TableState::rows_differ:
      return name + std::to_string(diff.changed) + " changed, " + std::to_string(diff.only_first) + " only in " +
             a.name() + ", " + std::to_string(diff.only_second) + " only in " + b.name() + unread;
    case TableState::unreadable: break;
  }
  return name + "its schema can't be read: see `pagectl verify`";
}

std::string row_text(const RowChange& change) {
  if (change.second.empty()) return "- " + change.first;
  if (change.first.empty()) return "+ " + change.second;
  std::string text = "! " + change.key;
  for (const auto& column : change.columns)
    text +=
        (&column == change.columns.data() ? ": " : ", ") + column.name + " " + column.first + " -> " + column.second;
  return text;
}

Json row_json(const std::string& table, const RowChange& change) {
  auto columns = Json::array();
  for (const auto& column : change.columns)
    columns.push_back({{"name", column.name}, {"a", column.first}, {"b", column.second}});
  return {{"table", table},
          {"key", change.key},
          {"a", change.first.empty() ? Json(nullptr) : Json(change.first)},
          {"b", change.second.empty() ? Json(nullptr) : Json(change.second)},
          {"columns", std::move(columns)}};
}

Json difference_json(const TableDiff& diff) {
  return {{"name", diff.name},
          {"state", state_name(diff.state)},
          {"rows_a", diff.rows_first},
          {"rows_b", diff.rows_second},
          {"changed", diff.changed},
          {"only_in_a", diff.only_first},
          {"only_in_b", diff.only_second},
          {"unreadable", diff.unreadable}};
}

}  // namespace

int compare_layouts(Context& context, Image& a, Image& b) {
  const auto version_a = a.version();
  const auto version_b = b.version();
  Progress progress(context.progress_kind(), "diff", 0);
  ImageSource source_a(a, progress);
  ImageSource source_b(b, progress);
  const layout::Recognised found_a = layout::recognise(source_a);
  const layout::Recognised found_b = layout::recognise(source_b);
  const auto& database_a = database_in(found_a, a);
  const auto& database_b = database_in(found_b, b);
  std::optional<JsonStream> json;
  if (context.json) {
    json.emplace(context.out);
    json->member("a", {{"uri", a.name()}, {"version", version_json(version_a)}});
    json->member("b", {{"uri", b.name()}, {"version", version_json(version_b)}});
    json->begin_list("rows");
  }
  bool same = true;
  auto tables = Json::array();
  layout::dbms::compare_databases(
      database_a, database_b,
      [&](const std::string& table, const RowChange& change) {
        if (json)
          json->element(row_json(table, change));
        else
          context.note(row_text(change));
      },
      [&](const TableDiff& diff) {
        same = same && diff.state == TableState::same;
        if (json)
          tables.push_back(difference_json(diff));
        else
          context.note(difference_text(diff, a, b));
      });
  const bool stable_a = check_one_version(a, version_a);
  const bool stable_b = check_one_version(b, version_b);
  if (json) {
    json->end_list();
    json->member("tables", tables);
    json->member("same", same);
    json->member("consistent", stable_a && stable_b);
    json->finish();
  }
  return same ? exit_done : exit_failed;
}

}  // namespace pageserver::pagectl
