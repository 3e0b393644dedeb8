// Does on an image what a trace did, and compares every answer with the recorded one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/io_memory.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/pagectl/work/activity.hpp"
#include "client/pagectl/work/slots.hpp"
#include "client/pagectl/work/trace_reader.hpp"

namespace pageserver::pagectl {

struct ReplayCounts {
  std::uint64_t records = 0;
  std::uint64_t grows = 0;
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;  ///< of zeros too
  std::uint64_t flushes = 0;
  std::uint64_t out_of_bounds = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
};

class Replayer {
public:
  /// `depth`: requests in flight.
  Replayer(TraceReader& trace, Image& image, std::size_t depth);
  Replayer(const Replayer&) = delete;
  Replayer& operator=(const Replayer&) = delete;

  /// Replays the next record; false when there is none and all are answered. Throws damaged with the number of the
  /// first record whose answer is not the recorded one, and the image's own errors with theirs.
  bool step();
  const ReplayCounts& counts() const { return counts_; }
  /// What took how long, and where, since the first record; of pages that the trace ends with.
  const Activity& activity() const { return *activity_; }

private:
  using Clock = std::chrono::steady_clock;
  struct Slot {
    TraceRecord record;
    Clock::time_point started;
    base::IoBytes buffer;
  };

  void grow(const TraceRecord& record);
  void read(const TraceRecord& record);
  void write(const TraceRecord& record);
  void flush(const TraceRecord& record);
  void out_of_bounds(const TraceRecord& record);

  void begin(Slot& slot, const TraceRecord& record);
  void took(Clock::time_point since);
  Image::Done done_with(Slot& slot);
  void require_in_bounds(const TraceRecord& record, const std::string& action) const;
  std::string label(std::uint64_t record) const;

  TraceReader& trace_;
  Image& image_;
  std::uint64_t size_bytes_;  // as the trace has it
  ReplayCounts counts_;
  Clock::time_point start_ = Clock::now();
  std::shared_ptr<Activity> activity_;  // with the completions, as the slots are
  Slots<Slot> slots_;
};

}  // namespace pageserver::pagectl
