// A bounded number of buffers on their way into an image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "client/pagectl/images/image.hpp"

namespace pageserver::pagectl {

class WriteWindow {
public:
  explicit WriteWindow(Image& image, std::uint32_t buffer_bytes = 256u << 10, std::size_t buffers = 16);
  WriteWindow(const WriteWindow&) = delete;
  WriteWindow& operator=(const WriteWindow&) = delete;
  ~WriteWindow();

  /// A free buffer, the same one until write() is called. Waits for one; throws the first failed write's error.
  std::span<std::byte> buffer();
  /// Starts to write the beginning of what buffer() returned.
  void write(std::uint64_t offset, std::span<const std::byte> data);
  /// Waits for all. Throws the first failed write's error.
  void drain();

private:
  struct Shared;
  void throw_error() const;

  Image& image_;
  std::optional<std::size_t> taken_;  // what buffer() returned
  std::shared_ptr<Shared> shared_;    // with the completions: buffers outlive requests in flight
};

}  // namespace pageserver::pagectl
