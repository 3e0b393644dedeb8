#include "client/pagectl/work/replayer.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <pageserver/error.hpp>

#include "base/bounds.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/work/hash.hpp"

namespace pageserver::pagectl {
namespace {

std::string place(const TraceRecord& record) {
  return "offset=" + std::to_string(record.offset) + " length=" + std::to_string(record.length);
}

/// Memory that is not touched: a call that must fail may name gigabytes.
struct Untouched {
  explicit Untouched(std::size_t size)
      : bytes(static_cast<std::byte*>(std::calloc(std::max<std::size_t>(size, 1), 1))) {
    if (bytes == nullptr) throw std::bad_alloc();
  }
  Untouched(const Untouched&) = delete;
  Untouched& operator=(const Untouched&) = delete;
  ~Untouched() { std::free(bytes); }
  std::byte* bytes;
};

}  // namespace

Replayer::Replayer(TraceReader& trace, Image& image, std::size_t depth)
    : trace_(trace),
      image_(image),
      size_bytes_(trace.header().initial_size_bytes),
      activity_(std::make_shared<Activity>(trace.header().final_size_bytes / page_size)),
      slots_(depth) {}

void Replayer::begin(Slot& slot, const TraceRecord& record) {
  slot.record = record;
  slot.buffer.resize(record.length);
  activity_->pages.add(record.offset, record.length, record.op != TraceOp::read);
  slot.started = Clock::now();
}

void Replayer::took(Clock::time_point since) {
  const auto now = Clock::now();
  activity_->timeline.add(now - start_, now - since);
}

std::string Replayer::label(std::uint64_t record) const {
  return "replay record " + std::to_string(record) + " of " + std::to_string(trace_.header().records);
}

bool Replayer::step() {
  TraceRecord record;
  if (!trace_.next(record)) {
    slots_.drain(image_);
    return false;
  }
  switch (record.op) {
    case TraceOp::grow: grow(record); break;
    case TraceOp::read: read(record); break;
    case TraceOp::write:
    case TraceOp::zero: write(record); break;
    case TraceOp::flush: flush(record); break;
    case TraceOp::out_of_bounds: out_of_bounds(record); break;
  }
  ++counts_.records;
  return true;
}

void Replayer::grow(const TraceRecord& record) {
  slots_.drain(image_);
  ++counts_.grows;
  std::uint64_t previous = 0;
  const auto started = Clock::now();
  try {
    previous = image_.grow(record.new_pages);
  } catch (const MemoryError& error) {
    throw MemoryError(error.errc(), label(record.number) + ": " + error.what());
  }
  took(started);
  // The engine's provider answers in bytes, ours in pages.
  if (previous * page_size != record.returned) {
    throw MemoryError(Errc::damaged, label(record.number) + ": grow new_pages=" + std::to_string(record.new_pages) +
                                         " returned " + std::to_string(previous) + " pages, recorded are " +
                                         std::to_string(record.returned) + " bytes");
  }
  size_bytes_ = record.returned + record.new_pages * page_size;
}

void Replayer::read(const TraceRecord& record) {
  ++counts_.reads;
  counts_.bytes_read += record.length;
  require_in_bounds(record, "read");
  Slot& slot = slots_.wait_for_one(image_);
  begin(slot, record);
  if (record.length > image_.request_bytes_max()) {
    std::exception_ptr error;
    try {
      image_.read(record.offset, slot.buffer);
    } catch (const MemoryError&) {
      error = std::current_exception();
    }
    done_with(slot)(error);
  } else {
    image_.start_read(record.offset, slot.buffer, done_with(slot));
  }
}

void Replayer::write(const TraceRecord& record) {
  ++counts_.writes;
  counts_.bytes_written += record.length;
  require_in_bounds(record, "write");
  Slot& slot = slots_.wait_for_one(image_);
  begin(slot, record);
  if (record.op == TraceOp::write) {
    trace_.data(slot.buffer);
  } else {
    std::fill(slot.buffer.begin(), slot.buffer.end(), std::byte{0});
  }
  slot.started = Clock::now();  // the trace is a file, too, and does not count
  if (record.length > image_.request_bytes_max()) {
    std::exception_ptr error;
    try {
      image_.write(record.offset, slot.buffer);
    } catch (const MemoryError&) {
      error = std::current_exception();
    }
    done_with(slot)(error);
  } else {
    image_.start_write(record.offset, slot.buffer, done_with(slot));
  }
}

void Replayer::flush(const TraceRecord& record) {
  slots_.drain(image_);
  ++counts_.flushes;
  const auto started = Clock::now();
  try {
    image_.flush();
  } catch (const MemoryError& error) {
    throw MemoryError(error.errc(), label(record.number) + ": " + error.what());
  }
  took(started);
}

void Replayer::out_of_bounds(const TraceRecord& record) {
  slots_.drain(image_);
  ++counts_.out_of_bounds;
  const std::string action = record.failed_write ? "write " : "read ";
  if (base::in_bounds(record.offset, record.length, size_bytes_)) {
    throw MemoryError(Errc::damaged,
                      label(record.number) + ": " + action + place(record) +
                          " is recorded as out of bounds and lies within size=" + std::to_string(size_bytes_));
  }
  const Untouched memory(record.length);
  try {
    if (record.failed_write) {
      image_.write(record.offset, {memory.bytes, record.length});
    } else {
      image_.read(record.offset, {memory.bytes, record.length});
    }
  } catch (const MemoryError& error) {
    if (error.errc() == Errc::out_of_bounds) return;
    throw MemoryError(error.errc(), label(record.number) + ": " + error.what());
  }
  throw MemoryError(Errc::damaged,
                    label(record.number) + ": " + action + place(record) + " succeeded, recorded is out_of_bounds");
}

void Replayer::require_in_bounds(const TraceRecord& record, const std::string& action) const {
  // Before any memory is taken for it: the length comes from a file.
  if (base::in_bounds(record.offset, record.length, size_bytes_)) return;
  throw MemoryError(Errc::damaged, label(record.number) + ": " + action + " " + place(record) +
                                       " exceeds size=" + std::to_string(size_bytes_) + ", recorded is success");
}

// Of several records that did not go as recorded the first one counts, in whatever order the answers come.
Image::Done Replayer::done_with(Slot& slot) {
  return [state = slots_.state(), activity = activity_, start = start_, &slot,
          name = label(slot.record.number)](const std::exception_ptr& error) {
    const auto now = Clock::now();
    activity->timeline.add(now - start, now - slot.started);
    const TraceRecord& record = slot.record;
    state->give_back(slot);
    if (error) {
      try {
        std::rethrow_exception(error);
      } catch (const MemoryError& reason) {
        state->fail(std::make_exception_ptr(MemoryError(reason.errc(), name + ": " + reason.what())), record.number);
      } catch (...) {
        state->fail(error, record.number);
      }
      return;
    }
    if (record.op != TraceOp::read) return;
    const auto hash = hash_bytes(slot.buffer);
    if (hash == record.hash) return;
    const auto problem =
        name + ": read " + place(record) + " has hash " + hex16(hash) + ", recorded is " + hex16(record.hash);
    state->fail(std::make_exception_ptr(MemoryError(Errc::damaged, problem)), record.number);
  };
}

}  // namespace pageserver::pagectl
