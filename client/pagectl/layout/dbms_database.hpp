// An image of wasm-dbms as a whole: which tables there are, and whose each page is.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "client/pagectl/layout/dbms_schema.hpp"
#include "client/pagectl/layout/finding.hpp"
#include "client/pagectl/layout/owners.hpp"
#include "client/pagectl/layout/source.hpp"

namespace pageserver::layout::dbms {

/// A table of the directory. `name` is `table 3` where its schema can't be read.
struct Table {
  TablePlaces places;
  std::string name;
  bool has_schema = false;
};

/// What the pages of a table's lists say. Those that can't be read are empty.
struct Lists {
  std::vector<ListedPage> pages;
  std::vector<std::uint32_t> free_tables;
  std::vector<ListedIndex> indexes;
};

class Database {
public:
  /// Nothing when the image is none: there is no magic, so at least one table of page 0 must have a schema whose name
  /// has the fingerprint that page 0 says, or there must be no table and the hash of none.
  static std::optional<Database> open(Source& source);

  Release release() const { return release_; }
  /// Identities with rights, of an image of 0.9.
  std::optional<std::uint32_t> rights() const { return rights_; }
  const Directory& directory() const { return directory_; }
  /// In the order of their names.
  const std::vector<Table>& tables() const { return tables_; }
  Source& source() const { return *source_; }

  /// Page 0, the reserved pages and all schemas: what can be said before a table is looked at.
  void check_front(Findings& findings) const;
  /// Nothing when it can't be read; then `findings`, where given, hear why.
  std::optional<Schema> schema(const Table& table, Findings* findings) const;
  Lists lists(const Table& table, Findings* findings) const;
  /// Says whose the pages are that `owners` covers. Pages that two claim, or that are not there, are findings; so is
  /// what can't be read on the way, when `owners` begin with page 0.
  void mark(Owners& owners, Findings& findings) const;

  std::string owner_text(Owner owner) const;

private:
  explicit Database(Source& source) : source_(&source) {}
  void find_release(Bytes rights, Bytes behind);

  Source* source_;
  Release release_ = Release::since_0_10;
  std::optional<std::uint32_t> rights_;
  Directory directory_;
  std::vector<Table> tables_;
};

/// As many pages as owners are kept for at once: 512 GiB of image.
inline constexpr std::uint64_t owners_window = std::uint64_t{1} << 23;

/// Calls `stretch` with the owners of all pages, one stretch after the other.
void mark_all(const Database& database, Findings& findings, const std::function<void(const Owners&)>& stretch,
              std::uint64_t window = owners_window);

}  // namespace pageserver::layout::dbms
