#include "storage/engine/session.hpp"

#include <algorithm>
#include <utility>

#include "base/bounds.hpp"
#include "storage/log/resume_file.hpp"

namespace pageserver::storage {

EngineSession::EngineSession(std::shared_ptr<Engine> engine, SessionRef state)
    : engine_{std::move(engine)}, state_{std::move(state)} {}

EngineSession::~EngineSession() { engine_->end_session(state_); }

SessionView EngineSession::view() {
  engine_->home().await_verdict();
  SessionView view = engine_->view(*state_);
  view.pages += state_->private_pages;
  return view;
}

void EngineSession::check_writable(std::string_view action) const {
  if (state_->request.access == Access::read)
    throw MemoryError{Errc::read_only,
                      std::string{action} + ": the session has access=read; open it with access=write or fork"};
}

std::uint64_t EngineSession::grow(std::uint64_t new_pages) {
  engine_->home().await_verdict();
  check_writable("grow");
  return state_->bytes ? grow_private(new_pages) : engine_->publish_grow(state_, new_pages);
}

std::uint64_t EngineSession::grow_private(std::uint64_t new_pages) {
  const std::uint64_t previous = pages();
  engine_->check_growth(previous, new_pages);
  // A fork never becomes a file.
  if (state_->request.access == Access::write) engine_->check_file_size(previous + new_pages);
  state_->private_pages += new_pages;
  return previous;
}

void EngineSession::read(std::uint64_t offset, std::span<std::byte> buffer) {
  engine_->home().await_verdict();
  if (!state_->bytes) return engine_->read(*state_, offset, buffer);
  const SessionView view = engine_->view(*state_);
  base::check_bounds("read", offset, buffer.size(), (view.pages + state_->private_pages) * page_size);
  engine_->check_readable(*state_);
  if (buffer.empty()) return;
  if (!state_->bytes->covers(offset, buffer.size())) engine_->read_below(*state_, offset, buffer);
  state_->bytes->read_over(offset, buffer);
}

void EngineSession::write(std::uint64_t offset, std::span<const std::byte> data) {
  engine_->home().await_verdict();
  check_writable("write");
  if (!state_->bytes) {
    const LogRange range{offset, data.size(), false};
    return engine_->publish(state_, "write", {&range, 1}, data);
  }
  base::check_bounds("write", offset, data.size(), pages() * page_size);
  if (state_->request.access == Access::write) engine_->check_file_limit("write", offset, data.size());
  change_private(data.size(), [&] { state_->bytes->write(offset, data); });
}

template <class Change>
void EngineSession::change_private(std::uint64_t bytes, const Change& change) {
  const std::uint64_t rounds_seen = engine_->rounds_ended();
  try {
    change();
    state_->room_sought = 0;
  } catch (const MemoryError& error) {
    if (error.errc() != Errc::no_space) throw;
    throw engine_->no_room_error(state_, error, bytes, rounds_seen);
  }
}

bool EngineSession::write_together(std::span<const Write> writes) {
  engine_->home().await_verdict();
  if (state_->request.access != Access::write || state_->bytes) return false;
  return engine_->publish_together(state_, writes);
}

void EngineSession::zero(std::uint64_t offset, std::uint64_t length) {
  engine_->home().await_verdict();
  check_writable("zero");
  if (!state_->bytes) {
    const LogRange range{offset, length, true};
    return engine_->publish(state_, "zero", {&range, 1}, {});
  }
  base::check_bounds("zero", offset, length, pages() * page_size);
  if (state_->request.access == Access::write) engine_->check_file_limit("zero", offset, length);
  change_private(0, [&] { state_->bytes->zero(offset, length); });
}

namespace {

/// Appends `[begin, end)` of a base range to `ranges`, without what is private.
void add_uncovered(std::uint64_t begin, std::uint64_t end, const std::vector<LogRange>& own,
                   std::vector<ByteRange>& ranges) {
  for (const LogRange& range : own) {
    if (range.offset + range.length <= begin) continue;
    if (range.offset >= end) break;
    if (range.offset > begin) ranges.push_back({begin, range.offset - begin});
    begin = range.offset + range.length;
    if (begin >= end) return;
  }
  ranges.push_back({begin, end - begin});
}

}  // namespace

std::vector<ByteRange> EngineSession::data_ranges(std::uint64_t offset, std::uint64_t length, std::size_t ranges_max,
                                                  std::uint64_t& described_until) {
  engine_->home().await_verdict();
  const SessionView view = engine_->view(*state_);
  base::check_bounds("data_ranges", offset, length, (view.pages + state_->private_pages) * page_size);
  engine_->check_readable(*state_);
  const std::uint64_t published = view.pages * page_size;
  const std::uint64_t end = offset + length;
  described_until = end;
  std::vector<ByteRange> base;
  if (offset < published) {
    const std::uint64_t below = std::min(end, published) - offset;
    base = engine_->data_ranges(*state_, offset, below, ranges_max, described_until);
    if (described_until == offset + below) described_until = end;
  }
  if (!state_->bytes || state_->bytes->empty()) return base;

  const std::vector<LogRange> own = state_->bytes->ranges(offset, described_until - offset);
  std::vector<ByteRange> ranges;
  for (const ByteRange& range : base) add_uncovered(range.offset, range.offset + range.length, own, ranges);
  for (const LogRange& range : own) {
    const std::uint64_t begin = std::max(range.offset, offset);
    const std::uint64_t stop = std::min(range.offset + range.length, described_until);
    if (!range.zero && begin < stop) ranges.push_back({begin, stop - begin});
  }
  std::sort(ranges.begin(), ranges.end());
  if (ranges.size() > ranges_max) {
    described_until = ranges[ranges_max].offset;
    ranges.resize(ranges_max);
  }
  return ranges;
}

void EngineSession::flush(Done done) {
  engine_->home().await_verdict();
  if (state_->request.access == Access::write) return engine_->flush(state_, std::move(done));
  done(nullptr, engine_->view(*state_).version);
}

SessionView EngineSession::discard() {
  engine_->home().await_verdict();
  const SessionView left = engine_->view(*state_);
  if (state_->bytes) state_->bytes->clear();
  state_->private_pages = 0;
  return left;
}

Refreshed EngineSession::refresh() {
  engine_->home().await_verdict();
  return engine_->refresh(*state_);
}

Stat EngineSession::stat(std::int64_t now_ms) { return engine_->stat(now_ms, state_.get()); }

std::optional<HolderStat> EngineSession::break_lease(std::uint64_t epoch, const std::string& reason,
                                                     std::int64_t now_ms) {
  return engine_->break_lease(epoch, reason, now_ms, state_.get());
}

bool EngineSession::may_write(std::function<void()> room) {
  engine_->home().await_verdict();
  if (state_->request.access != Access::write) return true;
  return engine_->may_write(state_, std::move(room));
}

bool EngineSession::room_may_come(std::function<void()> room) {
  return engine_->room_may_come(state_, std::move(room));
}

void EngineSession::on_notice(Notice notice) { engine_->on_notice(state_, std::move(notice)); }

void EngineSession::remember(const ResumeEntry* entry) {
  const EntryBytes encoded = entry == nullptr ? EntryBytes{} : encode_entry(*entry);
  if (state_->entry != nullptr) {
    *state_->entry = encoded;
  } else if (entry != nullptr) {
    state_->entry = std::make_unique<EntryBytes>(encoded);
  }
}

void EngineSession::note_request(std::int64_t now_ms) noexcept {
  state_->last_request_ms.store(now_ms, std::memory_order_relaxed);
}

}  // namespace pageserver::storage
