// A lock for state that many threads look at all the time and few change. Threads that look don't share a mutex.
//
//   reading threads           lanes           a thread that changes something, under the engine's mutex
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

#include "base/thread_annotations.hpp"
#include "base/thread_number.hpp"
#include "storage/file/mutation.hpp"

namespace pageserver::storage {

/// Each thread looks through a lane of its own (where there are more threads than lanes, several share one), and a
/// change closes all lanes. So a look takes one mutex that is nearly always free and in this processor's cache, and a
/// change takes one for each lane.
///
/// The gate also counts the reads that go on after a look, in two generations.
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

  /// While it lives, nothing changes. A thread that has it takes no other lock.
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

  /// While it lives, nobody looks. One at a time: made under the engine's mutex.
  class PAGESERVER_SCOPED_CAPABILITY Change {
  public:
    explicit Change(ReadGate& gate) PAGESERVER_ACQUIRE(gate) : gate_{gate} {
      for (Lane& lane : gate_.lanes_) lane.mutex.lock();
      if (measures_.load(std::memory_order_relaxed)) closed_at_ = std::chrono::steady_clock::now();
    }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change() PAGESERVER_RELEASE() {
      if (closed_at_ != std::chrono::steady_clock::time_point{}) note_closing(closed_at_);
      for (Lane& lane : gate_.lanes_) lane.mutex.unlock();
    }

  private:
    ReadGate& gate_;
    std::chrono::steady_clock::time_point closed_at_{};
  };

  /// For benchmarks: from now on the longest time is noted for which any gate of the process was closed.
  static void measure() noexcept {
    longest_closing_ns_ = 0;
    measures_ = true;
  }
  static std::chrono::nanoseconds longest_closing() noexcept { return std::chrono::nanoseconds{longest_closing_ns_}; }

  bool looks_wait() const noexcept {
    return std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.waiting != 0; });
  }
  /// To be called between two of many changes in a row: lets waiting threads look, for at most about a millisecond. A
  /// mutex is not fair: a thread that unlocks it and locks it at once has it again before one that waited is awake.
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

  /// True when a round or a close waits for reads to end, and this may have been the last one.
  bool end_read(const Read& read) noexcept {
    --read.lane_->reads[read.generation_];
    return awaited_;
  }

  unsigned generation() const noexcept { return generation_; }
  /// Reads that begin from now on are of the other generation.
  void begin_generation(const Change&) noexcept { generation_ ^= 1u; }

  /// To be set before has_reads() is asked. A read whose end_read() returns false afterwards is not counted there.
  void await_reads(bool awaited) noexcept { awaited_ = awaited; }
  bool has_reads(unsigned generation) const noexcept {
    return std::any_of(lanes_.begin(), lanes_.end(), [&](const Lane& lane) { return lane.reads[generation] != 0; });
  }

private:
  static void note_closing(std::chrono::steady_clock::time_point since) noexcept {
    const std::int64_t took =
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - since).count();
    for (std::int64_t longest = longest_closing_ns_; took > longest;)
      if (longest_closing_ns_.compare_exchange_weak(longest, took)) return;
  }
  Lane& lane_of_this_thread() noexcept { return lanes_[thread_number() % lanes_.size()]; }

  static inline std::atomic<bool> measures_{false};
  static inline std::atomic<std::int64_t> longest_closing_ns_{0};

  std::vector<Lane> lanes_;
  unsigned generation_ = 0;
  std::atomic<bool> awaited_{false};
};

}  // namespace pageserver::storage
