#include "client/pagectl/layout/dbms_database.hpp"

#include <algorithm>
#include <array>

#include "client/pagectl/layout/dbms_tree.hpp"

namespace pageserver::layout::dbms {
namespace {

std::string quoted_name(const std::string& name) { return "`" + name + "`"; }

/// Whether the page is a list of unclaimed pages of an image with so many pages and reserved pages.
bool is_unclaimed_list(Bytes page, std::uint64_t pages, std::uint32_t reserved) {
  std::vector<std::uint32_t> listed;
  if (parse_unclaimed(page, listed)) return false;
  std::sort(listed.begin(), listed.end());
  return std::adjacent_find(listed.begin(), listed.end()) == listed.end() &&
         std::all_of(listed.begin(), listed.end(), [&](std::uint32_t one) { return one >= reserved && one < pages; });
}

/// The hash of no schemas: of the version alone.
std::uint64_t empty_hash() {
  constexpr std::array<std::byte, 1> version{std::byte{1}};
  return hash_of(version);
}

std::uint64_t hash_of_text(const std::string& text) { return hash_of(std::as_bytes(std::span(text))); }

class Marker final : public TreeVisitor {
public:
  Marker(const Database& database, Owners& owners, Findings& findings)
      : database_(database), owners_(owners), findings_(findings), first_(owners.first() == 0) {}

  void run() {
    reserve();
    for (std::size_t i = 0; i < database_.tables().size(); ++i) mark_table(static_cast<std::uint16_t>(i));
  }

  bool child(std::uint64_t parent, std::size_t at, std::uint32_t page, bool leaf) override {
    return claim(page, leaf ? Role::index_leaf : Role::index_node, parent, at);
  }
  void inner(std::uint64_t, const Node&, std::uint64_t) override {}
  void leaf(std::uint64_t, Bytes, std::uint64_t, Bytes, Bytes) override {}
  void fault(std::uint64_t page, const Fault& fault) override {
    if (first_) {
      findings_.error("index-node", page, fault.at,
                      "node of an index of table " + quoted_name(database_.tables()[table_].name) + " " + fault.why);
    }
  }

private:
  bool claim(std::uint64_t page, Role role, std::uint64_t by, std::size_t at) {
    const Owner owner{role, table_};
    if (page >= database_.source().pages()) {
      if (first_) {
        findings_.error("page-out-of-range", by, at,
                        "names page " + std::to_string(page) + " as " + database_.owner_text(owner) +
                            ", and the image has " + std::to_string(database_.source().pages()) + " pages");
      }
      return false;
    }
    const Owner other = owners_.of(page);
    if (other.role != Role::none) {
      findings_.error("page-owned-twice", by, at,
                      "names page " + std::to_string(page) + " as " + database_.owner_text(owner) + ", which is " +
                          database_.owner_text(other) + " already");
      return false;
    }
    owners_.set(page, owner);
    return true;
  }

  void reserve() {
    const std::uint32_t list_page = unclaimed_page(database_.release());
    owners_.set(0, {Role::directory, 0});
    if (database_.release() == Release::before_0_10) owners_.set(1, {Role::rights, 0});
    owners_.set(list_page, {Role::unclaimed_list, 0});
    std::vector<std::byte> bytes(page_bytes);
    database_.source().read_page(list_page, bytes);
    std::vector<std::uint32_t> unclaimed;
    if (auto fault = parse_unclaimed(bytes, unclaimed)) {
      if (first_) findings_.error("unclaimed-list", list_page, fault->at, "list of unclaimed pages " + fault->why);
      return;
    }
    for (std::size_t i = 0; i < unclaimed.size(); ++i) claim(unclaimed[i], Role::unclaimed, list_page, 4 + 4 * i);
  }

  void mark_table(std::uint16_t number) {
    table_ = number;
    const Table& table = database_.tables()[number];
    const TablePlaces& places = table.places;
    claim(places.schema, Role::schema, 0, places.at + 8);
    const bool list = claim(places.page_list, Role::page_list, 0, places.at + 12);
    const bool free = claim(places.free_list, Role::free_list, 0, places.at + 16);
    const bool indexes = claim(places.index_list, Role::index_list, 0, places.at + 20);
    if (places.counters) claim(*places.counters, Role::counters, 0, places.at + 25);
    // What two claim is read once, as the first one's.
    const Lists lists = database_.lists(table, first_ ? &findings_ : nullptr);
    if (list) {
      for (std::size_t i = 0; i < lists.pages.size(); ++i)
        claim(lists.pages[i].page, Role::records, places.page_list, listed_page_at(i));
    }
    if (free) {
      for (std::size_t i = 0; i < lists.free_tables.size(); ++i)
        claim(lists.free_tables[i], Role::free_table, places.free_list, free_table_at(i));
    }
    if (!indexes) return;
    for (const ListedIndex& index : lists.indexes) {
      const std::uint32_t levels = tree_levels(database_.source(), index.root);
      if (!claim(index.root, levels == 1 ? Role::index_leaf : Role::index_node, places.index_list, index.root_at))
        continue;
      if (levels > 1) {
        walk_tree(database_.source(), index.root, levels, false, *this);
      } else if (levels == 0 && first_) {
        findings_.error(
            "index-tree", index.root, 0,
            "root of index (" + joined(index.columns) + ") of table " + quoted_name(table.name) + " leads to no leaf");
      }
    }
  }

  const Database& database_;
  Owners& owners_;
  Findings& findings_;
  const bool first_;
  std::uint16_t table_ = 0;
};

}  // namespace

std::optional<Database> Database::open(Source& source) {
  if (source.pages() < 2) return std::nullopt;
  Database found(source);
  std::vector<std::byte> bytes(page_bytes);
  source.read_page(0, bytes);
  if (parse_directory(bytes, found.directory_)) return std::nullopt;
  bool known = found.directory_.tables.empty() && found.directory_.schema_hash == empty_hash();
  for (const TablePlaces& places : found.directory_.tables) {
    Table table{places, {}, false};
    Schema schema;
    if (places.schema < source.pages()) {
      source.read_page(places.schema, bytes);
      table.has_schema = !parse_schema(bytes, schema);
    }
    known = known || (table.has_schema && hash_of_text(schema.name) == places.fingerprint);
    table.name = table.has_schema ? schema.name : "table " + std::to_string(found.tables_.size() + 1);
    found.tables_.push_back(std::move(table));
  }
  if (!known) return std::nullopt;
  std::stable_sort(found.tables_.begin(), found.tables_.end(),
                   [](const Table& a, const Table& b) { return a.name < b.name; });
  std::vector<std::byte> behind(page_bytes);
  source.read_page(1, bytes);
  if (source.pages() > 2) source.read_page(2, behind);
  found.find_release(bytes, behind);
  return found;
}

void Database::find_release(Bytes rights, Bytes behind) {
  const bool page_2_is_of_a_table = std::any_of(tables_.begin(), tables_.end(), [](const Table& table) {
    const TablePlaces& at = table.places;
    return at.schema == 2 || at.page_list == 2 || at.free_list == 2 || at.index_list == 2 || at.counters == 2u;
  });
  if (page_2_is_of_a_table || source_->pages() < 3) return;
  // What is a list of pages that are there is one; and where both would do, 0.9 has the page behind it for that list.
  if (!all_zero(rights) && is_unclaimed_list(rights, source_->pages(), 2)) return;
  const auto identities = parse_rights(rights);
  if (!identities && !all_zero(rights)) return;
  if (!is_unclaimed_list(behind, source_->pages(), 3)) return;
  release_ = Release::before_0_10;
  rights_ = identities.value_or(0);
}

void Database::check_front(Findings& findings) const {
  if (rights_.value_or(0) > 0) {
    findings.warning(
        "rights-of-0.9", 1, 0,
        "page 1 holds the access rights of an engine before 0.10; an engine of 0.10 or later takes it for a "
        "list of free pages, claims page 0 from it and DESTROYS THE DIRECTORY at the next growth: open it "
        "with 0.9 only, or copy its rows over");
  }
  // The hash runs over all schemas in the order of their names.
  Hash hash;
  hash.add(std::array{std::byte{1}});
  bool whole = true;
  std::vector<std::byte> bytes(page_bytes);
  for (const Table& table : tables_) {
    const auto found = schema(table, &findings);
    whole = whole && found;
    if (!found) continue;
    if (hash_of_text(found->name) != table.places.fingerprint) {
      findings.error("fingerprint", 0, table.places.at,
                     "the fingerprint of " + quoted_name(table.name) + " is that of another name");
    }
    const std::uint32_t slot = found->slot_bytes();
    if (slot < 3 || slot > page_bytes) {
      findings.error(
          "schema", table.places.schema, 0,
          "schema of table " + quoted_name(table.name) + " puts rows at multiples of " + std::to_string(slot));
    }
    source_->read_page(table.places.schema, bytes);
    std::array<std::byte, 8> length{};
    for (unsigned i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(found->encoded_bytes >> (8 * i));
    hash.add(length);
    hash.add(Bytes(bytes).first(found->encoded_bytes));
  }
  if (whole && hash.digest() != directory_.schema_hash) {
    findings.error("schema-hash", 0, 0, "the hash of all schemas is not that of the schemas that are there");
  }
}

std::optional<Schema> Database::schema(const Table& table, Findings* findings) const {
  if (table.places.schema >= source_->pages()) return std::nullopt;  // said where it is claimed
  std::vector<std::byte> bytes(page_bytes);
  source_->read_page(table.places.schema, bytes);
  Schema found;
  if (const auto fault = parse_schema(bytes, found)) {
    if (findings != nullptr) findings->error("schema", table.places.schema, fault->at, "schema " + fault->why);
    return std::nullopt;
  }
  return found;
}

Lists Database::lists(const Table& table, Findings* findings) const {
  Lists lists;
  std::vector<std::byte> bytes(page_bytes);
  const auto load = [&](std::uint32_t page, const char* kind, const char* what, const auto& parse) {
    if (page >= source_->pages()) return;
    source_->read_page(page, bytes);
    if (const auto fault = parse()) {
      if (findings != nullptr)
        findings->error(kind, page, fault->at,
                        std::string(what) + " of table " + quoted_name(table.name) + " " + fault->why);
    }
  };
  load(table.places.page_list, "page-list", "page list", [&] { return parse_page_list(bytes, lists.pages); });
  load(table.places.free_list, "free-list", "free list", [&] { return parse_free_list(bytes, lists.free_tables); });
  load(table.places.index_list, "index-list", "index list", [&] { return parse_index_list(bytes, lists.indexes); });
  return lists;
}

void Database::mark(Owners& owners, Findings& findings) const { Marker(*this, owners, findings).run(); }

std::string Database::owner_text(Owner owner) const {
  std::string text = role_text(owner.role);
  if (owner.role >= Role::schema && owner.table < tables_.size())
    text += " of table " + quoted_name(tables_[owner.table].name);
  return text;
}

void mark_all(const Database& database, Findings& findings, const std::function<void(const Owners&)>& stretch,
              std::uint64_t window) {
  const std::uint64_t pages = database.source().pages();
  for (std::uint64_t first = 0; first < pages; first += window) {
    Owners owners(first, std::min(window, pages - first));
    database.mark(owners, findings);
    stretch(owners);
  }
}

}  // namespace pageserver::layout::dbms
