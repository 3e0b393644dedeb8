#include "base/standard_streams.hpp"

#include <fcntl.h>

namespace pageserver::base {

void occupy_standard_streams() noexcept {
  // In rising order: open() takes the lowest number that is free. Kept over exec: they stand for the streams.
  for (int stream = 0; stream <= 2; ++stream) {
    if (::fcntl(stream, F_GETFD) < 0) static_cast<void>(::open("/dev/null", stream == 0 ? O_WRONLY : O_RDONLY));
  }
}

}  // namespace pageserver::base
