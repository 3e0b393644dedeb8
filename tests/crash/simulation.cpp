#include "tests/crash/simulation.hpp"

#include <fcntl.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include <pageserver/file_provider.hpp>

#include "storage/file/mapped_file.hpp"
#include "storage/file/siblings.hpp"
#include "storage/image/file_provider_access.hpp"
#include "storage/log/log_format.hpp"
#include "tests/crash/in_call.hpp"

namespace pageserver::test {

using storage::EngineOptions;
using storage::SessionRequest;

namespace {

/// Events that a failure prints: 40 unless PAGESERVER_SIM_TRACE says otherwise.
std::size_t trace_length() {
  const char* text = std::getenv("PAGESERVER_SIM_TRACE");
  const std::size_t length = text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  return length == 0 ? 40 : length;
}
constexpr unsigned lane_steps_max = 5000;

Crash worse(Crash first, Crash second) {
  return first == Crash::kill && second == Crash::kill ? Crash::kill : Crash::power;
}

/// The whole image as a session sees it.
BlockBytes read_whole(storage::StoreSession& session) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(session.pages() * page_size));
  if (!bytes.empty()) session.read(0, bytes);
  BlockBytes image;
  image.resize(bytes.size());
  image.write(0, bytes);
  return image;
}

std::unique_ptr<storage::StoreSession> open_live(storage::Store& store) {
  std::unique_ptr<storage::StoreSession> session;
  SessionRequest request;
  request.access = Access::read;
  store.open_session(request, [&](std::unique_ptr<storage::StoreSession> opened, std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
    session = std::move(opened);
  });
  return session;
}

}  // namespace

/// True when the disk has this image and no log. Files of unpublished bytes may come back with a loss of power, since
/// nobody syncs their removal; the next opening removes them.
bool Simulation::holds_image_alone(const SimulatedFileSystem& disk, const BlockBytes& image) const {
  const SimulatedInode* file = disk.find(image_path());
  if (file == nullptr || file->content().hash() != image.hash()) return false;
  const std::vector<std::string> names = disk.names(folder_);
  return std::none_of(names.begin(), names.end(),
                      [](const std::string& name) { return name.find(".log.") != std::string::npos; });
}

void SimulationCounters::add(const SimulationCounters& other) {
  static_assert(sizeof(SimulationCounters) % sizeof(std::uint64_t) == 0);
  // Every member is a std::uint64_t, so that none can be forgotten here.
  auto* mine = reinterpret_cast<std::uint64_t*>(this);
  const auto* theirs = reinterpret_cast<const std::uint64_t*>(&other);
  for (std::size_t at = 0; at < sizeof(SimulationCounters) / sizeof(std::uint64_t); ++at) mine[at] += theirs[at];
}

Simulation::Simulation(SimulationOptions options)
    : options_(std::move(options)),
      random_(options_.seed),
      crash_random_(options_.seed ^ 0xc0ffee),
      trace_length_(trace_length()) {
  engine_options_.size_bytes_max = 8 * page_size;
  // The bounds are drawn by the seed, in KiB; what they are relative to each other matters, and each is soon reached.
  Random bounds(options_.seed ^ 0xb0d5);
  const auto kib = [&](std::uint64_t least, std::uint64_t most) {
    return (least + bounds.below(most - least + 1)) << 10;
  };
  engine_options_.log_bytes = kib(40, 128);
  engine_options_.segment_bytes = kib(11, 32);
  engine_options_.held_bytes = kib(16, 64);
  engine_options_.private_memory_bytes = kib(2, 16);
  engine_options_.fork_bytes = kib(40, 80);
  engine_options_.forks_bytes = engine_options_.fork_bytes + kib(16, 64);
  engine_options_.checkpoint_step_bytes = kib(2, 24);
  engine_options_.checkpoint_pace = static_cast<std::uint32_t>(bounds.below(6));
  engine_options_.index_entries_at_once = 1;         // so that others come in between any two
  engine_options_.inline_commit_bytes = kib(1, 16);  // so that flushes append on the lane as well
  // Of the disk's own sizes the half of the seeds, so that what is one write there is many here.
  if (bounds.one_in(2)) {
    engine_options_.log_sizes.part_bytes = 8 * (128 + bounds.below(512));
    engine_options_.log_sizes.one_write_bytes_max = kib(1, 12);
  }
  engine_options_.log_sizes.gathered_bytes_min = kib(1, 8);
  engine_options_.log_sizes.own_block_bytes_min = kib(4, 32);
  if (bounds.one_in(2)) engine_options_.transaction_bytes = kib(16, 64);
  if (bounds.one_in(2)) engine_options_.private_ranges = static_cast<std::uint32_t>(3 + bounds.below(30));
  in_directory_ = options_.directory_files && bounds.one_in(2);
  engine_options_.follow_symlinks = !in_directory_;
  engine_options_.map_image = bounds.one_in(2);
  engine_options_.mapping_bytes = page_size;  // so that an image which grows is mapped anew
  storage::enable_mapped_reads();
  disk_ = std::make_unique<SimulatedFileSystem>(random_.next());
  disk_->make_directory(folder_);
  if (options_.between_parts != nullptr) *options_.between_parts = [this] { let_readers_in(); };
  if (options_.read_planned != nullptr) *options_.read_planned = [this] { interrupt_read(); };
  // The disk's sector is drawn by the seed.
  disk_->torn_sector_bytes = options_.seed % 2 == 0 ? 512 : 4096;
  // A checkpoint writes parts of sectors, whose rest only the image has: LOG_FORMAT.md says what that relies on.
  disk_->torn_in_changes_only = "store.img";
  // Whole images are read again and again; returning their memory to the system each time takes longer than all else.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

Simulation::~Simulation() {
  if (options_.between_parts != nullptr) *options_.between_parts = nullptr;
  if (options_.read_planned != nullptr) *options_.read_planned = nullptr;
  disk_->observe = nullptr;
  disk_->fault = nullptr;
  drop_sessions();
  store_.reset();
}

void Simulation::run() {
  for (unsigned life_number = 0; life_number < options_.lives; ++life_number) life();
}

void Simulation::fail(const std::string& what) {
  if (!failure_.empty()) return;
  failure_ = "seed " + std::to_string(options_.seed) + ", call " + std::to_string(call_base_ + disk_->calls()) + ": " +
             what + "\nwhat happened before, oldest first:";
  for (const std::string& event : trace_) failure_ += "\n  " + event;
}

void Simulation::throw_if_failed() {
  if (!failure_.empty()) throw Violation(failure_);
}

void Simulation::trace(std::string event) {
  trace_.push_back(std::to_string(call_base_ + disk_->calls()) + " " + std::move(event));
  if (trace_.size() > trace_length_) trace_.pop_front();
}

void Simulation::life() {
  ++counters_.lives;
  faults_before_life_ = counters_.faults;
  slow_checkpoints_ = random_.one_in(3);  // so that the log reaches its bound
  if (options_.outside_writes && options_.faults.error == 0 && options_.faults.capacity_slack_blocks == 0 &&
      random_.one_in(3))
    write_outside();
  if (!open_again(life_crash_)) throw_if_failed();
  if (options_.faults.capacity_slack_blocks != 0) {
    disk_->capacity_blocks = disk_->blocks() + options_.faults.capacity_slack_blocks;
  }
  for (unsigned action = 0; action < options_.actions && failure_.empty(); ++action) act(false);
  throw_if_failed();
  end_life();
  throw_if_failed();
}

void Simulation::write_outside() {
  const auto names = disk_->names(folder_);
  if (std::any_of(names.begin(), names.end(),
                  [](const auto& name) { return name != "store.img" && name.find(".resume.") == std::string::npos; }))
    return;
  // Without a log the image is what the last crash left.
  const SimulatedInode* const file = disk_->find(image_path());
  BlockBytes image = file == nullptr ? BlockBytes{} : file->content();
  if (!model_.adopt(image, life_crash_))
    return fail("the image alone is a wrong " + model_.describe(image, life_crash_));
  disk_->short_transfer_one_in = 0;
  FileProvider provider = storage::FileProviderAccess::open(*disk_, image_path(), Access::write);
  if (image.size() == 0 || random_.one_in(4)) {
    if (image.size() / page_size >= engine_options_.size_bytes_max / page_size / 2) return;
    provider.grow(1);
    image.resize(image.size() + page_size);
  }
  const std::vector<std::byte> bytes(1 + random_.below(3000), static_cast<std::byte>(1 + random_.below(255)));
  const std::uint64_t offset = random_.below(image.size() - bytes.size());
  provider.write(offset, bytes);
  image.write(offset, bytes);
  trace("someone else wrote " + std::to_string(offset) + "+" + std::to_string(bytes.size()) + " and was killed");
  // Where times are coarse, nothing tells its change from none.
  model_.begin(std::move(image), Model::any_entry);
  model_.commit(0);
  life_crash_ = Crash::kill;
  outside_unsynced_ = true;
  ++counters_.outside_writes;
}

Simulation::Place Simulation::place_of(SimulatedFileSystem& disk) const {
  if (!in_directory_) return {nullptr, &disk, -1, image_path()};
  Place place;
  place.directory = static_cast<int>(disk.open(folder_, O_RDONLY | O_DIRECTORY, 0).value);
  place.own = options_.directory_files(disk, place.directory, "/served");
  place.files = place.own.get();
  place.path = "/served/store.img";
  return place;
}

void Simulation::move_folder() {
  const std::string to = folder_ == "/data" ? "/elsewhere" : "/data";
  trace("the folder is now " + to);
  disk_->move_directory(folder_, to);
  folder_ = to;
  moved_ = true;
  ++counters_.moves;
}

bool Simulation::open_again(Crash crash) {
  moved_ = false;
  place_ = place_of(*disk_);
  if (in_directory_ && random_.one_in(3)) move_folder();
  disk_->short_transfer_one_in = 20;
  disk_->direct_reads = options_.seed % 3 != 0;
  disk_->drops_pages = options_.faults.drops_pages;
  // The notes of a segment, which come after its header: see ImageNotes::repeat().
  disk_->repeated_from = 2 * storage::log_format::block_bytes;
  disk_->repeated_until = storage::log_format::segment_records_at;
  disk_->observe = [this](const CallInfo& info) { observe(info); };
  disk_->fault = [this](const CallInfo& info) { return fault(info); };
  in_store_call_ = opening_ = true;
  for (bool again = false; !store_; again = true) {
    engine_options_.salt = random_.next();
    try {
      store_ = options_.open_store(*place_.files, place_.path, sync_lane_, checkpoint_lane_, engine_options_);
      const auto session = open_live(*store_);
      const BlockBytes image = read_whole(*session);
      const std::uint64_t entry = resumable(*store_);
      const bool may_be_lost = entry == 0 && (faulted_life() || !options_.is_engine);
      if (!model_.adopt(image, crash, may_be_lost ? Model::any_entry : entry))
        fail("opening answers a wrong " + model_.describe(image, crash) + ", or remembers request " +
             std::to_string(entry));
      model_.set_entry(entry);
      model_.set_number(session->version().number);
      trace("opened as state " + std::to_string(model_.newest()) + ", number " +
            std::to_string(session->version().number));
    } catch (const MemoryError& error) {
      store_.reset();
      sync_lane_.clear();
      checkpoint_lane_.clear();
      trace(std::string("opening failed: ") + error.what());
      if (!faulted_life() || again) {
        fail(std::string("opening refused: ") + error.what());
        return false;
      }
      options_.faults = {};
    }
  }
  in_store_call_ = opening_ = false;
  // Readers see it from now on, so nothing may undo it.
  if (std::exchange(outside_unsynced_, false)) model_.flushed(model_.newest());
  return failure_.empty();
}

void Simulation::drop_sessions() {
  in_store_call_ = true;
  for (const auto& waiter : line_) waiter->cancelled = true;
  actors_.clear();
  // Taken out first: the lease of one that goes may be granted to the next, which looks along the line.
  auto line = std::exchange(line_, {});
  line.clear();
  in_store_call_ = false;
}

bool Simulation::step_lanes() {
  if (slow_checkpoints_ && !random_.one_in(12)) return sync_lane_.step();
  const std::uint64_t first = random_.below(2);
  SteppedBackground* lanes[] = {&sync_lane_, &checkpoint_lane_};
  return lanes[first]->step() || lanes[1 - first]->step();
}

void Simulation::end_life() {
  // One life with faults, then it must come back without.
  const FaultPlan faults = faulted_life() ? std::exchange(options_.faults, {}) : FaultPlan{};
  close_faults_ = faults.through_close ? faults : FaultPlan{};
  const std::uint64_t way = random_.below(4);
  life_crash_ = Crash::kill;
  std::unique_ptr<SimulatedFileSystem> next;
  if (way == 0 && stop_cleanly()) {
    next = disk_->after(Crash::power_lost, random_.next());
    ++counters_.clean_stops;
    model_.flushed(model_.newest());
  } else if (failure_.empty()) {
    life_crash_ = way == 1 ? Crash::kill : random_.one_in(4) ? Crash::power_lost : Crash::power;
    trace(life_crash_ == Crash::kill ? "kill" : "loss of power");
    power_lost_ = power_lost_ || life_crash_ != Crash::kill;
    next = disk_->after(life_crash_, random_.next());
    life_crash_ = undoing(life_crash_);
    ++counters_.crashes;
  }
  disk_->observe = nullptr;
  disk_->fault = nullptr;
  drop_sessions();
  store_.reset();
  sync_lane_.clear();
  checkpoint_lane_.clear();
  if (!next) return;
  call_base_ += disk_->calls();
  disk_ = std::move(next);
}

bool Simulation::stop_cleanly() {
  disk_->capacity_blocks.reset();
  slow_checkpoints_ = false;
  unsigned steps = 0;
  while (step_lanes()) {
    if (++steps > lane_steps_max) {
      fail("the lanes never come to rest");
      return false;
    }
  }
  bool keeps = false;
  if (const ActorPointer last = writer(); last && last->remembers && !last->lost_lease && !last->flushing) {
    last->session->keep_for_reopening();
    keeps = last->last_entry != 0 && model_.entry() == last->last_entry;
  }
  drop_sessions();
  in_store_call_ = true;  // nobody comes any more
  while (step_lanes() && ++steps <= 2 * lane_steps_max) {
  }
  in_store_call_ = false;
  follow_version();
  if (model_.has_pending()) model_.fail();
  in_store_call_ = true;
  bool closed = false;
  if (!keeps) model_.drop_entry();
  try {
    trace("close");
    options_.faults = std::exchange(close_faults_, options_.faults);
    store_->close();
    closed = true;
  } catch (const MemoryError& error) {
    trace(std::string("closing failed: ") + error.what());
    ++counters_.failed_closes;
    if (!faulted_life()) fail(std::string("closing failed: ") + error.what());
  }
  options_.faults = std::exchange(close_faults_, {});
  in_store_call_ = false;
  if (!closed) return false;
  store_.reset();
  if (place_.directory >= 0) disk_->close(place_.directory);
  std::vector<std::string> left = disk_->names(folder_);
  // What calls that failed made of a log in an earlier life is kept for whoever sees to the disk; and so is a file that
  // a loss of power left without a header and without a note: nobody can tell it from one that lost them later.
  if (counters_.faults != 0 || power_lost_)
    std::erase_if(left, [](const std::string& name) { return name.starts_with("store.img.kept-"); });
  // A writer that is to go on, or was to before this life.
  const std::string resume_file = storage::sibling_name("store.img", storage::Sibling::resume, 1);
  const bool has_entry = std::erase(left, resume_file) != 0;
  if (has_entry) ++counters_.kept_entries;
  if (left != std::vector<std::string>{"store.img"}) {
    std::string text = "a clean stop leaves";
    for (const std::string& name : left) text += " " + name;
    fail(text);
  } else {
    const SimulatedInode* image = disk_->find(image_path());
    if (image->content().hash() != model_.newest_image().hash()) fail("a clean stop leaves another image");
  }
  if (!has_entry && keeps && !faulted_life()) fail("a clean stop forgets the writer that is to go on");
  model_.set_entry(has_entry ? model_.entry() : 0);
  if (disk_->open_files() + disk_->mappings() != 0) fail("a closed store leaves files open");
  if (!holds_image_alone(*disk_->after(Crash::power_lost, 1), model_.newest_image())) {
    fail("a clean stop is undone by a loss of power");
  }
  return failure_.empty();
}

void Simulation::count(const CallInfo& info) {
  if (info.middle || info.call == Call::status) return;  // looking at a file's status changes nothing
  ++counters_.calls;
  const bool image = info.path == image_path();
  const bool log = info.path.find(".log.") != std::string::npos;
  if (image && info.call == Call::write) ++counters_.checkpoint_writes;
  if (log && info.call == Call::write && engine_options_.log_sizes.part_bytes == info.length) ++counters_.part_writes;
  if (image && (info.call == Call::sync_data || info.call == Call::sync_file)) ++counters_.checkpoint_syncs;
  if (log && (info.call == Call::remove || info.call == Call::rename) && !in_store_call_) ++counters_.recycled;
  if (info.call == Call::rename && info.path.find(".spare.") != std::string::npos) ++counters_.reused;
  if (!image && !log && info.call == Call::write) ++counters_.spill_writes;
  if (info.call == Call::map) ++counters_.mappings;
}

int Simulation::fault(const CallInfo& info) {
  if (in_second_) return 0;
  const FaultPlan& plan = options_.faults;
  if (plan.error == 0 || (plan.kinds >> static_cast<unsigned>(info.call) & 1) == 0) return 0;
  const std::uint64_t index = plan.counts_kinds ? calls_of_kinds_++ : call_base_ + info.index;
  if (index < plan.first_call || index > plan.last_call) return 0;
  if (plan.one_in > 1 && !crash_random_.one_in(plan.one_in)) return 0;
  ++counters_.faults;
  if (info.call == Call::remove) ++counters_.failed_removals;
  trace(std::string("fault ") + std::to_string(plan.error) + " in " + to_string(info.call) + " " + info.path);
  return plan.error;
}

void Simulation::observe(const CallInfo& info) {
  if (in_second_) {
    constexpr std::array changes{Call::write,          Call::truncate,  Call::reserve,
                                 Call::punch_hole,     Call::sync_data, Call::sync_file,
                                 Call::sync_directory, Call::rename,    Call::remove};
    if (!second_may_change_ && std::find(changes.begin(), changes.end(), info.call) != changes.end()) {
      fail("a process that has no lock calls " + std::string(to_string(info.call)) + " " + info.path);
    }
    return;
  }
  count(info);
  if (!failure_.empty()) return;
  if (options_.is_engine && crash_random_.one_in(150)) open_second();
  if (!failure_.empty()) return;
  if (!info.middle && info.call != Call::read && info.call != Call::status) {
    trace(std::string("  ") + to_string(info.call) + " " + info.path + " " + std::to_string(info.offset) + "+" +
          std::to_string(info.length));
  }
  if (options_.crash_check_one_in != 0 && info.call != Call::status &&
      crash_random_.one_in(options_.crash_check_one_in)) {
    if (options_.every_crash_kind) {
      for (const Crash crash : {Crash::kill, Crash::power, Crash::power_lost, Crash::power_kept}) try_crash(crash);
    } else {
      static constexpr Crash kinds[] = {Crash::kill,  Crash::kill,       Crash::power,     Crash::power,
                                        Crash::power, Crash::power_lost, Crash::power_kept};
      try_crash(kinds[crash_random_.below(std::size(kinds))]);
    }
  }
  if (in_store_call_ || hook_depth_ > 0 || !failure_.empty()) return;
  ++hook_depth_;
  const bool in_lane = sync_lane_.running() || checkpoint_lane_.running();
  const bool session_calls = std::any_of(actors_.begin(), actors_.end(), [](const auto& one) { return one->in_call; });
  const bool sync =
      info.middle ? info.call == Call::sync_data || info.call == Call::sync_file : info.call == Call::sync_directory;
  // A sync holds nobody up: anything may happen meanwhile. Inside an append or a copy only readers are let in, since
  // the writer's own order is its lock.
  if (sync && random_.one_in(2)) {
    for (std::uint64_t more = 1 + random_.below(4); more > 0; --more) act(!in_lane || session_calls);
    ++counters_.interleaved;
  } else if (info.call == Call::write && random_.one_in(4)) {
    act(true);
    // Neither waits for another's append: a checkpoint that wants a sync, nor that sync.
    if (random_.one_in(slow_checkpoints_ ? 12 : 2)) checkpoint_lane_.step();
    if (!sync_lane_.running() && random_.one_in(2)) sync_lane_.step();
    ++counters_.interleaved;
  }
  --hook_depth_;
}

void Simulation::let_readers_in() {
  if (in_store_call_ || hook_depth_ > 0 || !failure_.empty() || !random_.one_in(3)) return;
  ++hook_depth_;
  act(true);
  ++counters_.interleaved;
  --hook_depth_;
}

// Others publish meanwhile, and a checkpoint is about to copy that into the image which the read takes its bytes from.
void Simulation::interrupt_read() {
  if (in_store_call_ || hook_depth_ > 0 || !failure_.empty() || !random_.one_in(6)) return;
  ++hook_depth_;
  for (std::uint64_t more = 1 + random_.below(6); more > 0; --more) {
    if (random_.one_in(3)) {
      act(false);
    } else if (!checkpoint_lane_.step()) {
      sync_lane_.step();
    }
  }
  ++counters_.interrupted_reads;
  --hook_depth_;
}

void Simulation::try_crash(Crash crash) {
  if (outside_unsynced_) crash = Crash::kill;
  const auto disk = disk_->after(crash, crash_random_.next());
  ++counters_.crashes;
  check_recovery(*disk, opening_ ? worse(life_crash_, crash) : undoing(crash), 0);
}

void Simulation::check_recovery(SimulatedFileSystem& disk, Crash crash, unsigned depth) {
  // What is tried here is another machine's: it is no moment of this run.
  const unsigned hook_depth = std::exchange(hook_depth_, hook_depth_ + 1);
  SteppedBackground sync_lane, checkpoint_lane;
  EngineOptions engine_options = engine_options_;
  engine_options.salt = crash_random_.next();
  engine_options.map_image = engine_options.map_image && crash_random_.one_in(4);
  if (depth == 0 && options_.is_engine && crash_random_.one_in(6)) check_damage(disk);
  if (depth == 0 && (options_.every_recovery_call || crash_random_.one_in(8))) {
    const std::uint64_t chosen = crash_random_.below(recovery_calls_);
    disk.observe = [&, chosen](const CallInfo& info) {
      if (!failure_.empty() || !(options_.every_recovery_call || info.index == chosen)) return;
      static constexpr Crash kinds[] = {Crash::kill, Crash::power, Crash::power_lost, Crash::power_kept};
      const Crash second = outside_unsynced_ ? Crash::kill : kinds[crash_random_.below(4)];
      const auto again = disk.after(second, crash_random_.next());
      ++counters_.recoveries_after_recovery;
      check_recovery(*again, worse(crash, second), 1);
    };
  }
  const char* when = depth == 0 ? "" : " (after a crash in recovery)";
  try {
    const Place place = place_of(disk);
    sync_lane.quick = options_.is_engine && crash_random_.one_in(2);
    auto store = options_.open_store(*place.files, place.path, sync_lane, checkpoint_lane, engine_options);
    sync_lane.quick = false;
    if (disk.observe) recovery_calls_ = std::max<std::uint64_t>(disk.calls(), 2);
    disk.observe = nullptr;
    auto session = open_live(*store);
    const BlockBytes image = read_whole(*session);
    const std::uint64_t entry = resumable(*store);
    const bool may_be_lost = entry == 0 && (faulted_life() || !options_.is_engine);
    if (!model_.allows(image, crash, may_be_lost ? Model::any_entry : entry))
      fail("a crash here leaves a wrong " + model_.describe(image, crash) + ", or remembers request " +
           std::to_string(entry) + when);
    ++counters_.recoveries;
    session.reset();
    if (crash_random_.one_in(4)) {
      while (sync_lane.step() || checkpoint_lane.step()) {
      }
      store->close();
      store.reset();
      if (!holds_image_alone(*disk.after(Crash::power_lost, 1), image)) {
        fail(std::string("a clean stop after a crash here loses what recovery found") + when);
      }
    }
  } catch (const MemoryError& error) {
    fail(std::string(crash == Crash::kill ? "after a kill" : "after a loss of power") + " here, opening fails" + when +
         ": " + error.what());
  }
  disk.observe = nullptr;
  hook_depth_ = hook_depth;
}

}  // namespace pageserver::test
