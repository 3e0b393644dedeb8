// What a store promises about its image, kept as simply as can be: one sequence of whole images.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/crash/block_bytes.hpp"
#include "tests/crash/simulated_inode.hpp"

namespace pageserver::test {

/// The sequence of publishes of one store (promise 5): which states readers may see, and which ones a crash may leave.
/// Indices are positions in the sequence; `number` is the engine's own version number for it.
class Model {
public:
  explicit Model(BlockBytes image = {}) { sequence_.push_back({std::move(image), 0}); }

  std::size_t newest() const { return sequence_.size() - 1; }
  const BlockBytes& image(std::size_t index) const { return sequence_[index].image; }
  const BlockBytes& newest_image() const { return sequence_.back().image; }
  std::uint64_t number(std::size_t index) const { return sequence_[index].number; }
  std::size_t durable() const { return durable_; }
  bool has_pending() const { return pending_.has_value(); }

  /// A publish was asked for: until commit() or fail() a crash may leave it whole or not at all.
  void begin(BlockBytes image) { pending_ = std::move(image); }
  void commit(std::uint64_t number);
  /// It was answered with an error, so nobody sees it; but after a crash it may be there, until something else is
  /// published after what it was based on.
  void fail();
  /// The answer of a flush that was asked for when `index` was the newest: a loss of power must not undo it.
  void flushed(std::size_t index) { durable_ = std::max(durable_, index); }

  /// What a crash left, if the promises allow it: true, and the sequence ends there from now on (`adopt`).
  bool allows(const BlockBytes& image, Crash crash) const;
  bool adopt(const BlockBytes& image, Crash crash);
  void set_number(std::uint64_t number) { sequence_.back().number = number; }
  /// For messages: where in the sequence an image stands, allowed or not, and what would have been allowed.
  std::string describe(const BlockBytes& image, Crash crash) const;

private:
  struct Published {
    BlockBytes image;
    std::uint64_t number = 0;
  };
  std::vector<Published> sequence_;
  std::size_t durable_ = 0;
  std::optional<BlockBytes> pending_;
  std::vector<BlockBytes> failed_;
};

}  // namespace pageserver::test
