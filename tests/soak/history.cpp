#include "tests/soak/history.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace pageserver::test::soak {

namespace {

std::uint64_t content(std::uint64_t number, std::uint64_t cell) {
  return number == 0 ? 0 : number << place_bits | cell;
}

}  // namespace

Time now() { return static_cast<Time>(std::chrono::steady_clock::now().time_since_epoch().count()); }

void Image::apply(const Run& run) {
  const auto begin = cells.begin() + static_cast<std::ptrdiff_t>(run.first);
  std::fill(begin, begin + static_cast<std::ptrdiff_t>(run.cells), run.number);
}

void Image::apply(const Change& change) {
  if (change.grown_pages != 0) cells.resize(cells.size() + change.grown_pages * cells_per_page);
  for (const Run& run : change.runs) apply(run);
}

std::vector<std::byte> bytes_of(const Run& run) {
  std::vector<std::byte> bytes(run.cells * cell_bytes);
  for (std::uint64_t at = 0; at < run.cells; ++at) {
    const std::uint64_t cell = content(run.number, run.first + at);
    std::memcpy(bytes.data() + at * cell_bytes, &cell, cell_bytes);
  }
  return bytes;
}

std::vector<Run> runs_of(std::span<const std::byte> bytes, std::uint64_t first, std::string& fault) {
  std::vector<Run> runs;
  for (std::uint64_t at = 0; at < bytes.size() / cell_bytes; ++at) {
    std::uint64_t cell = 0;
    std::memcpy(&cell, bytes.data() + at * cell_bytes, cell_bytes);
    const std::uint64_t number = cell >> place_bits;
    if (cell != content(number, first + at) && fault.empty()) {
      fault = "cell " + std::to_string(first + at) + " holds " + std::to_string(cell) + ", which is number " +
              std::to_string(number) + " of cell " + std::to_string(cell & (cells_max - 1));
    }
    if (runs.empty() || runs.back().number != number) runs.push_back({first + at, 0, number});
    ++runs.back().cells;
  }
  return runs;
}

Image image_of(std::span<const std::byte> bytes, std::string& fault) {
  Image image;
  image.cells.resize(bytes.size() / cell_bytes);
  if (bytes.size() % (cells_per_page * cell_bytes) != 0) fault = std::to_string(bytes.size()) + " bytes are no pages";
  for (const Run& run : runs_of(bytes, 0, fault)) image.apply(run);
  return image;
}

std::vector<Run> runs_of(const Image& image) {
  std::vector<Run> runs;
  for (std::uint64_t at = 0; at < image.cells.size(); ++at) {
    if (runs.empty() || runs.back().number != image.cells[at]) runs.push_back({at, 0, image.cells[at]});
    ++runs.back().cells;
  }
  return runs;
}

std::string text(const Run& run) {
  return "[" + std::to_string(run.first) + "+" + std::to_string(run.cells) + ")=" + std::to_string(run.number);
}

namespace {

std::string text(const std::vector<Run>& runs) {
  std::string all;
  for (std::size_t at = 0; at < runs.size() && at < 12; ++at) all += ' ' + soak::text(runs[at]);
  return runs.size() > 12 ? all + " ... " + std::to_string(runs.size()) + " runs" : all;
}

std::string text(Time asked, Time answered) {
  return "asked " + std::to_string(asked) +
         (answered == never ? ", never answered" : ", answered " + std::to_string(answered));
}

}  // namespace

std::string text(const Change& change) {
  return "change " + std::to_string(change.number) + ", " + text(change.asked, change.answered) +
         (change.grown_pages == 0 ? "" : ", grows by " + std::to_string(change.grown_pages) + " pages") + ":" +
         text(change.runs);
}

std::string text(const Read& read) {
  return "read of " + read.who + ", " + text(read.asked, read.answered) +
         (read.pages == 0 ? "" : ", " + std::to_string(read.pages) + " pages") + ":" + text(read.runs);
}

std::string difference(const Image& found, const Image& newest) {
  std::string all = std::to_string(found.pages()) + " pages, expected " + std::to_string(newest.pages());
  std::size_t different = 0;
  const std::size_t both = std::min(found.cells.size(), newest.cells.size());
  std::vector<Run> runs;
  for (std::size_t at = 0; at < both; ++at) {
    if (found.cells[at] == newest.cells[at]) continue;
    ++different;
    if (runs.empty() || runs.back().first + runs.back().cells != at || runs.back().number != found.cells[at])
      runs.push_back({at, 0, found.cells[at]});
    ++runs.back().cells;
  }
  all += "; " + std::to_string(different) + " cells differ";
  for (std::size_t at = 0; at < runs.size() && at < 12; ++at)
    all += ' ' + text(runs[at]) + " instead of " + std::to_string(newest.cells[runs[at].first]);
  return all;
}

}  // namespace pageserver::test::soak
