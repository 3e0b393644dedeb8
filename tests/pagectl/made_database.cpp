#include "tests/pagectl/made_database.hpp"

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <vector>

#include "client/pagectl/layout/bytes.hpp"

namespace pageserver::test {
namespace {

using layout::page_bytes;
constexpr std::uint32_t none = 0xFFFFFFFF;

std::string number(std::uint64_t value, unsigned bytes) {
  std::string out;
  for (unsigned i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFFu);
  return out;
}
std::string word(const std::string& text) { return number(text.size(), 1) + text; }
std::string sized(const std::string& bytes) { return number(bytes.size(), 2) + bytes; }
std::uint64_t hash(const std::string& bytes) { return layout::hash_of(std::as_bytes(std::span(bytes))); }

std::string schema_of(const std::string& name) {
  return number(1, 1) + word(name) + word("id") + number(32, 4) + number(2, 2) +
         sized(word("id") + number(0x13, 1) + number(0x0c, 1) + number(0, 2)) +
         sized(word("name") + number(0x51, 1) + number(0, 1) + number(0, 2)) + number(1, 2) +
         sized(number(1, 1) + word("id") + number(1, 1));
}

std::string key_of(std::uint64_t id) { return number(1, 4) + number(9, 4) + number(15, 1) + number(id, 8); }

class Maker {
public:
  Maker(const MadeDatabase& asked, const std::string& path) : asked_(asked), file_(path, std::ios::binary) {
    row_bytes_ = (2 + 8 + 2 + asked.name_bytes + 31) / 32 * 32;
    rows_per_page_ = page_bytes / row_bytes_;
    rows_ = std::uint64_t{rows_per_page_} * asked.record_pages;
    leaves_ = parts(rows_, asked.leaf_entries);
    table_pages_ = 4 + asked.record_pages + leaves_;
    for (std::uint64_t nodes = leaves_; nodes > 1;) {
      nodes = parts(nodes, asked.node_children);
      table_pages_ += nodes;
    }
  }

  std::uint64_t run() {
    std::string directory = number(asked_.tables, 8), hashed = number(1, 1);
    std::vector<std::string> names;
    for (std::uint32_t i = 0; i < asked_.tables; ++i) names.push_back("t" + std::to_string(i));
    for (std::uint32_t i = 0; i < asked_.tables; ++i) {
      const std::uint64_t first = 2 + i * table_pages_;
      directory += number(hash(names[i]), 8);
      for (unsigned k = 0; k < 4; ++k) directory += number(first + k, 4);
      directory += number(0, 1);
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      const std::string schema = schema_of(name);
      hashed += number(schema.size(), 8) + schema;
    }
    page(number(hash(hashed), 8) + directory);
    page({});
    for (std::uint32_t i = 0; i < asked_.tables; ++i) table(i);
    file_.close();
    if (!file_) throw std::runtime_error("the made database can't be written");
    return rows_;
  }

private:
  static std::uint64_t parts(std::uint64_t whole, std::uint64_t part) { return (whole + part - 1) / part; }

  void page(const std::string& content) {
    file_.write(content.data(), static_cast<std::streamsize>(content.size()));
    const std::string zeros(page_bytes - content.size(), '\0');
    file_.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
  }

  void table(std::uint32_t which) {
    const std::uint64_t first = 2 + which * table_pages_;
    const std::uint64_t records = first + 4, leaves = records + asked_.record_pages;
    page(schema_of("t" + std::to_string(which)));
    std::string list = number(asked_.record_pages, 4);
    for (std::uint64_t i = 0; i < asked_.record_pages; ++i)
      list += number(records + i, 4) + number(page_bytes - std::uint64_t{rows_per_page_} * row_bytes_, 8);
    page(list);
    page({});
    page(number(1, 8) + number(1, 8) + word("id") + number(first + table_pages_ - 1, 4));
    const std::string name(asked_.name_bytes, 'x');
    for (std::uint64_t i = 0; i < asked_.record_pages; ++i) {
      std::string rows;
      for (std::uint64_t k = 0; k < rows_per_page_; ++k) {
        std::string row = number(8 + 2 + name.size(), 2) + number(i * rows_per_page_ + k, 8) + sized(name);
        row.resize(row_bytes_);
        rows += row;
      }
      page(rows);
    }
    for (std::uint64_t i = 0; i < leaves_; ++i) {
      const std::uint64_t begin = i * asked_.leaf_entries;
      const std::uint64_t end = std::min<std::uint64_t>(rows_, begin + asked_.leaf_entries);
      std::string leaf = number(1, 1) + number(leaves_ == 1 ? none : leaves + leaves_ + i / asked_.node_children, 4) +
                         number(end - begin, 2) + number(i == 0 ? none : leaves + i - 1, 4) +
                         number(i + 1 == leaves_ ? none : leaves + i + 1, 4);
      for (std::uint64_t id = begin; id < end; ++id)
        leaf +=
            sized(key_of(id)) + number(records + id / rows_per_page_, 4) + number(id % rows_per_page_ * row_bytes_, 2);
      page(leaf);
    }
    nodes(leaves, leaves_, asked_.leaf_entries);
  }

  /// The nodes above `count` pages from `first`, each of which has `span` rows below it.
  void nodes(std::uint64_t first, std::uint64_t count, std::uint64_t span) {
    if (count == 1) return;
    const std::uint64_t above = parts(count, asked_.node_children), here = first + count;
    for (std::uint64_t i = 0; i < above; ++i) {
      const std::uint64_t begin = i * asked_.node_children;
      const std::uint64_t end = std::min<std::uint64_t>(count, begin + asked_.node_children);
      std::string node = number(0, 1) + number(above == 1 ? none : here + above + i / asked_.node_children, 4) +
                         number(end - begin - 1, 2) + number(first + end - 1, 4);
      for (std::uint64_t k = begin; k + 1 < end; ++k) node += sized(key_of((k + 1) * span)) + number(first + k, 4);
      page(node);
    }
    nodes(here, above, span * asked_.node_children);
  }

  const MadeDatabase asked_;
  std::ofstream file_;
  std::uint32_t row_bytes_ = 0;
  std::uint32_t rows_per_page_ = 0;
  std::uint64_t rows_ = 0;
  std::uint64_t leaves_ = 0;
  std::uint64_t table_pages_ = 0;
};

}  // namespace

std::uint64_t make_database(const MadeDatabase& database, const std::string& path) {
  return Maker(database, path).run();
}

}  // namespace pageserver::test
