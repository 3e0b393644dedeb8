#include "server/connection/resumption.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "proto/framing.hpp"
#include "storage/log/log_checksum.hpp"

namespace pageserver::server {

void KeptAnswer::set_frame(std::span<const std::byte> frame) {
  const std::span<std::byte> to = make_frame(frame.size());
  std::memcpy(to.data(), frame.data(), frame.size());
}

std::span<std::byte> KeptAnswer::make_frame(std::size_t bytes) {
  free_large();
  if (bytes <= small_.size()) {
    small_bytes_ = static_cast<std::uint8_t>(bytes);
    return std::span(small_).first(bytes);
  }
  large_.resize(bytes);
  return large_;
}

Resumption::Place Resumption::place_of(std::uint64_t request_id, std::uint16_t unanswered,
                                       std::size_t ahead) const noexcept {
  if (request_id <= acknowledged_ || request_id > executed() + ahead + 1) return Place::outside;
  if (unanswered >= request_id - first_) return Place::outside;
  const std::uint64_t mark = std::max(acknowledged_, request_id - 1 - unanswered);
  // One that was carried out may come once more with what was in flight behind it.
  if (request_id <= executed()) return Place::executed;
  return request_id - mark > window_ ? Place::outside : Place::next;
}

void Resumption::acknowledge(std::uint64_t mark) noexcept {
  if (mark <= acknowledged_) return;
  const std::size_t count = std::min<std::uint64_t>(mark - acknowledged_, kept_.size());
  for (std::size_t i = 0; i < count && (kept_bytes_ != 0 || reads_ != 0 || written_ != 0); ++i) forget(kept_[i]);
  kept_.pop_front(count);
  acknowledged_ += count;
}

void Resumption::forget(KeptAnswer& answer) noexcept {
  kept_bytes_ -= answer.heap_bytes();
  reads_ -= answer.reads_again ? 1 : 0;
  written_ -= answer.is_there ? 1 : 0;
  answer.free_large();
}

void Resumption::step_over(std::uint64_t request_id) noexcept {
  acknowledge(executed());
  acknowledged_ = std::max(acknowledged_, request_id);
}

void Resumption::forget_last() noexcept {
  forget(kept_.back());
  kept_.pop_back();
}

std::uint64_t Resumption::checksum(std::span<const std::byte> payload) noexcept {
  return storage::log_checksum(payload);
}

void Resumption::take_in_hand(proto::Operation operation, std::span<const std::byte> payload) {
  RequestInHand& request = in_hand_.emplace();
  request.operation = operation;
  proto::WriteRequest write;
  if (operation == proto::Operation::write && payload.size() >= unsummed_bytes_min && !proto::decode(payload, write)) {
    request.offset = write.offset;
    request.length = static_cast<std::uint32_t>(write.data.size());
    request.unsummed = payload;
    if (summed_next_ == 0) return;
    --summed_next_;
    return sum_in_hand();
  }
  // All that a read says is its place.
  proto::ReadRequest read;
  if (operation == proto::Operation::read && !proto::decode(payload, read)) {
    request.offset = read.offset;
    request.length = read.length;
    return;
  }
  request.checksum = checksum(payload);
}

void Resumption::sum_in_hand() noexcept {
  const std::span<const std::byte> unsummed = std::exchange(in_hand_->unsummed, {});
  if (!unsummed.empty()) in_hand_->checksum = checksum(unsummed);
}

KeptAnswer& Resumption::add() {
  assert(in_hand_);
  KeptAnswer& added = kept_.push_back();
  added.begin(*in_hand_);
  in_hand_.reset();
  return added;
}

void Resumption::begun() {
  sum_in_hand();
  add();
}

void Resumption::answered(std::span<const std::byte> frame) {
  assert(!kept_.empty());
  kept_.back().set_frame(frame);
  kept_bytes_ += kept_.back().heap_bytes();
}

void Resumption::done(std::span<const std::byte> frame) {
  assert(in_hand_);
  const auto succeeded = [frame] { return proto::scan_frame(frame, UINT32_MAX).header.status == proto::Status::ok; };
  const bool is_there = !in_hand_->unsummed.empty() && succeeded();
  if (!is_there) sum_in_hand();
  KeptAnswer& added = add();
  added.is_there = is_there;
  written_ += is_there ? 1 : 0;
  const bool has_data = added.operation == proto::Operation::read && frame.size() > KeptAnswer::small_bytes_max &&
                        frame.size() == proto::frame_header_bytes + added.length && succeeded();
  if (has_data) {
    added.reads_again = true;
    ++reads_;
    return;
  }
  added.set_frame(frame);
  kept_bytes_ += added.heap_bytes();
}

bool Resumption::is_same(std::uint64_t request_id, proto::Operation operation,
                         std::span<const std::byte> payload) const noexcept {
  const KeptAnswer& kept = at(request_id);
  assert(!kept.is_there);
  if (kept.operation != operation) return false;
  proto::ReadRequest read;
  if (operation == proto::Operation::read && !proto::decode(payload, read))
    return kept.offset == read.offset && kept.length == read.length;
  return !kept.checksum || *kept.checksum == checksum(payload);
}

std::uint64_t Resumption::next_to_repeat() noexcept {
  repeated_ = std::max(*repeated_, acknowledged_) + 1;
  const std::uint64_t id = *repeated_;
  const bool is_there = id <= executed() && (at(id).reads_again || !at(id).frame().empty());
  if (is_there) return id;
  stop_repeating();
  return 0;
}

}  // namespace pageserver::server
