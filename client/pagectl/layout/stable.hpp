// Structures of ic-stable-structures: what their headers say, and whether what lies behind them agrees.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/pagectl/layout/bytes.hpp"
#include "client/pagectl/layout/finding.hpp"
#include "client/pagectl/layout/source.hpp"

namespace pageserver::layout::stable {

/// A memory as a structure sees it: the whole image, or the buckets that a memory manager gave to one id.
class Memory {
public:
  explicit Memory(Source& source) : source_(source), pages_(source.pages()) {}
  Memory(Source& source, std::vector<std::uint16_t> buckets, std::uint64_t bucket_pages, std::uint64_t pages)
      : source_(source), buckets_(std::move(buckets)), bucket_pages_(bucket_pages), pages_(pages) {}

  std::uint64_t bytes() const { return pages_ * page_bytes; }
  std::uint64_t pages() const { return pages_; }
  std::uint64_t image_bytes() const { return source_.pages() * page_bytes; }
  bool has(std::uint64_t address, std::uint64_t length) const {
    return length <= bytes() && address <= bytes() - length;
  }
  /// False when it is not all there.
  bool read(std::uint64_t address, std::span<std::byte> buffer) const;
  template <class Number>
  std::optional<Number> number(std::uint64_t address) const {
    std::array<std::byte, sizeof(Number)> bytes{};
    if (!read(address, bytes)) return std::nullopt;
    return number_at<Number>(bytes, 0);
  }
  /// Where in the image an address is.
  std::uint64_t in_image(std::uint64_t address) const;

private:
  Source& source_;
  std::vector<std::uint16_t> buckets_;
  std::uint64_t bucket_pages_ = 0;  // 0: the whole image
  std::uint64_t pages_;
};

struct Structure {
  const char* name = "unknown";  ///< for programs
  std::string text;              ///< "BTreeMap", "Vec", ...; empty where the magic is not known
  std::uint8_t version = 0;
  std::uint64_t pages = 0;
  std::optional<std::uint64_t> entries;
  std::vector<std::pair<std::string, std::uint64_t>> numbers;  ///< what else the header says
};

/// Whether the first bytes are the magic of a structure, or of a memory manager.
bool is_known(Bytes beginning);
bool is_manager(Bytes beginning);

/// Deep: also what the header leads to.
Structure examine(const Memory& memory, bool deep, Findings& findings);

struct ManagedMemory {
  std::uint8_t id = 0;
  std::uint64_t buckets = 0;
  Structure structure;
};
struct Manager {
  std::uint8_t version = 0;
  std::uint16_t buckets = 0;
  std::uint16_t bucket_pages = 0;
};
/// Of an image that begins with a memory manager. `sink` hears of each memory that has a bucket or a page.
Manager examine_manager(Source& source, bool deep, Findings& findings,
                        const std::function<void(const ManagedMemory&)>& sink);

/// stable_map.cpp: the nodes and chunks of a BTreeMap, against its header.
void check_map(const Memory& memory, Findings& findings);

/// A finding at an address of a memory.
void report(const Memory& memory, Findings& findings, const char* kind, std::uint64_t address, std::string text);

}  // namespace pageserver::layout::stable
