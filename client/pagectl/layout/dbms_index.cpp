#include "client/pagectl/layout/dbms_index.hpp"

#include <algorithm>
#include <array>
#include <functional>

#include "client/pagectl/layout/dbms_tree.hpp"

namespace pageserver::layout::dbms {
namespace {

/// A key and where its row is, in one number.
std::uint64_t hash_of_entry(Bytes key, std::uint32_t page, std::uint32_t offset) {
  const std::uint64_t where = (static_cast<std::uint64_t>(page) << 16 | offset) * 0x9E3779B97F4A7C15u;
  std::uint64_t hash = hash_of(key) ^ where;
  hash = (hash ^ hash >> 32) * 0xD6E8FEB86659FD93u;
  return hash ^ hash >> 32;
}

/// So many bytes of keys are kept at once for a second look.
constexpr std::size_t suspects_bytes_max = std::size_t{4} << 20;

std::string place_text(std::uint32_t page, std::uint32_t offset) {
  return "page " + std::to_string(page) + " offset " + std::to_string(offset);
}

}  // namespace

/// What all walks over an index do; says nothing of its own.
class IndexWalk : public TreeVisitor {
public:
  explicit IndexWalk(std::uint64_t pages) : pages_(pages) {}
  bool child(std::uint64_t, std::size_t, std::uint32_t page, bool) override { return page < pages_; }
  void inner(std::uint64_t, const Node&, std::uint64_t) override {}
  void fault(std::uint64_t, const Fault&) override {}

private:
  std::uint64_t pages_;
};

namespace {

class CheckingWalk final : public IndexWalk {
public:
  struct Rows {
    const ListedPages& pages;
    std::uint32_t slot_bytes;
    const SlotBits* live;
    SlotBits* seen;
  };

  CheckingWalk(const Database& database, std::string what, bool unique, bool deep, const Rows& rows,
               IndexReport& report, Findings& findings, std::function<void(const NodeEntry&)> entry)
      : IndexWalk(database.source().pages()),
        what_(std::move(what)),
        unique_(unique),
        deep_(deep),
        rows_(rows),
        report_(report),
        findings_(findings),
        entry_(std::move(entry)) {}

  void inner(std::uint64_t page, const Node& node, std::uint64_t parent) override {
    ++report_.nodes;
    note_parent(page, node, parent);
  }

  void leaf(std::uint64_t page, Bytes bytes, std::uint64_t parent, Bytes low, Bytes high) override {
    ++report_.leaves;
    Node node;
    std::size_t used = 15;
    // A leaf that can't be read to its end says nothing that could be held against rows.
    if (const auto fault =
            parse_node(bytes, node, [&](const NodeEntry& entry) { used = entry.at + 8 + entry.key.size(); }))
      return findings_.error("index-node", page, fault->at, "leaf" + what_ + " " + fault->why);
    if (!node.leaf)
      return findings_.error("index-node", page, 0, "node" + what_ + " stands where other ways down have a leaf");
    report_.entries += node.entries;
    report_.used_bytes += used;
    note_parent(page, node, parent);
    check_links(page, node);
    if (!deep_) return;
    std::size_t first_at = 0;
    Bytes first, last;
    parse_node(bytes, node, [&](const NodeEntry& entry) {
      if (first_at == 0) {
        first_at = entry.at;
        first = entry.key;
        check_order(page, entry, bytes_of(last_key_), has_key_);
      } else {
        check_order(page, entry, last, true);
      }
      last = entry.key;
      check_entry(page, entry);
    });
    if (first_at == 0) return;
    if (!low.empty() && compare_keys(first, low) == std::partial_ordering::less)
      findings_.error("index-order", page, first_at,
                      "key" + what_ + " " + key_text(first) + " is less than its node allows");
    if (!high.empty() && compare_keys(last, high) == std::partial_ordering::greater)
      findings_.error("index-order", page, first_at,
                      "key" + what_ + " " + key_text(last) + " is more than its node allows");
    last_key_ = text_of(last);
    has_key_ = true;
  }

  void finish() {
    if (before_ != no_page && next_ != no_page) {
      findings_.error("index-links", before_, 11,
                      "last leaf" + what_ + " names page " + std::to_string(next_) + " as the next one");
    }
    if (stale_parents_ > 0) {
      findings_.warning("stale-parents", report_.root, 1,
                        std::to_string(stale_parents_) + " nodes" + what_ +
                            " name another parent than the one that leads to them, which no engine follows");
    }
  }

private:
  void note_parent(std::uint64_t, const Node& node, std::uint64_t parent) {
    if (node.parent != parent) ++stale_parents_;
  }

  void check_links(std::uint64_t page, const Node& node) {
    if (node.previous != before_) {
      findings_.error("index-links", page, 7,
                      "leaf" + what_ + " names page " + std::to_string(node.previous) +
                          " as the one before it, which is " +
                          (before_ == no_page ? "none" : "page " + std::to_string(before_)));
    }
    if (before_ != no_page && next_ != page) {
      findings_.error("index-links", before_, 11,
                      "leaf" + what_ + " names page " + std::to_string(next_) + " as the next one, which is page " +
                          std::to_string(page));
    }
    before_ = static_cast<std::uint32_t>(page);
    next_ = node.next;
  }

  void check_order(std::uint64_t page, const NodeEntry& entry, Bytes before, bool has_before) {
    if (!is_key(entry.key)) {
      findings_.error("index-key", page, entry.at, "entry" + what_ + " has a key that is no list of values");
      return;
    }
    if (!has_before) return;
    const auto order = compare_keys(before, entry.key);
    if (order == std::partial_ordering::greater) {
      findings_.error("index-order", page, entry.at,
                      "key" + what_ + " " + key_text(entry.key) + " follows the greater " + key_text(before));
    } else if (unique_ && order == std::partial_ordering::equivalent && !has_null(entry.key)) {
      findings_.error("index-unique", page, entry.at, "key" + what_ + " " + key_text(entry.key) + " is there twice");
    }
  }

  void check_entry(std::uint64_t page, const NodeEntry& entry) {
    entry_(entry);
    if (rows_.live == nullptr) return;
    const auto wrong = [&](const std::string& why) {
      findings_.error("entry-without-row", page, entry.at,
                      "entry" + what_ + " with the key " + key_text(entry.key) + " leads to " +
                          place_text(entry.page, entry.offset) + ", " + why);
    };
    const auto place = rows_.pages.place(entry.page);
    if (!place) return wrong("which is no record page of the table");
    if (entry.offset % rows_.slot_bytes != 0 || !rows_.live->test(*place, entry.offset / rows_.slot_bytes))
      return wrong("where no row begins");
    if (rows_.seen->test(*place, entry.offset / rows_.slot_bytes)) return wrong("to which another entry leads as well");
    rows_.seen->set(*place, entry.offset / rows_.slot_bytes);
  }

  const std::string what_;
  const bool unique_;
  const bool deep_;
  const Rows rows_;
  IndexReport& report_;
  Findings& findings_;
  std::function<void(const NodeEntry&)> entry_;
  std::uint32_t before_ = no_page;
  std::uint32_t next_ = no_page;
  std::string last_key_;
  bool has_key_ = false;
  std::uint64_t stale_parents_ = 0;
};

struct Suspect {
  std::uint64_t page = 0;
  NodeEntry entry;
  std::string key;
};

/// The entries whose sum did not come out, a batch at a time.
class SuspectWalk final : public IndexWalk {
public:
  SuspectWalk(std::uint64_t pages, std::uint64_t skip, std::function<bool(const NodeEntry&)> suspected)
      : IndexWalk(pages), skip_(skip), suspected_(std::move(suspected)) {}
  void leaf(std::uint64_t page, Bytes bytes, std::uint64_t, Bytes, Bytes) override {
    Node node;
    parse_node(bytes, node, [&](const NodeEntry& entry) {
      if (!node.leaf || kept_ > suspects_bytes_max || !suspected_(entry)) return;
      ++counted;
      if (counted <= skip_) return;
      found.push_back({page, {entry.at, {}, entry.page, entry.offset}, text_of(entry.key)});
      kept_ += sizeof(Suspect) + entry.key.size();
    });
  }
  bool is_full() const { return kept_ > suspects_bytes_max; }

  std::vector<Suspect> found;
  std::uint64_t counted = 0;

private:
  std::uint64_t skip_;
  std::function<bool(const NodeEntry&)> suspected_;
  std::size_t kept_ = 0;
};

}  // namespace

IndexCheck::IndexCheck(const Database& database, const Table& table, const ListedIndex& index, bool deep,
                       std::size_t indexes)
    : database_(database), table_(table), index_(index), deep_(deep), sums_(deep ? (indexes <= 32 ? 4096 : 16) : 0) {}

void IndexCheck::know(const Schema& schema, bool unique) {
  unique_ = unique;
  places_ = schema.places(index_.columns);
}

void IndexCheck::take_row(const Schema& schema, const std::vector<Field>& fields, std::uint32_t page,
                          std::uint32_t offset) {
  if (!places_) return;
  make_key(schema, fields, *places_, key_);
  const std::uint64_t hash = hash_of_entry(bytes_of(key_), page, offset);
  sum_of(hash) += hash;
}

IndexReport IndexCheck::run(const ListedPages& pages, std::uint32_t slot_bytes, const SlotBits* live, SlotBits* seen,
                            Findings& findings) {
  IndexReport report;
  report.columns = index_.columns;
  report.unique = unique_;
  report.root = index_.root;
  if (index_.root >= database_.source().pages()) return report;
  report.levels = levels_ = tree_levels(database_.source(), index_.root);
  if (levels_ == 0) return report;
  CheckingWalk walk(database_, " of index (" + joined(index_.columns) + ") of table `" + table_.name + "`", unique_,
                    deep_, {pages, slot_bytes, live, seen}, report, findings, [&](const NodeEntry& entry) {
                      const std::uint64_t hash = hash_of_entry(entry.key, entry.page, entry.offset);
                      sum_of(hash) -= hash;
                    });
  walk_tree(database_.source(), index_.root, levels_, true, walk);
  walk.finish();
  return report;
}

void IndexCheck::check_rows(const Schema& schema, const ListedPages& pages, std::uint32_t slot_bytes,
                            const SlotBits& live, const SlotBits& seen, Findings& findings) {
  const std::string what = "index (" + joined(index_.columns) + ") of table `" + table_.name + "`";
  for (std::uint32_t place = 0; place < pages.size(); ++place) {
    for (std::uint32_t slot = 0; slot < page_bytes / slot_bytes; ++slot) {
      if (live.test(place, slot) && !seen.test(place, slot))
        findings.error("row-not-in-index", pages.at(place).page, std::size_t{slot} * slot_bytes,
                       "row is not in " + what);
    }
  }
  if (!places_ || std::all_of(sums_.begin(), sums_.end(), [](std::uint64_t sum) { return sum == 0; })) return;
  std::vector<Field> fields;
  std::vector<std::byte> bytes(page_bytes);
  for (std::uint64_t done = 0;;) {
    SuspectWalk walk(database_.source().pages(), done, [&](const NodeEntry& entry) {
      return sum_of(hash_of_entry(entry.key, entry.page, entry.offset)) != 0;
    });
    walk_tree(database_.source(), index_.root, levels_, true, walk);
    for (const Suspect& suspect : walk.found) {
      const auto place = pages.place(suspect.entry.page);
      if (!place || suspect.entry.page >= database_.source().pages() ||
          !live.test(*place, suspect.entry.offset / slot_bytes))
        continue;
      database_.source().read_page(suspect.entry.page, bytes);
      ByteReader in(bytes, suspect.entry.offset);
      const Bytes body = in.bytes(in.u16());
      if (in.is_short() || parse_row(schema, body, fields)) continue;
      make_key(schema, fields, *places_, key_);
      if (key_ != suspect.key) {
        findings.error("index-key", suspect.page, suspect.entry.at,
                       "entry of " + what + " has the key " + key_text(bytes_of(suspect.key)) + ", and the row at " +
                           place_text(suspect.entry.page, suspect.entry.offset) + " has " + key_text(bytes_of(key_)));
      }
    }
    done = walk.counted;
    if (!walk.is_full()) return;
  }
}

}  // namespace pageserver::layout::dbms
