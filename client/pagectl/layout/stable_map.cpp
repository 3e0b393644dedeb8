// The nodes of a BTreeMap. Keys are not looked into: of what type they are, and so in which order they come, only the
// program knows.
#include <algorithm>
#include <string>
#include <vector>

#include "client/pagectl/layout/stable.hpp"

namespace pageserver::layout::stable {
namespace {

constexpr std::uint64_t allocator_at = 52;
constexpr std::uint64_t first_chunk_at = 100;
constexpr std::uint64_t chunk_header_bytes = 16;
constexpr std::uint32_t entries_max = 11;

class MapCheck {
public:
  MapCheck(const Memory& memory, Findings& findings) : memory_(memory), findings_(findings) {}

  void run() {
    std::array<std::byte, 100> header{};
    if (!memory_.read(0, header)) return wrong("stable-length", 0, "BTreeMap that is cut off");
    const std::uint64_t root = number_at<std::uint64_t>(header, 12);
    const std::uint64_t length = number_at<std::uint64_t>(header, 20);
    if (text_of(Bytes(header).subspan(allocator_at, 3)) != "BTA" || header[allocator_at + 3] != std::byte{1})
      return wrong("stable-map", allocator_at, "BTreeMap without an allocator of version 1");
    const std::uint64_t chunk = number_at<std::uint64_t>(header, 60);
    allocated_ = number_at<std::uint64_t>(header, 68);
    if (chunk < 16 || chunk > memory_.bytes())
      return wrong("stable-map", 60, "BTreeMap whose chunks have " + std::to_string(chunk) + " bytes");
    chunk_bytes_ = chunk + chunk_header_bytes;
    if (allocated_ > memory_.bytes() / chunk_bytes_) {
      return wrong("stable-map", 68,
                   "BTreeMap with " + std::to_string(allocated_) + " chunks of " + std::to_string(chunk_bytes_) +
                       " bytes in a memory of " + std::to_string(memory_.pages()) + " pages");
    }
    if (number_at<std::uint32_t>(header, 8) != 0xFFFFFFFF)
      entry_bytes_ = 8 + std::uint64_t{number_at<std::uint32_t>(header, 4)} + number_at<std::uint32_t>(header, 8);
    walk(root);
    if (stopped_) return;
    if (entries_ != length) {
      wrong("stable-map", 20,
            "BTreeMap says that it has " + std::to_string(length) + " entries, and its nodes have " +
                std::to_string(entries_));
    }
    if (used_ != allocated_) {
      wrong("stable-map", 68,
            "BTreeMap has given away " + std::to_string(allocated_) + " chunks, and its nodes take " +
                std::to_string(used_));
    }
    check_free(number_at<std::uint64_t>(header, 76));
  }

private:
  struct Step {
    std::uint64_t address;
    std::uint64_t from;
    std::uint32_t level;
  };

  void wrong(const char* kind, std::uint64_t address, std::string text) {
    report(memory_, findings_, kind, address, std::move(text));
  }

  /// A chunk's header, at `from` named by what is behind it. True: it is there, and given away or not as it should be.
  bool is_chunk(std::uint64_t chunk, std::uint64_t from, bool allocated) {
    std::array<std::byte, chunk_header_bytes> header{};
    if (chunk < first_chunk_at || (chunk - first_chunk_at) % chunk_bytes_ != 0 || !memory_.read(chunk, header)) {
      wrong("stable-map", from, "address " + std::to_string(chunk) + " is of no chunk of the BTreeMap");
      return false;
    }
    if (text_of(Bytes(header).first(3)) != "CHK" || header[3] != std::byte{1}) {
      wrong("stable-map", chunk, "chunk of a BTreeMap without its magic");
      return false;
    }
    if ((header[4] != std::byte{0}) != allocated) {
      wrong("stable-map", chunk + 4,
            allocated ? "chunk of a BTreeMap that is in use, and marked as free"
                      : "free chunk of a BTreeMap marked as in use");
    }
    return true;
  }

  /// False: there are more than the allocator has given away, so that two lead to one, or in a circle.
  bool count_chunk(std::uint64_t from) {
    if (used_ < allocated_) {
      ++used_;
      return true;
    }
    if (!stopped_) wrong("stable-map", from, "BTreeMap leads to more nodes than it has chunks");
    stopped_ = true;
    return false;
  }

  void walk(std::uint64_t root) {
    if (root == 0) return;
    std::vector<Step> steps{{root, 12, 1}};
    while (!steps.empty() && !stopped_) {
      const Step step = steps.back();
      steps.pop_back();
      visit(step, steps);
    }
  }

  void visit(const Step& step, std::vector<Step>& steps) {
    std::array<std::byte, 15> header{};
    if (step.address < first_chunk_at + chunk_header_bytes ||
        !is_chunk(step.address - chunk_header_bytes, step.from, true) || !memory_.read(step.address, header)) {
      if (step.address < first_chunk_at + chunk_header_bytes)
        wrong("stable-map", step.from, "address " + std::to_string(step.address) + " is of no node of the BTreeMap");
      return;
    }
    if (!count_chunk(step.from)) return;
    const auto version = std::to_integer<std::uint8_t>(header[3]);
    const auto kind = std::to_integer<std::uint8_t>(header[4]);
    const auto entries = number_at<std::uint16_t>(header, 5);
    if (text_of(Bytes(header).first(3)) != "BTN" || version < 1 || version > 2 || kind > 1 || entries > entries_max ||
        (version == 1 && entry_bytes_ == 0)) {
      return wrong("stable-map", step.address, "node of a BTreeMap that is none");
    }
    entries_ += entries;
    if (version == 2) follow_overflow(step.address + 7, number_at<std::uint64_t>(header, 7));
    if (kind == 0) {
      if (leaf_level_ == 0) leaf_level_ = step.level;
      if (leaf_level_ != step.level)
        wrong("stable-map", step.address, "leaf of a BTreeMap on another level than others");
      return;
    }
    const std::uint64_t children = step.address + (version == 2 ? 15 : 7 + entries * entry_bytes_);
    for (std::uint64_t i = 0; i <= entries; ++i) {
      const auto child = memory_.number<std::uint64_t>(children + 8 * i);
      if (child) steps.push_back({*child, children + 8 * i, step.level + 1});
    }
  }

  void follow_overflow(std::uint64_t from, std::uint64_t address) {
    while (address != 0) {
      std::array<std::byte, 11> header{};
      if (address < first_chunk_at + chunk_header_bytes || !is_chunk(address - chunk_header_bytes, from, true) ||
          !memory_.read(address, header) || !count_chunk(from))
        return;
      if (text_of(Bytes(header).first(3)) != "NOF")
        return wrong("stable-map", address, "overflow of a node of a BTreeMap without its magic");
      from = address + 3;
      address = number_at<std::uint64_t>(header, 3);
    }
  }

  /// Freed chunks, and as the last one that behind all which were ever used.
  void check_free(std::uint64_t head) {
    std::uint64_t from = 76, free = 0, chunk = head;
    while (free <= memory_.bytes() / chunk_bytes_) {
      if (!is_chunk(chunk, from, false)) return;
      ++free;
      from = chunk + 8;
      const std::uint64_t next = memory_.number<std::uint64_t>(from).value_or(0);
      if (next == 0) {
        if ((chunk - first_chunk_at) / chunk_bytes_ + 1 != allocated_ + free)
          wrong("stable-map", 68,
                "BTreeMap has room for " + std::to_string((chunk - first_chunk_at) / chunk_bytes_ + 1) +
                    " chunks, of which " + std::to_string(allocated_) + " are given away and " + std::to_string(free) +
                    " are free");
        return;
      }
      chunk = next;
    }
    wrong("stable-map", 76, "list of free chunks of a BTreeMap that has no end");
  }

  const Memory& memory_;
  Findings& findings_;
  std::uint64_t chunk_bytes_ = 0;
  std::uint64_t allocated_ = 0;
  std::uint64_t entry_bytes_ = 0;  // of a node of version 1; 0: there are none
  std::uint64_t entries_ = 0;
  std::uint64_t used_ = 0;
  std::uint32_t leaf_level_ = 0;
  bool stopped_ = false;
};

}  // namespace

void check_map(const Memory& memory, Findings& findings) { MapCheck(memory, findings).run(); }

}  // namespace pageserver::layout::stable
