// A bounded number of buffers on their way into an image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "client/pagectl/images/image.hpp"
#include "client/pagectl/work/slots.hpp"

namespace pageserver::pagectl {

class WriteWindow {
public:
  explicit WriteWindow(Image& image, std::uint32_t buffer_bytes = 256u << 10, std::size_t buffers = 16);
  WriteWindow(const WriteWindow&) = delete;
  WriteWindow& operator=(const WriteWindow&) = delete;

  /// A free buffer, the same one until write() is called. Waits for one; throws the first failed write's error.
  std::span<std::byte> buffer();
  /// Starts to write the beginning of what buffer() returned.
  void write(std::uint64_t offset, std::span<const std::byte> data);
  /// Waits for all. Throws the first failed write's error.
  void drain();

private:
  using Buffer = std::vector<std::byte>;

  Image& image_;
  Slots<Buffer> slots_;
  Buffer* taken_ = nullptr;  // what buffer() returned
};

}  // namespace pageserver::pagectl
