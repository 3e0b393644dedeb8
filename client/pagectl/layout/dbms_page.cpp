#include "client/pagectl/layout/dbms_page.hpp"

#include <algorithm>

#include "client/pagectl/layout/dbms_rows.hpp"

namespace pageserver::layout::dbms {
namespace {

std::string page_text(std::uint32_t page) { return page == no_page ? "none" : "page " + std::to_string(page); }

class Description {
public:
  Description(const Database& database, std::uint64_t page, Owner owner, const FieldSink& sink)
      : database_(database), page_(page), owner_(owner), sink_(sink), bytes_(page_bytes) {
    database.source().read_page(page, bytes_);
  }

  void run() {
    if (const auto fault = fields()) add(fault->at, 0, "fault", fault->why);
  }

private:
  void add(std::size_t at, std::size_t length, std::string name, std::string text) {
    sink_({at, length, std::move(name), std::move(text)});
  }
  template <class Number>
  void number(std::size_t at, std::string name) {
    add(at, sizeof(Number), std::move(name), std::to_string(number_at<Number>(bytes_, at)));
  }
  const Table& table() const { return database_.tables()[owner_.table]; }

  std::optional<Fault> fields() {
    switch (owner_.role) {
      case Role::directory: return directory();
      case Role::unclaimed_list: return unclaimed();
      case Role::rights: return rights();
      case Role::schema: return schema();
      case Role::page_list: return page_list();
      case Role::free_list: return free_list();
      case Role::free_table: return free_table();
      case Role::index_list: return index_list();
      case Role::counters: return counters();
      case Role::records: return records();
      case Role::index_node:
      case Role::index_leaf: return node();
      case Role::none:
      case Role::unclaimed: break;
    }
    add(0, page_bytes, "bytes", all_zero(bytes_) ? "zeros" : "not zeros: left behind by what had the page");
    return std::nullopt;
  }

  std::optional<Fault> directory() {
    Directory directory;
    if (auto fault = parse_directory(bytes_, directory)) return fault;
    number<std::uint64_t>(0, "schema hash");
    number<std::uint64_t>(8, "tables");
    for (const TablePlaces& table : directory.tables) {
      const auto named = std::find_if(database_.tables().begin(), database_.tables().end(),
                                      [&](const Table& one) { return one.places.at == table.at; });
      std::string text = (named == database_.tables().end() ? "" : named->name + ": ") + "schema " +
                         page_text(table.schema) + ", page list " + page_text(table.page_list) + ", free list " +
                         page_text(table.free_list) + ", index list " + page_text(table.index_list) + ", counters " +
                         page_text(table.counters.value_or(no_page));
      add(table.at, table.counters ? 29 : 25, "table", std::move(text));
    }
    return std::nullopt;
  }

  std::optional<Fault> unclaimed() {
    std::vector<std::uint32_t> pages;
    if (auto fault = parse_unclaimed(bytes_, pages)) return fault;
    number<std::uint32_t>(0, "pages");
    for (std::size_t i = 0; i < pages.size(); ++i) add(4 + 4 * i, 4, "unclaimed", page_text(pages[i]));
    return std::nullopt;
  }

  std::optional<Fault> rights() {
    number<std::uint8_t>(0, "version");
    number<std::uint32_t>(1, "identities");
    return std::nullopt;
  }

  std::optional<Fault> schema() {
    Schema schema;
    if (auto fault = parse_schema(bytes_, schema)) return fault;
    number<std::uint8_t>(0, "version");
    add(1, 1 + schema.name.size(), "name", schema.name);
    add(2 + schema.name.size(), 1 + schema.key.size(), "key", schema.key);
    const std::size_t alignment_at = 3 + schema.name.size() + schema.key.size();
    number<std::uint32_t>(alignment_at, "alignment");
    number<std::uint16_t>(alignment_at + 4, "columns");
    std::size_t at = alignment_at + 6;
    for (const Column& column : schema.columns) {
      const std::size_t length = 2u + number_at<std::uint16_t>(bytes_, at);
      std::string text = column.name + " " + type_text(column.type) + (column.key ? " key" : "") +
                         (column.unique ? " unique" : "") + (column.nullable ? " nullable" : "") +
                         (column.automatic ? " automatic" : "") + (column.has_default ? " default" : "");
      if (column.foreign_key) {
        text += " -> " + column.foreign_key->table + "(" + column.foreign_key->column + ")" +
                (column.foreign_key->cascades ? " cascades" : " restricts");
      }
      add(at, length, "column", std::move(text));
      at += length;
    }
    number<std::uint16_t>(at, "indexes");
    at += 2;
    for (const IndexColumns& index : schema.indexes) {
      const std::size_t length = 2u + number_at<std::uint16_t>(bytes_, at);
      add(at, length, "index", "(" + joined(index.names) + ")" + (index.unique ? " unique" : ""));
      at += length;
    }
    return std::nullopt;
  }

  std::optional<Fault> page_list() {
    std::vector<ListedPage> pages;
    if (auto fault = parse_page_list(bytes_, pages)) return fault;
    number<std::uint32_t>(0, "record pages");
    for (std::size_t i = 0; i < pages.size(); ++i) {
      add(listed_page_at(i), 12, "record page",
          page_text(pages[i].page) + ", " + std::to_string(pages[i].free_bytes) + " bytes free at its end");
    }
    return std::nullopt;
  }

  std::optional<Fault> free_list() {
    std::vector<std::uint32_t> tables;
    if (auto fault = parse_free_list(bytes_, tables)) return fault;
    number<std::uint16_t>(0, "pages of free segments");
    for (std::size_t i = 0; i < tables.size(); ++i) add(free_table_at(i), 4, "free segments", page_text(tables[i]));
    return std::nullopt;
  }

  std::optional<Fault> free_table() {
    number<std::uint16_t>(0, "free segments");
    return parse_free_table(bytes_, [&](std::size_t at, const FreeSegment& segment) {
      add(at, 8, "free segment",
          page_text(segment.page) + " offset " + std::to_string(segment.offset) + ", " + std::to_string(segment.size) +
              " bytes");
    });
  }

  std::optional<Fault> index_list() {
    std::vector<ListedIndex> indexes;
    if (auto fault = parse_index_list(bytes_, indexes)) return fault;
    number<std::uint64_t>(0, "indexes");
    for (const ListedIndex& index : indexes)
      add(index.at, index.root_at + 4 - index.at, "index",
          "(" + joined(index.columns) + "), root " + page_text(index.root));
    return std::nullopt;
  }

  std::optional<Fault> counters() {
    std::vector<Counter> counters;
    if (auto fault = parse_counters(bytes_, counters)) return fault;
    number<std::uint8_t>(0, "counters");
    std::size_t at = 1;
    for (const Counter& counter : counters) {
      const std::size_t length = 1 + counter.column.size() + counter.value.size();
      add(at, length, "counter", counter.column + "=" + tagged_value_text(counter.value));
      at += length;
    }
    return std::nullopt;
  }

  std::optional<Fault> records() {
    const auto schema = database_.schema(table(), nullptr);
    if (!schema) return Fault{0, "can't be read without the schema of its table"};
    const std::uint32_t slot_bytes = schema->slot_bytes();
    if (slot_bytes < 3 || slot_bytes > page_bytes) return Fault{0, "can't be read: its schema has no sound row length"};
    std::uint32_t used = page_bytes;
    for (const ListedPage& one : database_.lists(table(), nullptr).pages)
      if (one.page == page_ && one.free_bytes <= page_bytes)
        used = page_bytes - static_cast<std::uint32_t>(one.free_bytes);
    std::vector<Field> fields;
    auto fault = each_slot(bytes_, slot_bytes, used, [&](const Slot& slot) {
      if (!slot.row) return add(slot.offset, slot.bytes, "free", "");
      const auto wrong = parse_row(*schema, slot.body, fields);
      add(slot.offset, slot.bytes, "row", wrong ? "can't be read: " + wrong->why : row_text(*schema, fields));
    });
    if (!fault && used < page_bytes) {
      add(used, page_bytes - used, "end",
          all_zero(Bytes(bytes_).subspan(used)) ? "free" : "free for the page list, and not zeros");
    }
    return fault;
  }

  std::optional<Fault> node() {
    Node node;
    if (auto fault = parse_node_header(bytes_, node)) return fault;
    add(0, 1, "kind", node.leaf ? "leaf" : "inner node");
    add(1, 4, "parent", page_text(node.parent));
    add(5, 2, "entries", std::to_string(node.entries));
    if (node.leaf) {
      add(7, 4, "previous", page_text(node.previous));
      add(11, 4, "next", page_text(node.next));
    } else {
      add(7, 4, "rightmost", page_text(node.rightmost));
    }
    return parse_node(bytes_, node, [&](const NodeEntry& entry) {
      if (node.leaf) {
        add(entry.at, 8 + entry.key.size(), "entry",
            key_text(entry.key) + ": page " + std::to_string(entry.page) + " offset " + std::to_string(entry.offset));
      } else {
        add(entry.at, 6 + entry.key.size(), "child",
            "keys below " + key_text(entry.key) + ": " + page_text(entry.page));
      }
    });
  }

  const Database& database_;
  const std::uint64_t page_;
  const Owner owner_;
  const FieldSink& sink_;
  std::vector<std::byte> bytes_;
};

}  // namespace

Owner owner_of(const Database& database, std::uint64_t page) {
  Findings findings([](const Finding&) {});
  Owners owners(page, 1);
  database.mark(owners, findings);
  return owners.of(page);
}

void describe_page(const Database& database, std::uint64_t page, Owner owner, const FieldSink& sink) {
  Description(database, page, owner, sink).run();
}

}  // namespace pageserver::layout::dbms
