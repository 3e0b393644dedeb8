#include "storage/engine/session.hpp"

#include <algorithm>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/bounds.hpp"
#include "storage/log/resume_file.hpp"

namespace pageserver::storage {

EngineSession::EngineSession(std::shared_ptr<Engine> engine, SessionRef state)
    : engine_{std::move(engine)}, state_{std::move(state)} {}

EngineSession::~EngineSession() { engine_->end_session(state_, is_busy()); }

bool EngineSession::is_busy() const noexcept {
  return state_->callbacks.is_overdue() || (late_call_ != nullptr && !late_call_->has_ended());
}

void EngineSession::enter(std::string_view action) {
  if (engine_->home().calls() == nullptr) return;
  // Who waited in vain does not wait again: of many requests that were sent together each would hold up the next.
  if (!waited_in_vain_) engine_->home().await_verdict();
  waited_in_vain_ = !engine_->home().may_answer();
  if (waited_in_vain_) throw engine_->home().lost_error();
  if (is_busy()) throw engine_->home().late_error(action);
  late_call_ = nullptr;
  static_cast<void>(private_bytes());  // as it is before the call
}

template <class Body>
auto EngineSession::apart(std::string_view action, Body body) {
  using Result = std::invoke_result_t<Body&>;
  struct Answer {
    std::conditional_t<std::is_void_v<Result>, bool, std::optional<Result>> value{};
  };
  const auto answer = std::make_shared<Answer>();
  // What it refers to stays for as long as the store does not close, and that waits for the task.
  const auto call = engine_->home().calls()->begin([engine = engine_.get(), body = std::move(body), answer,
                                                    state = state_, task = engine_->begin_task(action)]() mutable {
    engine->home().await_verdict();  // the process may have stood still since enter()
    if constexpr (std::is_void_v<Result>)
      body();
    else
      answer->value = body();
  });
  if (!call->wait_until(engine_->home().calls()->deadline())) {
    late_call_ = call;
    throw engine_->home().late_error(action);
  }
  call->check();
  if constexpr (!std::is_void_v<Result>) return std::move(*answer->value);
}

namespace {

using Bytes = std::shared_ptr<const std::vector<std::byte>>;
Bytes copy_of(std::span<const std::byte> data) {
  return std::make_shared<const std::vector<std::byte>>(data.begin(), data.end());
}

}  // namespace

SessionView EngineSession::view() {
  enter("size of");
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
  enter("grow of");
  check_writable("grow");
  if (state_->bytes) return grow_private(new_pages);
  if (engine_->home().calls() == nullptr) return engine_->publish_grow(state_, new_pages);
  return apart("grow of",
               [engine = engine_.get(), state = state_, new_pages] { return engine->publish_grow(state, new_pages); });
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
  enter("read of");
  if (!state_->bytes) return engine_->read(*state_, offset, buffer);
  if (engine_->home().calls() == nullptr || !state_->bytes->spilled())
    return read_over(*engine_, *state_, offset, buffer);
  // What is under it is read in time, but the spill lies in the home as well.
  const auto bytes = apart("read of", [engine = engine_.get(), state = state_, offset, length = buffer.size()] {
    std::vector<std::byte> own(length);
    read_over(*engine, *state, offset, own);
    return own;
  });
  std::copy(bytes.begin(), bytes.end(), buffer.begin());
}

void EngineSession::read_over(Engine& engine, SessionState& state, std::uint64_t offset, std::span<std::byte> buffer) {
  const SessionView view = engine.view(state);
  base::check_bounds("read", offset, buffer.size(), (view.pages + state.private_pages) * page_size);
  engine.check_readable(state);
  if (buffer.empty()) return;
  if (!state.bytes->covers(offset, buffer.size())) engine.read_below(state, offset, buffer);
  state.bytes->read_over(offset, buffer);
}

void EngineSession::write(std::uint64_t offset, std::span<const std::byte> data) {
  enter("write to");
  check_writable("write");
  if (!state_->bytes) {
    const LogRange range{offset, data.size(), false};
    if (engine_->home().calls() == nullptr) return engine_->publish(state_, "write", {&range, 1}, data);
    return apart("write to", [engine = engine_.get(), state = state_, range, own = copy_of(data)] {
      engine->publish(state, "write", {&range, 1}, *own);
    });
  }
  base::check_bounds("write", offset, data.size(), pages() * page_size);
  if (state_->request.access == Access::write) engine_->check_file_limit("write", offset, data.size());
  const auto write = [](SessionState& state, std::uint64_t at, std::span<const std::byte> bytes) {
    state.bytes->write(at, bytes);
  };
  change_private(data.size(), [&] {
    if (engine_->home().calls() == nullptr || !state_->bytes->may_spill(data.size()))
      return write(*state_, offset, data);
    apart("write to", [write, state = state_, offset, own = copy_of(data)] { write(*state, offset, *own); });
  });
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
  enter("write to");
  if (state_->request.access != Access::write || state_->bytes) return false;
  if (engine_->home().calls() == nullptr) return engine_->publish_together(state_, writes);
  std::vector<Write> own_writes;
  std::vector<Bytes> own;
  for (const Write& write : writes) {
    own.push_back(copy_of(write.data));
    own_writes.push_back({write.offset, *own.back()});
  }
  return apart("write to", [engine = engine_.get(), state = state_, own_writes = std::move(own_writes),
                            own = std::move(own)] { return engine->publish_together(state, own_writes); });
}

void EngineSession::zero(std::uint64_t offset, std::uint64_t length) {
  enter("zero of");
  check_writable("zero");
  if (!state_->bytes) {
    const LogRange range{offset, length, true};
    if (engine_->home().calls() == nullptr) return engine_->publish(state_, "zero", {&range, 1}, {});
    return apart("zero of", [engine = engine_.get(), state = state_, range] {
      engine->publish(state, "zero", {&range, 1}, {});
    });
  }
  base::check_bounds("zero", offset, length, pages() * page_size);
  if (state_->request.access == Access::write) engine_->check_file_limit("zero", offset, length);
  change_private(0, [&] {
    // At its ends it may fill a block with bytes.
    constexpr std::uint64_t ends_bytes = 2 * PrivateBytes::block_bytes;
    if (engine_->home().calls() == nullptr || !state_->bytes->may_spill(ends_bytes))
      return state_->bytes->zero(offset, length);
    apart("zero of", [state = state_, offset, length] { state->bytes->zero(offset, length); });
  });
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
  enter("data_ranges of");
  if (engine_->home().calls() == nullptr)
    return find_data_ranges(*engine_, *state_, offset, length, ranges_max, described_until);
  auto [ranges, until] = apart("data_ranges of", [engine = engine_.get(), state = state_, offset, length, ranges_max] {
    std::uint64_t described = 0;
    auto found = find_data_ranges(*engine, *state, offset, length, ranges_max, described);
    return std::pair{std::move(found), described};
  });
  described_until = until;
  return std::move(ranges);
}

std::vector<ByteRange> EngineSession::find_data_ranges(Engine& engine, SessionState& state, std::uint64_t offset,
                                                       std::uint64_t length, std::size_t ranges_max,
                                                       std::uint64_t& described_until) {
  const SessionView view = engine.view(state);
  base::check_bounds("data_ranges", offset, length, (view.pages + state.private_pages) * page_size);
  engine.check_readable(state);
  const std::uint64_t published = view.pages * page_size;
  const std::uint64_t end = offset + length;
  described_until = end;
  std::vector<ByteRange> base;
  if (offset < published) {
    const std::uint64_t below = std::min(end, published) - offset;
    base = engine.data_ranges(state, offset, below, ranges_max, described_until);
    if (described_until == offset + below) described_until = end;
  }
  if (!state.bytes || state.bytes->empty()) return base;

  const std::vector<LogRange> own = state.bytes->ranges(offset, described_until - offset);
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
  try {
    enter("flush of");
  } catch (const MemoryError&) {
    return done(std::current_exception(), {});
  }
  if (state_->request.access == Access::write) return engine_->flush(state_, std::move(done));
  done(nullptr, engine_->view(*state_).version);
}

SessionView EngineSession::discard() {
  enter("discard of");
  const SessionView left = engine_->view(*state_);
  if (state_->bytes && engine_->home().calls() != nullptr && state_->bytes->spilled())
    apart("discard of", [state = state_] { state->bytes->clear(); });
  else if (state_->bytes)
    state_->bytes->clear();
  state_->private_pages = 0;
  return left;
}

Refreshed EngineSession::refresh() {
  enter("refresh of");
  return engine_->refresh(*state_);
}

Stat EngineSession::stat(std::int64_t now_ms) {
  enter("stat of");
  if (engine_->home().calls() == nullptr) return engine_->stat(now_ms, state_.get());
  return apart("stat of",
               [engine = engine_.get(), state = state_, now_ms] { return engine->stat(now_ms, state.get()); });
}

std::optional<HolderStat> EngineSession::break_lease(std::uint64_t epoch, const std::string& reason,
                                                     std::int64_t now_ms) {
  return engine_->break_lease(epoch, reason, now_ms, state_.get());
}

bool EngineSession::may_write(std::function<void()> room) {
  enter("write to");
  if (state_->request.access != Access::write) return true;
  return engine_->may_write(state_, std::move(room));
}

bool EngineSession::room_may_come(std::function<void()> room) {
  return engine_->room_may_come(state_, std::move(room));
}

void EngineSession::on_notice(Notice notice) { engine_->on_notice(state_, std::move(notice)); }

void EngineSession::publish_remembered() {
  enter("open");
  if (engine_->home().calls() == nullptr) return engine_->publish_remembered(state_);
  apart("open", [engine = engine_.get(), state = state_] { engine->publish_remembered(state); });
}

std::uint64_t EngineSession::private_bytes() const noexcept {
  if (state_->bytes && !is_busy()) private_bytes_ = state_->bytes->bytes();
  return private_bytes_;
}

void EngineSession::remember(const ResumeEntry* entry) {
  if (is_busy()) return;  // the change that comes is refused
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
