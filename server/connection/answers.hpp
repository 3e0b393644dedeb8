// Where the answers of one batch of requests are gathered before one send carries them all.
#pragma once

#include <string>
#include <string_view>

#include <pageserver/error.hpp>

#include "base/secrets.hpp"
#include "proto/codec.hpp"
#include "server/connection/byte_buffer.hpp"
#include "server/metrics/request_figures.hpp"

namespace pageserver::server {

class Answers {
public:
  /// Room for an answer of so many bytes with its header, so that the next add() can't fail: for an operation that is
  /// not to be answered with an error once it took effect.
  void reserve(std::size_t payload_bytes) {
    small_.reserve(proto::frame_header_bytes + payload_bytes);
    out_.reserve(proto::frame_header_bytes + payload_bytes);
  }
  template <class Answer>
  void add(std::uint64_t request_id, const Answer& answer) {
    small_.clear();
    proto::encode(small_, request_id, answer);
    take(proto::Status::ok);
  }
  void error(std::uint64_t request_id, proto::Operation operation, proto::Status status, std::string_view message) {
    small_.clear();
    std::string memory;
    proto::encode_error(small_, request_id, operation, status, base::harmless(message, memory));
    take(status);
    figures_.add_failure(operation, status);
  }
  void error(const proto::FrameHeader& header, const proto::Fault& fault) {
    error(header.request_id, header.operation, fault.status, fault.message);
  }
  void error(const proto::FrameHeader& header, const MemoryError& error);
  /// For an error that nobody foresaw: whatever it is, the client hears of it.
  void error(const proto::FrameHeader& header, std::exception_ptr problem);
  void notice(proto::Operation operation, proto::Status status, std::string_view message) {
    small_.clear();
    std::string memory;
    proto::encode_notice(small_, operation, status, base::harmless(message, memory));
    take(status);
  }
  /// One that was made before.
  void add_frame(std::span<const std::byte> frame) {
    out_.append(frame);
    ++count_;
  }
  /// An answer with status ok whose payload the caller writes in place. cancel_payload() takes it back.
  std::span<std::byte> payload(const proto::FrameHeader& header, std::uint32_t payload_bytes);
  void cancel_payload(std::uint32_t payload_bytes) {
    out_.shorten(proto::frame_header_bytes + payload_bytes);
    --count_;
  }

  /// Drops the last `bytes` of what was gathered, for a fault on order.
  void shorten(std::size_t bytes) noexcept { out_.shorten(bytes); }

  std::size_t size() const noexcept { return out_.size(); }
  std::uint32_t count() const noexcept { return count_; }
  /// Of what was added last.
  proto::Status last_status() const noexcept { return last_status_; }
  /// Of the thread that these answers belong to.
  RequestFigures& figures() noexcept { return figures_; }
  /// What is to be sent; whoever sends it consumes it.
  ByteBuffer& out() noexcept { return out_; }
  void start_batch() noexcept { count_ = 0; }
  /// Drops what was gathered, for a connection that ends.
  void forget() noexcept {
    out_.clear();
    count_ = 0;
  }

private:
  void take(proto::Status status) {
    out_.append(small_);
    ++count_;
    last_status_ = status;
  }

  proto::Bytes small_;
  ByteBuffer out_;
  std::uint32_t count_ = 0;
  proto::Status last_status_ = proto::Status::ok;
  RequestFigures figures_;
};

}  // namespace pageserver::server
