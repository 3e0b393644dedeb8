// The engine's recorded workloads, in memory, so that only the provider is measured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <pageserver/memory_provider.hpp>

#include "client/pagectl/work/trace_reader.hpp"

namespace pageserver::bench {

struct Workload {
  std::vector<std::byte> initial;  ///< the image at the start
  std::vector<pagectl::TraceRecord> records;
  std::vector<std::byte> data;                     ///< of all writes, one after the other
  std::vector<std::uint64_t> new_pages_in_commit;  ///< pages that were not touched in an earlier commit
  std::uint64_t final_hash = 0;
};

/// One of tests/fixtures/engine.
Workload load_workload(const std::string& name);

/// Every call of the workload; `committed` after each flush.
void replay(const Workload& workload, MemoryProvider& image, const std::function<void()>& committed);

bool has_final_image(const Workload& workload, MemoryProvider& image);

}  // namespace pageserver::bench
