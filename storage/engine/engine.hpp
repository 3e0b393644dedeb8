// The store engine: a redo log beside the image, checkpoints, views, forks, recovery. See storage/log/LOG_FORMAT.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "storage/engine/background.hpp"
#include "storage/file/file_system.hpp"
#include "storage/log/log_sizes.hpp"
#include "storage/store.hpp"

namespace pageserver::storage {

struct RecoveryReport;

/// Bounds in bytes. The defaults suit a daemon with a few stores on one machine.
struct EngineOptions {
  bool read_only = false;
  bool create = true;           ///< make the image when it is missing
  bool follow_symlinks = true;  ///< false: refuse a path whose last component is a symbolic link
  std::uint32_t file_mode = 0640;
  std::uint64_t size_bytes_max = 1ull << 40;        ///< of the image; grow() meets it
  std::uint64_t log_bytes = 1024ull << 20;          ///< log not yet checkpointed, above which writers wait
  std::uint64_t segment_bytes = 0;                  ///< of a log file made ahead; 0: log_bytes / 8, from 1 to 32 MiB
  std::uint64_t held_bytes = 1ull << 30;            ///< log kept only for pins and forks
  std::uint64_t private_memory_bytes = 8ull << 20;  ///< of an on_flush session or a fork, above which it spills to disk
  std::uint64_t transaction_bytes = 16ull << 30;    ///< private bytes of an on_flush session
  std::uint32_t private_ranges = 1u << 20;          ///< apart from each other, of an on_flush session or a fork
  std::uint64_t fork_bytes = 1ull << 30;            ///< private bytes of one fork
  std::uint64_t forks_bytes = 8ull << 30;           ///< private bytes of all forks together
  /// Where the private bytes of forks are summed up against `forks_bytes`; stores that have the same counter share
  /// that bound. Outlives the store. Null: this store's forks alone.
  std::atomic<std::uint64_t>* forks_bytes_used = nullptr;
  /// While the log is less than three quarters full, a checkpoint copies so many bytes for each byte that is appended
  /// meanwhile, so that it leaves the disk and the processor to who writes; 0: as fast as it can. Nobody writing: the
  /// same.
  std::uint32_t checkpoint_pace = 4;
  std::uint64_t checkpoint_step_bytes = 1ull << 20;  ///< copied into the image by one task of the checkpoint lane
  /// A transaction of up to so many private bytes is appended by its flush() itself, which is one write; a larger one
  /// by the sync lane, so that flush() returns at once.
  std::uint64_t inline_commit_bytes = 1ull << 20;
  /// Entries of the index that a large transaction, or a checkpoint's end, changes before readers are let in again.
  std::size_t index_entries_at_once = 256;
  std::size_t read_lanes = 1;  ///< about as many as threads read at the same time
  bool map_image = false;      ///< read the image through a mapping where enable_mapped_reads() was called
  /// Addresses that its first mapping takes at least, so that a growing image is seldom mapped anew. They take no
  /// memory.
  std::uint64_t mapping_bytes = 1ull << 30;
  LogSizes log_sizes;
  /// Set from any thread: an opening that recovers ends soon, with an error. Null: it goes on to its end.
  const std::atomic<bool>* abandon_recovery = nullptr;
  /// Called by an opening that replayed a log, before it returns.
  std::function<void(const RecoveryReport& report)> recovered;
  std::uint64_t salt = 0;  ///< random, from the caller: incarnation and log salt derive from it
};

/// How many descriptors a store with these options may need: the image and its folder, the log's files with those that
/// pins hold back, and what is private to the writer.
std::uint64_t open_files_of_store(const EngineOptions& options) noexcept;

/// Opens, and where a log is left, recovers. Throws MemoryError: busy (the file is locked), provider_error (no image),
/// damaged (the log or the pair of image and log can't be trusted; the text says what can be done), and the rest as
/// FileProvider does. `file_system` and both lanes outlive the store.
std::unique_ptr<Store> open_engine(FileSystem& file_system, const std::string& path, Background& sync_lane,
                                   Background& checkpoint_lane, const EngineOptions& options);

}  // namespace pageserver::storage
