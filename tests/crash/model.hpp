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
  /// What is remembered with a publish: a number, 0: nothing. `any_entry`: it is not known.
  static constexpr std::uint64_t any_entry = ~std::uint64_t{0};

  explicit Model(BlockBytes image = {}) { sequence_.push_back({std::move(image), 0, 0}); }

  std::size_t newest() const { return sequence_.size() - 1; }
  const BlockBytes& image(std::size_t index) const { return sequence_[index].image; }
  const BlockBytes& newest_image() const { return sequence_.back().image; }
  std::uint64_t number(std::size_t index) const { return sequence_[index].number; }
  std::size_t durable() const { return durable_; }
  bool has_pending() const { return pending_.has_value(); }

  /// A publish was asked for: until commit() or fail() a crash may leave it whole or not at all.
  void begin(BlockBytes image, std::uint64_t entry = 0) { pending_.emplace(Published{std::move(image), 0, entry}); }
  void commit(std::uint64_t number);
  /// It was answered with an error, so nobody sees it; but after a crash it may be there, until something else is
  /// published after what it was based on.
  void fail();
  /// The answer of a flush that was asked for when `index` was the newest: a loss of power must not undo it.
  void flushed(std::size_t index) { durable_ = std::max(durable_, index); }

  /// What a crash left, if the promises allow it: true, and the sequence ends there from now on (`adopt`).
  bool allows(const BlockBytes& image, Crash crash, std::uint64_t entry = any_entry) const;
  bool adopt(const BlockBytes& image, Crash crash, std::uint64_t entry = any_entry);
  std::uint64_t entry() const { return sequence_.back().entry; }
  /// The store was opened, and knows this of the newest state.
  void set_entry(std::uint64_t entry);
  /// A writer has come: what is known from before the opening may be forgotten from now on.
  void let_entry_go();
  /// The store is being closed, and the writer does not go on.
  void drop_entry() { sequence_.back().entry_may_go = true; }
  void set_number(std::uint64_t number) { sequence_.back().number = number; }
  /// For messages: where in the sequence an image stands, allowed or not, and what would have been allowed.
  std::string describe(const BlockBytes& image, Crash crash) const;

private:
  struct Published {
    BlockBytes image;
    std::uint64_t number = 0;
    std::uint64_t entry = 0;
    bool entry_is_old = false;
    bool entry_may_go = false;

    bool is(std::uint64_t hash, std::uint64_t remembered) const {
      return image.hash() == hash && (remembered == any_entry || entry == any_entry || entry == remembered ||
                                      (entry_may_go && remembered == 0));
    }
  };
  std::vector<Published> sequence_;
  std::size_t durable_ = 0;
  std::optional<Published> pending_;
  std::vector<Published> failed_;
};

}  // namespace pageserver::test
