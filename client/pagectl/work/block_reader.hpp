// Reads ranges of one or two images in blocks, many in flight, and hands the blocks over in order. Constant memory.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/io_memory.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/pagectl/work/slots.hpp"

namespace pageserver::pagectl {

/// Where images may hold something other than zeros, found piece by piece in rising order. Two images: where either
/// may.
class DataScan {
public:
  /// Over `[begin, end)`, which lies within every image.
  DataScan(std::vector<Image*> images, std::uint64_t begin, std::uint64_t end);
  /// The next range, nothing at the end.
  std::optional<ByteRange> next();

private:
  std::vector<Image*> images_;
  std::uint64_t at_;
  std::uint64_t end_;
  std::vector<ByteRange> found_;
  std::size_t next_ = 0;
};

/// A stretch of the images and its bytes, in the order in which the images were given.
struct Block {
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  std::vector<std::span<std::byte>> bytes;
};

class BlockReader {
public:
  /// Reads what `feed` yields. `block_bytes` is cut to what every image takes in one request.
  BlockReader(std::vector<Image*> images, std::function<std::optional<ByteRange>()> feed,
              std::uint32_t block_bytes = 256u << 10, std::size_t blocks_max = 32);
  BlockReader(const BlockReader&) = delete;
  BlockReader& operator=(const BlockReader&) = delete;

  /// The next block, whole, or null at the end. Its buffer is in use until the last copy of the pointer is gone, also
  /// when that outlives the reader. At least one block must not be in use. Throws the first failed read's error.
  std::shared_ptr<Block> next();
  /// Blocks that were handed over and are in use.
  std::size_t held() const;
  std::size_t blocks_max() const { return slots_.count(); }

private:
  struct Slot {
    Block block;
    std::vector<base::IoBytes> buffers;
    std::size_t pending = 0;
    std::exception_ptr error;
  };

  bool start_next(Slot& slot);
  std::optional<ByteRange> next_piece();

  std::vector<Image*> images_;
  std::function<std::optional<ByteRange>()> feed_;
  std::uint32_t block_bytes_;
  std::optional<ByteRange> rest_;
  bool fed_ = false;
  Slots<Slot> slots_;
  std::deque<Slot*> reading_;  // in the order of their offsets
};

}  // namespace pageserver::pagectl
