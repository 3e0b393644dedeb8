#include "storage/engine/lease_line.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace pageserver::storage {

bool LeaseLine::leave(std::uint64_t place, Line& cancelled) noexcept {
  const auto found =
      std::find_if(line_.begin(), line_.end(), [&](const Waiting& waiting) { return waiting.place == place; });
  if (found == line_.end()) return false;
  cancelled.splice(cancelled.end(), line_, found);
  return true;
}

LeaseLine::Waiting* LeaseLine::grant(Line& granted) noexcept {
  if (writer_ || line_.empty()) return nullptr;
  const auto next = line_.begin();
  writer_ = next->state;
  // How long it stood in line was no idleness of its own.
  if (next->waited) writer_->last_request_ms = std::numeric_limits<std::int64_t>::max();
  writer_->epoch = next_epoch_++;
  granted.splice(granted.end(), line_, next);
  return &granted.back();
}

SessionRef LeaseLine::end() noexcept {
  last_writer_ = writer_;
  return std::exchange(writer_, nullptr);
}

}  // namespace pageserver::storage
