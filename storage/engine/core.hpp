// The state of one open store, shared by its sessions and its background tasks.
//
// How it works. A publish appends one record to the log (publish.cpp, LogWriter) and enters its ranges into the index
// as pieces of the next version; then the version moves, and everybody sees it. A read asks the index which pieces its
// version consists of, and takes all other bytes from the image (read.cpp). A flush waits until the sync lane has
// synced the log up to where it was (sync.cpp). A checkpoint round copies into the image what every holder of a version
// has passed, syncs that, drops the pieces and removes the segments (checkpoint.cpp). leases.cpp has the sessions: who
// writes, who waits, who holds which version. What a publish, a round and a session go through is drawn in
// docs/architecture.md.
//
// Parts that know nothing of each other keep the books: who has the lease (LeaseLine), who holds which version
// (Holders), who waits for room (RoomLine), how far the log is written and durable (LogTail), which blocks of the image
// are promised (BlockReservations), where a checkpoint is (CheckpointRound, RoundPace, LogBound), what of the image is
// our doing (ImageWatch), what is published (Published) and how a read puts it together (ReadPlan). The engine says in
// which order they change together.
//
// One mutex guards all that. No call to the file system is made under it. What reads need changes only while `gate_` is
// closed as well, so that they do without the mutex. The rest of the order comes from three rules:
//
// - One publish at a time: whoever set `publishing_` alone appends to the log, until it is visible or refused. The
//   lease goes to the next writer only after that.
// - A read takes its version, the pieces in the log and a reference to their segments in one section, and then reads
//   files without a lock. It is counted in `gate_`.
// - A checkpoint round to version L copies a byte only where the index has a piece of a version up to L that is synced
//   in the log. L is not above any holder's version, and nobody reads the image on behalf of an older version: reads
//   that began before the round are waited for. So no reader takes from the image a byte that a round is writing: its
//   own pieces cover it. Pieces leave the index after the image is synced, segments leave after that.
//
// Memory may run out anywhere. What takes some comes before the point from which there is no way back: a record in the
// log, a lease that is given, a pin that is held. From there on all is noexcept, but for two things. A publish that is
// in the log and could not be entered into the index is a success all the same: its version and its pages are what
// everybody sees, and its bytes wait in Published::unfinished, to be entered before anything is read, held or
// published. Only who needs them then is refused for want of memory. And whatever fails while a sync or a checkpoint
// makes things last counts as a failed sync.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "storage/engine/block_reservations.hpp"
#include "storage/engine/checkpoint_round.hpp"
#include "storage/engine/engine.hpp"
#include "storage/engine/holders.hpp"
#include "storage/engine/image_copy.hpp"
#include "storage/engine/image_watch.hpp"
#include "storage/engine/lease_line.hpp"
#include "storage/engine/log_bound.hpp"
#include "storage/engine/log_tail.hpp"
#include "storage/engine/published.hpp"
#include "storage/engine/read_gate.hpp"
#include "storage/engine/read_plan.hpp"
#include "storage/engine/room_line.hpp"
#include "storage/engine/round_pace.hpp"
#include "storage/engine/session_counts.hpp"
#include "storage/engine/session_state.hpp"
#include "storage/file/mapped_file.hpp"
#include "storage/image/image_file.hpp"
#include "storage/log/image_note.hpp"
#include "storage/log/log_index.hpp"
#include "storage/log/log_segment.hpp"

namespace pageserver::storage {

class Engine : public std::enable_shared_from_this<Engine> {
public:
  /// `warning`: of what its opening found, for stat().
  Engine(FileSystem& file_system, ImageFile image, Background& sync_lane, Background& checkpoint_lane,
         const EngineOptions& options, std::string warning = {});

  // --- leases.cpp: sessions, the lease and its line
  std::uint64_t open_session(SessionRequest request, Store::Opened opened);
  void cancel_wait(std::uint64_t place);
  void end_session(const SessionRef& state) noexcept;
  /// With `asking`, on behalf of that session: throws lease_lost when its own lease went before.
  std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string& reason,
                                        std::optional<std::int64_t> now_ms = {}, const SessionState* asking = nullptr,
                                        std::uint64_t idle_ms_min = 0);
  void on_notice(const SessionRef& state, StoreSession::Notice notice);
  Refreshed refresh(SessionState& state);

  // --- publish.cpp
  void publish(const SessionRef& state, std::string_view action, std::span<const LogRange> ranges,
               std::span<const std::byte> data);
  /// See StoreSession::write_together().
  bool publish_together(const SessionRef& state, std::span<const StoreSession::Write> writes);
  std::uint64_t publish_grow(const SessionRef& state, std::uint64_t new_pages);
  void flush(const SessionRef& state, StoreSession::Done done);
  bool may_write(const SessionRef& state, std::function<void()> room);
  /// See StoreSession::room_may_come().
  bool room_may_come(const SessionRef& state, std::function<void()> room);
  /// A change that needs about `bytes` found no room, `error` says for what. Begins to make some where it can, and says
  /// so to room_may_come(). Returns what the caller is to throw, with what holds the room. `rounds_seen` is
  /// rounds_ended() before the change was tried.
  MemoryError no_room_error(const SessionRef& state, const MemoryError& error, std::uint64_t bytes,
                            std::uint64_t rounds_seen);
  /// Checkpoints that came to an end, for which room may have been made.
  std::uint64_t rounds_ended() const noexcept { return room_.rounds_ended(); }
  /// Throws limit_exceeded when so many pages are more than an image may have.
  void check_growth(std::uint64_t pages, std::uint64_t new_pages) const;

  /// Throws limit_exceeded when the file system, or this process, can't have a file of so many pages.
  void check_file_size(std::uint64_t pages);
  /// Throws limit_exceeded when this process may not write there, into a file that is larger than its limit.
  void check_file_limit(std::string_view action, std::uint64_t offset, std::uint64_t length) const;

  // --- read.cpp
  /// Without the session's own pages. Throws lease_lost when its lease was taken.
  SessionView view(const SessionState& state);
  /// As view(), and throws snapshot_too_old when the version that the session holds was given up.
  void check_readable(const SessionState& state);
  /// Reads what is published; past its end it is zeros.
  void read_below(const SessionState& state, std::uint64_t offset, std::span<std::byte> buffer);
  /// Reads what is published.
  void read(const SessionState& state, std::uint64_t offset, std::span<std::byte> buffer);
  /// What is published and may hold data, see StoreSession::data_ranges(). Ends where the published image ends.
  std::vector<ByteRange> data_ranges(const SessionState& state, std::uint64_t offset, std::uint64_t length,
                                     std::size_t ranges_max, std::uint64_t& described_until);

  // --- engine.cpp
  /// `asking` as for break_lease().
  Stat stat(std::int64_t now_ms, const SessionState* asking = nullptr);
  bool read_only() const noexcept { return options_.read_only; }
  std::uint64_t pages();
  const EngineOptions& options() const noexcept { return options_; }
  std::unique_ptr<PrivateBytes> make_private_bytes(const SessionState& state);
  void close();
  void halt() noexcept;

private:
  using Task = void (Engine::*)() noexcept;

  /// A publish under way, as it was when it began.
  struct Publishing {
    std::uint64_t version = 0;
    std::uint64_t pages = 0;
    std::uint64_t synced_position = 0;
    std::uint64_t previous_version = 0;
    std::uint64_t previous_pages = 0;
    std::uint64_t image_bytes = 0;
    std::uint64_t rounds_seen = 0;  ///< rounds_ended()
    bool new_block = false;         ///< see LogAppend
    bool unreservable = false;      ///< the file system can't reserve
  };
  /// An on_flush transaction that is appended and waits for its sync.
  struct Commit {
    Publishing publishing;
    std::vector<LoggedRange> ranges;
  };
  struct Flush {
    std::uint64_t position = 0;
    std::uint64_t version = 0;  ///< that its success makes durable
    SessionRef state;           ///< whose callback is to run; null for the engine's own
    std::optional<Commit> commit;
    bool for_checkpoint = false;
    bool published = false;  ///< the transaction is visible: its private bytes go
    std::exception_ptr error;
  };
  /// A transaction that waits to be appended.
  struct WaitingCommit {
    SessionRef state;         ///< whose
    Background::Ready ready;  ///< the task that appends it, where that is not submitted yet: it waits for room
  };
  /// What is to be called once no lock is held: declare it before the lock, and its end calls it. To note something
  /// here takes no memory.
  struct After {
    explicit After(const Engine& of) : engine{of} {}
    After(const After&) = delete;
    After& operator=(const After&) = delete;
    ~After();

    const Engine& engine;
    std::list<Flush> flushes;
    LeaseLine::Line granted;
    Holders::Sessions evicted;
    RoomLine::Sessions rooms;
    SessionRef broken;   ///< lost its lease
    SessionRef entered;  ///< whose publish was entered late: it may end here, which may close a file
  };
  using Phase = CheckpointRound::Phase;

  // leases.cpp
  void grant_next(After& after) noexcept PAGESERVER_REQUIRES(mutex_);
  SessionRef make_state(SessionRequest request);
  void open_reader(SessionRequest request, const Store::Opened& opened);
  HolderStat holder_stat(const SessionState& state, std::int64_t now_ms) const PAGESERVER_REQUIRES(mutex_);
  MemoryError lost_error(const SessionState& state) const;
  MemoryError busy_error(const SessionRequest& request) const PAGESERVER_REQUIRES(mutex_);
  void evict_holders(After& after) noexcept PAGESERVER_REQUIRES(mutex_);
  MemoryError broken_error(const SessionState& state) const;
  MemoryError given_up_error(const SessionState& state, std::uint64_t version) const;
  /// `given_up`: the version that it lost; else it lost its lease.
  void notify_lost(SessionState& state, std::optional<std::uint64_t> given_up) const noexcept;

  // publish.cpp
  void check_right(const Published& published, const SessionState& state) const;
  void refuse_without_checkpoint() PAGESERVER_REQUIRES(mutex_);
  void refuse_past_bound() PAGESERVER_REQUIRES(mutex_);
  bool past_log_bound() const PAGESERVER_REQUIRES(mutex_);
  bool held(std::uint64_t from, std::uint64_t until) const PAGESERVER_REQUIRES(mutex_);
  /// Sets `publishing_`, or throws why this session may not publish now. `bounded`: also past the log's bound.
  void claim_publish(const SessionState& state, bool bounded) PAGESERVER_REQUIRES(mutex_);
  /// `payload_bytes`: about so many go to the log.
  Publishing plan_publish(std::uint64_t new_pages, std::uint64_t payload_bytes) PAGESERVER_REQUIRES(mutex_);
  LogWriter::Appended append(Publishing& publishing, std::span<const LogRange> ranges,
                             const std::function<void(std::uint64_t, std::span<std::byte>)>& data,
                             std::span<const std::span<const std::byte>> parts = {});
  /// Nothing is being written into the block of an earlier record any more.
  void end_append() noexcept PAGESERVER_REQUIRES(mutex_);
  void appended(const Publishing& publishing, const LogWriter::Appended& appended,
                std::span<LoggedRange> ranges) noexcept PAGESERVER_REQUIRES(mutex_);
  void stage_commit(const LogPoint& target) noexcept;
  /// Enters the ranges of a version that nobody sees yet, in parts between which others have the locks;
  /// `staged_over_` says which version is still seen. What is left when memory runs out stays in `ranges`.
  void stage(std::vector<LoggedRange>& ranges, std::uint64_t version) noexcept;
  /// The version is what everybody sees from now on. Its ranges are in the index, or Published::unfinished has them.
  void make_visible(const SessionRef& state, const Publishing& publishing, std::vector<LoggedRange>& ranges,
                    After& after) noexcept PAGESERVER_REQUIRES(mutex_);
  /// The newest version is in the index as a whole.
  void note_entered(After& after) noexcept PAGESERVER_REQUIRES(mutex_);
  /// Enters what is unfinished, before anything else looks at the index. Throws when memory is still missing.
  void finish_entering(After& after) PAGESERVER_REQUIRES(mutex_);
  /// The same for who does not look at the index, and lets the next try again.
  void try_to_finish_entering(After& after) noexcept PAGESERVER_REQUIRES(mutex_);
  /// Enters ranges into the index, in about `entries_max` entries, and returns what is left of them.
  std::span<LoggedRange> add_to_index(std::span<LoggedRange> ranges, std::uint64_t version, std::uint64_t entries_max)
      PAGESERVER_REQUIRES(mutex_, gate_);
  /// How much of such a range can be entered with about so many entries.
  std::uint64_t length_within(const LogRange& zeros, std::uint64_t entries_max) const PAGESERVER_REQUIRES(mutex_);
  /// end_publish(), unless it has to be entered first.
  void end_visible(After& after) noexcept PAGESERVER_REQUIRES(mutex_);
  void end_publish(After& after) noexcept PAGESERVER_REQUIRES(mutex_);
  /// Nothing was appended.
  void give_up_publish(const Publishing& publishing) noexcept;
  /// Supplies the data of all ranges that are not zeros as one stream, at rising offsets into it.
  using Fill = std::function<void(std::uint64_t data_offset, std::span<std::byte> buffer)>;
  std::uint64_t publish_ranges(const SessionRef& state, std::string_view action, std::span<const LogRange> ranges,
                               const Fill& fill, std::uint64_t new_pages,
                               std::span<const std::span<const std::byte>> parts = {});
  /// Whether the small ranges of a record are kept in memory as well.
  bool keeps_small() const noexcept PAGESERVER_REQUIRES(mutex_);
  /// Everything that can fail once a record is whole has to come before: positions are still relative to its data.
  std::vector<LoggedRange> locate(std::span<const LogRange> ranges, bool keep_small,
                                  const std::function<void(std::uint64_t, std::span<std::byte>)>& data) const;

  // reserve.cpp
  /// Reserves the image's blocks for the pages that get data and have none yet; notes in `reserved` which it asked for.
  void reserve_blocks(Publishing& publishing, std::span<const LogRange> ranges, std::vector<PageRun>& reserved);
  /// As of an image that has data there, which somebody wrote before it was opened.
  bool has_blocks(const PageRun& run) const;
  /// On behalf of a publish that was refused after it asked for these blocks: who needs less may still find room.
  void give_back_blocks(std::span<const PageRun> reserved) noexcept;
  void give_back_hole(std::uint64_t begin, std::uint64_t end);
  void give_back_past_end(std::uint64_t end_page);

  // commit.cpp
  void begin_commit(const SessionRef& state);
  void commit_task() noexcept;
  /// Appends what `state` has private, on behalf of whoever set `publishing_` for it. Throws when nothing was appended.
  void append_commit(const SessionRef& state);
  /// One attempt of it.
  void try_to_append_commit(const SessionRef& state, Publishing& publishing);
  enum class CommitRoom : std::uint8_t { none, now, later };
  /// Keeps a transaction that found no room until a checkpoint has ended.
  CommitRoom commit_waits_for_room(const SessionRef& state, const Publishing& publishing);
  void wake_commit() noexcept PAGESERVER_REQUIRES(mutex_);

  // room.cpp
  static bool is_no_room(const MemoryError& error) noexcept;
  bool seek_room(std::uint64_t bytes, bool for_writer, After& after) noexcept PAGESERVER_REQUIRES(mutex_);
  bool round_makes_room() const noexcept PAGESERVER_REQUIRES(mutex_);
  bool log_can_be_emptied() const noexcept PAGESERVER_REQUIRES(mutex_);
  bool give_up_oldest_holder(std::uint64_t bytes, After& after) noexcept PAGESERVER_REQUIRES(mutex_);
  std::string what_holds_room() const PAGESERVER_REQUIRES(mutex_);
  void begin_empty_segment() noexcept;

  // sync.cpp
  Background::Ready make_ready(Task task);
  void run_task(Task task) noexcept;
  /// `ready` is of sync_task(). Better called without the lock, for which the lane's thread would wake up to wait.
  void schedule_sync(Background::Ready ready) noexcept;
  void sync_task() noexcept;
  void consider_writeback() noexcept PAGESERVER_REQUIRES(mutex_);
  void writeback_task() noexcept;
  /// After a change to the image that no flush need follow: it is soon noted as settled again.
  void consider_settling() noexcept;
  void settle_task() noexcept;
  void sync_log(std::uint64_t until);
  /// The first segment that is not synced and begins within `[from, until)`.
  LogSegmentRef unsynced_segment(std::uint64_t from, std::uint64_t until) const noexcept PAGESERVER_REQUIRES(mutex_);
  /// `misplaced`: why the flushes fail although all is synced; empty: they don't.
  void finish_sync(const LogPoint& target, const std::string& misplaced) noexcept;
  /// Called by a handler: what it handles is the reason.
  void fail_sync() noexcept;
  MemoryError not_durable_error() const PAGESERVER_REQUIRES(mutex_);

  // read.cpp
  SessionView seen_by(const Published& published, const SessionState& state) const;
  void check_may_read(const Published& published, const SessionState& state) const;
  void end_read(const ReadGate::Read& read) noexcept;

  // engine.cpp
  void finish_log();
  void copy_all(After& after);
  /// Throws where a sync failed.
  void check_durable();
  /// What a close that could not finish the log throws.
  MemoryError close_error(const MemoryError& error);

  // placement.cpp: not under the lock. Empty, or what is wrong and what can be done.
  std::string image_misplaced() const;
  std::string log_misplaced();
  /// What one of the two says.
  std::string find_misplaced();
  /// Throws it. A look that finds nothing any more lets the store go on.
  void check_placement(std::string_view action);
  void note_placement(const std::string& found) PAGESERVER_REQUIRES(mutex_);
  MemoryError misplaced_error(std::string_view action, const std::string& found) const;
  /// Throws when the image has no name at all any more: a log must not be cut for it.
  void check_image_stays() const;

  // checkpoint.cpp
  LogPoint reachable_point() const PAGESERVER_REQUIRES(mutex_);
  void consider_checkpoint() noexcept PAGESERVER_REQUIRES(mutex_);
  void submit_checkpoint() noexcept PAGESERVER_REQUIRES(mutex_);
  void checkpoint_task() noexcept;
  void step_checkpoint();
  bool start_round(After& after);
  bool must_wait_for_reads(After& after) PAGESERVER_REQUIRES(mutex_);
  void extend_image(std::uint64_t pages);
  std::optional<std::uint64_t> copy_step();
  void pace_round();
  void resume_round(bool anyway) noexcept PAGESERVER_REQUIRES(mutex_);
  void finish_round();
  void cut_log(std::uint64_t position);
  /// Called by a handler: what it handles is the reason.
  void fail_round() noexcept;
  void take_rooms(After& after) noexcept PAGESERVER_REQUIRES(mutex_);
  void refill_hole(PageRun run);
  std::string look_at_image();

  /// Marks a change to the image file as ours. Throws when the log can't say so; then the image must stay as it is.
  class ImageChange {
  public:
    explicit ImageChange(Engine& engine);

  private:
    std::optional<NotedChange> noted_;
    std::optional<ImageWatch::Change> change_;
  };

  /// What is published, for who has the mutex: it changes only under both. Who has only the gate takes `published_`.
  const Published& published() const PAGESERVER_REQUIRES(mutex_) PAGESERVER_NO_THREAD_SAFETY_ANALYSIS {
    return published_;
  }

  FileSystem& file_system_;
  std::optional<ImageFile> image_;  // nothing once closed
  Folder folder_;                   // that holds the image; closed with it
  Background& sync_lane_;
  Background& checkpoint_lane_;
  const EngineOptions options_;
  const std::string shown_path_;
  const std::string image_name_;  // in `folder_`, no symbolic link
  const std::uint64_t incarnation_;
  const std::uint64_t file_size_limit_;
  ImageNotes notes_;  // has a lock of its own
  LogWriter log_;     // used by whoever set publishing_

  Mutex mutex_;
  CondVar idle_;
  /// Closed to change what reads look at: a session's rights, and what is published.
  ReadGate gate_;
  bool stopping_ PAGESERVER_GUARDED_BY(mutex_) = false;  ///< tasks end as soon as they begin
  std::uint64_t tasks_running_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  std::atomic<std::uint64_t> fork_bytes_{0};
  std::atomic<std::uint64_t> possible_size_bytes_{0};  ///< the file system can have a file of this size

  // What is published.
  Published published_ PAGESERVER_GUARDED_BY(gate_){[this](std::uint64_t from, std::uint64_t until)
                                                        PAGESERVER_REQUIRES(mutex_) { return held(from, until); }};
  LogPoint entered_ PAGESERVER_GUARDED_BY(mutex_);  ///< the newest version that is in the index as a whole
  /// The version that is visible while parts of the next are in the index; else 0.
  std::uint64_t staged_over_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  LogReads log_reads_;

  // Publishing and durability.
  bool publishing_ PAGESERVER_GUARDED_BY(mutex_) = false;
  WaitingCommit waiting_commit_ PAGESERVER_GUARDED_BY(mutex_);
  LogTail tail_ PAGESERVER_GUARDED_BY(mutex_);
  std::atomic<bool> sync_scheduled_{false};
  std::atomic<bool> settling_scheduled_{false};
  std::list<Flush> flushes_ PAGESERVER_GUARDED_BY(mutex_);
  std::string sync_error_ PAGESERVER_GUARDED_BY(mutex_);  ///< not empty: nothing becomes durable any more
  /// Not empty: image or log are not where they belong, as of the last look.
  std::string misplaced_ PAGESERVER_GUARDED_BY(mutex_);
  std::atomic<bool> is_misplaced_{false};
  BlockReservations reservations_ PAGESERVER_GUARDED_BY(mutex_);
  /// Appended since the last round and kept in memory.
  std::uint64_t small_bytes_ PAGESERVER_GUARDED_BY(mutex_) = 0;

  // Sessions.
  std::atomic<std::uint64_t> next_id_{1};
  LeaseLine lease_ PAGESERVER_GUARDED_BY(mutex_);
  Holders holders_ PAGESERVER_GUARDED_BY(mutex_);
  RoomLine room_;  // guarded by the mutex, but for rounds_ended()
  SessionCounts sessions_ PAGESERVER_GUARDED_BY(mutex_);

  // Checkpoints.
  CheckpointRound round_ PAGESERVER_GUARDED_BY(mutex_);
  RoundPace pace_ PAGESERVER_GUARDED_BY(mutex_);
  LogBound bound_ PAGESERVER_GUARDED_BY(mutex_);
  LogPoint checkpointed_ PAGESERVER_GUARDED_BY(mutex_);  ///< the synced image holds this
  /// Why the last round failed. To copy one takes memory; that for when there is none is made ahead.
  std::shared_ptr<const MemoryError> checkpoint_error_ PAGESERVER_GUARDED_BY(mutex_);
  const std::shared_ptr<const MemoryError> checkpoint_memory_error_;
  bool checkpoint_missed_ PAGESERVER_GUARDED_BY(mutex_) = false;  ///< its task could not be submitted
  /// The checkpoint task goes on when the older generation of reads is done.
  bool waiting_for_reads_ PAGESERVER_GUARDED_BY(mutex_) = false;
  bool reads_want_checkpoint_ PAGESERVER_GUARDED_BY(mutex_) = false;
  /// What is past the image file's end is being cut off: no round, which could grow it.
  bool cutting_image_ PAGESERVER_GUARDED_BY(mutex_) = false;
  std::uint64_t stat_position_ PAGESERVER_GUARDED_BY(mutex_) = 0;  ///< end of the log when stat() was last called
  std::optional<MappedFile> mapped_image_;                         // of the constructor and the checkpoint lane alone
  std::vector<std::byte> copy_scratch_;                            // of the checkpoint lane alone

  ImageWatch watch_;  // guarded by the mutex, but for changes and begin_look()
};

}  // namespace pageserver::storage
