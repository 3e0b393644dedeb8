// Deliberate faults in the engine, switched on by tests that must notice them. Outside those tests this file compiles
// to nothing: mutated() is a constant.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

namespace pageserver::storage {

enum class Mutation : std::uint8_t {
  none,
  drop_log_sync,              ///< a flush does not sync the log's content
  drop_log_entry_sync,        ///< a flush does not sync the directory entry of a new log segment
  drop_image_sync,            ///< a checkpoint does not sync the image
  drop_mark_sync,             ///< segments are removed before it is durable that the next may be the oldest
  drop_mark_entry_sync,       ///< the directory entry of the segment that has the mark is not synced either
  drop_removal_sync,          ///< the removal of a segment is not synced before the next is removed
  drop_open_sync,             ///< opening does not sync the entries of a new image or of a log that is gone
  drop_open_image_sync,       ///< opening does not sync what the image holds
  drop_recovery_log_sync,     ///< recovery copies a log that it did not sync
  drop_recovery_entry_sync,   ///< nor its directory entries, there and gone
  drop_recovery_image_sync,   ///< recovery removes the log before the image is synced
  publish_before_append,      ///< a publish is visible before its record is whole in the log
  skip_payload_checksum,      ///< recovery takes a torn record for a whole one
  skip_epoch_check,           ///< a writer that lost its lease still publishes
  checkpoint_past_pin,        ///< a checkpoint copies what a pin or fork must not see
  checkpoint_past_synced,     ///< a checkpoint copies what is not synced in the log
  cut_log_before_image_sync,  ///< segments are removed although the image that replaces them is not synced
  share_synced_block,         ///< a record begins in a block with what a sync made durable
  share_block_in_sync,        ///< a sync does not wait for the record that is being written into its last block
  recovery_writes_in_place,   ///< recovery writes over what was durable, instead of a copy of it
  recovery_trusts_sync,       ///< recovery takes for durable what a sync says to be, not what the disk has
  forget_appended,            ///< what is in the log is answered, not entered, and the next record has its version
  skip_private_bound,         ///< private bytes go past what they are bounded by
  forget_failed_segment,      ///< a close leaves the file of a segment that could neither be made nor removed
  remove_image_first,         ///< an image is removed as such, and not renamed before
  drop_removed_image_sync,    ///< what lies beside an image is removed before it is durable that the image goes
  drop_removed_log_sync,      ///< the last trace of a removal goes before it is durable that the log went
  create_in_place,            ///< a new image has its name before it is whole
  success_after_failed_sync,  ///< a failed sync is forgotten, and the next one believed
  checkpoint_past_reads,      ///< a checkpoint does not wait for reads that may still take older bytes from the image
  map_past_log,               ///< a read takes from the mapping what the log has newer
  skip_long_checksum,         ///< recovery takes a torn record for a whole one, if it is read in several parts
  scan_within_parts,          ///< the search for lost records does not look where two parts meet
  keep_private_charge,        ///< what private bytes took is not given back when they go
  skip_range_bound,           ///< private bytes are in more ranges than they may be
  drop_forwarded_sync,        ///< what stands between the engine and the file system answers a sync by itself
  open_by_path,               ///< a folder's files are opened by a path, wherever that leads by now
  skip_image_lock,            ///< an image is opened without a lock
  clean_before_lock,          ///< an opening removes what it takes for left behind before it has the lock
  drop_image_note,            ///< the log does not say that the image is about to change
  skip_note_sync,             ///< a note is not synced, however old the one is that a loss of power leaves
  forget_future_note,         ///< a clock that was set back makes the image's own time one that no note speaks of
  forget_entry,               ///< a new segment does not say which session the last record before it was of
  skip_resume_file,           ///< a recovery removes a log without keeping its last record's entry
  map_past_end,               ///< a read takes from the mapping what lies past the file's end
};

#ifdef PAGESERVER_MUTATIONS
inline std::atomic<Mutation> active_mutation{Mutation::none};
/// Runs whenever readers are let in between two parts of a long change to the index.
inline std::function<void()> between_parts;
inline void run_between_parts() {
  if (between_parts) between_parts();
}
/// Runs when a read has decided where its bytes come from, and has not read them yet.
inline std::function<void()> read_planned;
inline void run_read_planned() {
  if (read_planned) read_planned();
}
inline bool mutated(Mutation mutation) noexcept { return active_mutation.load(std::memory_order_relaxed) == mutation; }
#else
inline void run_between_parts() {}
inline void run_read_planned() {}
constexpr bool mutated(Mutation) noexcept { return false; }
#endif

}  // namespace pageserver::storage
