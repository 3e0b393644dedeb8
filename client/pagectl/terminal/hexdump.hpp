// Bytes for people, as hexdump -C prints them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace pageserver::pagectl {

/// Takes bytes in pieces of any length and makes the lines of `hexdump -C -s OFFSET`: 16 bytes each, repeated lines as
/// one `*`, the end offset last.
class HexDump {
public:
  explicit HexDump(std::uint64_t offset) : offset_(offset) {}
  /// Appends to `out` the lines that are complete.
  void add(std::span<const std::byte> bytes, std::string& out);
  void finish(std::string& out);

private:
  void put_line(std::size_t count, std::string& out);

  std::uint64_t offset_;
  std::array<std::byte, 16> line_{};
  std::array<std::byte, 16> previous_{};
  std::size_t filled_ = 0;
  bool has_previous_ = false;
  bool squeezing_ = false;
};

}  // namespace pageserver::pagectl
