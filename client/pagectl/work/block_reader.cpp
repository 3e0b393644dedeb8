#include "client/pagectl/work/block_reader.hpp"

#include <algorithm>
#include <utility>

namespace pageserver::pagectl {
namespace {

/// Both lists in rising order; overlapping and touching ranges become one.
std::vector<ByteRange> united(std::vector<ByteRange> all) {
  std::sort(all.begin(), all.end());
  std::vector<ByteRange> out;
  for (const auto& range : all) {
    if (range.length == 0) continue;
    if (!out.empty() && range.offset <= out.back().offset + out.back().length) {
      const auto end = std::max(out.back().offset + out.back().length, range.offset + range.length);
      out.back().length = end - out.back().offset;
    } else {
      out.push_back(range);
    }
  }
  return out;
}

}  // namespace

DataScan::DataScan(std::vector<Image*> images, std::uint64_t begin, std::uint64_t end)
    : images_(std::move(images)), at_(begin), end_(end) {}

std::optional<ByteRange> DataScan::next() {
  while (next_ == found_.size()) {
    if (at_ >= end_) return std::nullopt;
    std::vector<ByteRange> all;
    std::uint64_t until = end_;  // what all of them have described
    for (auto* image : images_) {
      const auto found = image->find_data(at_, until - at_);
      until = found.described_until;
      all.insert(all.end(), found.ranges.begin(), found.ranges.end());
    }
    std::erase_if(all, [&](const ByteRange& range) { return range.offset >= until; });
    for (auto& range : all) range.length = std::min(range.length, until - range.offset);
    found_ = united(std::move(all));
    next_ = 0;
    at_ = until;
  }
  return found_[next_++];
}

BlockReader::BlockReader(std::vector<Image*> images, std::function<std::optional<ByteRange>()> feed,
                         std::uint32_t block_bytes, std::size_t blocks_max)
    : images_(std::move(images)), feed_(std::move(feed)), block_bytes_(block_bytes), slots_(blocks_max) {
  for (const auto* image : images_) block_bytes_ = std::min(block_bytes_, image->request_bytes_max());
}

std::size_t BlockReader::held() const { return slots_.taken() - reading_.size(); }

std::optional<ByteRange> BlockReader::next_piece() {
  if (!rest_ && !fed_) {
    rest_ = feed_();
    fed_ = !rest_;
  }
  if (!rest_) return std::nullopt;
  // Cut at multiples of the block size, so that a block of zeros is one wherever the range began.
  const std::uint64_t to_border = block_bytes_ - rest_->offset % block_bytes_;
  const ByteRange piece{rest_->offset, std::min(rest_->length, to_border)};
  rest_->offset += piece.length;
  rest_->length -= piece.length;
  if (rest_->length == 0) rest_.reset();
  return piece;
}

bool BlockReader::start_next(Slot& slot) {
  const auto piece = next_piece();
  if (!piece) return false;
  slot.block.offset = piece->offset;
  slot.block.length = static_cast<std::uint32_t>(piece->length);
  slot.error = nullptr;
  slot.pending = images_.size();
  slot.block.bytes.clear();
  slot.buffers.resize(images_.size());
  reading_.push_back(&slot);
  for (std::size_t i = 0; i < images_.size(); ++i) {
    slot.buffers[i].resize(block_bytes_);
    slot.block.bytes.emplace_back(slot.buffers[i].data(), slot.block.length);
  }
  for (std::size_t i = 0; i < images_.size(); ++i) {
    images_[i]->start_read(slot.block.offset, slot.block.bytes[i],
                           [state = slots_.state(), &slot](const std::exception_ptr& error) {
                             if (error && !slot.error) slot.error = error;
                             --slot.pending;
                           });
  }
  return true;
}

std::shared_ptr<Block> BlockReader::next() {
  while (slots_.has_free()) {
    Slot& slot = slots_.take();
    if (!start_next(slot)) {
      slots_.state()->give_back(slot);
      break;
    }
    // A local image has it at once: one buffer stays in a processor's cache, and many don't.
    if (slot.pending == 0) break;
  }
  if (reading_.empty()) return nullptr;
  Slot& head = *reading_.front();
  for (auto* image : images_) image->advance();
  while (head.pending > 0) wait_for_either(*images_.front(), *images_.back());
  reading_.pop_front();
  if (head.error) {
    slots_.state()->give_back(head);
    std::rethrow_exception(head.error);
  }
  return {&head.block, [state = slots_.state(), &head](Block*) { state->give_back(head); }};
}

}  // namespace pageserver::pagectl
