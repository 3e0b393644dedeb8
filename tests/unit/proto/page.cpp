#include "tests/unit/proto/page.hpp"

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace pageserver::proto::test {
namespace {

std::string trimmed(const std::string& cell) {
  std::string result;
  for (const char c : cell) {
    if (c != '`') result += c;
  }
  const auto first = result.find_first_not_of(' ');
  if (first == std::string::npos) return "";
  return result.substr(first, result.find_last_not_of(' ') - first + 1);
}

Row cells_of(const std::string& line) {
  Row row;
  std::istringstream cells(line.substr(1));
  for (std::string cell; std::getline(cells, cell, '|');) row.push_back(trimmed(cell));
  return row;
}

bool is_ruler(const Row& row) {
  return !row.empty() && !row[0].empty() && row[0].find_first_not_of('-') == std::string::npos;
}

}  // namespace

Page::Page(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot open " + path);
  sections_.push_back({});
  bool in_table = false;
  for (std::string line; std::getline(file, line);) {
    const bool is_row = !line.empty() && line[0] == '|';
    if (!line.empty() && line[0] == '#') {
      sections_.push_back({});
      sections_.back().title = line.substr(line.find_first_not_of("# "));
    } else if (!is_row) {
      sections_.back().text += line + "\n";
    } else {
      auto& tables = sections_.back().tables;
      if (!in_table) tables.push_back({});
      const Row row = cells_of(line);
      // The row before the ruler is the head.
      if (is_ruler(row)) {
        tables.back().clear();
      } else {
        tables.back().push_back(row);
      }
    }
    in_table = is_row;
  }
}

const PageSection& Page::section(std::string_view title) const {
  for (const PageSection& section : sections_) {
    if (section.title == title) return section;
  }
  throw std::runtime_error("PROTOCOL.md has no section " + std::string(title));
}

std::vector<ExampleFrame> Page::example() const {
  std::vector<ExampleFrame> frames;
  std::istringstream lines(section("A worked example").text);
  for (std::string line; std::getline(lines, line);) {
    if (line.size() < 2 || (line[0] != '>' && line[0] != '<') || line[1] != ' ') continue;
    if (line[2] == '#') {
      frames.push_back({line[0] == '>', line.substr(4), {}});
      continue;
    }
    if (frames.empty()) throw std::runtime_error("the worked example has bytes before a title");
    std::istringstream bytes(line.substr(2));
    for (std::string byte; bytes >> byte;) {
      frames.back().bytes.push_back(static_cast<std::byte>(std::stoul(byte, nullptr, 16)));
    }
  }
  return frames;
}

}  // namespace pageserver::proto::test
