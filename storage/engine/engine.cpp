// Opening and closing a store, and reports on it.
#include "storage/engine/open_engine.hpp"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "storage/engine/engine.hpp"
#include "storage/engine/recovery.hpp"
#include "storage/file/file_size_limit.hpp"
#include "storage/file/file_system_warning.hpp"
#include "storage/file/mutation.hpp"
#include "storage/file/siblings.hpp"
#include "storage/log/resume_file.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pageserver::storage {
namespace {

/// Derives a number for each purpose from one random number. Clients see the incarnation, and must not be able to
/// compute the salt from it.
std::uint64_t derived(std::uint64_t salt, std::uint64_t purpose) noexcept {
  return XXH3_64bits_withSeed(&salt, sizeof salt, purpose);
}

std::uint64_t segment_bytes_of(const EngineOptions& options) noexcept {
  const std::uint64_t bytes = options.segment_bytes != 0
                                  ? options.segment_bytes
                                  : std::clamp<std::uint64_t>(options.log_bytes / 8, 1ull << 20, 32ull << 20);
  // At most the process's file size limit, unless hardly a record would fit into that.
  constexpr std::uint64_t least_bytes = 64ull << 10;
  return std::min(bytes, std::max(least_bytes, file_size_limit()));
}

LogWriter::Options log_options(const ServedImage& image, const EngineOptions& options, ImageNotes& notes) {
  LogWriter::Options log;
  log.image_name = image.name();
  log.salt = derived(options.salt, 1);
  log.segment_bytes = segment_bytes_of(options);
  log.files_max = static_cast<std::size_t>(options.log_bytes / log.segment_bytes);
  log.file_mode = options.file_mode;
  log.sizes = options.log_sizes;
  log.image = image_identity(image->file().status());
  log.on_a_disk = !is_beyond_this_machine(image.folder());
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
  std::vector<std::uint64_t> line() override { return engine_->line(); }
  Stat stat(std::int64_t now_ms) override { return engine_->stat(now_ms); }
  Stat figures(std::int64_t now_ms) override { return engine_->figures(now_ms); }
  PageMap page_map(const PageMapRequest& request) override { return engine_->page_map(request); }
  std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string& reason) override {
    return engine_->break_lease(epoch, reason);
  }
  std::optional<HolderStat> break_idle_lease(std::int64_t now_ms, std::uint64_t idle_ms_min,
                                             const std::string& reason) override {
    return engine_->break_lease(0, reason, now_ms, nullptr, idle_ms_min);
  }
  bool read_only() const override { return engine_->read_only(); }
  std::optional<ResumeEntry> resumable() override { return engine_->resumable(); }
  void forget_resumable() noexcept override { engine_->forget_resumable(); }
  std::string taken_over() const override { return engine_->home().taken_over(); }
  std::string wanted_by() const override { return engine_->home().wanted_by(); }
  void begin_checkpoint() noexcept override { engine_->begin_checkpoint(); }
  void give_up(const std::string& why) override { engine_->give_up(why); }
  std::uint64_t pages() override { return engine_->pages(); }
  void close() override { engine_->close(); }

private:
  std::shared_ptr<Engine> engine_;
};

}  // namespace

EngineEvents& no_engine_events() noexcept {
  static EngineEvents nobody;
  return nobody;
}

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
  std::optional<Recovery> recovery = options.earlier_recovery;
  std::string warning;
  EntryBytes resumable;
  if (!options.read_only) {
    RecoveryReport report = recover_image(image, false, options.abandon_recovery, options.log_sizes, &sync_lane,
                                          options.events != nullptr ? *options.events : no_engine_events());
    if (report.replayed) {
      constexpr std::int64_t ns_per_ms = 1'000'000;
      recovery = recovery_of(report, file_system.now_ns() / ns_per_ms);
      if (options.recovered) options.recovered(report);
    }
    warning = std::move(report.warning);
    // A process that was killed may have created the image, or removed its log, without syncing that: it must be
    // durable before a new log is. The image may also hold bytes that were never synced: readers are about to see them,
    // and a flush promises that they are durable.
    if (!mutated(Mutation::drop_open_image_sync)) {
      // fsync, which includes the image's times: the notes of the next log rely on them.
      image.file().sync();
    }
    if (!mutated(Mutation::drop_open_sync)) {
      image.folder().sync();
    }
    // One that does not fit this image, or is broken, would fit none later either.
    resumable = read_resume_file(image.folder(), image.name(), image.file().status());
    if (resumable.size == 0) remove_resume_file(image.folder(), image.name());
  }
  return std::make_unique<EngineStore>(std::make_shared<Engine>(std::move(image), sync_lane, checkpoint_lane, options,
                                                                std::move(recovery), std::move(warning), resumable));
}

Engine::Engine(ImageFile image, Background& sync_lane, Background& checkpoint_lane, const EngineOptions& options,
               std::optional<Recovery> recovery, std::string warning, const EntryBytes& resumable)
    : image_{std::move(image)},
      home_{image_->home(), image_.shown_path(), options.home_timeout},
      options_{options},
      events_{options.events != nullptr ? *options.events : no_engine_events()},
      recovery_{std::move(recovery)},
      incarnation_{derived(options.salt, 2)},
      image_changes_{image_, derived(options.salt, 1)},
      last_session_{image_, options.file_mode, resumable},
      session_factory_{options_, image_,
                       [this](const SessionState& state, std::uint64_t offset, std::span<std::byte> buffer) {
                         read_below(state, offset, buffer);
                       }},
      lanes_{sync_lane, checkpoint_lane},
      log_{image_.folder(), log_options(image_, options, image_changes_.notes())},
      gate_{options.read_lanes},
      faults_{image_.shown_path()},
      indexed_{published_.version},
      tail_{published_.version},
      round_{RoundPace{options.checkpoint_pace, options.checkpoint_step_bytes}},
      bound_{options.log_bytes, options.held_bytes, published_.version} {
  published_.image_bytes = image_->size();
  // A pool reserves no room for anybody, and to ask it for each page would be an operation or two of a publish.
  if (home_.calls() != nullptr) reservations_.give_up();
  if (options.home_memory != nullptr && !options.read_only) home_.keep_in_memory(*options.home_memory);
  if (options.map_image) image_.map(options.mapping_bytes);
  published_.image_address = image_.address();
  published_.pages = image_->pages();
  image_changes_.warn(std::move(warning));
}

std::shared_ptr<void> Engine::begin_task(std::string_view action) {
  const auto end = [](Engine* engine) {
    const Lock lock{engine->mutex_};
    engine->tasks_.end();
  };
  {
    const Lock lock{mutex_};
    if (!tasks_.begin())
      throw MemoryError{Errc::provider_error,
                        std::string{action} + " " + quoted(image_.shown_path()) + ": the store is closed"};
  }
  return {this, end};  // which calls `end` where it throws
}

Stat Engine::stat(std::int64_t now_ms, const SessionState* asking) {
  home_.await_verdict();
  home_.check_may_answer();
  {
    // It counts as a task, so that a close waits until it has looked at the file.
    const Lock lock{mutex_};
    if (!tasks_.begin())
      throw MemoryError{Errc::provider_error, "stat " + quoted(image_.shown_path()) + ": the store is closed"};
  }
  std::string warning;
  DeferredCalls deferred{*this};
  std::exception_ptr error;
  try {
    warning = look_at_image();
    if (!warning.empty()) {
      // It may be the next owner's doing, where this one stood still meanwhile: then that is what is told.
      home_.await_verdict();
      home_.check_may_answer();
    }
  } catch (...) {
    error = std::current_exception();
  }
  const Lock lock{mutex_};
  tasks_.end();
  if (error) std::rethrow_exception(error);
  if (asking != nullptr) check_right(published(), *asking);
  try_to_finish_entering(deferred);
  // A round that paused for a writer goes on where that has stopped writing.
  resume_round(round_.pace().is_quiet(indexed_.point().position));
  Stat stat = report(now_ms);
  stat.image_warning = std::move(warning);
  return stat;
}

Stat Engine::figures(std::int64_t now_ms) {
  const Lock lock{mutex_};
  return report(now_ms);
}

Stat Engine::report(std::int64_t now_ms) const {
  Stat stat;
  stat.store = image_.shown_path();
  stat.pages = published().pages;
  stat.version = {incarnation_, published().version};
  stat.read_only = options_.read_only;
  if (lease_.writer()) stat.writer = holder_stat(*lease_.writer(), now_ms);
  stat.writers_waiting = lease_.length();
  sessions_.report(stat);
  if (const SessionState* const oldest = holders_.oldest()) {
    stat.oldest_holder = holder_stat(*oldest, now_ms);
    stat.held_bytes = indexed_.point().cost - oldest->held.cost;
  }
  if (round_.waits_for_reads())
    stat.held_bytes = std::max(stat.held_bytes, indexed_.point().cost - bound_.checkpointed().cost);
  stat.size_bytes_max = options_.size_bytes_max;
  const std::vector<LogSegmentRef>& segments = published().segments;
  if (!segments.empty()) stat.log_bytes = segments.back()->end_position - segments.front()->first_position;
  stat.checkpoint_lag_bytes = indexed_.point().position - bound_.checkpointed().position;
  stat.fork_bytes = session_factory_.fork_bytes();
  stat.recovery = recovery_;
  stat.last_sync_error = faults_.why_not_durable();
  stat.home = home_.report();
  return stat;
}

void Engine::begin_checkpoint() noexcept {
  const Lock lock{mutex_};
  if (!round_.may_begin() || tasks_.stopping() || faults_.sync_failed()) return;
  if (reachable_point().version <= bound_.checkpointed().version) return;
  round_.enter(Phase::scheduled);
  submit_checkpoint();
}

void Engine::give_up(const std::string& why) { home_.give_up(why, image_.file_system()); }

std::uint64_t Engine::pages() {
  const Lock lock{mutex_};
  return published().pages;
}

void Engine::close() {
  {
    Lock lock{mutex_};
    if (published().closed) return;
    if (const std::uint64_t open = sessions_.all(); open != 0)
      throw MemoryError{Errc::invalid_argument, "close " + quoted(image_.shown_path()) + ": " + std::to_string(open) +
                                                    " sessions are still open; end them first"};
    tasks_.stop();
    tasks_.await_none(lock);
    round_.end();
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
    // The log is removed already: files that are left, of it or of sessions, are not needed.
    if (published().segments.empty())
      return !faults_.sync_failed()
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

/// Brings everything into the image and removes the log. Nobody else uses the engine any more.
void Engine::finish_log() {
  if (options_.read_only) return;
  image_.check_stays();
  check_durable();
  check_log_whole();
  bool all_synced = false;
  {
    const Lock lock{mutex_};
    all_synced = tail_.all_synced();
  }
  if (!all_synced) {
    sync_task();
    check_durable();
  }
  // While the log is whole: see LogWriter::drop_failed_segment().
  log_.drop_failed_segment();
  DeferredCalls nobody{*this};
  bool all_copied = false, has_log = false;
  std::uint64_t log_end = 0;
  {
    const Lock lock{mutex_};
    faults_.forget_failed_checkpoint();
    finish_entering(nobody);
    all_copied = published().version == bound_.checkpointed().version;
    log_end = tail_.appended().position;
    has_log = !published().segments.empty();
  }
  if (!has_log) last_session_.leave_file(log_.last_entry());
  if (!all_copied) copy_all(nobody);
  cut_log(log_end);
  log_.drop_spares();
  if (image_.folder().left_names()) remove_scratch_files(image_.folder(), image_.name());
}

std::optional<ResumeEntry> Engine::resumable() { return last_session_.resumable(); }

void Engine::forget_resumable() noexcept { last_session_.forget(); }

void Engine::begin_to_drop_resume_file() noexcept {
  if (home_.calls() == nullptr || !last_session_.has_file()) return last_session_.drop_file();
  try {
    home_.calls()->begin([this, task = begin_task("open")] { last_session_.drop_file(); });
  } catch (const std::exception&) {
    // The close does it.
  }
}

void Engine::check_durable() {
  const Lock lock{mutex_};
  faults_.check_durable();
}

/// Runs a whole checkpoint round at once.
void Engine::copy_all(DeferredCalls& deferred) {
  const auto enter = [this](Phase phase) {
    const Lock lock{mutex_};
    round_.enter(phase);
    return round_.pages();
  };
  static_cast<void>(enter(Phase::scheduled));
  static_cast<void>(start_round(deferred));
  extend_image(enter(Phase::copying));
  while (copy_step()) {
  }
  finish_round();
  check_durable();
  const Lock lock{mutex_};
  if (const MemoryError* const error = faults_.checkpoint_error()) throw MemoryError{*error};
}

void Engine::halt() noexcept {
  LeaseQueue::Waiters line;
  FlushQueue flushes;
  std::optional<Published::Unfinished> unfinished;
  {
    Lock lock{mutex_};
    tasks_.stop();
    round_.wait_for_reads(false);  // so the last read does not submit the checkpoint's task
    {
      const ReadGate::Change change{gate_};
      published_.closed = true;
    }
    gate_.await_reads(true);
    tasks_.await_none(lock, [this] { return !gate_.has_reads(0) && !gate_.has_reads(1); });
    lease_.clear(line);
    const ReadGate::Change change{gate_};
    published_.image_address = nullptr;
    image_.close();
    published_.segments.clear();
    image_changes_.close();
    std::swap(flushes, flushes_);
    unfinished.swap(published_.unfinished);
  }
  if (home_.calls() != nullptr) home_.calls()->stop();
  std::exception_ptr error;
  try {
    error = std::make_exception_ptr(
        MemoryError{Errc::provider_error, quoted(image_.shown_path()) + ": the store is closed"});
  } catch (const std::bad_alloc&) {
    error = std::current_exception();
  }
  for (LeaseQueue::Waiter& waiting : line) {
    try {
      waiting.opened(nullptr, error);
    } catch (...) {
      // See SessionCallbacks.
    }
  }
}

}  // namespace pageserver::storage
