// The interface of a store and its sessions. The daemon and the embedded provider drive it; its implementation names no
// socket and knows no clock.
//
// Two calls may have to wait. Neither blocks: a callback says when the caller can go on.
//
//   caller, a worker                          store                       another thread
//
//   may_write(room) ------------------------> false: the log is full
//   (serves others)                           a checkpoint goes on -----> room()
//   may_write(room) ------------------------> true
//   write(...) -----------------------------> published, or an error
//
//   flush(done) ----------------------------> a sync is scheduled
//   (no call on this session)                 the log is synced --------> done(null, version)
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/session.hpp>

#include "storage/page_map.hpp"
#include "storage/resume_entry.hpp"

namespace pageserver::storage {

struct SessionRequest {
  Access access = Access::write;
  View view = View::live;
  Publish publish = Publish::on_write;
  std::string name;                 ///< what the session calls itself
  std::string address;              ///< where it comes from
  std::int64_t opened_unix_ms = 0;  ///< the caller's clock; a store has none
  std::int64_t opened_ms = 0;       ///< the same moment by the caller's monotonic clock, for HolderStat::idle_ms
  bool wait_in_line = false;        ///< write access only: wait for the lease instead of busy
  /// Fork access only, or null: where the private bytes of all forks of one owner are summed up, of whichever store.
  std::shared_ptr<std::atomic<std::uint64_t>> owner_fork_bytes;
  /// Write access only, or null: the session that Store::resumable() named goes on. Throws not_found where that is
  /// another one by now. Never waits in line.
  std::shared_ptr<const ResumeEntry> claim;
};

/// The version and size that a session sees, of one moment.
struct SessionView {
  Version version;
  std::uint64_t pages = 0;  ///< with those that are private to the session
};

/// One session. Destroying it ends the session: private bytes are dropped, pins and the lease are released.
///
/// Threads: calls on one session come one at a time, and after flush() the next call comes only once `done` ran.
/// Different sessions of one store are called from any threads at the same time. Every call may throw MemoryError and
/// then has changed nothing. None waits for a sync, a checkpoint or another session; reads may wait for the disk.
///
/// The result of a call belongs to the moment at which it took effect. A caller takes all of its answer from one
/// result: a second call may come after another session's publish, or after the lease was lost.
class StoreSession {
public:
  /// `error` is null on success; then everything up to `version` is durable, and what was private is part of it (for
  /// sessions that are not writers it is only the version that they see). Success is also what a flush gets that took
  /// effect although the lease went meanwhile. May run inside the call or later on another thread, exactly once,
  /// unless the session is destroyed first: then it does not run once the destructor has returned.
  ///
  /// No callback of a caller may throw, neither these nor Store::Opened: the event that it reports has happened, and
  /// there is nobody to catch an exception. One that does throw counts as run.
  using Done = std::function<void(std::exception_ptr error, const Version& version)>;
  /// Runs once, on another thread, when the session lost its lease or its version for a reason that is not its own.
  using Notice = std::function<void(const MemoryError& reason)>;

  StoreSession() = default;
  StoreSession(const StoreSession&) = delete;
  StoreSession& operator=(const StoreSession&) = delete;
  virtual ~StoreSession() = default;

  /// As the session was opened. Never throws, whatever became of the lease.
  virtual const SessionView& opened() const noexcept = 0;
  virtual SessionView view() = 0;
  std::uint64_t pages() { return view().pages; }
  Version version() { return view().version; }
  /// The writer lease's epoch; 0 for sessions that are not writers.
  virtual std::uint64_t epoch() const = 0;

  /// Returns the number of pages before.
  virtual std::uint64_t grow(std::uint64_t new_pages) = 0;
  virtual void read(std::uint64_t offset, std::span<std::byte> buffer) = 0;
  /// Whether it pays to announce reads that come one after the other: where each may wait for a while, and they don't
  /// have to wait one after the other.
  virtual bool wants_announcements() const noexcept { return false; }
  /// These will be read soon, each by itself; they may be out of bounds. Waits for nothing.
  virtual void will_read(std::span<const ByteRange> /*ranges*/) noexcept {}
  virtual void write(std::uint64_t offset, std::span<const std::byte> data) = 0;
  struct Write {
    std::uint64_t offset = 0;
    std::span<const std::byte> data;
  };
  /// The same as write() of each in turn, as one publish with one append, and true. Or false, and nothing has changed:
  /// where they can't be published together (they overlap, one is out of bounds, the disk refuses), or the session does
  /// not publish on write. write() of each then says what is to be said.
  virtual bool write_together(std::span<const Write> /*writes*/) { return false; }
  virtual void zero(std::uint64_t offset, std::uint64_t length) = 0;
  /// At most `ranges_max` ranges; `described_until` is the offset up to which the answer is complete.
  virtual std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length, std::size_t ranges_max,
                                             std::uint64_t& described_until) = 0;
  /// Does not throw: `done` gets the error.
  virtual void flush(Done done) = 0;
  /// Returns what the session sees from now on.
  virtual SessionView discard() = 0;
  virtual Refreshed refresh() = 0;
  /// As Store::stat() and Store::break_lease(), on behalf of this session: lease_lost when its own lease went before.
  virtual Stat stat(std::int64_t now_ms) = 0;
  virtual std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string& reason,
                                                std::int64_t now_ms) = 0;

  /// True: write, zero and grow may be called now. False: the log is at its bound; `room` runs once, on another
  /// thread, when it is worth asking again. A caller that does not ask gets limit_exceeded or no_space instead.
  virtual bool may_write(std::function<void()> room) = 0;
  /// Asked at once after write, zero or grow threw. True: it found no room, and a checkpoint is about to make some;
  /// `room` runs once, inside the call or later on another thread, when it is worth trying again. False: what was
  /// thrown is the answer. (A flush waits by itself.)
  virtual bool room_may_come(std::function<void()> /*room*/) { return false; }
  virtual void on_notice(Notice notice) = 0;
  /// What others don't see, as it counts against bounds: of an on_flush writer or a fork.
  virtual std::uint64_t private_bytes() const noexcept { return 0; }
  /// For who takes the session from its client. The one call that any thread may make at any time, also while another
  /// call is stuck in the disk; it waits for none. The lease goes to the next in line, as by break_lease(), and a pin
  /// or fork gives up its version. `reason` goes into what the session answers from now on.
  virtual void revoke(const std::string& /*reason*/) {}
  /// For HolderStat::idle_ms: the caller notes here, by its monotonic clock, when a request of the session comes, and
  /// when one that waited for a flush or for room goes on. Cheap. While it waits the session is not idle, nor before
  /// the first request after it waited in line.
  virtual void note_request(std::int64_t now_ms) noexcept = 0;

  /// Of a writer that is to be resumed even when the store was opened anew: what its next publish remembers with it,
  /// until the next call; null: nothing. To be called before each change, or flush, that a publish may come of.
  virtual void remember(const ResumeEntry* /*entry*/) {}
  /// Publishes nothing but what it remembers, so that a session is known before its first change. Throws as write().
  virtual void publish_remembered() {}
  /// It ends since the store closes, and not for good: the next opening knows it. Nobody gets the lease any more.
  virtual void keep_for_reopening() noexcept {}
};

/// A named image with its sessions. Thread-safe.
class Store {
public:
  using Opened = std::function<void(std::unique_ptr<StoreSession> session, std::exception_ptr error)>;

  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  /// Without close() before it, it ends the store as a kill would: what was answered is kept, and a log may be left.
  virtual ~Store() = default;

  /// Opens a session; `opened` runs exactly once, inside the call or later on another thread. The value names a place
  /// in the line for cancel_wait(), or is 0 when `opened` already ran.
  virtual std::uint64_t open_session(SessionRequest request, Opened opened) = 0;
  /// Gives up a place in the line: `opened` runs with busy, unless it ran already.
  virtual void cancel_wait(std::uint64_t place) = 0;

  /// Who waits for the lease: places as open_session() returned them, the next one first.
  virtual std::vector<std::uint64_t> line() { return {}; }

  /// `now_ms` is the caller's monotonic clock, for idle_ms.
  virtual Stat stat(std::int64_t now_ms) = 0;
  /// As stat(), without a look at the files: it waits for no disk, and says nothing new of the image.
  virtual Stat figures(std::int64_t now_ms) { return stat(now_ms); }
  /// What is known of pages, tile by tile, until `tiles_max` are told or the call has looked at enough. Not one moment:
  /// it looks in short steps between which others go on. Waits for the disk, which says where the image has data, and
  /// for nobody else. What a checkpoint took out of the log counts as recent from the first call on.
  virtual PageMap page_map(const PageMapRequest& /*request*/) { return {}; }
  /// Takes the lease from the writer, whose requests answer lease_lost from now on. `reason` goes into its error's
  /// text. Returns the holder that lost it, or nothing when there was none (`epoch`, when not 0, must match). The
  /// holder's idle_ms is 0, since no time is given.
  virtual std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string& reason) = 0;
  /// The same, if the writer is idle for at least `idle_ms_min` at `now_ms` of the caller's monotonic clock. A request
  /// that was noted before the break keeps the lease.
  virtual std::optional<HolderStat> break_idle_lease(std::int64_t now_ms, std::uint64_t idle_ms_min,
                                                     const std::string& reason) = 0;
  virtual bool read_only() const = 0;
  /// The writer that published last, if that was before this opening, it can be resumed, and nobody has had the lease
  /// since.
  virtual std::optional<ResumeEntry> resumable() { return std::nullopt; }
  /// Nobody came back for it in time: a clean stop then leaves nothing of it.
  virtual void forget_resumable() noexcept {}
  /// Empty, or that another process has the store now, and why: every session answers lease_lost, for good, and a
  /// close() would throw. Asks no file.
  virtual std::string taken_over() const { return {}; }
  /// Another process asks for the store, and who that is; empty: nobody. Asks no file.
  virtual std::string wanted_by() const { return {}; }
  /// What a successor would have to copy into the image becomes less: a checkpoint begins, where there is something to
  /// copy. Waits for nothing.
  virtual void begin_checkpoint() noexcept {}
  /// Leaves the store to whoever comes next: nothing is answered any more, what is under way is waited for, and then
  /// the image's lock is free. From then on as if it was taken over. The log stays for the next one. Throws
  /// unsupported where the image can't be given up, and what the home says.
  virtual void give_up(const std::string& why) {
    throw MemoryError{Errc::unsupported, "give up: " + why + ": the image lies in a file of this machine"};
  }
  /// The published pages. Asks no file, so that it waits for no disk.
  virtual std::uint64_t pages() = 0;

  /// A clean stop; no session is open any more. Makes everything published durable in the image, removes its siblings
  /// and unlocks it. When it throws, the log stays, which the text names, and the next opening replays it.
  virtual void close() = 0;
};

}  // namespace pageserver::storage
