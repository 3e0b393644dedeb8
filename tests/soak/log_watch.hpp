// The daemon's log, read by somebody who knows what was done to it: each WARN and ERROR needs its cause.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pageserver::test::soak {

/// What was done during a life that the daemon may complain of. Bits of a set.
enum Cause : std::uint32_t {
  none = 0,
  few_descriptors = 1,
  second_name = 2,    ///< a hard link to an image
  handled = 4,        ///< an image, a log or a folder was moved or removed while it was served
  second_signal = 8,  ///< told twice to stop
  stalled_streams = 16,
  refused_start = 32,  ///< files were left so that the start has to be refused
};
using Causes = std::uint32_t;

/// Lines of WARN and ERROR for which there is no cause, and whatever a sanitizer said.
std::vector<std::string> complaints_without_cause(const std::string& log, Causes causes);

/// True when the daemon said that it recovered this store.
bool says_recovered(const std::string& log, const std::string& store);

}  // namespace pageserver::test::soak
