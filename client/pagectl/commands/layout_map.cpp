#include "client/pagectl/commands/layout_map.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "client/pagectl/terminal/svg.hpp"

namespace pageserver::pagectl {
namespace {

namespace dbms = layout::dbms;
using layout::Role;

constexpr std::uint64_t cells_max = 4096;
constexpr std::uint64_t map_columns = 64;

struct Look {
  char letter;
  const char* colour;
};
/// Record pages are digits instead: how full they are, in tenths.
constexpr std::array<Look, layout::roles> looks{{{'.', "#dddddd"},
                                                 {'D', "#222222"},
                                                 {'A', "#aa3377"},
                                                 {'U', "#777777"},
                                                 {'u', "#bbbbbb"},
                                                 {'S', "#eecc66"},
                                                 {'L', "#ee8866"},
                                                 {'F', "#ffaabb"},
                                                 {'f', "#ffccdd"},
                                                 {'I', "#44bb99"},
                                                 {'C', "#aaaa00"},
                                                 {'r', "#4477aa"},
                                                 {'N', "#228833"},
                                                 {'n', "#88cc77"}}};

/// One page, or so many that follow each other.
struct Cell {
  std::array<std::uint32_t, layout::roles> pages{};
  std::uint64_t row_bytes = 0;

  Role role() const { return static_cast<Role>(std::max_element(pages.begin(), pages.end()) - pages.begin()); }
  unsigned tenths() const {
    const std::uint64_t records = pages[static_cast<std::size_t>(Role::records)];
    return records == 0
               ? 0
               : static_cast<unsigned>(std::min<std::uint64_t>(row_bytes * 10 / (records * layout::page_bytes), 9));
  }
};

struct Map {
  std::uint64_t pages_per_cell = 1;
  std::vector<Cell> cells;
  std::vector<std::string> owners;  // of each page, where a cell is one
};

Map map_of(const dbms::Database& database) {
  Map map;
  const std::uint64_t pages = database.source().pages();
  map.pages_per_cell = std::max<std::uint64_t>(1, (pages + cells_max - 1) / cells_max);
  map.cells.resize(static_cast<std::size_t>((pages + map.pages_per_cell - 1) / map.pages_per_cell));
  const auto cell = [&](std::uint64_t page) -> Cell& {
    return map.cells[static_cast<std::size_t>(page / map.pages_per_cell)];
  };
  layout::Findings nobody([](const layout::Finding&) {});
  dbms::mark_all(database, nobody, [&](const layout::Owners& owners) {
    for (std::uint64_t page = owners.first(); page < owners.end(); ++page) {
      ++cell(page).pages[static_cast<std::size_t>(owners.of(page).role)];
      if (map.pages_per_cell == 1) map.owners.push_back(database.owner_text(owners.of(page)));
    }
  });
  for (const dbms::Table& table : database.tables()) {
    for (const auto& page : examine_table(database, table, dbms::Depth::counts, nobody).record_pages)
      if (page.page < pages) cell(page.page).row_bytes += page.row_bytes;
  }
  return map;
}

char letter_of(const Cell& cell) {
  if (cell.role() == Role::records) return static_cast<char>('0' + cell.tenths());
  return looks[static_cast<std::size_t>(cell.role())].letter;
}

std::string cell_title(const Map& map, std::size_t at) {
  const Cell& cell = map.cells[at];
  std::string text;
  if (map.pages_per_cell == 1) {
    text = "page " + std::to_string(at) + ": " + map.owners[at];
  } else {
    const std::uint64_t first = at * map.pages_per_cell;
    std::uint64_t count = 0;
    for (const std::uint32_t pages : cell.pages) count += pages;
    text = "pages " + std::to_string(first) + "-" + std::to_string(first + count - 1) + ": most of them " +
           layout::role_text(cell.role());
  }
  if (cell.role() == Role::records)
    text += ", " + std::to_string(10 * cell.tenths()) + "-" + std::to_string(10 * cell.tenths() + 10) + " % full";
  return text;
}

}  // namespace

void print_map(Context& context, const dbms::Database& database) {
  const Map map = map_of(database);
  if (map.pages_per_cell > 1)
    context.result("each sign is " + std::to_string(map.pages_per_cell) + " pages: what most of them are");
  std::array<bool, layout::roles> used{};
  for (std::size_t at = 0; at < map.cells.size(); at += map_columns) {
    const std::string number = std::to_string(at * map.pages_per_cell);
    std::string line = std::string(number.size() < 10 ? 10 - number.size() : 0, ' ') + number + "  ";
    for (std::size_t i = at; i < std::min<std::size_t>(at + map_columns, map.cells.size()); ++i) {
      line += letter_of(map.cells[i]);
      used[static_cast<std::size_t>(map.cells[i].role())] = true;
    }
    context.result(line);
  }
  for (std::size_t i = 0; i < layout::roles; ++i) {
    if (!used[i]) continue;
    const Role role = static_cast<Role>(i);
    context.result(role == Role::records ? "  0-9 record page, so many tenths full"
                                         : "  " + std::string(1, looks[i].letter) + "   " + layout::role_text(role));
  }
}

void write_svg_map(Context& context, const dbms::Database& database) {
  constexpr std::uint64_t side = 12;
  const Map map = map_of(database);
  const std::uint64_t lines = (map.cells.size() + map_columns - 1) / map_columns;
  context.out.line("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + std::to_string(map_columns * side) +
                   "\" height=\"" + std::to_string((lines + 2) * side) +
                   "\" font-family=\"sans-serif\" font-size=\"10\">");
  std::array<bool, layout::roles> used{};
  for (std::size_t at = 0; at < map.cells.size(); ++at) {
    const Cell& cell = map.cells[at];
    used[static_cast<std::size_t>(cell.role())] = true;
    std::array<char, 8> opacity{"1"};
    if (cell.role() == Role::records)
      std::snprintf(opacity.data(), opacity.size(), "%.2f", 0.25 + 0.08 * cell.tenths());
    context.out.line("<rect x=\"" + std::to_string(at % map_columns * side) + "\" y=\"" +
                     std::to_string(at / map_columns * side) + "\" width=\"" + std::to_string(side - 1) +
                     "\" height=\"" + std::to_string(side - 1) + "\" fill=\"" +
                     looks[static_cast<std::size_t>(cell.role())].colour + "\" fill-opacity=\"" + opacity.data() +
                     "\"><title>" + svg_escaped(cell_title(map, at)) + "</title></rect>");
  }
  std::uint64_t x = 0;
  for (std::size_t i = 0; i < layout::roles; ++i) {
    if (!used[i]) continue;
    const std::string text = layout::role_text(static_cast<Role>(i));
    context.out.line("<rect x=\"" + std::to_string(x) + "\" y=\"" + std::to_string((lines + 1) * side) + "\" width=\"" +
                     std::to_string(side - 1) + "\" height=\"" + std::to_string(side - 1) + "\" fill=\"" +
                     looks[i].colour + "\"/><text x=\"" + std::to_string(x + side) + "\" y=\"" +
                     std::to_string((lines + 2) * side - 3) + "\">" + text + "</text>");
    x += side + 6 * (text.size() + 1);
  }
  context.out.line("</svg>");
}

}  // namespace pageserver::pagectl
