// Reads whose payload is received straight into the caller's buffer.
//
// A read whose answer's header is here is the current one: what comes next fills its buffer. Before that, the read that
// is answered next most likely may be expected: one receive then takes the header to the receive buffer and the payload
// to the caller's. What comes instead of the expected one is put back, so that a guess that was wrong costs a copy and
// nothing else. A read whose payload is all there has landed, and its completion is to run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace pageserver::client {

/// Ids are those of requests; 0 is none.
///
/// Threads: one at a time.
class DirectReads {
public:
  /// What is still to come of a read's payload.
  struct Target {
    std::uint64_t id = 0;
    std::span<std::byte> rest;
  };

  bool has_current() const { return current_.has_value(); }
  std::uint64_t current_id() const { return current_ ? current_->id : 0; }
  std::span<std::byte> rest() const { return current_ ? current_->rest : std::span<std::byte>{}; }
  /// The header of its answer is here, and its payload but for `rest`.
  void begin(std::uint64_t id, std::span<std::byte> rest) { current_ = Target{id, rest}; }
  /// `count` bytes were received into rest().
  void fill(std::size_t count) {
    if (current_) current_->rest = current_->rest.subspan(count);
  }

  void expect(std::uint64_t id, std::span<std::byte> into) { expected_ = {id, into}; }
  void expect_nothing() { expected_ = {}; }
  std::span<std::byte> expected() const { return expected_.rest; }
  /// The one that was expected, which is not any more.
  Target take_expected() { return std::exchange(expected_, {}); }
  /// It came, with `count` bytes of its payload. Bytes come for it only behind the last of the current one, which has
  /// landed then.
  void begin_expected(const Target& target, std::size_t count) {
    if (current_) landed_ = current_->id;
    current_ = Target{target.id, target.rest.subspan(count)};
  }

  bool has_landed() const { return landed_ != 0 || (current_ && current_->rest.empty()); }
  /// The first that has landed and was not taken yet; 0: none.
  std::uint64_t take_landed() {
    if (landed_ != 0) return std::exchange(landed_, 0);
    if (!current_ || !current_->rest.empty()) return 0;
    const std::uint64_t id = current_->id;
    current_.reset();
    return id;
  }

  void clear() noexcept {
    current_.reset();
    landed_ = 0;
    expected_ = {};
  }

private:
  std::optional<Target> current_;
  std::uint64_t landed_ = 0;  // before the current one
  Target expected_;
};

}  // namespace pageserver::client
