// Opening and closing a store, and reports on it.
#include "storage/engine/engine.hpp"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "base/mutation.hpp"
#include "storage/engine/core.hpp"
#include "storage/engine/recovery.hpp"
#include "storage/file/file_size_limit.hpp"
#include "storage/file/file_system_warning.hpp"
#include "storage/file/siblings.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pageserver::storage {
namespace {

/// Two numbers from one random one. Clients see the incarnation, and must not be able to tell the salt from it.
std::uint64_t derived(std::uint64_t salt, std::uint64_t purpose) noexcept {
  return XXH3_64bits_withSeed(&salt, sizeof salt, purpose);
}

std::uint64_t segment_bytes_of(const EngineOptions& options) noexcept {
  const std::uint64_t bytes = options.segment_bytes != 0
                                  ? options.segment_bytes
                                  : std::clamp<std::uint64_t>(options.log_bytes / 8, 1ull << 20, 32ull << 20);
  // As large as this process may make one, where records fit into that.
  constexpr std::uint64_t least_bytes = 64ull << 10;
  return std::min(bytes, std::max(least_bytes, file_size_limit()));
}

LogWriter::Options log_options(const ImageFile& image, const EngineOptions& options, ImageNotes& notes) {
  LogWriter::Options log;
  log.image_name = image.name();
  log.salt = derived(options.salt, 1);
  log.segment_bytes = segment_bytes_of(options);
  log.files_max = static_cast<std::size_t>(options.log_bytes / log.segment_bytes);
  log.file_mode = options.file_mode;
  log.sizes = options.log_sizes;
  log.image = image_identity(image.file().status());
  log.notes = &notes;
  return log;
}

class EngineStore final : public Store {
public:
  EngineStore(std::shared_ptr<Engine> engine) : engine_{std::move(engine)} {}
  ~EngineStore() override { engine_->halt(); }

  std::uint64_t open_session(SessionRequest request, Opened opened) override {
    return engine_->open_session(std::move(request), std::move(opened));
  }
  void cancel_wait(std::uint64_t place) override { engine_->cancel_wait(place); }
  Stat stat(std::int64_t now_ms) override { return engine_->stat(now_ms); }
  std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string& reason) override {
    return engine_->break_lease(epoch, reason);
  }
  std::optional<HolderStat> break_idle_lease(std::int64_t now_ms, std::uint64_t idle_ms_min,
                                             const std::string& reason) override {
    return engine_->break_lease(0, reason, now_ms, nullptr, idle_ms_min);
  }
  bool read_only() const override { return engine_->read_only(); }
  std::uint64_t pages() override { return engine_->pages(); }
  void close() override { engine_->close(); }

private:
  std::shared_ptr<Engine> engine_;
};

}  // namespace

std::uint64_t open_files_of_store(const EngineOptions& options) noexcept {
  constexpr std::uint64_t others = 6;
  return (options.log_bytes + options.held_bytes) / segment_bytes_of(options) + others;
}

std::unique_ptr<Store> open_engine(FileSystem& file_system, const std::string& path, Background& sync_lane,
                                   Background& checkpoint_lane, const EngineOptions& options) {
  ImageFileOptions image_options;
  image_options.read_only = options.read_only;
  image_options.create = options.create;
  image_options.follow_symlinks = options.follow_symlinks;
  image_options.file_mode = options.file_mode;
  // A read-only store can't replay a log, and may not look past it either.
  image_options.refuse_pending_log = options.read_only;
  if (mutated(Mutation::clean_before_lock)) {
    const std::string resolved = resolved_image_path(file_system, path);
    remove_scratch_files(Folder::open(file_system, parent_folder(resolved), "open"), file_name(resolved));
  }
  ImageFile image = ImageFile::open(file_system, path, image_options);
  std::string warning;
  if (!options.read_only) {
    RecoveryReport report = recover_image(image, false, options.abandon_recovery, options.log_sizes, &sync_lane);
    if (report.replayed && options.recovered) options.recovered(report);
    warning = std::move(report.warning);
    // Whoever was killed before us may have made the image, or removed its log, and never synced that. It has to last
    // before a new log does. The image may hold what its last writer never synced: readers are about to see that,
    // and a flush answers for it.
    if (!mutated(Mutation::drop_open_image_sync)) {
      // With its times, which the next log's notes rely on.
      image.file().sync();
    }
    if (!mutated(Mutation::drop_open_sync)) {
      image.folder().sync();
    }
  }
  return std::make_unique<EngineStore>(
      std::make_shared<Engine>(file_system, std::move(image), sync_lane, checkpoint_lane, options, std::move(warning)));
}

Engine::Engine(FileSystem& file_system, ImageFile image, Background& sync_lane, Background& checkpoint_lane,
               const EngineOptions& options, std::string warning)
    : file_system_{file_system},
      image_{std::move(image)},
      folder_{image_->folder()},
      sync_lane_{sync_lane},
      checkpoint_lane_{checkpoint_lane},
      options_{options},
      shown_path_{image_->path()},
      image_name_{image_->name()},
      incarnation_{derived(options.salt, 2)},
      file_size_limit_{file_size_limit()},
      notes_{folder_, derived(options.salt, 1), image_->file().status()},
      log_{folder_, log_options(*image_, options, notes_)},
      gate_{options.read_lanes},
      tail_{published_.version},
      pace_{options.checkpoint_pace, options.checkpoint_step_bytes},
      bound_{options.log_bytes, options.held_bytes},
      checkpoint_memory_error_{std::make_shared<MemoryError>(
          Errc::limit_exceeded, "the log of " + quoted(shown_path_) +
                                    " can't be copied into the image, so that nothing more is accepted; what was "
                                    "flushed is safe in the log. Memory ran out; try again once there is more")},
      watch_{image_->file().status().modified_ns} {
  published_.image_bytes = image_->size();
  if (options.map_image && mapped_reads_enabled() && is_good_to_map(folder_)) {
    mapped_image_.emplace(image_->file(), options.mapping_bytes);
    published_.image_address = mapped_image_->address(published_.image_bytes);
  }
  published_.pages = image_->pages();
  checkpointed_.version = entered_.version = published_.version;
  watch_.warn(std::move(warning));
}

std::unique_ptr<PrivateBytes> Engine::make_private_bytes(const SessionState& state) {
  PrivateBytes::Options bytes;
  bytes.base = [this, &state](std::uint64_t offset, std::span<std::byte> buffer) { read_below(state, offset, buffer); };
  bytes.spill_folder = folder_;
  bytes.spill_name = sibling_name(image_name_, Sibling::spill, state.id % (sibling_number_max + 1));
  bytes.memory_bytes_max = options_.private_memory_bytes;
  bytes.descriptors_kept = open_files_of_store(options_);
  bytes.ranges_max = options_.private_ranges;
  bytes.ranges_max_name = "limits.private_ranges";
  // There is one writer, and any number of forks.
  if (state.request.access == Access::write) {
    bytes.spare_bytes_max = std::min(options_.private_memory_bytes, 2 * options_.inline_commit_bytes);
    bytes.bytes_max = options_.transaction_bytes;
    bytes.bytes_max_name = "limits.transaction_bytes";
    bytes.remedy = "flush or discard what there is";
  }
  if (state.request.access == Access::fork) {
    bytes.bytes_max = options_.fork_bytes;
    bytes.bytes_max_name = "limits.fork_bytes";
    bytes.total_bytes = options_.forks_bytes_used != nullptr ? options_.forks_bytes_used : &fork_bytes_;
    bytes.part_bytes = options_.forks_bytes_used != nullptr ? &fork_bytes_ : nullptr;
    bytes.total_bytes_max = options_.forks_bytes;
    bytes.total_bytes_max_name = "limits.forks_bytes";
  }
  return std::make_unique<PrivateBytes>(std::move(bytes));
}

Stat Engine::stat(std::int64_t now_ms, const SessionState* asking) {
  {
    // Counted as a task, so that a close waits for the look at the file.
    const Lock lock{mutex_};
    if (stopping_) throw MemoryError{Errc::provider_error, "stat " + quoted(shown_path_) + ": the store is closed"};
    ++tasks_running_;
  }
  Stat stat;
  After after{*this};
  std::exception_ptr error;
  try {
    stat.image_warning = look_at_image();
  } catch (...) {
    error = std::current_exception();
  }
  const Lock lock{mutex_};
  --tasks_running_;
  idle_.notify_all();
  if (error) std::rethrow_exception(error);
  if (asking != nullptr) check_right(published(), *asking);
  try_to_finish_entering(after);
  // Whoever wrote may have stopped.
  resume_round(entered_.position == std::exchange(stat_position_, entered_.position));
  stat.store = shown_path_;
  stat.pages = published().pages;
  stat.version = {incarnation_, published().version};
  stat.read_only = options_.read_only;
  if (lease_.writer()) stat.writer = holder_stat(*lease_.writer(), now_ms);
  stat.writers_waiting = lease_.length();
  sessions_.report(stat);
  if (const SessionState* const oldest = holders_.oldest()) {
    stat.oldest_holder = holder_stat(*oldest, now_ms);
    stat.held_bytes = entered_.cost - oldest->held.cost;
  }
  if (waiting_for_reads_) stat.held_bytes = std::max(stat.held_bytes, entered_.cost - checkpointed_.cost);
  stat.size_bytes_max = options_.size_bytes_max;
  const std::vector<LogSegmentRef>& segments = published().segments;
  if (!segments.empty()) stat.log_bytes = segments.back()->end_position - segments.front()->first_position;
  stat.checkpoint_lag_bytes = entered_.position - checkpointed_.position;
  stat.fork_bytes = fork_bytes_.load();
  stat.last_sync_error = sync_error_.empty() ? misplaced_ : sync_error_;
  return stat;
}

std::uint64_t Engine::pages() {
  const Lock lock{mutex_};
  return published().pages;
}

void Engine::close() {
  {
    Lock lock{mutex_};
    if (published().closed) return;
    if (const std::uint64_t open = sessions_.all(); open != 0)
      throw MemoryError{Errc::invalid_argument, "close " + quoted(shown_path_) + ": " + std::to_string(open) +
                                                    " sessions are still open; end them first"};
    stopping_ = true;
    idle_.wait(lock, [this]() PAGESERVER_REQUIRES(mutex_) { return tasks_running_ == 0; });
    round_.end();
    pace_.end_round();
  }
  try {
    finish_log();
  } catch (const MemoryError& error) {
    throw close_error(error);
  }
  halt();
}

MemoryError Engine::close_error(const MemoryError& error) {
  const std::string text = std::string{"close: "} + error.what();
  std::string oldest;
  {
    const Lock lock{mutex_};
    // The log went before: what is left of its files, or of sessions', has no worth.
    if (published().segments.empty())
      return sync_error_.empty()
                 ? MemoryError{error.errc(),
                               text +
                                   "; everything that was published is in the image, and nothing is in that file: "
                                   "see to the disk, and the next opening removes it"}
                 : error;
    oldest = published().segments.front()->file.path();
  }
  const std::string missing = log_misplaced();
  return {error.errc(), text + (missing.empty() ? "; the log stays at " + quoted(oldest) +
                                                      " with everything that was published and is not in the image, "
                                                      "and is replayed at the next start"
                                                : "; and what the image lacks is lost: " + missing)};
}

/// Nobody else uses the engine any more.
void Engine::finish_log() {
  if (options_.read_only) return;
  check_image_stays();
  check_durable();
  bool all_synced = false;
  {
    const Lock lock{mutex_};
    all_synced = tail_.all_synced();
  }
  if (!all_synced) {
    sync_task();
    check_durable();
  }
  // As long as the log is whole: alone it would look like a log whose beginning is missing.
  log_.drop_failed_segment();
  After nobody{*this};
  bool all_copied = false;
  std::uint64_t log_end = 0;
  {
    const Lock lock{mutex_};
    checkpoint_error_.reset();
    finish_entering(nobody);
    all_copied = published().version == checkpointed_.version;
    log_end = tail_.appended().position;
  }
  if (!all_copied) copy_all(nobody);
  cut_log(log_end);
  log_.drop_spares();
  if (folder_.left_names()) remove_scratch_files(folder_, image_name_);
}

void Engine::check_durable() {
  const Lock lock{mutex_};
  if (!sync_error_.empty()) throw not_durable_error();
}

/// A round in one go.
void Engine::copy_all(After& after) {
  const auto enter = [this](Phase phase) {
    const Lock lock{mutex_};
    round_.enter(phase);
    return round_.pages();
  };
  static_cast<void>(enter(Phase::scheduled));
  static_cast<void>(start_round(after));
  extend_image(enter(Phase::copying));
  while (copy_step()) {
  }
  finish_round();
  check_durable();
  const Lock lock{mutex_};
  if (checkpoint_error_) throw MemoryError{*checkpoint_error_};
}

void Engine::halt() noexcept {
  LeaseLine::Line line;
  std::list<Flush> flushes;
  WaitingCommit waiting_commit;
  std::optional<Published::Unfinished> unfinished;
  {
    Lock lock{mutex_};
    stopping_ = true;
    waiting_for_reads_ = false;  // the last read has no checkpoint to go on with
    {
      const ReadGate::Change change{gate_};
      published_.closed = true;
    }
    gate_.await_reads(true);
    idle_.wait(lock, [this]() PAGESERVER_REQUIRES(mutex_) {
      return tasks_running_ == 0 && !gate_.has_reads(0) && !gate_.has_reads(1);
    });
    lease_.clear(line);
    const ReadGate::Change change{gate_};
    published_.image_address = nullptr;
    mapped_image_.reset();
    image_.reset();  // unlocks
    folder_.close();
    published_.segments.clear();
    notes_.close();
    flushes.swap(flushes_);
    std::swap(waiting_commit, waiting_commit_);
    unfinished.swap(published_.unfinished);
  }
  std::exception_ptr error;
  try {
    error = std::make_exception_ptr(MemoryError{Errc::provider_error, quoted(shown_path_) + ": the store is closed"});
  } catch (const std::bad_alloc&) {
    error = std::current_exception();
  }
  for (LeaseLine::Waiting& waiting : line) {
    try {
      waiting.opened(nullptr, error);
    } catch (...) {
      // See SessionCallbacks.
    }
  }
}

}  // namespace pageserver::storage
