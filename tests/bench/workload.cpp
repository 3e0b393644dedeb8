#include "tests/bench/workload.hpp"

#include <span>
#include <unordered_set>
#include <utility>

#include <pageserver/heap_provider.hpp>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pageserver::bench {
namespace {

using pagectl::TraceOp;
using pagectl::TraceReader;
using pagectl::TraceRecord;

std::vector<std::byte> whole(MemoryProvider& image) {
  std::vector<std::byte> bytes(image.size());
  image.read(0, bytes);
  return bytes;
}

// The only workload that does not begin with an empty image begins with what small_crud leaves.
std::vector<std::byte> image_after_small_crud() {
  HeapProvider image;
  replay(load_workload("small_crud"), image, [] {});
  return whole(image);
}

}  // namespace

Workload load_workload(const std::string& name) {
  TraceReader trace{std::string(PAGESERVER_ENGINE_FIXTURES) + "/" + name + ".wdtr.zst"};
  Workload workload;
  if (trace.header().initial_size_bytes != 0) workload.initial = image_after_small_crud();
  workload.final_hash = trace.header().final_hash;
  std::unordered_set<std::uint64_t> touched;
  std::uint64_t new_pages = 0;
  for (TraceRecord record; trace.next(record);) {
    workload.records.push_back(record);
    if (record.op == TraceOp::write) {
      const std::size_t at = workload.data.size();
      workload.data.resize(at + record.length);
      trace.data(std::span(workload.data).subspan(at));
    }
    if (record.op == TraceOp::read || record.op == TraceOp::write || record.op == TraceOp::zero) {
      const std::uint64_t end = record.offset + record.length;
      for (std::uint64_t page = record.offset / page_size; page * page_size < end; ++page)
        new_pages += touched.insert(page).second;
    }
    if (record.op == TraceOp::flush) workload.new_pages_in_commit.push_back(std::exchange(new_pages, 0));
  }
  return workload;
}

void replay(const Workload& workload, MemoryProvider& image, const std::function<void()>& committed) {
  const std::vector<std::byte> zeros(page_size);
  std::vector<std::byte> buffer(page_size);
  auto data = std::span(workload.data);
  for (const TraceRecord& record : workload.records) {
    switch (record.op) {
      case TraceOp::grow: image.grow(record.new_pages); break;
      case TraceOp::read: image.read(record.offset, std::span(buffer).first(record.length)); break;
      case TraceOp::write:
        image.write(record.offset, data.first(record.length));
        data = data.subspan(record.length);
        break;
      case TraceOp::zero: image.write(record.offset, std::span(zeros).first(record.length)); break;
      case TraceOp::flush:
        image.flush();
        committed();
        break;
      case TraceOp::out_of_bounds: break;
    }
  }
}

bool has_final_image(const Workload& workload, MemoryProvider& image) {
  const std::vector<std::byte> bytes = whole(image);
  return XXH3_64bits(bytes.data(), bytes.size()) == workload.final_hash;
}

}  // namespace pageserver::bench
