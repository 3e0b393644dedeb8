// Bytes on their way in or out, without the zeroing that std::vector does for what is overwritten at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

#include "base/io_memory.hpp"

namespace pageserver::server {

/// Bytes are added at the end and taken from the front.
class ByteBuffer {
public:
  bool empty() const noexcept { return begin_ == end_; }
  std::size_t size() const noexcept { return end_ - begin_; }
  std::size_t capacity() const noexcept { return capacity_; }
  /// How much of its memory is in use, or was since the buffer was last empty.
  std::size_t filled() const noexcept { return end_; }
  std::span<const std::byte> bytes() const noexcept { return {data_.get() + begin_, size()}; }

  /// Adds `count` bytes of unspecified content and shows them.
  std::span<std::byte> extend(std::size_t count) {
    if (capacity_ - end_ < count) make_room(count);
    std::byte* const start = data_.get() + end_;
    end_ += count;
    return {start, count};
  }
  void append(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    if (empty()) {
      const std::size_t begin = base::io_padding(bytes.size());
      reserve(begin + bytes.size());
      begin_ = end_ = begin;
    }
    std::memcpy(extend(bytes.size()).data(), bytes.data(), bytes.size());
  }
  /// Makes room for `count` more bytes at once.
  void reserve(std::size_t count) {
    if (capacity_ - end_ < count) make_room(count);
  }
  /// How many more bytes fit without an allocation.
  std::size_t room() const noexcept { return capacity_ - end_; }
  /// Drops the last `count` bytes.
  void shorten(std::size_t count) noexcept { end_ -= count; }
  /// Drops the first `count` bytes.
  void consume(std::size_t count) noexcept {
    begin_ += count;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  void clear() noexcept { begin_ = end_ = 0; }
  /// Empties it and gives the memory back.
  void release() noexcept {
    data_.reset();
    begin_ = end_ = capacity_ = 0;
  }

private:
  void make_room(std::size_t count) {
    const std::size_t used = size();
    // What comes next begins where the kernel fills fastest.
    const std::size_t begin = base::io_padding(used);
    if (begin_ != 0 && capacity_ - used >= count + begin && begin_ >= begin + used) {
      std::memcpy(data_.get() + begin, data_.get() + begin_, used);
    } else {
      const std::size_t capacity = std::max({begin + used + count, capacity_ + capacity_ / 2, std::size_t{4096}});
      auto data = base::make_io_memory(capacity);
      if (used != 0) std::memcpy(data.get() + begin, data_.get() + begin_, used);
      data_ = std::move(data);
      capacity_ = capacity;
    }
    begin_ = begin;
    end_ = begin + used;
  }

  base::IoMemory data_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace pageserver::server
