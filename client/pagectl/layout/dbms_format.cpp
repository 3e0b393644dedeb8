#include "client/pagectl/layout/dbms_format.hpp"

#include "client/pagectl/layout/dbms_value.hpp"

namespace pageserver::layout::dbms {
namespace {

Fault too_many(std::size_t at, const char* what, std::uint64_t count, std::uint64_t most) {
  return {at, "counts " + std::to_string(count) + " " + what + ", and a page has room for " + std::to_string(most)};
}

Fault page_cut_off(std::size_t at) { return {at, "goes on past the end of its page"}; }

}  // namespace

std::optional<Fault> parse_directory(Bytes page, Directory& directory) {
  ByteReader in(page);
  directory.schema_hash = in.u64();
  const std::uint64_t count = in.u64();
  if (count > directory_tables_max) return too_many(8, "tables", count, directory_tables_max);
  directory.tables.clear();
  for (std::uint64_t i = 0; i < count; ++i) {
    TablePlaces table;
    table.at = static_cast<std::uint32_t>(in.at());
    table.fingerprint = in.u64();
    table.schema = in.u32();
    table.page_list = in.u32();
    table.free_list = in.u32();
    table.index_list = in.u32();
    const std::uint8_t flag = in.u8();
    if (flag == 1) table.counters = in.u32();
    if (in.is_short()) return page_cut_off(table.at);
    if (flag > 1) return Fault{in.at() - 1, "has " + std::to_string(flag) + " where 0 or 1 says if there are counters"};
    directory.tables.push_back(table);
  }
  return std::nullopt;
}

std::optional<Fault> parse_unclaimed(Bytes page, std::vector<std::uint32_t>& pages) {
  ByteReader in(page);
  const std::uint32_t count = in.u32();
  if (count > unclaimed_pages_max) return too_many(0, "unclaimed pages", count, unclaimed_pages_max);
  pages.clear();
  for (std::uint32_t i = 0; i < count; ++i) pages.push_back(in.u32());
  return std::nullopt;
}

std::optional<std::uint32_t> parse_rights(Bytes page) {
  constexpr std::uint8_t version = 2;
  ByteReader in(page);
  if (in.u8() != version) return std::nullopt;
  const std::uint32_t count = in.u32();
  if (count == 0) return std::nullopt;
  for (std::uint32_t i = 0; i < count; ++i) {
    in.bytes(in.u8());  // who
    in.bytes(2);        // what they may, and what they may with all tables
    in.bytes(std::size_t{9} * in.u16());
    if (in.is_short()) return std::nullopt;
  }
  // Padded with zeros to a multiple of 32.
  return all_zero(page.subspan(in.at(), std::min<std::size_t>(in.left(), (32 - in.at() % 32) % 32)))
             ? std::optional(count)
             : std::nullopt;
}

std::optional<Fault> parse_page_list(Bytes page, std::vector<ListedPage>& pages) {
  ByteReader in(page);
  const std::uint32_t count = in.u32();
  if (count > listed_pages_max) return too_many(0, "record pages", count, listed_pages_max);
  pages.clear();
  pages.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    ListedPage one;
    one.page = in.u32();
    one.free_bytes = in.u64();
    pages.push_back(one);
  }
  return std::nullopt;
}

std::optional<Fault> parse_free_list(Bytes page, std::vector<std::uint32_t>& tables) {
  ByteReader in(page);
  const std::uint16_t count = in.u16();
  if (count > free_tables_max) return too_many(0, "free-segment pages", count, free_tables_max);
  tables.clear();
  for (std::uint16_t i = 0; i < count; ++i) tables.push_back(in.u32());
  return std::nullopt;
}

std::optional<Fault> parse_free_table(Bytes page, const std::function<void(std::size_t, const FreeSegment&)>& sink) {
  ByteReader in(page);
  const std::uint16_t count = in.u16();
  if (count > free_segments_max) return too_many(0, "free segments", count, free_segments_max);
  for (std::uint16_t i = 0; i < count; ++i) {
    const std::size_t at = in.at();
    FreeSegment segment;
    segment.page = in.u32();
    segment.offset = in.u16();
    segment.size = in.u16();
    sink(at, segment);
  }
  return std::nullopt;
}

std::optional<Fault> parse_index_list(Bytes page, std::vector<ListedIndex>& indexes) {
  ByteReader in(page);
  const std::uint64_t count = in.u64();
  // An index without a column takes 12 bytes.
  if (count > page_bytes / 12) return too_many(0, "indexes", count, page_bytes / 12);
  indexes.clear();
  for (std::uint64_t i = 0; i < count; ++i) {
    ListedIndex index;
    index.at = in.at();
    const std::uint64_t columns = in.u64();
    if (columns > in.left()) return too_many(index.at, "columns", columns, in.left());
    for (std::uint64_t k = 0; k < columns; ++k) {
      const Bytes name = in.bytes(in.u8());
      if (!is_utf8(name)) return Fault{index.at, "has a column whose name is no UTF-8"};
      index.columns.push_back(text_of(name));
    }
    index.root_at = in.at();
    index.root = in.u32();
    if (in.is_short()) return page_cut_off(index.at);
    indexes.push_back(std::move(index));
  }
  return std::nullopt;
}

std::optional<Fault> parse_counters(Bytes page, std::vector<Counter>& counters) {
  ByteReader in(page);
  const std::uint8_t count = in.u8();
  counters.clear();
  for (std::uint8_t i = 0; i < count; ++i) {
    const std::size_t at = in.at();
    Counter counter;
    const Bytes name = in.bytes(in.u8());
    if (!is_utf8(name)) return Fault{at, "has a column whose name is no UTF-8"};
    counter.column = text_of(name);
    const auto length = in.is_short() ? std::nullopt : tagged_value_bytes(page.subspan(in.at()));
    if (!length) return Fault{at, "has a counter that is no value"};
    counter.value = in.bytes(*length);
    counters.push_back(std::move(counter));
  }
  return std::nullopt;
}

std::optional<Fault> parse_node_header(Bytes page, Node& node) {
  ByteReader in(page);
  const std::uint8_t kind = in.u8();
  if (kind > 1) return Fault{0, "begins with " + std::to_string(kind) + ", and a node with 0 or 1"};
  node = {};
  node.leaf = kind == 1;
  node.parent = in.u32();
  node.entries = in.u16();
  if (node.leaf) {
    node.previous = in.u32();
    node.next = in.u32();
  } else {
    node.rightmost = in.u32();
  }
  return std::nullopt;
}

std::optional<Fault> parse_node(Bytes page, Node& node, const std::function<void(const NodeEntry&)>& sink) {
  if (auto fault = parse_node_header(page, node)) return fault;
  ByteReader in(page, node.leaf ? 15 : 11);
  for (std::uint16_t i = 0; i < node.entries; ++i) {
    NodeEntry entry;
    entry.at = in.at();
    entry.key = in.bytes(in.u16());
    entry.page = in.u32();
    if (node.leaf) entry.offset = in.u16();
    if (in.is_short()) {
      return Fault{entry.at, "has " + std::to_string(node.entries) + " entries, of which number " +
                                 std::to_string(i + 1) + " goes on past the end of its page"};
    }
    sink(entry);
  }
  return std::nullopt;
}

}  // namespace pageserver::layout::dbms
