// The block `load`, which the answers of stat and sessions have in common.
#pragma once

#include <cstddef>

#include "proto/frame_writer.hpp"
#include "proto/messages.hpp"
#include "proto/payload_reader.hpp"

namespace pageserver::proto {

inline constexpr std::size_t load_bytes = 64;

inline Load read_load(PayloadReader& in) noexcept {
  Load load;
  for (std::uint64_t* const number :
       {&load.connections, &load.directory_requests, &load.disk_calls_waiting, &load.disk_calls_running,
        &load.disk_threads_max, &load.store_calls_waiting, &load.store_calls_stuck, &load.stuck_ms})
    *number = in.number<std::uint64_t>();
  return load;
}

inline void write_load(FrameWriter& frame, const Load& load) {
  frame.number(load.connections)
      .number(load.directory_requests)
      .number(load.disk_calls_waiting)
      .number(load.disk_calls_running)
      .number(load.disk_threads_max)
      .number(load.store_calls_waiting)
      .number(load.store_calls_stuck)
      .number(load.stuck_ms);
}

}  // namespace pageserver::proto
