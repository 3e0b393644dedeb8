#include "client/pagectl/layout/stable.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace pageserver::layout::stable {
namespace {

struct Known {
  std::string_view magic;
  const char* name;
  const char* text;
  std::uint8_t version_max;
};
constexpr std::array<Known, 6> known_magics{{{"BTR", "btreemap", "BTreeMap", 2},
                                             {"SVC", "vec", "Vec", 1},
                                             {"SMH", "min_heap", "MinHeap", 1},
                                             {"SCL", "cell", "Cell", 1},
                                             {"GLI", "log_index", "Log, its index", 1},
                                             {"GLD", "log_data", "Log, its data", 1}}};
constexpr std::uint8_t no_owner = 255;
constexpr std::uint32_t buckets_max = 32768;

const Known* known(Bytes beginning) {
  const std::string magic = text_of(beginning.first(std::min<std::size_t>(beginning.size(), 3)));
  const auto* found =
      std::find_if(known_magics.begin(), known_magics.end(), [&](const Known& one) { return one.magic == magic; });
  return found == known_magics.end() ? nullptr : found;
}

/// Reads numbers that lie at equal distances, a page at a time.
template <class Number>
void each_number(const Memory& memory, std::uint64_t address, std::uint64_t step, std::uint64_t count,
                 const std::function<bool(std::uint64_t at, Number number)>& sink) {
  std::vector<std::byte> bytes;
  std::uint64_t begin = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = address + i * step;
    if (bytes.empty() || at < begin || at + sizeof(Number) > begin + bytes.size()) {
      if (!memory.has(at, sizeof(Number))) return;
      begin = at;
      bytes.resize(static_cast<std::size_t>(std::min<std::uint64_t>(page_bytes, memory.bytes() - at)));
      memory.read(begin, bytes);
    }
    if (!sink(at, number_at<Number>(bytes, static_cast<std::size_t>(at - begin)))) return;
  }
}

void check_vector(const Memory& memory, bool deep, Structure& found, Findings& findings) {
  constexpr std::uint64_t data_at = 64;
  const std::uint64_t length = memory.number<std::uint64_t>(4).value_or(0);
  const std::uint32_t size = memory.number<std::uint32_t>(12).value_or(0);
  const bool fixed = memory.number<std::uint8_t>(16).value_or(0) != 0;
  const std::uint32_t prefix = fixed ? 0 : size < 256 ? 1 : size < 65536 ? 2 : 4;
  const std::uint64_t slot = std::uint64_t{size} + prefix;
  found.entries = length;
  found.numbers = {{"entry bytes max", size}, {"fixed size", fixed ? 1 : 0}};
  if (slot > 0 && length > (memory.bytes() - data_at) / slot) {
    report(memory, findings, "stable-length", 4,
           found.text + " of " + std::to_string(length) + " entries of " + std::to_string(slot) +
               " bytes in a memory of " + std::to_string(memory.pages()) + " pages");
    return;
  }
  if (!deep || prefix == 0) return;
  const auto check = [&](std::uint64_t at, std::uint64_t entry) {
    if (entry > size) {
      report(memory, findings, "stable-entry", at,
             "entry of a " + found.text + " of " + std::to_string(entry) + " bytes, and the most is " +
                 std::to_string(size));
    }
    return true;
  };
  if (prefix == 1) each_number<std::uint8_t>(memory, data_at, slot, length, check);
  if (prefix == 2) each_number<std::uint16_t>(memory, data_at, slot, length, check);
  if (prefix == 4) each_number<std::uint32_t>(memory, data_at, slot, length, check);
}

void check_cell(const Memory& memory, Structure& found, Findings& findings) {
  const std::uint32_t length = memory.number<std::uint32_t>(4).value_or(0);
  found.numbers = {{"value bytes", length}};
  if (!memory.has(8, length))
    report(memory, findings, "stable-length", 4,
           "Cell of " + std::to_string(length) + " bytes in a memory of " + std::to_string(memory.pages()) + " pages");
}

void check_log_index(const Memory& memory, bool deep, Structure& found, Findings& findings) {
  const std::uint64_t count = memory.number<std::uint64_t>(32).value_or(0);
  found.entries = count;
  if (count > (memory.bytes() - 40) / 8) {
    report(memory, findings, "stable-length", 32,
           "index of a Log of " + std::to_string(count) + " entries in a memory of " + std::to_string(memory.pages()) +
               " pages");
    return;
  }
  if (count > 0) found.numbers = {{"data bytes", memory.number<std::uint64_t>(40 + 8 * (count - 1)).value_or(0)}};
  if (!deep) return;
  std::uint64_t before = 0;
  each_number<std::uint64_t>(memory, 40, 8, count, [&](std::uint64_t at, std::uint64_t end) {
    if (end < before)
      report(memory, findings, "stable-entry", at, "entry of a Log that ends before the one in front of it");
    before = std::max(before, end);
    return true;
  });
}

void read_map_header(const Memory& memory, Structure& found) {
  const std::uint32_t first = memory.number<std::uint32_t>(4).value_or(0);
  const std::uint32_t second = memory.number<std::uint32_t>(8).value_or(0);
  found.entries = memory.number<std::uint64_t>(20);
  if (found.version == 2 && second == 0xFFFFFFFF)
    found.numbers = {{"node bytes", first}};
  else
    found.numbers = {{"key bytes max", first}, {"value bytes max", second}};
  found.numbers.emplace_back("root address", memory.number<std::uint64_t>(12).value_or(0));
  found.numbers.emplace_back("chunks", memory.number<std::uint64_t>(68).value_or(0));
}

}  // namespace

bool Memory::read(std::uint64_t address, std::span<std::byte> buffer) const {
  if (!has(address, buffer.size())) return false;
  while (!buffer.empty()) {
    const std::uint64_t at = in_image(address);
    std::uint64_t part = buffer.size();
    if (bucket_pages_ != 0) part = std::min(part, bucket_pages_ * page_bytes - address % (bucket_pages_ * page_bytes));
    if (at > source_.pages() * page_bytes || part > source_.pages() * page_bytes - at) return false;
    source_.read(at, buffer.first(static_cast<std::size_t>(part)));
    buffer = buffer.subspan(static_cast<std::size_t>(part));
    address += part;
  }
  return true;
}

std::uint64_t Memory::in_image(std::uint64_t address) const {
  if (bucket_pages_ == 0) return address;
  const std::uint64_t bucket_bytes = bucket_pages_ * page_bytes;
  const std::uint64_t bucket = address / bucket_bytes;
  if (bucket >= buckets_.size()) return source_.pages() * page_bytes;
  return page_bytes + buckets_[static_cast<std::size_t>(bucket)] * bucket_bytes + address % bucket_bytes;
}

void report(const Memory& memory, Findings& findings, const char* kind, std::uint64_t address, std::string text) {
  const std::uint64_t at = memory.in_image(address);
  if (at < memory.image_bytes()) {
    findings.error(kind, at / page_bytes, at % page_bytes, std::move(text));
  } else {
    // What should be there is not: page 0 says that it is.
    findings.error(kind, 0, 0, text + ", at address " + std::to_string(address) + " of a memory that ends before it");
  }
}

bool is_known(Bytes beginning) {
  const Known* found = known(beginning);
  return found != nullptr && beginning.size() > 3 && beginning[3] != std::byte{0} &&
         std::to_integer<std::uint8_t>(beginning[3]) <= found->version_max;
}

bool is_manager(Bytes beginning) {
  return beginning.size() > 3 && text_of(beginning.first(3)) == "MGR" && beginning[3] == std::byte{1};
}

Structure examine(const Memory& memory, bool deep, Findings& findings) {
  Structure found;
  found.pages = memory.pages();
  std::array<std::byte, 4> beginning{};
  if (!memory.read(0, beginning)) {
    found.name = memory.pages() == 0 ? "empty" : "unknown";
    return found;
  }
  const Known* of = known(beginning);
  if (of == nullptr) {
    found.name = all_zero(beginning) ? "empty" : "unknown";
    return found;
  }
  found.name = of->name;
  found.text = of->text;
  found.version = std::to_integer<std::uint8_t>(beginning[3]);
  if (found.version == 0 || found.version > of->version_max) {
    report(memory, findings, "stable-version", 3,
           found.text + " of version " + std::to_string(found.version) + ", known are up to " +
               std::to_string(of->version_max));
    return found;
  }
  if (of->magic == "BTR") {
    read_map_header(memory, found);
    if (deep) check_map(memory, findings);
  } else if (of->magic == "SVC" || of->magic == "SMH") {
    check_vector(memory, deep, found, findings);
  } else if (of->magic == "SCL") {
    check_cell(memory, found, findings);
  } else if (of->magic == "GLI") {
    check_log_index(memory, deep, found, findings);
  }
  return found;
}

Manager examine_manager(Source& source, bool deep, Findings& findings,
                        const std::function<void(const ManagedMemory&)>& sink) {
  constexpr std::size_t sizes_at = 40, owners_at = 2080;
  std::vector<std::byte> page(page_bytes);
  source.read_page(0, page);
  Manager manager{number_at<std::uint8_t>(page, 3), number_at<std::uint16_t>(page, 4),
                  number_at<std::uint16_t>(page, 6)};
  if (manager.buckets > buckets_max || manager.bucket_pages == 0) {
    findings.error("stable-manager", 0, 4,
                   "memory manager with " + std::to_string(manager.buckets) + " buckets of " +
                       std::to_string(manager.bucket_pages) + " pages");
    return manager;
  }
  std::array<std::vector<std::uint16_t>, no_owner> owned;
  for (std::uint32_t bucket = 0; bucket < buckets_max; ++bucket) {
    const auto owner = number_at<std::uint8_t>(page, owners_at + bucket);
    if (bucket < manager.buckets && owner != no_owner) {
      owned[owner].push_back(static_cast<std::uint16_t>(bucket));
    } else if ((bucket < manager.buckets) != (owner != no_owner)) {
      findings.error("stable-manager", 0, owners_at + bucket,
                     "bucket " + std::to_string(bucket) + (owner == no_owner ? " has no owner" : " has an owner") +
                         ", and " + std::to_string(manager.buckets) + " are given away");
    }
  }
  const std::uint64_t end = 1 + std::uint64_t{manager.buckets} * manager.bucket_pages;
  if (end > source.pages()) {
    findings.error("stable-manager", 0, 4,
                   "the buckets of the memory manager end at page " + std::to_string(end) + ", and the image has " +
                       std::to_string(source.pages()) + " pages");
  }
  for (std::size_t id = 0; id < owned.size(); ++id) {
    const auto pages = number_at<std::uint64_t>(page, sizes_at + 8 * id);
    const std::uint64_t room = owned[id].size() * std::uint64_t{manager.bucket_pages};
    if (pages == 0 && room == 0) continue;
    if (pages > room) {
      findings.error("stable-manager", 0, sizes_at + 8 * id,
                     "memory " + std::to_string(id) + " has " + std::to_string(pages) + " pages, and buckets for " +
                         std::to_string(room));
    }
    ManagedMemory memory;
    memory.id = static_cast<std::uint8_t>(id);
    memory.buckets = owned[id].size();
    memory.structure =
        examine(Memory(source, std::move(owned[id]), manager.bucket_pages, std::min(pages, room)), deep, findings);
    memory.structure.pages = pages;
    sink(memory);
  }
  return manager;
}

}  // namespace pageserver::layout::stable
