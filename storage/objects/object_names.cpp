#include "storage/objects/object_names.hpp"

#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <system_error>

#include "storage/file/siblings.hpp"

namespace pageserver::storage {
namespace {

std::string with_hex(const char* prefix, std::uint64_t number) {
  char text[64];
  std::snprintf(text, sizeof text, "%s%016" PRIx64, prefix, number);
  return text;
}

}  // namespace

std::string encode_entry(const ObjectEntry& entry) {
  char text[192];
  std::snprintf(text, sizeof text, "1 %016" PRIx64 " %" PRIo32 " %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
                entry.file, entry.mode, entry.birth_ns, entry.size_bytes, entry.extent_bytes, entry.run_bytes);
  return text;
}

std::optional<ObjectEntry> decode_entry(const std::string& text) {
  ObjectEntry entry;
  unsigned form = 0;
  const int fields =
      std::sscanf(text.c_str(), "%u %" SCNx64 " %" SCNo32 " %" SCNd64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &form,
                  &entry.file, &entry.mode, &entry.birth_ns, &entry.size_bytes, &entry.extent_bytes, &entry.run_bytes);
  constexpr std::uint64_t run_bytes_min = 4096, run_bytes_max = 64ull << 20;
  if (fields != 7 || form != 1 || entry.run_bytes < run_bytes_min || entry.run_bytes > run_bytes_max)
    return std::nullopt;
  return entry;
}

std::string encode_removed(const RemovedEntry& entry) {
  char text[96];
  std::snprintf(text, sizeof text, "1 %016" PRIx64 " %" PRIu64 " %" PRIu64, entry.owner, entry.extent_bytes,
                entry.run_bytes);
  return text;
}

std::optional<RemovedEntry> decode_removed(const std::string& text) {
  RemovedEntry entry;
  unsigned form = 0;
  const int fields = std::sscanf(text.c_str(), "%u %" SCNx64 " %" SCNu64 " %" SCNu64, &form, &entry.owner,
                                 &entry.extent_bytes, &entry.run_bytes);
  if (fields != 4 || form != 1 || entry.run_bytes == 0) return std::nullopt;
  return entry;
}

// An OSD takes the bytes that it compares for signed ones: to it 0x80 is less than 0x7f. Digits are the same either
// way. What earlier versions wrote, eight bytes from 0 on, is less than any digit.
std::string encode_epoch(std::uint64_t epoch) {
  std::string digits(16, '0');
  std::string_view hex = "0123456789abcdef";
  for (std::size_t i = 0; i < digits.size(); ++i) digits[i] = hex[epoch >> (60 - 4 * i) & 0xf];
  return digits;
}

std::uint64_t decode_epoch(std::string_view bytes) noexcept {
  std::uint64_t epoch = 0;
  if (bytes.size() == 8) {
    for (const char byte : bytes) epoch = epoch << 8 | static_cast<unsigned char>(byte);
    return epoch;
  }
  const auto [end, error] = std::from_chars(bytes.data(), bytes.data() + bytes.size(), epoch, 16);
  return bytes.size() == 16 && error == std::errc{} && end == bytes.data() + bytes.size() ? epoch : 0;
}

std::string epoch_key(std::uint64_t file) { return with_hex("e.", file); }
std::string removed_key(std::uint64_t file) { return with_hex("u.", file); }
std::string lock_object(std::uint64_t file) { return with_hex("pageserver.lock.", file); }

std::string run_object(std::uint64_t file, std::uint64_t run) {
  char text[64];
  std::snprintf(text, sizeof text, "pageserver.%016" PRIx64 ".%08" PRIx64, file, run);
  return text;
}

std::string image_of(const std::string& name) {
  const auto sibling = parse_sibling_name(name);
  return sibling ? std::string{sibling->image_name} : name;
}

bool is_fenced(const std::string& name) {
  const auto sibling = parse_sibling_name(name);
  return sibling && (sibling->sibling == Sibling::log || sibling->sibling == Sibling::spare);
}

}  // namespace pageserver::storage
