#include "storage/engine/log_tail.hpp"

#include <algorithm>

namespace pageserver::storage {

bool LogTail::begin_record(bool wants_own) noexcept {
  const bool new_block = wants_own || sealed_position_ >= appended_.position || sync_awaits_record_;
  shares_block_ = !new_block;
  return new_block;
}

Background::Ready LogTail::end_record() noexcept {
  shares_block_ = false;
  Background::Ready ready;
  if (std::exchange(sync_awaits_record_, false)) {
    sealed_position_ = appended_.position;
    ready.swap(awaiting_sync_);
  }
  return ready;
}

std::optional<LogPoint> LogTail::begin_sync(bool at_once) noexcept {
  if (shares_block_ && !at_once) {
    sync_awaits_record_ = true;
    return std::nullopt;
  }
  sealed_position_ = appended_.position;
  return appended_;
}

bool LogTail::wants_writeback() const noexcept {
  constexpr std::uint64_t writeback_bytes = 4ull << 20;
  return !writeback_scheduled_ && appended_.position - writeback_position_ >= writeback_bytes;
}

std::uint64_t LogTail::begin_writeback() noexcept {
  writeback_scheduled_ = false;
  return std::max(writeback_position_, synced_.position);
}

}  // namespace pageserver::storage
