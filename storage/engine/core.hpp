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
// One mutex guards everything below except what says otherwise. No call to the file system is made under it. What reads
// need of it changes only while `gate_` is closed as well, so that they do without the mutex. The rest of the order
// comes from three rules:
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
// everybody sees, and its bytes wait in `unfinished_`, to be entered before anything is read, held or published. Only
// who needs them then is refused for want of memory. And whatever fails while a sync or a checkpoint makes things last
// counts as a failed sync.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/engine/engine.hpp"
#include "storage/engine/image_copy.hpp"
#include "storage/engine/page_runs.hpp"
#include "storage/engine/read_gate.hpp"
#include "storage/engine/session_state.hpp"
#include "storage/file/mapped_file.hpp"
#include "storage/image/image_file.hpp"
#include "storage/log/image_note.hpp"
#include "storage/log/log_index.hpp"
#include "storage/log/log_segment.hpp"

namespace pageserver::storage {

/// A place in the sequence of publishes.
struct LogPoint {
  std::uint64_t position = 0;  ///< end of the log
  std::uint64_t version = 0;
  /// The position, and all memory that the index ever took for what was published until then: what is bounded is a
  /// difference of these. 0 where only the rest is known.
  std::uint64_t cost = 0;
};

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
  std::uint64_t rounds_ended() const noexcept { return rounds_ended_.load(); }
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
  using Lock = std::unique_lock<std::mutex>;
  using Task = void (Engine::*)() noexcept;

  /// A writer before it has the lease. All that its session takes is made already.
  struct Waiting {
    std::uint64_t place = 0;
    SessionRef state;
    std::unique_ptr<StoreSession> session;
    Store::Opened opened;
    bool waited = false;  ///< was not let in at once
  };
  /// A publish under way, as it was when it began.
  struct Publishing {
    std::uint64_t version = 0;
    std::uint64_t pages = 0;
    std::uint64_t synced_position = 0;
    std::uint64_t previous_version = 0;
    std::uint64_t previous_pages = 0;
    std::uint64_t image_bytes = 0;
    std::uint64_t rounds_seen = 0;  ///< rounds_ended_
    bool new_block = false;         ///< see LogAppend
    bool unreservable = false;      ///< the file system can't reserve
  };
  /// A range that is in the log and not yet in the index.
  struct LoggedRange {
    LogRange range;
    std::uint64_t position;
    std::shared_ptr<const std::byte[]> memory;
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
  /// The newest version, where the index had no memory for it: parts may be there, the rest is not.
  struct Unfinished {
    SessionRef state;
    std::vector<LoggedRange> ranges;
  };
  using Holders = std::map<std::pair<std::uint64_t, std::uint64_t>, SessionRef>;  // by held version and id
  using Rooms = std::map<std::uint64_t, std::weak_ptr<SessionState>>;             // by id
  /// What is to be called once no lock is held: declare it before the lock, and its end calls it. To note something
  /// here takes no memory.
  struct After {
    explicit After(const Engine& of) : engine{of} {}
    After(const After&) = delete;
    After& operator=(const After&) = delete;
    ~After();

    const Engine& engine;
    std::list<Flush> flushes;
    std::list<Waiting> granted;
    Holders evicted;
    Rooms rooms;
    SessionRef broken;   ///< lost its lease
    SessionRef entered;  ///< whose publish was entered late: it may end here, which may close a file
  };
  struct ReadPart {
    std::uint64_t offset;  ///< in the caller's buffer
    std::uint64_t length;
    std::uint64_t position;     ///< in the log, or in the image
    const LogSegment* segment;  ///< null: the image
  };
  /// Few bytes that go over what `parts` read.
  struct ReadOverlay {
    std::uint64_t offset;  ///< in the caller's buffer
    std::uint32_t length;
    std::uint32_t bytes_at;  ///< in ReadPlan::overlay_bytes; no_overlay_bytes: zeros
  };
  static constexpr std::uint32_t no_overlay_bytes = ~0u;
  struct ReadPlan {
    std::vector<ReadPart> parts;  ///< in this order: later ones may lie over those of the image
    std::vector<ReadOverlay> overlays;
    std::vector<std::byte> overlay_bytes;
    std::vector<LogSegmentRef> segments;  ///< keeps what `parts` points to
    std::uint64_t image_bytes = 0;
    const std::byte* image_address = nullptr;
    bool wants_checkpoint = false;
    ReadGate::Read read;
  };
  enum class RoundPhase : std::uint8_t { idle, scheduled, syncing, draining, copying };

  // leases.cpp
  void grant_next(After& after) noexcept;
  SessionRef make_state(SessionRequest request);
  /// The entry is any one, whose memory is used.
  void hold(SessionState& state, Holders::node_type entry) noexcept;
  static Holders::node_type make_entry(const SessionRef& state);
  void open_reader(SessionRequest request, const Store::Opened& opened);
  HolderStat holder_stat(const SessionState& state, std::int64_t now_ms) const;
  MemoryError lost_error(const SessionState& state) const;
  MemoryError busy_error(const SessionRequest& request) const;
  void evict_holders(After& after) noexcept;
  MemoryError broken_error(const SessionState& state) const;
  MemoryError given_up_error(const SessionState& state, std::uint64_t version) const;
  /// `given_up`: the version that it lost; else it lost its lease.
  void notify_lost(SessionState& state, std::optional<std::uint64_t> given_up) const noexcept;

  // publish.cpp
  void check_right_locked(const SessionState& state) const;
  /// Sets `publishing_`, or throws why this session may not publish now. `bounded`: also past the log's bound.
  void claim_publish(const SessionState& state, bool bounded);
  /// `payload_bytes`: about so many go to the log.
  Publishing plan_publish(std::uint64_t new_pages, std::uint64_t payload_bytes);
  /// Reserves the image's blocks for the pages that get data and have none yet; notes in `reserved` which it asked for.
  void reserve_blocks(Publishing& publishing, std::span<const LogRange> ranges, std::vector<PageRun>& reserved);
  /// On behalf of a publish that was refused after it asked for these blocks: who needs less may still find room.
  void give_back_blocks(std::span<const PageRun> reserved) noexcept;
  void give_back_hole(std::uint64_t begin, std::uint64_t end);
  void give_back_past_end(std::uint64_t end_page);
  LogWriter::Appended append(Publishing& publishing, std::span<const LogRange> ranges,
                             const std::function<void(std::uint64_t, std::span<std::byte>)>& data,
                             std::span<const std::span<const std::byte>> parts = {});
  /// Nothing is being written into the block of an earlier record any more.
  void end_append() noexcept;
  void appended(const Publishing& publishing, const LogWriter::Appended& appended,
                std::span<LoggedRange> ranges) noexcept;
  void stage_commit(const LogPoint& target) noexcept;
  /// The version is what everybody sees from now on. Its ranges are in the index, or `unfinished_` has them.
  void make_visible(const SessionRef& state, const Publishing& publishing, std::vector<LoggedRange>& ranges,
                    After& after) noexcept;
  /// The newest version is in the index as a whole.
  void note_entered(After& after) noexcept;
  /// Enters what `unfinished_` has, before anything else looks at the index. Throws when memory is still missing.
  void finish_entering(After& after);
  /// The same for who does not look at the index, and lets the next try again.
  void try_to_finish_entering(After& after) noexcept;
  /// Enters ranges into the index, in about `entries_max` entries, and returns what is left of them.
  std::span<LoggedRange> add_to_index(std::span<LoggedRange> ranges, std::uint64_t version, std::uint64_t entries_max);
  /// end_publish(), unless it has to be entered first.
  void end_visible(After& after) noexcept;
  void end_publish(After& after) noexcept;
  /// Nothing was appended.
  void give_up_publish(const Publishing& publishing) noexcept;
  /// Supplies the data of all ranges that are not zeros as one stream, at rising offsets into it.
  using Fill = std::function<void(std::uint64_t data_offset, std::span<std::byte> buffer)>;
  std::uint64_t publish_ranges(const SessionRef& state, std::string_view action, std::span<const LogRange> ranges,
                               const Fill& fill, std::uint64_t new_pages,
                               std::span<const std::span<const std::byte>> parts = {});
  /// Everything that can fail once a record is whole has to come before: positions are still relative to its data.
  std::vector<LoggedRange> locate(std::span<const LogRange> ranges, bool keep_small,
                                  const std::function<void(std::uint64_t, std::span<std::byte>)>& data) const;
  void begin_commit(const SessionRef& state);
  void commit_task() noexcept;
  /// Appends what `state` has private, on behalf of whoever set `publishing_` for it. Throws when nothing was appended.
  void append_commit(const SessionRef& state);
  /// One attempt of it.
  void try_to_append_commit(const SessionRef& state, Publishing& publishing);
  enum class CommitRoom : std::uint8_t { none, now, later };
  /// Keeps a transaction that found no room until a checkpoint has ended.
  CommitRoom commit_waits_for_room(const SessionRef& state, const Publishing& publishing);
  void wake_commit() noexcept;

  // room.cpp
  static bool is_no_room(const MemoryError& error) noexcept;
  bool seek_room(std::uint64_t bytes, bool for_writer, After& after) noexcept;
  bool log_can_be_emptied() const noexcept;
  bool give_up_oldest_holder(std::uint64_t bytes, After& after) noexcept;
  std::string what_holds_room() const;
  void begin_empty_segment() noexcept;
  void end_room_round() noexcept;

  void refuse_without_checkpoint();
  void refuse_past_bound();
  bool past_log_bound() const;
  bool held(std::uint64_t from, std::uint64_t until) const;

  // sync.cpp
  Background::Ready make_ready(Task task);
  void run_task(Task task) noexcept;
  /// `ready` is of sync_task(). Better called without the lock, for which the lane's thread would wake up to wait.
  void schedule_sync(Background::Ready ready) noexcept;
  void sync_task() noexcept;
  void consider_writeback() noexcept;
  void writeback_task() noexcept;
  void sync_log(std::uint64_t until);
  /// The first segment that is not synced and begins within `[from, until)`.
  LogSegmentRef unsynced_segment(std::uint64_t from, std::uint64_t until) const noexcept;
  void finish_sync(const LogPoint& target) noexcept;
  /// Called by a handler: what it handles is the reason.
  void fail_sync() noexcept;
  MemoryError not_durable_error() const;

  // read.cpp
  void plan_read(std::uint64_t version, std::uint64_t offset, std::span<std::byte> buffer, ReadPlan& plan);
  void run_read(const ReadPlan& plan, std::span<std::byte> buffer) const;
  SessionView seen_by(const SessionState& state) const;
  void check_readable_locked(const SessionState& state) const;
  std::vector<ByteRange> image_data(std::uint64_t offset, std::uint64_t end, std::uint64_t image_bytes,
                                    std::size_t ranges_max, std::uint64_t& described_until) const;
  void read_image(const ReadPlan& plan, std::uint64_t offset, std::span<std::byte> buffer) const;
  void end_read(const ReadGate::Read& read) noexcept;

  // engine.cpp
  void finish_log();

  // placement.cpp: not under the lock. Empty, or what is wrong and what can be done.
  std::string image_misplaced() const;
  std::string log_misplaced();
  /// Throws what the two say.
  void check_placement();
  /// Throws when the image has no name at all any more: a log must not be cut for it.
  void check_image_stays() const;
  void forgive_misplaced();

  // checkpoint.cpp
  LogPoint reachable_point() const;
  void consider_checkpoint() noexcept;
  void submit_checkpoint() noexcept;
  void checkpoint_task() noexcept;
  void step_checkpoint();
  bool start_round(After& after);
  bool must_wait_for_reads(After& after);
  void extend_image();
  bool copy_step();
  void pace_round();
  void resume_round(bool anyway) noexcept;
  void finish_round();
  void cut_log(std::uint64_t position);
  /// Called by a handler: what it handles is the reason.
  void fail_round() noexcept;
  void take_rooms(After& after) noexcept;
  void refill_hole(PageRun run);
  std::uint64_t next_data_page(std::uint64_t page) const;
  std::string look_at_image();

  /// Marks a change to the image file as ours.
  class ImageChange {
  public:
    /// Throws when the log can't say so; then the image must stay as it is.
    explicit ImageChange(Engine& engine) : noted_{engine.notes_}, engine_{engine} {
      ++engine_.image_changing_, ++engine_.image_changes_;
    }
    ImageChange(const ImageChange&) = delete;
    ImageChange& operator=(const ImageChange&) = delete;
    ~ImageChange() { ++engine_.image_changes_, --engine_.image_changing_; }

  private:
    const NotedChange noted_;
    Engine& engine_;
  };

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
  ImageNotes notes_;  ///< has a lock of its own
  LogWriter log_;     // used by whoever set publishing_

  std::mutex mutex_;
  std::condition_variable idle_;
  std::atomic<std::uint64_t> log_reads_{0};  ///< reads of the log's files since a checkpoint was asked for
  /// Closed to change what reads look at: `closed_`, a session's rights, what is published, the log's files.
  ReadGate gate_;
  bool stopping_ = false;  ///< tasks end as soon as they begin
  bool closed_ = false;
  std::uint64_t tasks_running_ = 0;
  std::atomic<std::uint64_t> fork_bytes_{0};
  std::atomic<std::uint64_t> possible_size_bytes_{0};  ///< the file system can have a file of this size

  // What is published.
  std::uint64_t version_ = 1;
  std::uint64_t pages_ = 0;
  LogPoint published_;
  LogIndex index_{[this](std::uint64_t from, std::uint64_t until) { return held(from, until); }};
  std::uint64_t staged_over_ = 0;  ///< the version that is visible while parts of the next are in the index; else 0
  std::vector<LogSegmentRef> segments_;       // has room for one more while `publishing_`
  std::optional<Unfinished> unfinished_;      ///< while it is there, `publishing_` is set
  std::uint64_t image_bytes_ = 0;             ///< of the image file
  std::optional<MappedFile> mapped_image_;    ///< used by the constructor and the checkpoint lane alone
  const std::byte* image_address_ = nullptr;  ///< of `image_bytes_` bytes; null: not mapped

  // Publishing and durability.
  bool publishing_ = false;
  SessionRef commit_waiting_;       ///< whose transaction the sync lane is to append
  Background::Ready commit_ready_;  ///< its task, while it waits for room
  LogPoint appended_;
  LogPoint synced_;
  std::atomic<bool> sync_scheduled_{false};
  /// A sync of what is below has begun: no record is written into a block with that any more, since a loss of power may
  /// tear the block that is written.
  std::uint64_t sealed_position_ = 0;
  bool shares_block_ = false;  ///< the record under way is written into the block of the one before it: no sync now
  bool sync_awaits_append_ = false;
  Background::Ready awaiting_sync_;  ///< its task; there while `publishing_`
  bool writeback_scheduled_ = false;
  std::uint64_t writeback_position_ = 0;  ///< the disk was told to write what is below
  std::list<Flush> flushes_;
  std::string sync_error_;                 ///< not empty: nothing becomes durable any more
  bool misplaced_ = false;                 ///< that is because a file was removed or replaced from outside
  std::vector<PageRun> publishing_pages_;  ///< of the publish under way: the pages whose blocks it needs
  PageRuns reserved_pages_;
  bool reservable_ = true;
  bool cutting_image_ = false;  ///< what is past the image file's end is being cut off: no round, which could grow it
  std::uint64_t small_bytes_ = 0;  ///< appended since the last round and kept in memory

  // Sessions.
  std::atomic<std::uint64_t> next_id_{1};
  std::uint64_t next_epoch_ = 1;
  SessionRef writer_;
  std::weak_ptr<SessionState> last_writer_;  ///< lives on while what it published last is under way
  std::list<Waiting> line_;
  Holders holders_;
  Rooms rooms_;               ///< who waits for room
  std::uint64_t let_in_ = 0;  ///< the session whose next publish the log's bound does not refuse; 0: none
  std::uint64_t sessions_live_ = 0;
  std::uint64_t sessions_pinned_ = 0;
  std::uint64_t sessions_write_ = 0;
  std::uint64_t sessions_fork_ = 0;

  bool waiting_for_reads_ = false;  ///< the checkpoint task goes on when the older generation of reads is done

  // Checkpoints.
  RoundPhase round_phase_ = RoundPhase::idle;
  LogPoint round_;  ///< what the round under way copies up to
  std::uint64_t round_pages_ = 0;
  std::uint64_t round_holder_ = 0;     ///< its version while it lasts, as one more holder; else 0
  std::uint64_t round_cursor_ = 0;     ///< next page
  std::uint64_t round_data_from_ = 0;  ///< the image has no data between the cursor and this page
  LogPoint checkpointed_;              ///< the synced image holds this
  std::uint64_t cleared_cost_ = 0;     ///< as of `checkpointed_`, but once the log's files up to there are gone
  std::uint64_t hold_mark_ = 0;        ///< cost of what was published when a pin or fork last held it back
  std::shared_ptr<const MemoryError> checkpoint_error_;               // to copy one takes memory
  const std::shared_ptr<const MemoryError> checkpoint_memory_error_;  ///< made ahead, for when there is none
  bool checkpoint_missed_ = false;                                    ///< its task could not be submitted
  bool room_wanted_ = false;            ///< somebody found none: a round is worth it, however little it copies
  bool emptying_log_ = false;           ///< the log goes on in a segment of its own: nothing is published meanwhile
  std::uint64_t emptied_position_ = 0;  ///< end of the log when it was last emptied, or that was tried
  std::atomic<std::uint64_t> rounds_ended_{0};  ///< well or not
  std::int64_t pace_bytes_ = 0;                 ///< that the round may still copy before more is appended
  std::uint64_t step_position_ = 0;             ///< end of the log when its last step began
  std::uint64_t stat_position_ = 0;             ///< end of the log when stat() was last called
  bool reads_want_checkpoint_ = false;
  bool round_paused_ = false;            ///< no step is on its way until more is appended
  std::vector<std::byte> copy_scratch_;  // of the checkpoint lane alone

  // Changes to the image file that are not ours.
  std::atomic<std::uint64_t> image_changing_{0};  ///< ours under way
  std::atomic<std::uint64_t> image_changes_{0};   ///< ours begun and ended
  std::uint64_t baseline_changes_ = 0;
  std::int64_t baseline_modified_ns_ = 0;
  std::string image_warning_;
};

}  // namespace pageserver::storage
