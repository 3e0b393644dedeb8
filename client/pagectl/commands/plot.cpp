// plot: what a trace does, and how a bench or a replay went, as pictures.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "base/small_file.hpp"
#include "base/text.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/terminal/svg.hpp"
#include "client/pagectl/work/trace_reader.hpp"

namespace pageserver::pagectl {
namespace {

using Json = nlohmann::ordered_json;
using Points = std::vector<std::pair<double, double>>;

constexpr double left = 70, plot_width = 768, picture_width = left + plot_width + 40;
constexpr const char* grid_colour = "#dddddd";
constexpr const char* read_colour = "#4477aa";
constexpr const char* write_colour = "#cc6644";
constexpr const char* median_colour = "#228833";
constexpr const char* p99_colour = "#cc9900";
constexpr const char* max_colour = "#bb3355";
constexpr const char* size_colour = "#444444";
constexpr const char* at_the_end = "text-anchor=\"end\"";

std::string text_of(const char* format, double value) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string latency_text(double us) {
  if (us >= 1e6) return text_of("%g s", us / 1e6);
  return us >= 1e3 ? text_of("%g ms", us / 1e3) : text_of("%g µs", us);
}

/// How much of the colour a count has, so that one request is seen beside a million.
double shade(double count, double most) { return count <= 0 ? 0 : 0.15 + 0.85 * std::log1p(count) / std::log1p(most); }

void key(Svg& svg, double x, double y, const char* colour, const std::string& text) {
  svg.rect(x, y - 9, 10, 10, colour);
  svg.text(x + 14, y, text);
}

// What a trace does: its records from left to right, the image's pages from top to bottom.

constexpr std::size_t columns = 192, rows_max = 64;
constexpr double heat_height = 256;

struct TraceActivity {
  using Map = std::vector<std::array<std::uint64_t, rows_max>>;
  std::array<Map, 2> touched{Map(columns), Map(columns)};     // reads, writes
  std::array<std::array<std::uint64_t, columns>, 2> bytes{};  // read, written
  std::array<std::uint64_t, 2> requests{};
  std::vector<std::uint64_t> pages_then =
      std::vector<std::uint64_t>(columns);  // the image's size at the end of a column
  std::size_t rows = 1;                     // as many as there are pages, where these are few
  std::uint64_t grows = 0;
  std::uint64_t flushes = 0;
  std::uint64_t refused = 0;
};

/// `at` of `all` as one of `parts`; numbers that a file may claim don't overflow.
std::size_t part_of(std::uint64_t at, std::uint64_t all, std::size_t parts) {
  const double share = static_cast<double>(at) / static_cast<double>(std::max<std::uint64_t>(all, 1));
  return std::min(parts - 1, static_cast<std::size_t>(share * static_cast<double>(parts)));
}

TraceActivity activity_of(Context& context, TraceReader& trace) {
  TraceActivity activity;
  const TraceHeader& header = trace.header();
  const std::uint64_t pages = std::max(header.initial_size_bytes, header.final_size_bytes) / page_size;
  activity.rows = static_cast<std::size_t>(std::clamp<std::uint64_t>(pages, 1, rows_max));
  std::uint64_t pages_now = header.initial_size_bytes / page_size;
  std::vector<std::byte> skipped;
  Progress progress(context.progress_kind(), "plot", header.records, Progress::Unit::count);
  TraceRecord record;
  while (trace.next(record)) {
    if (record.number % 1024 == 0) progress.update(record.number);
    const std::size_t column = part_of(record.number - 1, header.records, columns);
    switch (record.op) {
      case TraceOp::grow:
        ++activity.grows;
        pages_now = record.returned / page_size + record.new_pages;
        break;
      case TraceOp::flush: ++activity.flushes; break;
      case TraceOp::out_of_bounds: ++activity.refused; break;
      case TraceOp::read:
      case TraceOp::write:
      case TraceOp::zero: {
        const std::size_t kind = record.op == TraceOp::read ? 0 : 1;
        ++activity.requests[kind];
        activity.bytes[kind][column] += record.length;
        const std::size_t first = part_of(record.offset / page_size, pages, activity.rows);
        const std::uint64_t more =
            (record.offset % page_size + std::max<std::uint64_t>(record.length, 1) - 1) / page_size;
        const std::size_t last = part_of(record.offset / page_size + more, pages, activity.rows);
        for (std::size_t row = first; row <= last; ++row) ++activity.touched[kind][column][row];
        if (record.op == TraceOp::write) {
          // In pieces: the length is the file's word.
          for (std::uint64_t left_over = record.length; left_over > 0;) {
            skipped.resize(static_cast<std::size_t>(std::min<std::uint64_t>(left_over, 1u << 20)));
            trace.data(skipped);
            left_over -= skipped.size();
          }
        }
        break;
      }
    }
    activity.pages_then[column] = pages_now;
  }
  // Where records are fewer than columns.
  for (std::size_t i = 1; i < columns; ++i)
    if (activity.pages_then[i] == 0) activity.pages_then[i] = activity.pages_then[i - 1];
  return activity;
}

void draw_bytes(Svg& svg, double top, const TraceActivity& activity) {
  constexpr double height = 60;
  std::uint64_t most = 1;
  for (const auto& kind : activity.bytes) most = std::max(most, *std::max_element(kind.begin(), kind.end()));
  for (std::size_t kind = 0; kind < 2; ++kind) {
    const double base = top + static_cast<double>(kind + 1) * (height + 6) - 6;
    svg.line(left, base, left + plot_width, base, grid_colour);
    svg.text(left - 6, base, kind == 0 ? "read" : "written", at_the_end);
    for (std::size_t i = 0; i < columns; ++i) {
      if (activity.bytes[kind][i] == 0) continue;
      const double high =
          std::max(0.5, height * static_cast<double>(activity.bytes[kind][i]) / static_cast<double>(most));
      svg.rect(left + static_cast<double>(i) * plot_width / columns, base - high, plot_width / columns, high,
               kind == 0 ? read_colour : write_colour);
    }
  }
  svg.text(left - 6, top + 9, bytes_text(most), at_the_end);
}

void draw_heat(Svg& svg, double top, const TraceActivity& activity, std::size_t kind, std::uint64_t pages) {
  constexpr double cell = plot_width / columns;
  const std::size_t rows = activity.rows;
  const double row_height = heat_height / static_cast<double>(rows);
  std::uint64_t most = 1;
  for (const auto& column : activity.touched[kind])
    most = std::max(most, *std::max_element(column.begin(), column.end()));
  for (std::size_t x = 0; x < columns; ++x) {
    // One element for rows that are alike.
    for (std::size_t y = 0; y < rows;) {
      const std::uint64_t count = activity.touched[kind][x][y];
      std::size_t end = y + 1;
      while (end < rows && activity.touched[kind][x][end] == count) ++end;
      if (count > 0) {
        svg.rect(left + static_cast<double>(x) * cell, top + static_cast<double>(y) * row_height, cell,
                 static_cast<double>(end - y) * row_height, kind == 0 ? read_colour : write_colour,
                 shade(static_cast<double>(count), static_cast<double>(most)));
      }
      y = end;
    }
  }
  Points size;
  for (std::size_t x = 0; x < columns; ++x) {
    const double share =
        static_cast<double>(activity.pages_then[x]) / static_cast<double>(std::max<std::uint64_t>(pages, 1));
    size.emplace_back(left + static_cast<double>(x) * cell + cell / 2, top + std::min(1.0, share) * heat_height);
  }
  svg.path(size, size_colour);
  svg.text(left - 6, top + 9, "page 0", at_the_end);
  svg.text(left - 6, top + heat_height, pages == 0 ? "0" : std::to_string(pages - 1), at_the_end);
}

std::string plot_trace(Context& context, const PlotOptions& options) {
  TraceReader trace(options.file);
  const TraceActivity activity = activity_of(context, trace);
  const TraceHeader& header = trace.header();
  const std::uint64_t pages = std::max(header.initial_size_bytes, header.final_size_bytes) / page_size;
  Svg svg;
  const std::string title = "trace " + options.file + ": " + std::to_string(header.records) + " records";
  svg.text(left, 20, title, "font-size=\"14\"");
  svg.text(left, 38,
           std::to_string(activity.requests[0]) + " reads, " + std::to_string(activity.requests[1]) + " writes, " +
               std::to_string(activity.grows) + " grows, " + std::to_string(activity.flushes) + " flushes, " +
               std::to_string(activity.refused) + " refused; " + pages_text(header.initial_size_bytes / page_size) +
               " at first, " + pages_text(header.final_size_bytes / page_size) + " at the end");
  svg.text(left, 60, "Bytes in each of " + std::to_string(columns) + " parts of the trace");
  draw_bytes(svg, 68, activity);
  svg.text(left, 218, "Pages read, darker: more often");
  draw_heat(svg, 226, activity, 0, pages);
  svg.text(left, 226 + heat_height + 22, "Pages written");
  draw_heat(svg, 226 + heat_height + 30, activity, 1, pages);
  const double bottom = 226 + 2 * heat_height + 30 + 20;
  key(svg, left, bottom, size_colour, "size of the image");
  svg.text(left + plot_width, bottom, "records, from the first to the last", at_the_end);
  return svg.document(picture_width, bottom + 16, title);
}

// How a bench went, or a replay: one panel for each run.

[[noreturn]] void no_bench(const std::string& file, const std::string& why) {
  throw MemoryError(Errc::invalid_argument,
                    "plot " + base::quoted(file) + ": " + why +
                        "; expected the report of a bench or a replay, as `pagectl bench URI --json >FILE` and "
                        "`pagectl replay TRACE URI --json >FILE` make one");
}

/// A file that is no JSON, in words for whoever mistook it.
std::string what_it_is(std::string_view text) {
  if (text.empty()) return "it is empty";
  if (text.starts_with("WDTRACE") || text.starts_with("\x28\xb5\x2f\xfd"))
    return "it is a trace, or compressed as one, and no JSON (`pagectl plot trace` draws traces)";
  return "it is no JSON";
}

/// What is missing or of another kind, without the library's own number for that.
std::string fault_in(std::string_view what) {
  const auto prefix = what.find("] ");
  return "it is not the whole report: " +
         std::string(prefix == std::string_view::npos ? what : what.substr(prefix + 2));
}

/// Numbers of a file that anybody may have written.
double number_in(const Json& object, const char* name) {
  const double value = object.at(name).get<double>();
  if (!std::isfinite(value) || value < 0) throw std::out_of_range(std::string(name) + " is no number that is drawn");
  return value;
}

constexpr std::size_t runs_max = 64, slots_max = 4096, tiles_max = 4096;
constexpr double latency_height = 150, rate_height = 46, strip_height = 14, panel_height = 326;

const Json& list_in(const Json& object, const char* name, std::size_t most) {
  const Json& list = object.at(name);
  if (!list.is_array() || list.size() > most)
    throw std::out_of_range(std::string(name) + " is no list of at most " + std::to_string(most));
  return list;
}

void draw_latency(Svg& svg, double top, const Json& slots) {
  constexpr std::array<std::pair<const char*, const char*>, 3> curves{
      {{"max_us", max_colour}, {"p99_us", p99_colour}, {"median_us", median_colour}}};
  double least = std::numeric_limits<double>::max(), most = 0;
  for (const Json& slot : slots) {
    if (number_in(slot, "requests") == 0) continue;
    least = std::min(least, number_in(slot, "median_us"));
    most = std::max({most, number_in(slot, "max_us"), number_in(slot, "p99_us")});
  }
  const double low = std::floor(std::log10(std::max(0.01, std::min(least, 1e12))));
  const double high = std::max(low + 1, std::ceil(std::log10(std::max(0.1, std::min(most, 1e12)))));
  const auto place = [&](double us) {
    const double share = (std::log10(std::max(us, 1e-3)) - low) / (high - low);
    return top + latency_height * (1 - std::clamp(share, 0.0, 1.0));
  };
  for (double power = low; power <= high; ++power) {
    const double y = place(std::pow(10, power));
    svg.line(left, y, left + plot_width, y, grid_colour);
    svg.text(left - 6, y + 4, latency_text(std::pow(10, power)), at_the_end);
  }
  const double step = plot_width / static_cast<double>(std::max<std::size_t>(slots.size(), 1));
  for (const auto& [name, colour] : curves) {
    Points points;
    for (std::size_t i = 0; i < slots.size(); ++i) {
      if (number_in(slots[i], "requests") == 0) continue;
      points.emplace_back(left + (static_cast<double>(i) + 0.5) * step, place(number_in(slots[i], name)));
    }
    // One point is a line that nobody sees.
    if (points.size() == 1) points = {{left, points[0].second}, {left + step, points[0].second}};
    if (!points.empty()) svg.path(points, colour);
  }
  double x = left;
  for (const auto& [text, colour] :
       {std::pair{"median", median_colour}, {"99 % within", p99_colour}, {"longest", max_colour}}) {
    key(svg, x, top - 6, colour, text);
    x += 100;
  }
}

void draw_rate(Svg& svg, double top, const Json& slots, double slot_ms) {
  double most = 1;
  for (const Json& slot : slots) most = std::max(most, number_in(slot, "requests"));
  const double step = plot_width / static_cast<double>(std::max<std::size_t>(slots.size(), 1));
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const double high = rate_height * number_in(slots[i], "requests") / most;
    svg.rect(left + static_cast<double>(i) * step, top + rate_height - high, step, high, "#999999");
  }
  svg.line(left, top + rate_height, left + plot_width, top + rate_height, grid_colour);
  svg.text(left - 6, top + 9, text_of("%.0f/s", most * 1000 / std::max(slot_ms, 1e-3)), at_the_end);
  svg.text(left, top + rate_height + 13, "0 s");
  svg.text(left + plot_width, top + rate_height + 13,
           text_of("%.3g s", slot_ms * static_cast<double>(slots.size()) / 1000), at_the_end);
}

void draw_strips(Svg& svg, double top, const Json& pages) {
  const double per_tile = number_in(pages, "pages_per_tile");
  double strip = top;
  for (const auto& [name, colour] : {std::pair{"reads", read_colour}, {"writes", write_colour}}) {
    const Json& counts = list_in(pages, name, tiles_max);
    double most = 1;
    std::vector<double> all;
    for (const Json& count : counts) {
      all.push_back(std::max(0.0, count.get<double>()));
      most = std::max(most, all.back());
    }
    const double step = plot_width / static_cast<double>(std::max<std::size_t>(all.size(), 1));
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i] == 0) continue;
      svg.rect(left + static_cast<double>(i) * step, strip, step, strip_height, colour, shade(all[i], most),
               text_of("page %.0f and on: ", static_cast<double>(i) * per_tile) + text_of("%.0f ", all[i]) + name);
    }
    svg.text(left - 6, strip + 11, name, at_the_end);
    strip += strip_height + 2;
  }
  svg.text(left, strip + 11, "page 0");
  svg.text(left + plot_width, strip + 11, text_of("page %.0f", std::max(0.0, number_in(pages, "pages") - 1)),
           at_the_end);
}

void draw_run(Svg& svg, double top, const Json& run, const std::string& title) {
  const Json& timeline = run.at("timeline");
  const Json& slots = list_in(timeline, "slots", slots_max);
  svg.text(left, top + 14, title, "font-size=\"13\"");
  draw_latency(svg, top + 44, slots);
  draw_rate(svg, top + 44 + latency_height + 10, slots, number_in(timeline, "slot_ms"));
  draw_strips(svg, top + 44 + latency_height + 10 + rate_height + 20, run.at("pages"));
}

std::string run_title(const Json& run) {
  if (!run.contains("request_bytes")) {
    return text_of("%.0f operations, ", number_in(run, "operations")) +
           text_of("depth %.0f: ", number_in(run, "depth")) +
           text_of("%.0f a second", number_in(run, "operations_per_second"));
  }
  return text_of("%.0f bytes, ", number_in(run, "request_bytes")) + text_of("depth %.0f, ", number_in(run, "depth")) +
         text_of("%.0f %% writes: ", number_in(run, "write_percent")) +
         text_of("%.0f requests a second", number_in(run, "requests_per_second"));
}

std::string plot_bench(const PlotOptions& options) {
  constexpr std::size_t file_bytes_max = 64u << 20;
  std::string text;
  const base::SmallFile file(options.file);
  const int error = file.error() != 0 ? file.error() : file.read(text, file_bytes_max);
  if (error != 0) {
    throw MemoryError(error == ENOENT ? Errc::not_found : Errc::provider_error,
                      "plot " + base::quoted(options.file) + ": " + std::generic_category().message(error));
  }
  try {
    const Json document = Json::parse(text, nullptr, false);
    if (document.is_discarded()) no_bench(options.file, what_it_is(text));
    if (!document.is_object()) no_bench(options.file, "it is no JSON object");
    const bool is_bench = document.contains("runs");
    if (!is_bench && !document.contains("timeline")) no_bench(options.file, "it has neither `runs` nor a `timeline`");
    const Json runs = is_bench ? list_in(document, "runs", runs_max) : Json::array({document});
    const std::string title =
        (is_bench ? "bench of " : "replay of " + document.at("trace").get<std::string>() + " on ") +
        document.at("store").get<std::string>();
    Svg svg;
    svg.text(left, 22, title, "font-size=\"14\"");
    double top = 36;
    for (const Json& run : runs) {
      draw_run(svg, top, run, run_title(run));
      top += panel_height;
    }
    return svg.document(picture_width, top, title);
  } catch (const Json::exception& fault) {
    no_bench(options.file, fault_in(fault.what()));
  } catch (const std::out_of_range& fault) {
    no_bench(options.file, fault.what());
  }
}

}  // namespace

int run_plot(Context& context, const PlotOptions& options) {
  if (options.what != "trace" && options.what != "bench") {
    throw MemoryError(Errc::invalid_argument,
                      "plot: " + base::quoted(options.what) + " is not known; it is `trace` or `bench`");
  }
  if (context.json)
    throw MemoryError(Errc::invalid_argument, "plot: a picture is no JSON; the file that is plotted has the numbers");
  context.out.text(options.what == "trace" ? plot_trace(context, options) : plot_bench(options));
  return exit_done;
}

}  // namespace pageserver::pagectl
