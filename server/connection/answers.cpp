#include "server/connection/answers.hpp"

#include <new>
#include <string>

#include "proto/library_values.hpp"

namespace pageserver::server {

void Answers::error(const proto::FrameHeader& header, const MemoryError& error) {
  this->error(header.request_id, header.operation, proto::status_of(error.errc()), error.what());
}

void Answers::error(const proto::FrameHeader& header, std::exception_ptr problem) {
  try {
    std::rethrow_exception(std::move(problem));
  } catch (const MemoryError& error) {
    this->error(header, error);
  } catch (const std::bad_alloc&) {
    error(header.request_id, header.operation, proto::Status::limit_exceeded,
          proto::to_string(header.operation) +
              ": the daemon is out of memory; try again with less, give it more (ulimit -v, the container's "
              "limit), or lower limits.private_memory_bytes or limits.connections");
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
