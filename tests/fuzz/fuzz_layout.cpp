// What is inside an image: whatever its bytes are, looking at it ends, says the same twice, and points into the image.
//
// An input is an image without most of its zeros: u16 pages, then runs of u16 page, u16 offset, u16 length and bytes,
// which are cut at the page's end.
#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/pagectl/layout/dbms_page.hpp"
#include "client/pagectl/layout/dbms_table.hpp"
#include "client/pagectl/layout/recognise.hpp"
#include "client/pagectl/layout/stable.hpp"
#include "tests/fuzz/require.hpp"

using namespace pageserver;
using namespace pageserver::layout;

namespace {

constexpr std::uint64_t pages_max = 512;

class SparseImage final : public Source {
public:
  SparseImage(std::uint64_t pages, Bytes runs) : pages_(pages) {
    ByteReader in(runs);
    while (in.left() > 6) {
      const std::uint64_t page = in.u16();
      const std::size_t offset = in.u16();
      const std::size_t length = in.u16();
      const Bytes bytes = in.bytes(std::min(length, in.left()));
      if (page >= pages_) continue;
      auto& content = content_[page];
      content.resize(page_bytes);
      std::copy_n(bytes.begin(), std::min<std::size_t>(bytes.size(), page_bytes - offset),
                  content.begin() + static_cast<std::ptrdiff_t>(offset));
    }
  }

  std::uint64_t pages() const override { return pages_; }
  void read(std::uint64_t offset, std::span<std::byte> buffer) override {
    fuzz::require(buffer.size() <= pages_ * page_bytes && offset <= pages_ * page_bytes - buffer.size(),
                  "a read lies within the image");
    while (!buffer.empty()) {
      const std::size_t within = offset % page_bytes;
      const std::size_t part = std::min<std::size_t>(buffer.size(), page_bytes - within);
      const auto found = content_.find(offset / page_bytes);
      if (found == content_.end())
        std::fill_n(buffer.begin(), part, std::byte{0});
      else
        std::copy_n(found->second.begin() + static_cast<std::ptrdiff_t>(within), part, buffer.begin());
      buffer = buffer.subspan(part);
      offset += part;
    }
  }
  void read_pages(const Feed& feed, const Sink& sink) override {
    std::vector<std::byte> bytes(page_bytes);
    while (const auto page = feed()) {
      read(*page * page_bytes, bytes);
      sink(*page, bytes);
    }
  }
  void read_data(std::uint64_t first, std::uint64_t end, const Sink& sink) override {
    for (const auto& [page, bytes] : content_)
      if (page >= first && page < end) sink(page, bytes);
  }

private:
  std::uint64_t pages_;
  std::map<std::uint64_t, std::vector<std::byte>> content_;
};

struct Seen {
  std::uint64_t errors = 0, warnings = 0, rows = 0, entries = 0, texts = 0;
  friend bool operator==(const Seen&, const Seen&) = default;
};

Seen look(SparseImage& image, const Recognised& found, dbms::Depth depth) {
  Seen seen;
  Findings findings([&](const Finding& finding) {
    fuzz::require(finding.page < image.pages() && finding.offset < page_bytes, "a finding lies within the image");
    seen.texts += finding.text.size();
  });
  if (found.database) {
    found.database->check_front(findings);
    std::uint64_t covered = 0;
    dbms::mark_all(*found.database, findings, [&](const Owners& owners) {
      for (std::uint64_t page = owners.first(); page < owners.end(); ++page)
        if (static_cast<std::size_t>(owners.of(page).role) < roles) ++covered;
    });
    fuzz::require(covered == image.pages(), "each page is looked at once");
    for (const dbms::Table& table : found.database->tables()) {
      const auto report = dbms::examine_table(*found.database, table, depth, findings);
      seen.rows += report.rows;
      for (const auto& index : report.indexes) seen.entries += index.entries;
    }
  } else if (found.kind == Kind::manager) {
    stable::examine_manager(image, depth == dbms::Depth::all, findings, [](const stable::ManagedMemory&) {});
  } else if (found.kind == Kind::structure) {
    stable::examine(stable::Memory(image), depth == dbms::Depth::all, findings);
  }
  seen.errors = findings.errors();
  seen.warnings = findings.warnings();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const Bytes bytes = std::as_bytes(std::span(data, size));
  SparseImage image(number_at<std::uint16_t>(bytes, 0) % (pages_max + 1), bytes.subspan(2));
  const Recognised found = recognise(image);
  const Seen counts = look(image, found, dbms::Depth::counts);
  const Seen all = look(image, found, dbms::Depth::all);
  fuzz::require(look(image, found, dbms::Depth::all) == all, "looking again says the same");
  fuzz::require(counts.rows == all.rows && counts.entries == all.entries, "both looks count the same");
  fuzz::require(all.errors > 0 || counts.errors == 0, "what a glance finds, a long look finds as well");
  if (!found.database) return 0;
  // Owners tell whose a page is; of those that can be named, four are enough.
  for (std::uint64_t page = 0; page < image.pages(); page += 1 + image.pages() / 4) {
    const Owner owner = dbms::owner_of(*found.database, page);
    dbms::describe_page(*found.database, page, owner, [&](const PageField& field) {
      fuzz::require(field.at <= page_bytes && field.length <= page_bytes, "a field lies within its page");
    });
  }
  return 0;
}
