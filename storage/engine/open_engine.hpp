// The store engine: a redo log beside the image, checkpoints, views, forks, recovery. See storage/log/LOG_FORMAT.md.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/memory_share.hpp"
#include "storage/engine/background.hpp"
#include "storage/engine/engine_events.hpp"
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
  std::uint64_t log_bytes = 1024ull << 20;          ///< of log that is not in the image yet; above it writers wait
  std::uint64_t segment_bytes = 0;                  ///< of a log file made ahead; 0: log_bytes / 8, from 1 to 32 MiB
  std::uint64_t held_bytes = 1ull << 30;            ///< of log that is kept only for pins and forks
  std::uint64_t private_memory_bytes = 8ull << 20;  ///< of an on_flush session or a fork; more is spilled to disk
  std::uint64_t transaction_bytes = 16ull << 30;    ///< private bytes of an on_flush session
  std::uint32_t private_ranges = 1u << 20;          ///< apart from each other, of an on_flush session or a fork
  std::uint64_t fork_bytes = 1ull << 30;            ///< private bytes of one fork
  std::uint64_t forks_bytes = 8ull << 30;           ///< private bytes of all forks together
  /// The sum of the forks' private bytes, which `forks_bytes` bounds. Stores with the same counter share the bound. It
  /// outlives the store. Null: the bound is for this store alone.
  std::atomic<std::uint64_t>* forks_bytes_used = nullptr;
  /// Private bytes of all forks of one owner, see SessionRequest; and how messages call that limit.
  std::uint64_t owner_fork_bytes = ~0ull;
  std::string owner_fork_bytes_name;
  /// Parts of the process's memory that all of its stores share, or null: for what is private to sessions, and for what
  /// finds bytes in the logs, which pins and forks hold back. Both outlive the store.
  base::MemoryShare* private_memory = nullptr;
  base::MemoryShare* index_memory = nullptr;
  /// As well, for what is read of an image that lies beyond this machine. Null: nothing of it stays in memory.
  base::MemoryShare* home_memory = nullptr;
  /// How many bytes a checkpoint copies for each byte that is appended meanwhile, so that it leaves the disk and the
  /// processor to writers. 0: as fast as it can, which it also is while nobody writes, or once the log is three
  /// quarters full.
  std::uint32_t checkpoint_pace = 4;
  std::uint64_t checkpoint_step_bytes = 1ull << 20;  ///< copied into the image by one task of the checkpoint lane
  /// A transaction of at most this many private bytes is appended within flush(), by one write; a larger one by the
  /// sync lane, so that flush() returns at once.
  std::uint64_t inline_commit_bytes = 1ull << 20;
  /// How many entries of the index a large transaction, or the end of a checkpoint, changes before it lets readers in.
  std::size_t index_entries_at_once = 256;
  std::size_t read_lanes = 1;  ///< about the number of threads that read at the same time
  bool map_image = false;      ///< read the image through a mapping where enable_mapped_reads() was called
  /// How many addresses its first mapping takes at least, so that a growing image is seldom mapped anew. Addresses take
  /// no memory.
  std::uint64_t mapping_bytes = 1ull << 30;
  /// How long calls wait to know whether the store is still this process's, where its lease could not be renewed in
  /// time; of an image that others can reach.
  std::chrono::milliseconds home_timeout{5000};
  LogSizes log_sizes;
  /// Once it is true, set from any thread, a recovery at the opening ends soon, with an error. Null: never.
  const std::atomic<bool>* abandon_recovery = nullptr;
  /// Called by an opening that replayed a log, before it returns.
  std::function<void(const RecoveryReport& report)> recovered;
  /// Hears what the store does; outlives it. Null: nobody does.
  EngineEvents* events = nullptr;
  /// What an earlier opening by the same program found, for Stat::recovery until this one finds a log itself.
  std::optional<Recovery> earlier_recovery;
  std::uint64_t salt = 0;  ///< a random number: incarnation and log salt derive from it
};

/// How many descriptors a store with these options may need: for the image and its folder, for files of the log,
/// including those that pins hold back, and for the writer's spill.
std::uint64_t open_files_of_store(const EngineOptions& options) noexcept;

/// Opens an image, and recovers it first where a log was left behind. Throws MemoryError: busy (the file is locked),
/// provider_error (it is no image), damaged (the log can't be trusted, or does not belong to this image; the text says
/// what can be done), and other errors as FileProvider does. `file_system` and both lanes outlive the store.
std::unique_ptr<Store> open_engine(FileSystem& file_system, const std::string& path, Background& sync_lane,
                                   Background& checkpoint_lane, const EngineOptions& options);

}  // namespace pageserver::storage
