// The state of one open store, shared by its sessions and its background tasks.
//
// How it works. A publish appends one record to the log (publish.cpp, LogWriter) and enters its ranges into the index
// as pieces of the next version; then the version moves, and all sessions see it. A read asks the index which pieces
// its version consists of, and takes all other bytes from the image (read.cpp). A flush waits until the sync lane has
// synced the log up to the end that it had when the flush began (sync.cpp). A checkpoint round copies into the image
// the pieces up to the oldest version that is held, syncs the image, drops those pieces and removes segments
// (checkpoint.cpp). leases.cpp opens and ends sessions. The states of a publish, a round and a session are drawn in
// docs/architecture.md.
//
// The engine's state is in parts that know nothing of each other:
//
//   what is published   Published, IndexProgress, IndexMemory; ReadPlan and LogReads for a read of it
//   a publish           RangeLocator, BlockReservations
//   the log             LogWriter, LogTail (how far it is written and durable), FlushQueue (who waits for a sync)
//   the image           StoreHome (whether it is still ours), ServedImage, ImageChanges
//   sessions            SessionFactory, LeaseQueue, Holders, SessionCounts, RoomWaiters, LastSession
//   the checkpoint      CheckpointRound, LogBound
//   tasks and faults    Lanes, RunningTasks, StoreFaults
//
// The engine says in which order they change together.
//
// One mutex guards those that do not look after themselves. No call to the file system is made under it. What reads
// look at changes only while `gate_` is closed as well, so that reads do without the mutex. Three rules give the rest
// of the order:
//
// - One publish at a time: the session that has set `publishing_` alone appends to the log, until its publish is
//   visible or refused. The next writer gets the lease only after that.
// - A read takes its version, the pieces in the log and a reference to their segments in one section, and then reads
//   files without a lock. It is counted in `gate_`.
// - A checkpoint round to version L copies a byte only where the index has a piece of a version up to L that is synced
//   in the log. No holder has a version below L, and no read of an older version uses the image: the round waits for
//   reads that began before it. So a reader never takes from the image a byte that a round is writing: the reader's own
//   pieces cover it. Pieces leave the index after the image is synced, segments leave after that.
//
// Memory may run out anywhere. A step that takes memory comes before the point of no return: a record in the log, a
// lease that is given, a pin that is held. After that point everything is noexcept, with two exceptions. When a publish
// is in the log and its ranges can't be entered into the index, the publish has succeeded: its version and its pages
// are visible, and its ranges wait in Published::unfinished. The next call that needs the index enters them first, and
// fails for want of memory if there still is none. And any failure in the steps that make a sync or a checkpoint
// durable counts as a failed sync.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/io_memory.hpp"
#include "base/mutex.hpp"
#include "storage/engine/block_reservations.hpp"
#include "storage/engine/checkpoint_round.hpp"
#include "storage/engine/flush_queue.hpp"
#include "storage/engine/holders.hpp"
#include "storage/engine/image_changes.hpp"
#include "storage/engine/image_copy.hpp"
#include "storage/engine/index_memory.hpp"
#include "storage/engine/index_progress.hpp"
#include "storage/engine/lanes.hpp"
#include "storage/engine/last_session.hpp"
#include "storage/engine/lease_queue.hpp"
#include "storage/engine/log_bound.hpp"
#include "storage/engine/log_tail.hpp"
#include "storage/engine/open_engine.hpp"
#include "storage/engine/published.hpp"
#include "storage/engine/range_locator.hpp"
#include "storage/engine/read_gate.hpp"
#include "storage/engine/read_plan.hpp"
#include "storage/engine/room_waiters.hpp"
#include "storage/engine/running_tasks.hpp"
#include "storage/engine/served_image.hpp"
#include "storage/engine/session_counts.hpp"
#include "storage/engine/session_factory.hpp"
#include "storage/engine/session_state.hpp"
#include "storage/engine/store_faults.hpp"
#include "storage/engine/store_home.hpp"
#include "storage/image/image_file.hpp"
#include "storage/log/log_index.hpp"
#include "storage/log/log_segment.hpp"

namespace pageserver::storage {

class Engine : public std::enable_shared_from_this<Engine> {
public:
  /// `recovery`, `warning`: what the opening found, for stat(); or empty. `resumable`: from the file that keeps it.
  Engine(ImageFile image, Background& sync_lane, Background& checkpoint_lane, const EngineOptions& options,
         std::optional<Recovery> recovery = {}, std::string warning = {}, const EntryBytes& resumable = {});

  // --- leases.cpp: sessions, the lease and its line
  std::uint64_t open_session(SessionRequest request, Store::Opened opened);
  void cancel_wait(std::uint64_t place);
  /// `busy`: a call of it goes on, or its flush.
  void end_session(const SessionRef& state, bool busy) noexcept;
  /// `asking`: the session that asks. Throws lease_lost when its own lease is lost.
  std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string& reason,
                                        std::optional<std::int64_t> now_ms = {}, const SessionState* asking = nullptr,
                                        std::uint64_t idle_ms_min = 0);
  void on_notice(const SessionRef& state, StoreSession::Notice notice);
  /// See StoreSession::revoke().
  void revoke(const SessionRef& state, std::string reason);
  /// See Store::line().
  std::vector<std::uint64_t> line();
  Refreshed refresh(SessionState& state);
  /// See Store and StoreSession.
  std::optional<ResumeEntry> resumable();
  void forget_resumable() noexcept;
  void keep_for_reopening(const SessionRef& state) noexcept;

  // --- publish.cpp
  void publish(const SessionRef& state, std::string_view action, std::span<const LogRange> ranges,
               std::span<const std::byte> data);
  /// See StoreSession::write_together().
  bool publish_together(const SessionRef& state, std::span<const StoreSession::Write> writes);
  std::uint64_t publish_grow(const SessionRef& state, std::uint64_t new_pages);
  void publish_remembered(const SessionRef& state);
  void flush(const SessionRef& state, StoreSession::Done done);
  bool may_write(const SessionRef& state, std::function<void()> room);
  /// See StoreSession::room_may_come().
  bool room_may_come(const SessionRef& state, std::function<void()> room);
  /// To be called when a change that needs about `bytes` found no room, as `error` says. Starts a checkpoint where that
  /// can make some; then room_may_come() says so. Returns the error that the caller throws, which names what takes the
  /// room. `rounds_seen` is rounds_ended() before the change was tried.
  MemoryError no_room_error(const SessionRef& state, const MemoryError& error, std::uint64_t bytes,
                            std::uint64_t rounds_seen);
  /// How many checkpoint rounds have ended, well or not: after each there may be more room.
  std::uint64_t rounds_ended() const noexcept PAGESERVER_NO_THREAD_SAFETY_ANALYSIS { return room_.rounds_ended(); }
  /// Throws limit_exceeded when `pages` and `new_pages` together are more than an image may have.
  void check_growth(std::uint64_t pages, std::uint64_t new_pages) const;
  /// See ServedImage.
  void check_file_size(std::uint64_t pages) { image_.check_file_size(pages, options_.size_bytes_max); }
  void check_file_limit(std::string_view action, std::uint64_t offset, std::uint64_t length) const {
    image_.check_file_limit(action, offset, length);
  }

  // --- read.cpp
  /// What the session sees, without its private pages. Throws lease_lost when its lease was taken.
  SessionView view(const SessionState& state);
  /// Throws lease_lost as view() does, and snapshot_too_old when the session's version was given up.
  void check_readable(const SessionState& state);
  /// Reads published bytes; past the published end, zeros.
  void read_below(const SessionState& state, std::uint64_t offset, std::span<std::byte> buffer);
  /// Reads published bytes.
  void read(const SessionState& state, std::uint64_t offset, std::span<std::byte> buffer);
  void will_read(std::span<const ByteRange> ranges) noexcept;
  /// As StoreSession::data_ranges(), for the published bytes alone.
  std::vector<ByteRange> data_ranges(const SessionState& state, std::uint64_t offset, std::uint64_t length,
                                     std::size_t ranges_max, std::uint64_t& described_until);

  // --- page_map.cpp
  /// See Store::page_map().
  PageMap page_map(const PageMapRequest& request);

  // --- engine.cpp
  /// `asking` as for break_lease().
  Stat stat(std::int64_t now_ms, const SessionState* asking = nullptr);
  Stat figures(std::int64_t now_ms);
  /// Where the store is kept, and whether it is still this process's.
  const StoreHome& home() const noexcept { return home_; }
  /// A close waits until the result is gone. Throws once the store closes.
  std::shared_ptr<void> begin_task(std::string_view action);
  /// See Store.
  void begin_checkpoint() noexcept;
  void give_up(const std::string& why);
  bool read_only() const noexcept { return options_.read_only; }
  std::uint64_t pages();
  const EngineOptions& options() const noexcept { return options_; }
  void close();
  void halt() noexcept;

private:
  using Task = void (Engine::*)() noexcept;

  /// Callbacks that must run without a lock. Declared before the lock, it runs them when it is destroyed, after the
  /// lock is gone. To add one takes no memory.
  struct DeferredCalls {
    explicit DeferredCalls(Engine& of) : engine{of} {}
    DeferredCalls(const DeferredCalls&) = delete;
    DeferredCalls& operator=(const DeferredCalls&) = delete;
    ~DeferredCalls();

    Engine& engine;
    FlushQueue::Flushes flushes;
    LeaseQueue::Waiters granted;
    Holders::Sessions evicted;
    RoomWaiters::Sessions room_waiters;
    SessionRef broken;  ///< the session that lost its lease
    bool drops_resume_file = false;
    SessionRef entered;  ///< one whose publish was entered late: released here, which may close a file
  };
  using Phase = CheckpointRound::Phase;

  // leases.cpp
  void grant_next(DeferredCalls& deferred) noexcept PAGESERVER_REQUIRES(mutex_);
  void open_reader(SessionRequest request, const Store::Opened& opened);
  HolderStat holder_stat(const SessionState& state, std::int64_t now_ms) const PAGESERVER_REQUIRES(mutex_);
  Stat report(std::int64_t now_ms) const PAGESERVER_REQUIRES(mutex_);
  MemoryError lost_error(const SessionState& state) const;
  MemoryError busy_error(const SessionRequest& request) const PAGESERVER_REQUIRES(mutex_);
  void evict_holders(DeferredCalls& deferred) noexcept PAGESERVER_REQUIRES(mutex_);
  /// The writer loses its lease for `reason`, whose memory is taken.
  void take_lease(const SessionRef& writer, std::string& reason, DeferredCalls& deferred) noexcept
      PAGESERVER_REQUIRES(mutex_);
  MemoryError broken_error(const SessionState& state) const;
  MemoryError given_up_error(const SessionState& state, std::uint64_t version) const;
  /// `given_up`: the version that it lost; else it lost its lease.
  void notify_lost(SessionState& state, std::optional<std::uint64_t> given_up) const noexcept;

  // publish.cpp
  void check_open(const Published& published) const;
  void check_right(const Published& published, const SessionState& state) const;
  void refuse_without_checkpoint() PAGESERVER_REQUIRES(mutex_);
  void refuse_past_bound() PAGESERVER_REQUIRES(mutex_);
  bool past_log_bound() const PAGESERVER_REQUIRES(mutex_);
  bool held(std::uint64_t from, std::uint64_t until) const PAGESERVER_REQUIRES(mutex_);
  /// Sets `publishing_`, or throws why this session may not publish now. `bounded`: also past the log's bound.
  void claim_publish(const SessionState& state, bool bounded) PAGESERVER_REQUIRES(mutex_);
  /// `payload_bytes`: about how many bytes the record has.
  Publishing plan_publish(std::uint64_t new_pages, std::uint64_t payload_bytes) PAGESERVER_REQUIRES(mutex_);
  LogWriter::Appended append(Publishing& publishing, std::span<const LogRange> ranges,
                             const std::function<void(std::uint64_t, std::span<std::byte>)>& data,
                             std::span<const std::span<const std::byte>> parts = {});
  /// The append has ended, well or not: submits a sync that waited for it.
  void end_append() noexcept PAGESERVER_REQUIRES(mutex_);
  void appended(const Publishing& publishing, const LogWriter::Appended& appended,
                std::span<LoggedRange> ranges) noexcept PAGESERVER_REQUIRES(mutex_);
  void stage_commit(const LogPoint& target) noexcept;
  /// Enters the ranges of a version that is not visible yet, in parts, and lets go of the locks between them. The
  /// caller has noted in IndexProgress which version is visible meanwhile. When memory runs out, `ranges` still
  /// has the ranges, to be entered again.
  void stage(std::vector<LoggedRange>& ranges, std::uint64_t version) noexcept;
  /// Makes the version visible. Its ranges are in the index then, or in Published::unfinished.
  void make_visible(const SessionRef& state, const Publishing& publishing, std::vector<LoggedRange>& ranges,
                    DeferredCalls& deferred) noexcept PAGESERVER_REQUIRES(mutex_);
  /// To be called once the newest version is in the index as a whole.
  void note_entered(DeferredCalls& deferred) noexcept PAGESERVER_REQUIRES(mutex_);
  /// Enters what is unfinished; to be called before the index is used. Throws when there still is no memory.
  void finish_entering(DeferredCalls& deferred) PAGESERVER_REQUIRES(mutex_);
  /// The same for callers that do not use the index: when there is no memory, the next call tries again.
  void try_to_finish_entering(DeferredCalls& deferred) noexcept PAGESERVER_REQUIRES(mutex_);
  /// Enters ranges into the index, up to about `entries_max` entries. Returns the ranges that are left.
  std::span<LoggedRange> add_to_index(std::span<LoggedRange> ranges, std::uint64_t version, std::uint64_t entries_max)
      PAGESERVER_REQUIRES(mutex_, gate_);
  /// How much of a range of zeros can be entered with about `entries_max` entries.
  std::uint64_t length_within(const LogRange& zeros, std::uint64_t entries_max) const PAGESERVER_REQUIRES(mutex_);
  /// end_publish(), unless the publish is unfinished: then finish_entering() calls it.
  void end_visible(DeferredCalls& deferred) noexcept PAGESERVER_REQUIRES(mutex_);
  void end_publish(DeferredCalls& deferred) noexcept PAGESERVER_REQUIRES(mutex_);
  /// Ends a publish of which nothing was appended.
  void give_up_publish(const Publishing& publishing) noexcept;
  using Fill = RangeLocator::Fill;
  /// `even_nothing`: there is a record, and a version, without a change too.
  std::uint64_t publish_ranges(const SessionRef& state, std::string_view action, std::span<const LogRange> ranges,
                               const Fill& fill, std::uint64_t new_pages,
                               std::span<const std::span<const std::byte>> parts = {}, bool even_nothing = false);
  /// Less than this is not worth the two syncs of a round.
  static constexpr std::uint64_t early_round_cost_min = 1ull << 20;

  // reserve.cpp
  /// Reserves the image's blocks for pages that get data and have no blocks yet; adds those to `reserved`.
  void reserve_blocks(Publishing& publishing, std::span<const LogRange> ranges, std::vector<PageRun>& reserved);
  /// Whether the image file has blocks there already, from before the store was opened.
  bool has_blocks(const PageRun& run) const;
  /// Gives back the blocks that a refused publish has reserved, so that a smaller one may find room.
  void give_back_blocks(std::span<const PageRun> reserved) noexcept;
  void give_back_hole(std::uint64_t begin, std::uint64_t end);
  void give_back_past_end(std::uint64_t end_page);

  // commit.cpp
  void begin_flush(const SessionRef& state) noexcept;
  void begin_commit(const SessionRef& state);
  void commit_task() noexcept;
  /// Appends the private bytes of `state`, for which `publishing_` is set. When it throws, nothing was appended.
  void append_commit(const SessionRef& state);
  /// One attempt of it.
  void try_to_append_commit(const SessionRef& state, Publishing& publishing);
  enum class CommitRoom : std::uint8_t { none, now, later };
  /// Decides about a transaction that found no room: it is refused, tried again now, or kept until a checkpoint has
  /// ended.
  CommitRoom commit_waits_for_room(const SessionRef& state, const Publishing& publishing);
  void wake_commit() noexcept PAGESERVER_REQUIRES(mutex_);

  // room.cpp
  static bool is_no_room(const MemoryError& error) noexcept;
  /// Whether it may publish now; then its next publish is not refused for the log's bound.
  bool admits(SessionState& state) noexcept PAGESERVER_REQUIRES(mutex_);
  bool seek_room(std::uint64_t bytes, bool for_writer, DeferredCalls& deferred) noexcept PAGESERVER_REQUIRES(mutex_);
  bool round_makes_room() const noexcept PAGESERVER_REQUIRES(mutex_);
  bool log_can_be_emptied() const noexcept PAGESERVER_REQUIRES(mutex_);
  bool give_up_oldest_holder(std::uint64_t bytes, DeferredCalls& deferred) noexcept PAGESERVER_REQUIRES(mutex_);
  std::string what_holds_room() const PAGESERVER_REQUIRES(mutex_);
  void begin_empty_segment() noexcept;

  // sync.cpp
  Background::Ready make_ready(Task task);
  void run_task(Task task) noexcept;
  void sync_task() noexcept;
  void consider_writeback() noexcept PAGESERVER_REQUIRES(mutex_);
  void writeback_task() noexcept;
  /// To be called after a change to the image that no flush need follow: a task soon notes the image as settled.
  void consider_settling() noexcept;
  void settle_task() noexcept;
  void sync_log(std::uint64_t until);
  /// The first segment that is not synced and begins in `[from, until)`; null when there is none.
  LogSegmentRef unsynced_segment(std::uint64_t from, std::uint64_t until) const noexcept PAGESERVER_REQUIRES(mutex_);
  /// `misplaced`: not empty where image or log are away, and the flushes fail although the log is synced. `failure`:
  /// nobody could look.
  void finish_sync(const LogPoint& target, const std::string& misplaced, std::exception_ptr failure) noexcept;
  /// Called by an exception handler: that exception is the reason.
  void fail_sync() noexcept;

  // read.cpp
  SessionView seen_by(const Published& published, const SessionState& state) const;
  void check_may_read(const Published& published, const SessionState& state) const;
  void end_read(const ReadGate::Read& read) noexcept;

  // page_map.cpp
  /// Where the image has data from `offset` on; lowers `until` to where that is known.
  std::vector<ByteRange> data_in_image(std::uint64_t offset, std::uint64_t& until);

  // engine.cpp
  void finish_log();
  /// Another writer has come. Waits for no home.
  void begin_to_drop_resume_file() noexcept;
  void copy_all(DeferredCalls& deferred);
  /// Throws when a sync has failed.
  void check_durable();
  /// The error of a close that could not finish the log.
  MemoryError close_error(const MemoryError& error);

  // placement.cpp: not under the lock. Empty, or what is wrong and what can be done.
  std::string log_misplaced();
  /// Whether the log is whole, and with `at_places_too` where the next opening looks for it.
  std::string look_at_log(bool at_places_too);
  /// Throws when a file of the log was cut from outside: nothing must be copied from it.
  void check_log_whole();
  /// ServedImage::misplaced(), or else log_misplaced(); names that nobody can have changed are not looked at.
  std::string find_misplaced();
  /// Looks, and throws what it finds. When it finds nothing any more, the store goes on.
  void check_placement(std::string_view action);
  void note_placement(const std::string& found) PAGESERVER_REQUIRES(mutex_);

  // checkpoint.cpp
  LogPoint reachable_point() const PAGESERVER_REQUIRES(mutex_);
  void consider_checkpoint() noexcept PAGESERVER_REQUIRES(mutex_);
  void submit_checkpoint() noexcept PAGESERVER_REQUIRES(mutex_);
  void checkpoint_task() noexcept;
  void step_checkpoint();
  bool start_round(DeferredCalls& deferred);
  bool must_wait_for_reads(DeferredCalls& deferred) PAGESERVER_REQUIRES(mutex_);
  void extend_image(std::uint64_t pages);
  std::optional<std::uint64_t> copy_step();
  void pace_round();
  void resume_round(bool anyway) noexcept PAGESERVER_REQUIRES(mutex_);
  bool is_log_whole() noexcept;
  void finish_round();
  void cut_log(std::uint64_t position);
  /// Called by an exception handler: that exception is the reason.
  void fail_round() noexcept;
  void call_room_waiters(DeferredCalls& deferred) noexcept PAGESERVER_REQUIRES(mutex_);
  void refill_hole(PageRun run);
  std::string look_at_image();

  /// Marks a change to the image file as the store's own while the result lives. When that can't be noted for want of a
  /// sync of the log, nothing becomes durable any more.
  ImageChanges::Change change_image();

  /// From any thread, without the mutex.
  bool is_misplaced() const noexcept PAGESERVER_NO_THREAD_SAFETY_ANALYSIS { return faults_.is_misplaced(); }

  /// The published state, for code under the mutex: it changes only under both mutex and gate. Code that has the gate
  /// alone uses `published_`.
  const Published& published() const PAGESERVER_REQUIRES(mutex_) PAGESERVER_NO_THREAD_SAFETY_ANALYSIS {
    return published_;
  }

  // Each of these looks after itself, or never changes.
  ServedImage image_;
  StoreHome home_;
  const EngineOptions options_;
  EngineEvents& events_;
  const std::optional<Recovery> recovery_;  ///< for reports
  const std::uint64_t incarnation_;
  ImageChanges image_changes_;
  LastSession last_session_;
  SessionFactory session_factory_;
  Lanes lanes_;
  LogReads log_reads_;

  // Used by the session that has set publishing_.
  LogWriter log_;
  RangeLocator locator_;
  // Used by the checkpoint lane.
  base::IoBytes copy_scratch_;

  Mutex mutex_;
  /// Closed while somebody changes what reads look at: a session's rights, and the published state.
  ReadGate gate_;
  RunningTasks tasks_ PAGESERVER_GUARDED_BY(mutex_);
  StoreFaults faults_ PAGESERVER_GUARDED_BY(mutex_);

  // The published state.
  Published published_ PAGESERVER_GUARDED_BY(gate_){[this](std::uint64_t from, std::uint64_t until)
                                                        PAGESERVER_REQUIRES(mutex_) { return held(from, until); }};
  IndexProgress indexed_ PAGESERVER_GUARDED_BY(mutex_);
  IndexMemory index_memory_ PAGESERVER_GUARDED_BY(mutex_){options_.index_memory};

  // Publishing and durability.
  bool publishing_ PAGESERVER_GUARDED_BY(mutex_) = false;
  BlockReservations reservations_ PAGESERVER_GUARDED_BY(mutex_);
  LogTail tail_ PAGESERVER_GUARDED_BY(mutex_);
  FlushQueue flushes_ PAGESERVER_GUARDED_BY(mutex_);

  // Sessions.
  LeaseQueue lease_ PAGESERVER_GUARDED_BY(mutex_);
  Holders holders_ PAGESERVER_GUARDED_BY(mutex_);
  RoomWaiters room_ PAGESERVER_GUARDED_BY(mutex_);
  SessionCounts sessions_ PAGESERVER_GUARDED_BY(mutex_);

  // Checkpoints.
  CheckpointRound round_ PAGESERVER_GUARDED_BY(mutex_);
  LogBound bound_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::storage
