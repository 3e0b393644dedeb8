// How far the log is written, and how far it is durable.
//
// A record that is not the first in its block is written into a block that may be durable already, or about to be; a
// loss of power may tear the block that is written. So, of the blocks of 4 KiB at the end of the log:
//
//   | record 1, record 2 | record 3 ...   a sync of record 2 has begun: its block is sealed, record 3 begins another
//   | record 1, re|                       record 2 is being written into the block of record 1: a sync waits for that
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "storage/engine/background.hpp"
#include "storage/engine/log_point.hpp"

namespace pageserver::storage {

/// Not thread-safe.
class LogTail {
public:
  explicit LogTail(std::uint64_t version) noexcept { appended_.version = synced_.version = version; }

  const LogPoint& appended() const noexcept { return appended_; }
  const LogPoint& synced() const noexcept { return synced_; }
  bool all_synced() const noexcept { return synced_.position >= appended_.position; }

  /// Begins a record. Returns whether it has to begin a new block; `wants_own`: it shall in any case. While a sync
  /// waits for a record to end, the next record begins a new block, or small records in a row would delay the sync for
  /// ever.
  bool begin_record(bool wants_own) noexcept;
  void append(const LogPoint& end) noexcept { appended_ = end; }
  /// The log goes on in a new segment, without a new record.
  void move_to(std::uint64_t position) noexcept { appended_.position = position; }
  /// The record's write has ended, whether it succeeded or not. Returns the task of a sync that waited for that, for
  /// the caller to submit; else nothing.
  Background::Ready end_record() noexcept;

  /// The task of a sync that may have to wait for a record. It is made before each record, since making it may fail.
  bool has_sync_ready() const noexcept { return !awaiting_sync_.empty(); }
  void set_sync_ready(Background::Ready ready) noexcept { awaiting_sync_ = std::move(ready); }

  /// Begins a sync, and returns up to where: the log's end. Nothing when it has to wait for end_record(). `at_once`: it
  /// does not wait.
  std::optional<LogPoint> begin_sync(bool at_once) noexcept;
  void end_sync(const LogPoint& target) noexcept { synced_ = target; }

  /// Whether enough is appended since the disk was last told to write (start_writeback()).
  bool wants_writeback() const noexcept;
  void writeback_scheduled() noexcept { writeback_scheduled_ = true; }
  /// Returns where the part begins that the disk is to write; it ends at the log's end.
  std::uint64_t begin_writeback() noexcept;
  /// The disk was told to write all of it.
  void end_writeback() noexcept { writeback_position_ = appended_.position; }

private:
  LogPoint appended_;
  LogPoint synced_;
  std::uint64_t sealed_position_ = 0;  // no record is written into a block with something below
  bool shares_block_ = false;          // the record under way is written into the block of the one before it
  bool sync_awaits_record_ = false;    // a sync, for the end of that
  Background::Ready awaiting_sync_;    // its task
  bool writeback_scheduled_ = false;
  std::uint64_t writeback_position_ = 0;  // the disk was told to write what is below
};

}  // namespace pageserver::storage
