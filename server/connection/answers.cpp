#include "server/connection/answers.hpp"

#include <new>
#include <string>

namespace pageserver::server {

proto::Status status_of(Errc code) noexcept {
  switch (code) {
    case Errc::out_of_bounds: return proto::Status::out_of_bounds;
    case Errc::provider_error: return proto::Status::provider_error;
    case Errc::busy: return proto::Status::busy;
    case Errc::lease_lost: return proto::Status::lease_lost;
    case Errc::read_only: return proto::Status::read_only;
    case Errc::snapshot_too_old: return proto::Status::snapshot_too_old;
    case Errc::no_space: return proto::Status::no_space;
    case Errc::limit_exceeded: return proto::Status::limit_exceeded;
    case Errc::not_found: return proto::Status::not_found;
    case Errc::already_exists: return proto::Status::already_exists;
    case Errc::protocol_error: return proto::Status::protocol_error;
    case Errc::timed_out: return proto::Status::timed_out;
    case Errc::unsupported: return proto::Status::unsupported;
    case Errc::invalid_argument: return proto::Status::invalid_argument;
    case Errc::permission_denied: return proto::Status::permission_denied;
    case Errc::damaged: return proto::Status::damaged;
    case Errc::connection_lost: break;  // says nothing about a store
  }
  return proto::Status::provider_error;
}

void Answers::error(const proto::FrameHeader& header, const MemoryError& error) {
  this->error(header.request_id, header.operation, status_of(error.errc()), error.what());
}

void Answers::error(const proto::FrameHeader& header, std::exception_ptr problem) {
  try {
    std::rethrow_exception(std::move(problem));
  } catch (const MemoryError& error) {
    this->error(header, error);
  } catch (const std::bad_alloc&) {
    error(header.request_id, header.operation, proto::Status::limit_exceeded,
          proto::to_string(header.operation) + ": the daemon is out of memory; try again with less");
  } catch (const std::exception& error) {
    this->error(header.request_id, header.operation, proto::Status::provider_error,
                proto::to_string(header.operation) + ": " + error.what());
  }
}

std::span<std::byte> Answers::payload(const proto::FrameHeader& header, std::uint32_t payload_bytes) {
  const std::span<std::byte> frame = out_.extend(proto::frame_header_bytes + payload_bytes);
  proto::encode_header(frame.first<proto::frame_header_bytes>(),
                       {header.operation, proto::flag_answer, header.request_id, payload_bytes, proto::Status::ok, 0});
  ++count_;
  last_status_ = proto::Status::ok;
  return frame.subspan(proto::frame_header_bytes);
}

}  // namespace pageserver::server
