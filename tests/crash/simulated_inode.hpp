// One file of the simulated disk: what the processes see, and what would be left after a loss of power.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "tests/crash/block_bytes.hpp"
#include "tests/crash/random.hpp"

namespace pageserver::test {

/// What of the unsynced state a crash leaves.
enum class Crash : std::uint8_t {
  kill,        ///< only the processes die: the page cache, and so everything written, stays (and stays unsynced)
  power,       ///< each unsynced sector, size and directory entry is kept or lost by itself
  power_lost,  ///< everything unsynced is lost
  power_kept,  ///< everything unsynced happens to be on the disk already
};

/// How a loss of power may tear the one sector of a file that the disk was just writing.
struct Tear {
  std::uint64_t sector_bytes = 0;  ///< 0: none is torn
  /// False: any byte of that sector may come out as something else, also what was durable before and not changed since.
  /// True: only the bytes that were changed.
  bool changes_only = false;
};

/// A file as processes see it that mapped it. The bytes are the kernel's own, so that whoever touches what lies past
/// the file's end is told by a signal, as anywhere.
class SimulatedMapping {
public:
  SimulatedMapping() = default;
  /// What is copied is the disk; no process has the copy mapped.
  SimulatedMapping(const SimulatedMapping&) {}
  SimulatedMapping& operator=(const SimulatedMapping&) { return close(), *this; }
  ~SimulatedMapping() { close(); }

  /// The address of `length` bytes, or null.
  const std::byte* map(const BlockBytes& content, std::uint64_t length);
  static void unmap(const std::byte* address, std::uint64_t length);
  void close();
  void follow(const BlockBytes& content, std::uint64_t offset, std::uint64_t length);

private:
  void open(const BlockBytes& content);

  int file_ = -1;
};

/// A file's content twice: as the page cache has it and as the disk has it. Sectors (512 bytes) differ between the two
/// from a write to a sync; the disk may hold any of the contents that a sector had since the last sync.
class SimulatedInode {
public:
  static constexpr std::uint64_t sector_size = 512;

  explicit SimulatedInode(std::uint64_t number, std::int64_t birth_ns, std::uint32_t mode)
      : number_(number), birth_ns_(birth_ns), modified_ns_(birth_ns), durable_modified_ns_(birth_ns), mode_(mode) {}

  std::uint64_t number() const { return number_; }
  std::int64_t birth_ns() const { return birth_ns_; }
  std::int64_t modified_ns() const { return modified_ns_; }
  std::uint32_t mode() const { return mode_; }
  std::uint64_t size() const { return content_.size(); }
  const BlockBytes& content() const { return content_; }
  const BlockBytes& durable() const { return durable_; }

  /// Puts what the disk has into `buffer`, which is what the page cache has. What is dirty is written out by such a
  /// read before, so that both are the same there.
  void read_disk(std::uint64_t offset, std::span<std::byte> buffer) const;
  /// Extends the file where the range lies past its end.
  void write(std::uint64_t offset, std::span<const std::byte> data, std::int64_t now_ns);
  void resize(std::uint64_t size, std::int64_t now_ns);
  void zero(std::uint64_t offset, std::uint64_t length, std::int64_t now_ns);
  /// The modification time alone, as a reservation moves it.
  void touch(std::int64_t now_ns);

  /// The address of the file's first `length` bytes as a process sees them, from now on whatever changes them; or null.
  const std::byte* map(std::uint64_t length) { return mapping_.map(content_, length); }
  /// Nobody has it mapped any more.
  void end_mapping() { mapping_.close(); }

  /// Room on the disk, in blocks of BlockBytes::block_size.
  std::uint64_t blocks_missing(std::uint64_t offset, std::uint64_t length) const;
  void allocate(std::uint64_t offset, std::uint64_t length);
  void release(std::uint64_t offset, std::uint64_t length);
  /// As a change of the size does it, also to the size that the file has.
  void release_past_end() { release(size(), allocated_.size() * BlockBytes::block_size); }
  std::uint64_t blocks() const { return blocks_; }

  /// A sync takes what is dirty at its start; what is written before its end stays dirty.
  struct Sync {
    BlockBytes content;
    std::uint64_t started = 0;
    std::int64_t modified_ns = 0;
    std::uint64_t touches = 0;
  };
  Sync start_sync() const { return {content_, change_, modified_ns_, touches_}; }
  /// `times`: with the modification time, which a sync of the data alone leaves as it is on the disk.
  void finish_sync(const Sync& sync, bool times);
  /// A sync that failed as on Linux: each dirty sector is now clean for the page cache, and on the disk or not.
  /// `drops_pages`: memory is short, and the page cache forgets some of what is on the disk otherwise.
  void fail_sync(Random& random, bool drops_pages = false);

  /// Leaves what the crash leaves; the page cache and the disk are equal then, but after Crash::kill.
  /// `tear` goes for Crash::power.
  void crash(Crash crash, Random& random, Tear tear = {});
  bool dirty() const { return !dirty_.empty() || durable_.size() != content_.size(); }

private:
  struct Dirty {
    std::uint64_t changed = 0;                    ///< the last change
    std::vector<std::vector<std::byte>> earlier;  ///< contents since the last sync, without the newest
  };
  /// What the disk has instead of the bytes of the sector at `offset`, of which `left` is what it would have.
  void tear_sector(BlockBytes& left, std::uint64_t offset, Tear tear, Random& random) const;
  void note_dirty(std::uint64_t offset, std::uint64_t length);
  static std::vector<std::byte> sector_of(const BlockBytes& bytes, std::uint64_t sector);
  static void put_sector(BlockBytes& bytes, std::uint64_t sector, std::span<const std::byte> data);

  std::uint64_t number_;
  std::int64_t birth_ns_;
  std::int64_t modified_ns_;
  std::int64_t durable_modified_ns_;
  std::uint64_t touches_ = 0;
  std::uint64_t durable_touches_ = 0;
  /// Since it was durable, some of them, without the newest. A clock that is set back makes them fall.
  struct Touch {
    std::uint64_t number = 0;
    std::int64_t modified_ns = 0;
  };
  std::vector<Touch> earlier_times_;
  std::uint32_t mode_;
  BlockBytes content_;
  SimulatedMapping mapping_;
  BlockBytes durable_;
  std::map<std::uint64_t, Dirty> dirty_;
  std::vector<std::uint64_t> earlier_sizes_;  ///< since the last sync, without the newest
  std::uint64_t newest_sync_ = 0;             ///< when the newest sync that is done began
  std::vector<bool> allocated_;
  std::uint64_t blocks_ = 0;
  std::uint64_t change_ = 0;
};

}  // namespace pageserver::test
