#include "client/pagectl/commands/top_view.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <tuple>

#include "base/text.hpp"
#include "client/pagectl/commands/session_report.hpp"
#include "client/pagectl/terminal/numbers.hpp"

namespace pageserver::pagectl {
namespace {

struct OrderKey {
  char key;
  TopOrder order;
};
constexpr std::array order_keys{OrderKey{'o', TopOrder::requests}, OrderKey{'r', TopOrder::bytes_read},
                                OrderKey{'w', TopOrder::bytes_written}, OrderKey{'s', TopOrder::store},
                                OrderKey{'i', TopOrder::idle}};

double rate_of(const std::optional<Rates>& rates, TopOrder order) {
  if (!rates) return -1;
  switch (order) {
    case TopOrder::requests: return rates->requests;
    case TopOrder::bytes_read: return rates->bytes_read;
    case TopOrder::bytes_written: return rates->bytes_written;
    default: return 0;
  }
}

std::string rate_text(const std::optional<Rates>& rates, double Rates::*which) {
  if (!rates) return "-";
  const double value = (*rates).*which;
  if (which != &Rates::requests) return bytes_text(static_cast<std::uint64_t>(std::llround(value)));
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.1f" : "%.0f", value);
  return text;
}

/// One column of a table: what stands in it, and how soon it is left out where there is no room.
struct Column {
  std::string title;
  int importance;  ///< the least important goes first
  bool right;      ///< numbers end in one place
  std::vector<std::string> cells;

  std::size_t width() const {
    std::size_t found = columns_of(title);
    for (const std::string& cell : cells) found = std::max(found, columns_of(cell));
    return found;
  }
};

std::string aligned(const std::string& text, std::size_t width, bool right) {
  const std::string fill(width - std::min(width, columns_of(text)), ' ');
  return right ? fill + text : text + fill;
}

/// The last column takes what is left, and is cut there; it needs `last_min` to be shown.
void leave_out_what_does_not_fit(std::vector<Column>& columns, std::size_t room) {
  constexpr std::size_t gap = 2;
  const auto needed = [&] {
    std::size_t sum = 0;
    for (const Column& column : columns) sum += column.width() + gap;
    return sum - gap;
  };
  while (columns.size() > 1 && needed() > room) {
    const auto least = std::min_element(columns.begin(), columns.end(), [](const Column& one, const Column& other) {
      return one.importance < other.importance;
    });
    // Nearly all of it in sight is better than none.
    constexpr std::size_t worth_seeing = 16;
    const bool is_last = &*least == &columns.back();
    if (is_last && needed() - least->width() + worth_seeing <= room) return;
    columns.erase(least);
  }
}

/// `warns`: of a row, whether it deserves a look.
template <class Warns>
void add_table(std::vector<Column> columns, std::size_t room, std::vector<Screen::Line>& lines, Warns warns) {
  leave_out_what_does_not_fit(columns, room);
  std::vector<std::size_t> widths;
  widths.reserve(columns.size());
  for (const Column& column : columns) widths.push_back(column.width());
  const std::size_t rows = columns.front().cells.size();
  for (std::size_t row = 0; row <= rows; ++row) {
    std::string line;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::string& text = row == 0 ? columns[i].title : columns[i].cells[row - 1];
      line += (i == 0 ? "" : "  ") + aligned(text, widths[i], columns[i].right);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back({std::move(line), row == 0, row != 0 && warns(row - 1)});
  }
}

std::string state_text(const ListedStore& store) {
  std::string state = store.open ? "open" : "closed";
  if (store.read_only) state += ", read-only";
  if (store.recovery_warned) state += ", see info";
  return state;
}

std::vector<Column> store_columns(const TopSample& sample, std::size_t count) {
  std::vector<Column> columns{{"STORE", 9, false, {}},    {"REQ/S", 8, true, {}}, {"READ/S", 7, true, {}},
                              {"WRITTEN/S", 6, true, {}}, {"SIZE", 5, true, {}},  {"READERS", 4, true, {}},
                              {"WRITERS", 4, true, {}},   {"FORKS", 2, true, {}}, {"STATE", 1, false, {}},
                              {"WRITER", 3, false, {}}};
  for (std::size_t i = 0; i < count; ++i) {
    const TopStore& store = sample.stores[i];
    const std::array<std::string, 10> cells{base::visible(store.listed.name),
                                            rate_text(store.rates, &Rates::requests),
                                            rate_text(store.rates, &Rates::bytes_read),
                                            rate_text(store.rates, &Rates::bytes_written),
                                            bytes_text(store.listed.pages * page_size),
                                            std::to_string(store.readers),
                                            std::to_string(store.writers),
                                            std::to_string(store.forks),
                                            state_text(store.listed),
                                            store.writer.empty() ? "-" : store.writer};
    for (std::size_t at = 0; at < cells.size(); ++at) columns[at].cells.push_back(cells[at]);
  }
  return columns;
}

/// Who waits, is about to go, or takes nothing.
bool deserves_a_look(const SessionReport& report) {
  constexpr std::uint64_t long_ms = 1000;
  return report.kicked || report.lost_lease || report.state == SessionState::in_line ||
         report.state == SessionState::detached || report.unsent_bytes != 0 ||
         (report.requests_in_flight != 0 && report.request_ms >= long_ms);
}

std::vector<Column> session_columns(const TopSample& sample, std::size_t first, std::size_t count) {
  std::vector<Column> columns{{"SESSION", 8, true, {}}, {"STORE", 9, false, {}}, {"ACCESS", 6, false, {}},
                              {"REQ/S", 7, true, {}},   {"READ/S", 5, true, {}}, {"WRITTEN/S", 5, true, {}},
                              {"AGE", 1, true, {}},     {"WHO", 4, false, {}},   {"DOES", 3, false, {}}};
  for (std::size_t i = first; i < first + count; ++i) {
    const TopSession& session = sample.sessions[i];
    const SessionReport& report = session.report;
    const std::array<std::string, 9> cells{std::to_string(report.session_id),
                                           base::visible(report.store),
                                           access_text(report),
                                           rate_text(session.rates, &Rates::requests),
                                           rate_text(session.rates, &Rates::bytes_read),
                                           rate_text(session.rates, &Rates::bytes_written),
                                           elapsed_text(report.opened_ms),
                                           who_text(report),
                                           doing_text(report)};
    for (std::size_t at = 0; at < cells.size(); ++at) columns[at].cells.push_back(cells[at]);
  }
  return columns;
}

std::string number_of(std::size_t count, const char* one, const char* more) {
  return std::to_string(count) + " " + (count == 1 ? one : more);
}

std::string headline(const TopSample& sample, const std::string& server) {
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  return time_text(now.count()) + "  " + base::visible(server) + "  " +
         number_of(sample.stores.size(), "store", "stores") + ", " +
         number_of(sample.sessions.size(), "session", "sessions") + ", " +
         number_of(sample.connections, "connection", "connections");
}

const char* order_name(TopOrder order) {
  switch (order) {
    case TopOrder::requests: return "requests";
    case TopOrder::bytes_read: return "read";
    case TopOrder::bytes_written: return "written";
    case TopOrder::store: return "store";
    case TopOrder::idle: return "idle";
  }
  return "";
}

}  // namespace

bool choose_order(TopView& view, char key) {
  const auto found =
      std::find_if(order_keys.begin(), order_keys.end(), [key](const auto& one) { return one.key == key; });
  if (found == order_keys.end()) return false;
  view.turned = found->order == view.order && !view.turned;
  view.order = found->order;
  return true;
}

void sort(TopSample& sample, const TopView& view) {
  // Of two that are equal the name, and then the number, decides: nobody changes places for nothing.
  const auto stores_before = [&](const TopStore& one, const TopStore& other) {
    const double first = rate_of(one.rates, view.order), second = rate_of(other.rates, view.order);
    if (first != second) return view.turned ? first < second : first > second;
    const bool turned = view.turned && view.order == TopOrder::store;
    return turned ? other.listed.name < one.listed.name : one.listed.name < other.listed.name;
  };
  std::sort(sample.stores.begin(), sample.stores.end(), stores_before);
  const auto sessions_before = [&](const TopSession& one, const TopSession& other) {
    const auto key = [&](const TopSession& session) {
      const double value = view.order == TopOrder::idle ? -static_cast<double>(session.report.idle_ms)
                                                        : rate_of(session.rates, view.order);
      return std::tuple(-value, view.order == TopOrder::store ? std::string_view(session.report.store) : "");
    };
    const auto first = key(one), second = key(other);
    if (first != second) return view.turned ? second < first : first < second;
    return one.report.session_id < other.report.session_id;
  };
  std::sort(sample.sessions.begin(), sample.sessions.end(), sessions_before);
}

std::vector<Screen::Line> top_lines(const TopSample& sample, const std::string& server, TopView& view,
                                    Screen::Size size) {
  const bool live = size.rows != no_screen.rows;
  std::vector<Screen::Line> lines{{headline(sample, server)}};
  std::size_t stores = sample.stores.size(), sessions = sample.sessions.size();
  if (live) {
    // The headline, two headings and the line about keys.
    const std::size_t rows = size.rows > 4 ? size.rows - 4 : 1;
    if (stores + sessions > rows) stores = std::min(stores, std::max(rows / 3, rows - std::min(rows, sessions)));
    const std::size_t left = rows - std::min(rows, stores);
    view.scrolled = std::min(view.scrolled, sessions - std::min(sessions, left));
    sessions = std::min(left, sessions - view.scrolled);
  }
  add_table(store_columns(sample, stores), size.columns, lines,
            [&](std::size_t row) { return sample.stores[row].listed.recovery_warned; });
  if (!live) lines.push_back({});
  const std::size_t first = live ? view.scrolled : 0;
  add_table(session_columns(sample, first, sessions), size.columns, lines,
            [&](std::size_t row) { return deserves_a_look(sample.sessions[first + row].report); });
  if (!live) {
    lines.push_back({});
    return lines;
  }
  std::string keys = "q ends  sorted by " + std::string(order_name(view.order)) + (view.turned ? ", turned" : "") +
                     ": o requests  r read  w written  s store  i idle";
  if (stores < sample.stores.size()) keys = std::to_string(sample.stores.size() - stores) + " more stores  " + keys;
  if (sessions < sample.sessions.size())
    keys = "sessions " + std::to_string(view.scrolled + 1) + "-" + std::to_string(view.scrolled + sessions) + " of " +
           std::to_string(sample.sessions.size()) + "  " + keys;
  lines.resize(std::min(lines.size(), size.rows > 0 ? size.rows - 1 : 0));
  lines.push_back({std::move(keys)});
  return lines;
}

}  // namespace pageserver::pagectl
