// The layout of an image of wasm-dbms, but for schemas and rows: docs/inspect.md has it in words.
// Bytes to structs; nothing here trusts a number before it has looked at it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "client/pagectl/layout/bytes.hpp"

namespace pageserver::layout::dbms {

/// Which pages are reserved at the front.
enum class Release {
  before_0_10,  ///< 0 directory, 1 access rights, 2 unclaimed pages
  since_0_10    ///< 0 directory, 1 unclaimed pages
};
inline std::uint32_t reserved_pages(Release release) { return release == Release::before_0_10 ? 3 : 2; }
inline std::uint32_t unclaimed_page(Release release) { return reserved_pages(release) - 1; }

inline constexpr std::uint32_t no_page = 0xFFFFFFFF;
inline constexpr std::uint32_t directory_tables_max = 2620;
inline constexpr std::uint32_t unclaimed_pages_max = 16382;
inline constexpr std::uint32_t listed_pages_max = 5461;
inline constexpr std::uint32_t free_tables_max = 16383;
inline constexpr std::uint32_t free_segments_max = 8191;
/// Trees are never so deep: a node has room for two keys at least.
inline constexpr std::uint32_t tree_levels_max = 64;

/// A page's content can't be read: where in the page, and why.
struct Fault {
  std::size_t at = 0;
  std::string why;
};

struct TablePlaces {
  std::uint64_t fingerprint = 0;
  std::uint32_t schema = 0;
  std::uint32_t page_list = 0;
  std::uint32_t free_list = 0;
  std::uint32_t index_list = 0;
  std::optional<std::uint32_t> counters;
  std::uint32_t at = 0;  ///< its entry in page 0
};
struct Directory {
  std::uint64_t schema_hash = 0;
  std::vector<TablePlaces> tables;
};
std::optional<Fault> parse_directory(Bytes page, Directory& directory);

std::optional<Fault> parse_unclaimed(Bytes page, std::vector<std::uint32_t>& pages);

/// Access rights of 0.9: how many identities, where the page holds such a list.
std::optional<std::uint32_t> parse_rights(Bytes page);

struct ListedPage {
  std::uint32_t page = 0;
  std::uint64_t free_bytes = 0;  ///< at its end
};
/// Where entry `index` of a page list stands.
constexpr std::size_t listed_page_at(std::size_t index) { return 4 + 12 * index; }
std::optional<Fault> parse_page_list(Bytes page, std::vector<ListedPage>& pages);

constexpr std::size_t free_table_at(std::size_t index) { return 2 + 4 * index; }
std::optional<Fault> parse_free_list(Bytes page, std::vector<std::uint32_t>& tables);

struct FreeSegment {
  std::uint32_t page = 0;
  std::uint16_t offset = 0;
  std::uint16_t size = 0;
  /// A segment of a whole page does not fit its u16 and is one byte short.
  std::uint32_t end() const {
    const std::uint32_t sum = static_cast<std::uint32_t>(offset) + size;
    return sum == 65535 ? 65536 : sum;
  }
};
constexpr std::size_t free_segment_at(std::size_t index) { return 2 + 8 * index; }
std::optional<Fault> parse_free_table(Bytes page, const std::function<void(std::size_t at, const FreeSegment&)>& sink);

struct ListedIndex {
  std::vector<std::string> columns;
  std::uint32_t root = 0;
  std::size_t at = 0;       ///< of the entry
  std::size_t root_at = 0;  ///< of the root's number
};
std::optional<Fault> parse_index_list(Bytes page, std::vector<ListedIndex>& indexes);

struct Counter {
  std::string column;
  Bytes value;  ///< tag and encoded value, within the page
};
std::optional<Fault> parse_counters(Bytes page, std::vector<Counter>& counters);

struct Node {
  bool leaf = false;
  std::uint32_t parent = no_page;
  std::uint16_t entries = 0;
  std::uint32_t rightmost = no_page;  ///< of an inner node
  std::uint32_t previous = no_page;   ///< of a leaf
  std::uint32_t next = no_page;       ///< of a leaf
};
struct NodeEntry {
  std::size_t at = 0;
  Bytes key;
  std::uint32_t page = 0;    ///< the child, or the record's
  std::uint16_t offset = 0;  ///< of the record
};
std::optional<Fault> parse_node(Bytes page, Node& node, const std::function<void(const NodeEntry&)>& sink);
/// Only what stands in front of the entries.
std::optional<Fault> parse_node_header(Bytes page, Node& node);

}  // namespace pageserver::layout::dbms
