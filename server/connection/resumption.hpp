// What a session needs to outlive its connections: which of its requests were carried out, and their answers for as
// long as the client may not have them. PROTOCOL.md, "Resuming a session".
//
//   ids   ... | acknowledged() | kept answers ... | executed() | comes next
//
// Ids have no gaps, so that the kept answers are those between the two marks. Of a read that had its answer only the
// place is kept: what it saw is still there as long as the session did nothing but read. Before anything else is
// carried out Connection::keep_read_answers() reads it once more. So reads, whose answers are large, cost nothing.
// In the same way a large write is known when it comes again by what is there, for as long as the session has not
// written over it: a checksum of its bytes would take a twentieth of the time that the write takes.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/reused_queue.hpp"
#include "proto/codec.hpp"

namespace pageserver::server {

/// The request that is carried out now. Not a member type: clang 14 then finds no default constructor.
struct RequestInHand {
  proto::Operation operation{};
  std::uint64_t checksum = 0;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  std::span<const std::byte> unsummed{};  ///< a large write's payload, which may do without
};

/// One request that was carried out, or has begun to be.
class KeptAnswer {
public:
  proto::Operation operation{};
  bool reads_again = false;  ///< the answer is what is read there
  bool is_there = false;     ///< a write: what it wrote is what is read there
  /// Of its payload, but of a read's, and unless is_there. Nothing: what it wrote could not be read any more, and every
  /// write that comes by its id is taken for it.
  std::optional<std::uint64_t> checksum;
  std::uint32_t length = 0;
  std::uint64_t offset = 0;

  /// For a request that has no answer yet.
  void begin(const RequestInHand& request) noexcept {
    operation = request.operation;
    reads_again = is_there = false;
    checksum = request.checksum;
    length = request.length;
    offset = request.offset;
    small_bytes_ = 0;
  }
  /// Empty: there is none yet, or reads_again.
  std::span<const std::byte> frame() const noexcept {
    return large_.empty() ? std::span(small_).first(small_bytes_) : std::span<const std::byte>(large_);
  }
  void set_frame(std::span<const std::byte> frame);
  /// What it has on the heap goes: its place is used again.
  void free_large() noexcept {
    if (large_.capacity() != 0) std::vector<std::byte>{}.swap(large_);
  }
  /// For a frame of so many bytes that the caller writes.
  std::span<std::byte> make_frame(std::size_t bytes);
  /// Beyond the object's own.
  std::size_t heap_bytes() const noexcept { return large_.size(); }

  static constexpr std::size_t small_bytes_max = 48;  // most answers but a read's

private:
  std::uint8_t small_bytes_ = 0;
  std::array<std::byte, small_bytes_max> small_{};
  std::vector<std::byte> large_;
};

/// Threads: that of the connection.
class Resumption {
public:
  Resumption(const proto::ResumeToken& token, std::uint64_t open_request_id, std::uint32_t window) noexcept
      : token_(token), first_(open_request_id), acknowledged_(open_request_id), window_(window) {}

  const proto::ResumeToken& token() const noexcept { return token_; }
  /// The client has shown that it has the token.
  bool is_confirmed() const noexcept { return confirmed_ || executed() > first_; }
  void confirm() noexcept { confirmed_ = true; }
  std::uint64_t acknowledged() const noexcept { return acknowledged_; }
  std::uint64_t executed() const noexcept { return acknowledged_ + kept_.size(); }

  enum class Place : std::uint8_t { next, executed, outside };
  /// Where a request stands whose header says that `unanswered` directly before it are not answered; as if `ahead` more
  /// had been carried out.
  Place place_of(std::uint64_t request_id, std::uint16_t unanswered, std::size_t ahead = 0) const noexcept;
  /// All up to `mark`, which executed() does not exceed, are answered. A mark that is behind moves nothing.
  void acknowledge(std::uint64_t mark) noexcept;
  /// As the header of a request says that is not outside.
  void acknowledge(std::uint64_t request_id, std::uint16_t unanswered) noexcept {
    acknowledge(request_id - 1 - unanswered);
  }

  /// The request that is in hand: not carried out yet.
  void take_in_hand(proto::Operation operation, std::span<const std::byte> payload);
  bool has_in_hand() const noexcept { return in_hand_.has_value(); }
  /// It is answered without being carried out: what is there may be of a later one.
  void sum_in_hand() noexcept;
  void drop_in_hand() noexcept { in_hand_.reset(); }
  /// It has begun, and is answered later, before another one begins.
  void begun();
  /// The one that has begun last is answered, by this frame.
  void answered(std::span<const std::byte> frame);
  /// The one in hand was carried out, and is answered by this frame.
  void done(std::span<const std::byte> frame);

  /// Requests up to `request_id` are behind it, whether or not there were any: the client sends none of them.
  void step_over(std::uint64_t request_id) noexcept;
  /// The one that was carried out last is to come again.
  void forget_last() noexcept;

  /// One at or below executed() and above acknowledged().
  const KeptAnswer& at(std::uint64_t request_id) const noexcept { return kept_[request_id - acknowledged_ - 1]; }
  bool is_same(std::uint64_t request_id, proto::Operation operation, std::span<const std::byte> payload) const noexcept;

  /// Of the answers, what is on the heap.
  std::size_t kept_bytes() const noexcept { return kept_bytes_; }
  bool has_reads() const noexcept { return reads_ != 0; }
  /// `keep(id, answer)` gives each of the reads its frame.
  template <class Keep>
  void keep_reads(Keep keep) {
    for (std::size_t i = 0; reads_ != 0 && i < kept_.size(); ++i) {
      KeptAnswer& one = kept_[i];
      if (!one.reads_again) continue;
      keep(acknowledged_ + 1 + i, one);
      one.reads_again = false;
      --reads_;
      kept_bytes_ += one.heap_bytes();
    }
  }

  bool has_written() const noexcept { return written_ != 0; }
  /// `[offset, offset + length)` is about to be changed. `read(answer)` gives the payload of each of the writes that
  /// lie there, or nothing where it can't be read.
  template <class Read>
  void sum_written(std::uint64_t offset, std::uint64_t length, Read read) {
    for (std::size_t i = 0; written_ != 0 && i < kept_.size(); ++i) {
      KeptAnswer& one = kept_[i];
      if (!one.is_there || !(offset < one.offset + one.length && one.offset < offset + length)) continue;
      const std::optional<std::span<const std::byte>> payload = read(std::as_const(one));
      one.checksum = payload ? std::optional(checksum(*payload)) : std::nullopt;
      one.is_there = false;
      --written_;
      summed_next_ = summed_after_overlap;
    }
  }

  // The answers once more, after a resumption.
  void begin_repeating() noexcept { repeated_ = acknowledged_; }
  void stop_repeating() noexcept { repeated_.reset(); }
  bool is_repeating() const noexcept { return repeated_.has_value(); }
  /// The next one to be repeated; 0: that was the last, and none is repeated any more.
  std::uint64_t next_to_repeat() noexcept;

  static std::uint64_t checksum(std::span<const std::byte> payload) noexcept;

  static constexpr std::size_t unsummed_bytes_min = 16384;
  /// To read what is written over costs more than its checksum did: so many large writes in a row get theirs then.
  static constexpr std::uint32_t summed_after_overlap = 64;

private:
  KeptAnswer& add();
  /// It is about to leave.
  void forget(KeptAnswer& answer) noexcept;

  const proto::ResumeToken token_;
  const std::uint64_t first_;
  std::uint64_t acknowledged_;
  const std::uint32_t window_;
  bool confirmed_ = false;
  base::ReusedQueue<KeptAnswer> kept_;
  std::size_t kept_bytes_ = 0;
  std::size_t reads_ = 0;
  std::size_t written_ = 0;  ///< that are there
  std::uint32_t summed_next_ = 0;
  std::optional<RequestInHand> in_hand_;
  std::optional<std::uint64_t> repeated_;
};

}  // namespace pageserver::server
