// What only a served image has, on top of MemoryProvider: versions, pins, private bytes that can be dropped, reports.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/memory_provider.hpp>

namespace pageserver {

// The numbers are those of the protocol.
enum class Access : std::uint8_t { read = 0, write = 1, fork = 2 };
enum class View : std::uint8_t { live = 0, pinned = 1 };
enum class Publish : std::uint8_t { on_write = 0, on_flush = 1 };

/// A published state of a store. Numbers grow with every publish within one incarnation; the incarnation is random
/// at each opening of the store, so versions of different incarnations say nothing about each other.
struct Version {
  std::uint64_t incarnation = 0;
  std::uint64_t number = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
};

/// `length` bytes from byte `offset` of an image.
struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  friend auto operator<=>(const ByteRange&, const ByteRange&) = default;
};

/// What refresh() found.
struct Refreshed {
  Version version;                 ///< the version that the session sees from now on
  std::uint64_t pages = 0;         ///< its size in pages
  bool everything = false;         ///< true: assume that every byte changed; `changed` is empty then
  std::vector<ByteRange> changed;  ///< what differs from the version seen before, in rising order, not overlapping
};

/// A session that holds the writer lease, or holds back an old version.
struct HolderStat {
  std::string name;                ///< what the session called itself (`name=` in its URI), may be empty
  std::string address;             ///< where it comes from: "127.0.0.1:40312", "unix", "pid 4711"
  std::int64_t since_unix_ms = 0;  ///< when it became the holder: milliseconds since 1970-01-01 UTC
  std::uint64_t idle_ms = 0;       ///< milliseconds since its last request
  std::uint64_t epoch = 0;         ///< a writer's lease epoch; 0 for others
  Access access = Access::read;
  View view = View::live;
  Publish publish = Publish::on_write;
  std::uint64_t version_number = 0;  ///< the version that it holds; 0 for a writer
};

/// What an opening of a store found beside the image: a log that a kill or a loss of power had left, which was
/// replayed.
struct Recovery {
  std::int64_t unix_ms = 0;             ///< when it was done: milliseconds since 1970-01-01 UTC
  std::uint64_t log_bytes = 0;          ///< of the log that was found
  std::uint64_t log_files = 0;          ///< of it, that counted
  std::uint64_t records = 0;            ///< publishes that were replayed
  std::uint64_t pages = 0;              ///< of the image after that
  std::uint64_t dropped_files = 0;      ///< of the log, behind the last publish that counted
  std::uint64_t dropped_records = 0;    ///< whole publishes there, which could not be replayed
  std::uint64_t kept_count = 0;         ///< files of the log that were kept under another name
  std::vector<std::string> kept_files;  ///< their names, in the image's folder; from a daemon as many as fit an answer
  std::string warning;                  ///< not empty: more than a torn end was dropped, why, and what a person can do
};

/// What waits at a daemon, and what hangs: of the daemon as a whole, and of one store. Work for a disk is stuck when it
/// has gone on for 100 milliseconds without an end.
struct Load {
  std::uint64_t connections = 0;          ///< of the daemon, whatever they do
  std::uint64_t directory_requests = 0;   ///< of the daemon: requests that wait for the directory of its stores
  std::uint64_t disk_calls_waiting = 0;   ///< of the daemon: work for disks that waits for a thread
  std::uint64_t disk_calls_running = 0;   ///< of the daemon: work for disks that has one
  std::uint64_t disk_threads_max = 0;     ///< of the daemon: so many threads for that there may be
  std::uint64_t store_calls_waiting = 0;  ///< of the store: work for its disk that waits, for whatever reason
  std::uint64_t store_calls_stuck = 0;    ///< of the store: work for its disk that is stuck
  std::uint64_t stuck_ms = 0;             ///< for how long the oldest of these has been; 0 without one
};

/// Where an image lies, and who may change it there.
struct HomeStat {
  std::string name;         ///< "file", or where other machines reach it, too: "ceph:POOL/NAME"
  std::string holder;       ///< for people: who owns it there, and since when; empty for a file
  std::string health;       ///< for people: what the home says of itself; empty for a file, or while that is not known
  std::uint64_t epoch = 0;  ///< of the owner, grows with each; 0: there is none, or the image is open for reading only
};

/// A report on one store, for people and monitoring. Numbers of one report belong to nearly the same moment.
struct Stat {
  std::string store;        ///< its name; for an embedded store its path
  std::uint64_t pages = 0;  ///< of the newest published version
  Version version;          ///< the newest published version
  bool read_only = false;
  std::optional<HolderStat> writer;
  std::uint64_t writers_waiting = 0;
  std::uint64_t sessions_live = 0;    ///< access=read, view=live
  std::uint64_t sessions_pinned = 0;  ///< access=read, view=pinned
  std::uint64_t sessions_write = 0;   ///< 0 or 1
  std::uint64_t sessions_fork = 0;
  std::optional<HolderStat> oldest_holder;  ///< of the pins and forks
  std::uint64_t size_bytes_max = 0;         ///< the limit that grow() meets
  std::uint64_t log_bytes = 0;              ///< redo log beside the image, in bytes
  std::uint64_t checkpoint_lag_bytes = 0;   ///< of them, not yet copied into the image
  std::uint64_t held_bytes = 0;             ///< log, and memory to find it, kept only for pins and forks
  std::uint64_t fork_bytes = 0;             ///< private bytes of all forks, in memory or spilled
  std::string last_sync_error;              ///< empty when every sync went well
  std::string image_warning;                ///< empty unless the image was touched from outside
  std::optional<Load> load;                 ///< nothing from an older daemon, or without one
  /// Of the last opening that found a log, of those by this program or daemon: nothing when none did. A daemon of
  /// before does not say.
  std::optional<Recovery> recovery;
  std::optional<HomeStat> home;  ///< nothing from an older daemon
};

/// One client's use of one store. Access, view and publish mode were chosen at opening and never change.
///
/// Threads: safe to use from several threads; calls then take effect in some order, each as a whole.
///
/// Further errors: busy and not_found at opening; lease_lost from every call after the lease went; snapshot_too_old
/// from reads of a pin or fork whose version was given up; limit_exceeded naming the limit.
class PAGESERVER_EXPORT Session : public MemoryProvider {
public:
  ~Session() override;

  /// The version that reads see now: for a pinned session or a fork the one held, else the newest published.
  virtual Version version() = 0;

  /// pinned: moves to the newest version and says what changed. fork: moves the base, only when nothing is private
  /// (else invalid_argument). live: says the newest version, `everything` is true. write: unsupported.
  virtual Refreshed refresh() = 0;

  /// write: drops unpublished bytes and grows. fork: back to the version at opening. read: nothing to drop.
  virtual void discard() = 0;

  /// As flush(), unless a write(), zero() or grow() of this session threw since its last flush(), commit() or discard()
  /// that went well: then nothing is published, what is private stays so, and the error is invalid_argument. Its text
  /// names the change. Do again what is missing and flush(), or discard(). So a transaction of which a part was refused
  /// is not published by who overlooked that.
  virtual void commit() = 0;

  /// Takes the writer lease of this store from whoever has it, if its epoch is this one (0: whichever): every call of
  /// that session throws lease_lost from then on, and what it has not published is lost. Returns who it was; nothing:
  /// there was none. For any access.
  virtual std::optional<HolderStat> break_lease(std::uint64_t epoch = 0) = 0;

  /// Why this session can't go on: lease_lost, or what has ended its connection. Nothing while it can. Takes in what
  /// the daemon has said meanwhile, without a round trip and without waiting for it, so that a program which does
  /// nothing with its session hears that it is over.
  virtual std::optional<MemoryError> lost() = 0;

  /// A report on the store; costs one round trip on a remote session.
  virtual Stat stat() = 0;

  /// Makes `length` bytes from `offset` zero, as one write does, without sending or storing them. Bounds as for
  /// write(). `length` is not subject to the request limit.
  virtual void zero(std::uint64_t offset, std::uint64_t length) = 0;

  /// The parts of `[offset, offset + length)` that may hold something other than zeros, in rising order, not
  /// overlapping; what lies between them is zero in the version that this session sees. Bounds as for read(). In a live
  /// view a long answer comes in parts, each of the newest version at its moment; a pinned one has one version.
  virtual std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length) = 0;
};

}  // namespace pageserver
