#include "server/connection/buffer_account.hpp"

#include <algorithm>

#include "base/clock.hpp"

namespace pageserver::server {

void BufferAccount::settle(const Kept& kept) noexcept {
  answers_bytes_.store(kept.answers, std::memory_order_relaxed);
  const std::uint64_t bytes = std::max(kept.input, admitted_bytes_) + kept.output + kept.answers;
  const std::uint64_t charged = bytes > BufferRoom::free_bytes ? bytes - BufferRoom::free_bytes : 0;
  const std::uint64_t before = bytes_.load(std::memory_order_relaxed);
  if (charged == 0 && before == 0) return;
  if (before == 0 || kept.moved_ever - moved_before_ >= progress_bytes) {
    since_ms_ = base::monotonic_ms();
    moved_before_ = kept.moved_ever;
  }
  bytes_ = charged;
  room_.change(*peer_, before, charged);
}

void BufferAccount::begin_anew() noexcept {
  admitted_bytes_ = moved_before_ = 0;
  waits_ = is_asked_ = false;
}

bool BufferAccount::admit(std::uint64_t frame_bytes) noexcept {
  if (is_admitted(frame_bytes)) return true;
  if (!room_.has(*peer_, frame_bytes)) {
    waits_ = true;
    return false;
  }
  waits_in_a_row_ = 0;
  admitted_bytes_ = frame_bytes;
  return true;
}

bool BufferAccount::may_answer(std::uint64_t bytes) noexcept {
  if (bytes > BufferRoom::free_bytes && !room_.has(*peer_, bytes)) {
    waits_ = true;
    return false;
  }
  waits_in_a_row_ = 0;
  return true;
}

}  // namespace pageserver::server
