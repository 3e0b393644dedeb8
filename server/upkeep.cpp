#include "server/upkeep.hpp"

#include <cstdint>

namespace pageserver::server {

void Upkeep::begin() {
  next_.begin(catalog_.look_interval(), [this] {
    catalog_.look_after_stores();
    lines_.say_left_out();
    trim_if_due();
    begin();
  });
}

// What peers had in memory and gave back lies among what is still used: the system gets it back when there was much.
void Upkeep::trim_if_due() {
  const std::uint64_t used =
      memory_.buffers.used() + memory_.private_bytes.used() + memory_.index.used() + memory_.tls.used();
  const bool much = used > memory_.bytes / 8;
  if ((much || much_before_) && !trims_->exchange(true)) {
    catalog_.lists().submit([bytes = memory_.bytes, trims = trims_] {
      trim_memory(bytes);
      *trims = false;
    });
  }
  much_before_ = much;
}

}  // namespace pageserver::server
