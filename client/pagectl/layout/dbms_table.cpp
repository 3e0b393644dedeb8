#include "client/pagectl/layout/dbms_table.hpp"

#include <algorithm>
#include <memory>

#include "client/pagectl/layout/dbms_index.hpp"
#include "client/pagectl/layout/dbms_rows.hpp"

namespace pageserver::layout::dbms {
namespace {

class TableCheck {
public:
  TableCheck(const Database& database, const Table& table, Depth depth, Findings& findings)
      : database_(database),
        source_(database.source()),
        table_(table),
        deep_(depth == Depth::all),
        findings_(findings) {}

  TableReport run() {
    report_.table = &table_;
    report_.schema = database_.schema(table_, nullptr);  // check_front() has said what is wrong with it
    Lists lists = database_.lists(table_, nullptr);      // and mark() of these
    ListedPages pages(std::move(lists.pages));
    report_.free_tables = lists.free_tables;
    pages_ = &pages;
    slot_bytes_ = report_.schema ? report_.schema->slot_bytes() : 0;
    // Rows can't be told apart without a schema, and there are none shorter than that.
    const bool sane = slot_bytes_ >= 3 && slot_bytes_ <= page_bytes;
    count_ends();
    prepare_indexes(lists.indexes);
    if (sane && deep_) {
      bits_.emplace(pages.size(), page_bytes / slot_bytes_ + 1);
      live_.emplace(pages.size(), page_bytes / slot_bytes_ + 1);
    }
    read_free_segments(lists.free_tables);
    if (sane) read_records();
    read_indexes();
    read_counters();
    return std::move(report_);
  }

private:
  std::string of_table() const { return " of table `" + table_.name + "`"; }
  std::uint64_t pages() const { return source_.pages(); }

  /// What a page list entry says is used, as far as that can be.
  std::uint32_t used_of(const ListedPage& page) const {
    return page.free_bytes > page_bytes ? 0 : page_bytes - static_cast<std::uint32_t>(page.free_bytes);
  }

  void count_ends() {
    for (std::size_t i = 0; i < pages_->size(); ++i) {
      const ListedPage& page = pages_->at(i);
      report_.record_pages.push_back({page.page, 0, 0, page_bytes - used_of(page)});
      if (page.free_bytes > page_bytes) {
        findings_.error("page-list", table_.places.page_list, listed_page_at(i),
                        "page list" + of_table() + " says that " + std::to_string(page.free_bytes) + " bytes of page " +
                            std::to_string(page.page) + " are free");
        continue;
      }
      report_.free_end_bytes += page.free_bytes;
      if (slot_bytes_ >= 3 && used_of(page) % slot_bytes_ != 0) {
        findings_.error("page-list", table_.places.page_list, listed_page_at(i),
                        "page list" + of_table() + " says that page " + std::to_string(page.page) + " is used up to " +
                            std::to_string(used_of(page)) + ", where no row begins");
      }
    }
  }

  /// What the schema says has to be in the index list, and nothing else.
  void prepare_indexes(const std::vector<ListedIndex>& listed) {
    for (const ListedIndex& index : listed) {
      indexes_.push_back(std::make_unique<IndexCheck>(database_, table_, index, deep_, listed.size()));
      if (!report_.schema) continue;
      const auto known = std::find_if(report_.schema->indexes.begin(), report_.schema->indexes.end(),
                                      [&](const IndexColumns& one) { return one.names == index.columns; });
      if (known == report_.schema->indexes.end()) {
        findings_.error("index-list", table_.places.index_list, index.at,
                        "index list" + of_table() + " has an index (" + joined(index.columns) +
                            "), of which the schema knows nothing");
        continue;
      }
      indexes_.back()->know(*report_.schema, known->unique);
    }
    // A list that is not in the image is said where it is named.
    if (!report_.schema || table_.places.index_list >= pages()) return;
    for (const IndexColumns& one : report_.schema->indexes) {
      if (std::none_of(listed.begin(), listed.end(),
                       [&](const ListedIndex& other) { return other.columns == one.names; }))
        findings_.error("index-list", table_.places.index_list, 0,
                        "index list" + of_table() + " lacks the index (" + joined(one.names) + ") of the schema");
    }
  }

  void read_free_segments(const std::vector<std::uint32_t>& tables) {
    std::size_t fed = 0;
    source_.read_pages(
        [&]() -> std::optional<std::uint64_t> {
          while (fed < tables.size()) {
            const std::uint32_t page = tables[fed++];
            if (page < pages()) return page;
          }
          return std::nullopt;
        },
        [&](std::uint64_t page, Bytes bytes) {
          const auto fault = parse_free_table(
              bytes, [&](std::size_t at, const FreeSegment& segment) { take_free_segment(page, at, segment); });
          if (fault)
            findings_.error("free-segments", page, fault->at, "list of free segments" + of_table() + " " + fault->why);
        });
  }

  void take_free_segment(std::uint64_t page, std::size_t at, const FreeSegment& segment) {
    ++report_.free_segments;
    const auto place = pages_->place(segment.page);
    const std::string what = "free segment" + of_table() + " at page " + std::to_string(segment.page) + " offset " +
                             std::to_string(segment.offset) + " of " + std::to_string(segment.size) + " bytes ";
    if (!place) {
      findings_.error("free-segment", page, at, what + "is on no record page of the table");
      return;
    }
    const std::uint32_t used = used_of(pages_->at(*place));
    if (segment.end() > used) {
      findings_.error("free-segment", page, at,
                      what + "goes on past what the page list says is used, " + std::to_string(used));
      return;
    }
    report_.free_segment_bytes += segment.end() - segment.offset;
    if (!bits_) return;
    if (segment.offset % slot_bytes_ != 0) {
      findings_.error("free-segment", page, at, what + "begins where no row does");
      return;
    }
    for (std::uint32_t slot = segment.offset / slot_bytes_; slot * slot_bytes_ < segment.end(); ++slot) {
      if (bits_->test(*place, slot)) {
        findings_.error("free-segment", page, at, what + "overlaps another one");
        return;
      }
      bits_->set(*place, slot);
    }
  }

  void read_records() {
    std::size_t fed = 0;
    source_.read_pages(
        [&]() -> std::optional<std::uint64_t> {
          while (fed < pages_->size()) {
            const std::uint32_t page = pages_->at(fed).page;
            const bool first = pages_->place(page) == fed;  // one that is listed twice is read once
            ++fed;
            if (page < pages() && first) return page;
          }
          return std::nullopt;
        },
        [&](std::uint64_t page, Bytes bytes) { read_record_page(static_cast<std::uint32_t>(page), bytes); });
  }

  void read_record_page(std::uint32_t page, Bytes bytes) {
    const std::uint32_t place = *pages_->place(page);
    const std::uint32_t used = used_of(pages_->at(place));
    RecordPage& record_page = report_.record_pages[place];
    const auto fault = each_slot(bytes, slot_bytes_, used, [&](const Slot& slot) {
      if (!slot.row) {
        if (deep_) check_free(page, place, slot);
        return;
      }
      ++record_page.rows;
      record_page.row_bytes += slot.bytes;
      if (slot.offset + slot.bytes > used) {
        findings_.error("row-past-end", page, slot.offset,
                        "row" + of_table() + " goes on past what the page list says is used, " + std::to_string(used));
      }
      if (deep_) check_row(page, place, slot, bytes);
    });
    if (fault) findings_.error("row-length", page, fault->at, "row" + of_table() + " " + fault->why);
    if (!fault && !all_zero(bytes.subspan(used))) {
      std::uint32_t at = used;
      while (bytes[at] == std::byte{0}) ++at;
      findings_.error("row-past-end", page, at,
                      "bytes" + of_table() + " stand behind what the page list says is used, " + std::to_string(used) +
                          ": a row was written, and the list was not");
    }
    report_.rows += record_page.rows;
    report_.row_bytes += record_page.row_bytes;
  }

  void check_free(std::uint32_t page, std::uint32_t place, const Slot& slot) {
    std::uint32_t at = slot.offset;
    while (at < slot.offset + slot.bytes) {
      if (bits_->test(place, at / slot_bytes_)) {
        at += slot_bytes_;
        continue;
      }
      std::uint32_t end = at;
      while (end < slot.offset + slot.bytes && !bits_->test(place, end / slot_bytes_)) end += slot_bytes_;
      findings_.error("space-in-no-list", page, at,
                      std::to_string(end - at) + " bytes" + of_table() +
                          " hold no row, and no free segment has them: a row "
                          "was taken out, or its room was");
      at = end;
    }
  }

  void check_row(std::uint32_t page, std::uint32_t place, const Slot& slot, Bytes bytes) {
    for (std::uint32_t at = slot.offset; at < slot.offset + slot.bytes && at / slot_bytes_ < page_bytes / slot_bytes_;
         at += slot_bytes_) {
      if (bits_->test(place, at / slot_bytes_)) {
        findings_.error("row-in-free-space", page, slot.offset, "row" + of_table() + " lies in a free segment");
        break;
      }
    }
    live_->set(place, slot.offset / slot_bytes_);
    const std::size_t end = slot.offset + 2 + slot.body.size();
    const std::size_t padded = std::min<std::size_t>(slot.offset + slot.bytes, page_bytes);
    if (!all_zero(bytes.subspan(end, padded - end))) {
      findings_.error("row-padding", page, end,
                      "bytes" + of_table() + " stand between a row and the next: one was overwritten");
    }
    if (const auto fault = parse_row(*report_.schema, slot.body, fields_)) {
      findings_.error("row", page, slot.offset + 2 + fault->at, "row" + of_table() + " " + fault->why);
      return;
    }
    for (const auto& index : indexes_) index->take_row(*report_.schema, fields_, page, slot.offset);
  }

  void read_indexes() {
    if (bits_) bits_->clear();  // from here on: which rows an index has
    for (const auto& index : indexes_) {
      IndexReport found =
          index->run(*pages_, slot_bytes_, live_ ? &*live_ : nullptr, bits_ ? &*bits_ : nullptr, findings_);
      if (live_ && found.levels > 0) {
        index->check_rows(*report_.schema, *pages_, slot_bytes_, *live_, *bits_, findings_);
        bits_->clear();
      } else if (!deep_ && report_.schema && found.levels > 0 && found.entries != report_.rows) {
        findings_.error("index-count", found.root, 0,
                        "index (" + joined(found.columns) + ")" + of_table() + " has " + std::to_string(found.entries) +
                            " entries for " + std::to_string(report_.rows) + " rows: `pagectl verify` names them");
      }
      report_.indexes.push_back(std::move(found));
    }
  }

  void read_counters() {
    std::vector<std::string> wanted;
    if (report_.schema) {
      for (const Column& column : report_.schema->columns)
        if (column.automatic) wanted.push_back(column.name);
    }
    if (!table_.places.counters) {
      if (!wanted.empty())
        findings_.error("counters", 0, table_.places.at,
                        "table `" + table_.name + "` has automatic columns and no counters");
      return;
    }
    const std::uint32_t page = *table_.places.counters;
    if (page >= pages()) return;
    std::vector<std::byte> bytes(page_bytes);
    source_.read_page(page, bytes);
    std::vector<Counter> counters;
    if (const auto fault = parse_counters(bytes, counters)) {
      findings_.error("counters", page, fault->at, "page of counters" + of_table() + " " + fault->why);
      return;
    }
    std::sort(counters.begin(), counters.end(), [](const Counter& a, const Counter& b) { return a.column < b.column; });
    std::vector<std::string> found;
    for (const Counter& counter : counters) {
      report_.counters.push_back({counter.column, tagged_value_text(counter.value)});
      found.push_back(counter.column);
    }
    std::sort(wanted.begin(), wanted.end());
    if (report_.schema && found != wanted) {
      findings_.error("counters", page, 0,
                      "page of counters" + of_table() + " counts for (" + joined(found) + "), and automatic are (" +
                          joined(wanted) + ")");
    }
  }

  const Database& database_;
  Source& source_;
  const Table& table_;
  const bool deep_;
  Findings& findings_;
  TableReport report_;
  const ListedPages* pages_ = nullptr;
  std::uint32_t slot_bytes_ = 0;
  std::optional<SlotBits> bits_;  // first which slots are in a free segment, then which an index has
  std::optional<SlotBits> live_;  // where rows begin
  std::vector<std::unique_ptr<IndexCheck>> indexes_;
  std::vector<Field> fields_;
};

}  // namespace

TableReport examine_table(const Database& database, const Table& table, Depth depth, Findings& findings) {
  return TableCheck(database, table, depth, findings).run();
}

}  // namespace pageserver::layout::dbms
