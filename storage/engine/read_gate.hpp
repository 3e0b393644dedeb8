// What many threads look at all the time and few change: a lock that looking threads don't share.
//
//   reading threads           lanes           whoever changes something, who has the engine's mutex
//
//   A: Look -------------> [ mutex 0 ] <--+
//   B: Look -------------> [ mutex 1 ] <--+-- Change: locks all of them, in order
//   C: Look -------------> [ mutex 2 ] <--+
//
//   {
//     const ReadGate::Look look{gate_};    // the version, its pieces and their segments, all of one moment
//     plan_read(...);
//     plan.read = gate_.begin_read(look);  // counted in this lane, in the generation of this moment
//   }
//   run_read(plan, buffer);                // files are read with no lock at all
//   gate_.end_read(plan.read);
//
// Locks are taken in one order: the engine's mutex, then the gate. So a Change is made under the mutex, and nobody
// takes the mutex under a Look.
//
// Generations tell a checkpoint which reads it has to wait for. A round flips the generation: reads that begin later
// know the round's pieces and never take those bytes from the image. Reads of the older generation may, so the round
// waits until none is left; it does so without a thread, by asking end_read() to say when.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "base/mutation.hpp"
#include "base/thread_annotations.hpp"
#include "base/thread_number.hpp"

namespace pageserver::storage {

/// Each thread looks through a lane of its own (with more threads than lanes: one of few), and whoever changes
/// something closes all of them. So to look costs one lock that is nearly always free and that no other processor has
/// in its cache; to change costs one for each lane.
///
/// It also counts the reads that go on after a look, in two generations.
class PAGESERVER_CAPABILITY("read gate") ReadGate {
  struct alignas(64) Lane {
    std::mutex mutex;
    std::atomic<unsigned> waiting{0};  // looks that found it locked
    std::array<std::atomic<std::uint64_t>, 2> reads{};

    void lock_for_look() {
      if (mutex.try_lock()) return;
      ++waiting;
      mutex.lock();
      --waiting;
    }
  };

public:
  explicit ReadGate(std::size_t lanes) : lanes_(std::max<std::size_t>(1, lanes)) {}

  /// While it lives, nothing changes. Whoever has it takes no other lock.
  class PAGESERVER_SCOPED_CAPABILITY Look {
  public:
    explicit Look(ReadGate& gate) PAGESERVER_ACQUIRE_SHARED(gate) : lane_{gate.lane_of_this_thread()} {
      lane_.lock_for_look();
    }
    Look(const Look&) = delete;
    Look& operator=(const Look&) = delete;
    ~Look() PAGESERVER_RELEASE() { lane_.mutex.unlock(); }

  private:
    friend class ReadGate;
    Lane& lane_;
  };

  /// While it lives, nobody looks. One at a time: taken under a lock that all who change something have.
  class PAGESERVER_SCOPED_CAPABILITY Change {
  public:
    explicit Change(ReadGate& gate) PAGESERVER_ACQUIRE(gate) : gate_{gate} {
      for (Lane& lane : gate_.lanes_) lane.mutex.lock();
    }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change() PAGESERVER_RELEASE() {
      for (Lane& lane : gate_.lanes_) lane.mutex.unlock();
    }

  private:
    ReadGate& gate_;
  };

  bool looks_wait() const noexcept {
    return std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.waiting != 0; });
  }
  /// Between two of many changes in a row: lets those look that wait for it, for a millisecond or so at most. A mutex
  /// is not fair: whoever unlocks it and locks it at once has it again before a thread that slept for it is awake.
  void let_looks_pass() const {
    run_between_parts();
    constexpr int naps_max = 16;
    for (int naps = 0; naps < naps_max && looks_wait(); ++naps)
      std::this_thread::sleep_for(std::chrono::microseconds{1});
  }

  /// A read that goes on after its look, or its change, has ended.
  class Read {
  public:
    Read() = default;
    unsigned generation() const noexcept { return generation_; }

  private:
    friend class ReadGate;
    Read(Lane& lane, unsigned generation) : lane_{&lane}, generation_{generation} { ++lane.reads[generation]; }
    Lane* lane_ = nullptr;
    unsigned generation_ = 0;
  };

  Read begin_read(const Look& look) { return {look.lane_, generation_}; }
  Read begin_read(const Change&) { return {lane_of_this_thread(), generation_}; }

  /// True when somebody waits for reads to end, and may have waited for this one.
  bool end_read(const Read& read) noexcept {
    --read.lane_->reads[read.generation_];
    return awaited_;
  }

  unsigned generation() const noexcept { return generation_; }
  /// Reads that begin from now on are of the other generation.
  void begin_generation(const Change&) noexcept { generation_ ^= 1u; }

  /// Whether reads of a generation are under way. Where end_read() returns false from now on, that read is not among
  /// those that are counted here: whoever waits sets this first.
  void await_reads(bool awaited) noexcept { awaited_ = awaited; }
  bool has_reads(unsigned generation) const noexcept {
    return std::any_of(lanes_.begin(), lanes_.end(), [&](const Lane& lane) { return lane.reads[generation] != 0; });
  }

private:
  Lane& lane_of_this_thread() noexcept { return lanes_[thread_number() % lanes_.size()]; }

  std::vector<Lane> lanes_;
  unsigned generation_ = 0;
  std::atomic<bool> awaited_{false};
};

}  // namespace pageserver::storage
