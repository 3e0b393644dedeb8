// A store, several sessions on it, a scheduler, a model of what is promised, and a disk that fails: one thread, no
// real time, everything drawn from one seed.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "storage/engine/open_engine.hpp"
#include "tests/crash/model.hpp"
#include "tests/crash/simulated_file_system.hpp"
#include "tests/crash/stepped_background.hpp"

namespace pageserver::test {

using OpenStore = std::function<std::unique_ptr<storage::Store>(
    storage::FileSystem&, const std::string& path, storage::Background& sync_lane, storage::Background& checkpoint_lane,
    const storage::EngineOptions&)>;

/// Of a range, for a message.
inline std::string range_text(std::uint64_t offset, std::uint64_t length) {
  return std::to_string(offset) + "+" + std::to_string(length);
}

/// How the disk misbehaves, besides crashing.
struct FaultPlan {
  std::uint64_t first_call = ~0ull;  ///< calls `first_call` to `last_call` fail, if they are of a chosen kind
  std::uint64_t last_call = 0;
  int error = 0;
  std::uint32_t kinds = ~0u;                ///< bit (1 << Call)
  bool counts_kinds = false;                ///< `first_call` and `last_call` count the calls of those kinds alone
  std::uint64_t one_in = 1;                 ///< of those calls one in so many fails, drawn from the seed
  bool through_close = false;               ///< a clean stop of the life with faults meets them, too
  bool drops_pages = false;                 ///< a failed sync also changes what is read afterwards
  std::uint64_t capacity_slack_blocks = 0;  ///< not 0: the disk is full that many blocks above what is in use
};

struct SimulationOptions {
  std::uint64_t seed = 1;
  unsigned lives = 3;      ///< from an opening to a clean stop, a kill or a loss of power
  unsigned actions = 250;  ///< of the sessions, in each life
  /// A crash is tried before each call (and in the middle of writes and syncs), or of one in n. Not before status
  /// calls: nothing changed since the call before.
  unsigned crash_check_one_in = 1;
  bool every_crash_kind = false;     ///< at each such call all kinds of crash, not one drawn from the seed
  bool every_recovery_call = false;  ///< and a second crash at each call of each recovery, not of some
  /// Before some lives someone else writes to the image, as a plain file, and ends before a flush. Not in lives with
  /// faults.
  bool outside_writes = false;
  FaultPlan faults;
  OpenStore open_store;
  /// Where the engine that is under test lets readers in between two parts of a change, if it can say so.
  std::function<void()>* between_parts = nullptr;
  /// Where it says that a read has decided where its bytes come from, and has not read them yet.
  std::function<void()>* read_planned = nullptr;
  /// The store is the engine: with its bounds, its log's format, and its files for itself alone.
  bool is_engine = false;
  /// What some seeds put between the store and the disk: the files of one open folder, under another path.
  std::function<std::shared_ptr<storage::FileSystem>(storage::FileSystem& below, int directory, std::string prefix)>
      directory_files;
};

/// What happened, so that a test can assert that it tried what it claims to.
struct SimulationCounters {
  std::uint64_t calls = 0, publishes = 0, flushes = 0, transactions = 0, checkpoint_writes = 0, checkpoint_syncs = 0;
  std::uint64_t grows = 0, spill_writes = 0, leases = 0, lease_waits = 0, breaks = 0, evictions = 0, recycled = 0,
                reused = 0;
  std::uint64_t writer_waits = 0, fork_limits = 0, refreshes = 0, discards = 0, reads = 0, interleaved = 0;
  std::uint64_t crashes = 0, recoveries = 0, recoveries_after_recovery = 0, clean_stops = 0, faults = 0, errors = 0;
  std::uint64_t lives = 0, failed_closes = 0, outside_writes = 0, failed_removals = 0, mappings = 0,
                interrupted_reads = 0;
  std::uint64_t second_openings = 0, others_before = 0, damages = 0, moves = 0, private_limits = 0, part_writes = 0;
  std::uint64_t clocks_set = 0, remembered = 0, kept_entries = 0, found_entries = 0;
  void add(const SimulationCounters& other);
};

/// A broken promise. The text has seed, call index and what happened last.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Simulation {
public:
  explicit Simulation(SimulationOptions options);
  ~Simulation();
  /// Throws Violation.
  void run();
  const SimulationCounters& counters() const { return counters_; }

private:
  enum class Kind : std::uint8_t { write_through, transaction, live, pinned, fork };
  /// What of an actor's private bytes the engine keeps at least and at most, since the last reset.
  struct PrivateBlocks {
    std::set<std::uint64_t> data;     ///< blocks of 4 KiB that it can't do without
    std::set<std::uint64_t> touched;  ///< in which something was changed
    std::uint64_t changes = 0, zeros = 0, refusals = 0;

    void change(const ByteRange& range, bool zero);
    std::uint64_t blocks_max() const { return data.size() + zeros + (zeros > 0 ? changes : 0) + 2 * refusals; }
    /// As many ranges there must be at least: one for each run of blocks.
    std::uint64_t ranges_min() const;
    std::uint64_t ranges_max() const { return 2 * (changes + refusals) + 1; }
  };
  /// What a store under test takes for the file system, and the image's path there.
  struct Place {
    std::shared_ptr<storage::FileSystem> own;
    storage::FileSystem* files = nullptr;
    int directory = -1;
    std::string path;
  };
  struct Actor {
    std::unique_ptr<storage::StoreSession> session;
    Kind kind = Kind::live;
    std::string name;
    std::size_t base = 0;  ///< pinned and fork: index in the model
    BlockBytes own;        ///< fork, and transaction while `has_own`: the image that it sees
    bool has_own = false;
    PrivateBlocks kept;
    bool in_call = false, flushing = false, lost_lease = false, too_old = false;
    unsigned notices = 0;
    bool remembers = false;  ///< its publishes say up to which of its requests they go
    bool introduced = false;
    std::uint64_t last_entry = 0;  ///< of the last request that was to be published
  };
  struct Waiter {
    std::unique_ptr<storage::StoreSession> session;
    Kind kind = Kind::write_through;
    std::uint64_t place = 0;
    bool answered = false, cancelled = false, busy = false;
  };
  using ActorPointer = std::shared_ptr<Actor>;

  // simulation.cpp: lives, crashes and what is called in the middle of calls
  void life();
  void write_outside();
  bool open_again(Crash crash);
  void end_life();
  bool stop_cleanly();
  void drop_sessions();
  void observe(const CallInfo& info);
  void let_readers_in();
  void interrupt_read();
  int fault(const CallInfo& info);
  void count(const CallInfo& info);
  /// What a crash may undo: once a failed sync dropped pages, a kill as much as a loss of power.
  Crash undoing(Crash crash) const { return disk_->dropped_pages() ? Crash::power : crash; }
  void try_crash(Crash crash);
  Place place_of(SimulatedFileSystem& disk) const;
  std::string image_path() const { return folder_ + "/store.img"; }
  bool holds_image_alone(const SimulatedFileSystem& disk, const BlockBytes& image) const;
  void move_folder();
  void set_clock();

  // simulation_others.cpp: other processes, and damage
  void open_second();
  void try_second(std::uint64_t way);
  void come_before();
  void check_damage(const SimulatedFileSystem& disk);
  void check_recovery(SimulatedFileSystem& disk, Crash crash, unsigned depth);
  void fail(const std::string& what);
  void trace(std::string event);
  void throw_if_failed();
  bool step_lanes();

  // simulation_actions.cpp: what sessions do
  void act(bool readers_only);
  void open_session();
  void opened(Waiter& waiter, std::unique_ptr<storage::StoreSession> session, std::exception_ptr error);
  void add_actor(std::unique_ptr<storage::StoreSession> session, Kind kind);
  void close_session(const ActorPointer& actor);
  void break_lease();
  void cancel_waiter();
  void collect_granted();
  void act_as(const ActorPointer& actor, bool reads_only);
  void read(Actor& actor);
  void read_ranges(Actor& actor);
  void change(Actor& actor);
  void change_together(Actor& actor);
  void grow(Actor& actor);
  void flush(const ActorPointer& actor);
  void flush_done(Actor& actor, bool had_lease, std::size_t newest, std::uint64_t transaction,
                  std::exception_ptr error);
  void discard(Actor& actor);
  void refresh(Actor& actor);
  void check_stat();
  void read_failed(Actor& actor, const MemoryError& error, std::uint64_t faults_before, const char* what);
  /// Brings the model up to a publish that became visible between its start and its answer.
  void follow_version();
  const BlockBytes& seen_by(const Actor& actor);
  void publish(Actor& actor, BlockBytes image, const std::function<void()>& call, const char* what);
  void publish(Actor& actor, BlockBytes image, std::uint64_t entry, const std::function<void()>& call,
               const char* what);
  void change_own(Actor& actor, const BlockBytes& image, const ByteRange& range, bool zero,
                  const std::function<void()>& call, const char* what);
  ByteRange pick_range(std::uint64_t size, std::uint64_t length_max);
  /// Before a change of `actor`: what its publish remembers; 0: nothing.
  std::uint64_t remember(Actor& actor);
  /// What of a writer the store knows from before it was opened.
  std::uint64_t resumable(storage::Store& store);
  bool introduce(Actor& actor);
  ActorPointer writer() const;
  void refused(Actor& actor, const MemoryError& error, bool may_be_full, const char* what);
  bool faulted_life() const { return counters_.faults != faults_before_life_ || disk_->capacity_blocks.has_value(); }

  SimulationOptions options_;
  FaultPlan close_faults_;  ///< of the close that comes
  storage::EngineOptions engine_options_;
  Random random_;
  Random crash_random_;  ///< apart, so that the workload is the same whatever crashes are tried
  std::unique_ptr<SimulatedFileSystem> disk_;
  Place place_;
  std::string folder_ = "/data";
  bool power_lost_ = false;    ///< in some life of this run
  bool in_directory_ = false;  ///< drawn by the seed: through SimulationOptions::directory_files
  bool moved_ = false;         ///< since the store was opened
  bool in_second_ = false;     ///< another process calls
  bool second_may_change_ = false;
  SteppedBackground sync_lane_, checkpoint_lane_;
  std::unique_ptr<storage::Store> store_;
  Model model_;
  std::vector<ActorPointer> actors_;
  std::deque<std::shared_ptr<Waiter>> line_;
  SimulationCounters counters_;
  const std::size_t trace_length_;
  std::deque<std::string> trace_;
  std::string failure_;
  std::uint64_t calls_of_kinds_ = 0;  ///< of the plan of faults
  std::uint64_t faults_before_life_ = 0, call_base_ = 0, session_count_ = 0;
  std::uint64_t recovery_calls_ = 20;
  unsigned hook_depth_ = 0;
  bool in_store_call_ = false, opening_ = false, slow_checkpoints_ = false;
  bool outside_unsynced_ = false;   ///< until the store is open, a loss of power may leave anything of it
  Crash life_crash_ = Crash::kill;  ///< what this life was opened after
  /// Transactions that are answered before the next writer is let in, numbered.
  std::uint64_t transaction_ = 0, committed_transaction_ = 0;
  bool pending_transaction_ = false;
  std::uint64_t remembered_request_ = 0;
};

}  // namespace pageserver::test
