// Where the bytes of an image come from, for what looks inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "client/pagectl/layout/bytes.hpp"

namespace pageserver::layout {

/// An image that does not change while it is looked at. Calls throw what the image behind it throws.
class Source {
public:
  using Page = Bytes;
  using Feed = std::function<std::optional<std::uint64_t>()>;
  using Sink = std::function<void(std::uint64_t page, Page bytes)>;

  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;

  virtual std::uint64_t pages() const = 0;
  /// Any range within the image.
  virtual void read(std::uint64_t offset, std::span<std::byte> buffer) = 0;
  /// The pages that `feed` names, whole and in its order, each below pages(). Neither of the two may call the source.
  virtual void read_pages(const Feed& feed, const Sink& sink) = 0;
  /// Of pages `[first, end)` those that may hold something other than zeros, in rising order.
  virtual void read_data(std::uint64_t first, std::uint64_t end, const Sink& sink) = 0;

  void read_page(std::uint64_t page, std::span<std::byte> buffer) { read(page * page_bytes, buffer.first(page_bytes)); }
};

}  // namespace pageserver::layout
