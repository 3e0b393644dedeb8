// Why a store accepts nothing more, and what it says then.
//
//   a sync failed         for good: what the disk has is not known any more
//   image or log is away  until both are where an opening looks for them
//   a checkpoint failed   until one succeeds
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <pageserver/error.hpp>

namespace pageserver::storage {

/// Not thread-safe, but for is_misplaced(). A fault is noted even when memory has run out: its text says less then.
class StoreFaults {
public:
  /// `shown_path`: how the texts call the image.
  explicit StoreFaults(std::string shown_path);

  bool sync_failed() const noexcept { return !sync_error_.empty(); }
  /// Called by an exception handler: that exception is the reason. The first reason stays.
  void note_failed_sync() noexcept;
  void forget_failed_sync() noexcept { sync_error_.clear(); }
  MemoryError not_durable_error() const;
  void check_durable() const {
    if (sync_failed()) throw not_durable_error();
  }

  /// Whether image or log were away at the last look. From any thread.
  bool is_misplaced() const noexcept { return is_misplaced_; }
  /// Notes the result of such a look; empty: both are in their place. Returns a warning when they are back, else
  /// nothing.
  std::string note_placement(const std::string& found);
  MemoryError misplaced_error(std::string_view action, const std::string& found) const;

  /// Null: the last checkpoint did not fail.
  const MemoryError* checkpoint_error() const noexcept { return checkpoint_error_.get(); }
  /// Called by an exception handler: that exception is the reason.
  void note_failed_checkpoint() noexcept;
  void forget_failed_checkpoint() noexcept { checkpoint_error_.reset(); }

  /// For a report: why nothing becomes durable, or nothing.
  const std::string& why_not_durable() const noexcept { return sync_failed() ? sync_error_ : misplaced_; }

private:
  const std::string shown_path_;
  std::string sync_error_;  // empty: none failed
  std::string misplaced_;
  std::atomic<bool> is_misplaced_{false};
  std::shared_ptr<const MemoryError> checkpoint_error_;
  const std::shared_ptr<const MemoryError> checkpoint_memory_error_;  // to make one takes memory
};

}  // namespace pageserver::storage
