// Frames in a stream: cut anywhere, one after the other, and those that end the stream.
#include "proto/framing.hpp"

#include "tests/support/catch.hpp"

#include "tests/unit/proto/all_messages.hpp"
#include "tests/unit/proto/describe.hpp"
#include "tests/unit/proto/random_messages.hpp"

namespace pageserver::proto::test {
namespace {

FrameHeader size_request_header() { return {Operation::size, 0, 7, 0, Status::ok, 0}; }

}  // namespace

TEST_CASE("a stream of every message, cut at every byte, gives the same frames") {
  RandomMessages random(7);
  Bytes stream;
  std::vector<std::size_t> borders = {0};
  for_each_message([&](auto entry) {
    typename decltype(entry)::Message message;
    if constexpr (!std::is_same_v<decltype(message), DataRangesAnswer> &&
                  !std::is_same_v<decltype(message), RefreshAnswer>) {
      random.fill(message);
    }
    encode(stream, borders.size(), message);
    borders.push_back(stream.size());
  });
  for (std::size_t frame = 0; frame + 1 < borders.size(); ++frame) {
    const std::size_t frame_bytes = borders[frame + 1] - borders[frame];
    for (std::size_t end = borders[frame]; end < borders[frame + 1]; ++end) {
      const std::size_t there = end - borders[frame];
      // A copy of its own size, so that a sanitizer sees each byte read past the end.
      const Bytes cut(stream.begin() + static_cast<std::ptrdiff_t>(borders[frame]),
                      stream.begin() + static_cast<std::ptrdiff_t>(end));
      const Scan scan = scan_frame(cut, UINT32_MAX);
      REQUIRE(scan.kind == Scan::Kind::incomplete);
      REQUIRE(scan.bytes_needed == (there < frame_header_bytes ? frame_header_bytes : frame_bytes));
    }
    const Scan scan = scan_frame(std::span(stream).subspan(borders[frame]), UINT32_MAX);
    REQUIRE(scan.kind == Scan::Kind::frame);
    REQUIRE(scan.frame_bytes == frame_bytes);
    REQUIRE(scan.header.request_id == frame + 1);
    REQUIRE(scan.payload.size() == frame_bytes - frame_header_bytes);
    REQUIRE(scan.payload.data() == stream.data() + borders[frame] + frame_header_bytes);
  }
}

TEST_CASE("two frames in one buffer are found one after the other") {
  Bytes stream;
  encode(stream, 1, ReadRequest{70, 3});
  encode(stream, 2, SizeRequest{});
  const Scan first = scan_frame(stream, 1024);
  REQUIRE(first.kind == Scan::Kind::frame);
  CHECK(first.header.operation == Operation::read);
  const Scan second = scan_frame(std::span(stream).subspan(first.frame_bytes), 1024);
  REQUIRE(second.kind == Scan::Kind::frame);
  CHECK(second.header.operation == Operation::size);
  const Scan nothing = scan_frame(std::span(stream).subspan(first.frame_bytes + second.frame_bytes), 1024);
  CHECK(nothing.kind == Scan::Kind::incomplete);
  CHECK(nothing.bytes_needed == frame_header_bytes);
}

TEST_CASE("a wrong magic is seen at its first wrong byte") {
  const std::string_view magic = "PGS1";
  for (std::size_t wrong = 0; wrong < magic.size(); ++wrong) {
    for (unsigned value = 0; value < 256; ++value) {
      if (value == static_cast<unsigned char>(magic[wrong])) continue;
      Bytes bytes;
      for (std::size_t i = 0; i < wrong; ++i) bytes.push_back(static_cast<std::byte>(magic[i]));
      REQUIRE(scan_frame(bytes, 1024).kind == Scan::Kind::incomplete);
      bytes.push_back(static_cast<std::byte>(value));
      const Scan scan = scan_frame(bytes, 1024);
      REQUIRE(scan.kind == Scan::Kind::broken);
      REQUIRE(scan.fault.status == Status::protocol_error);
      REQUIRE(scan.fault.message.find("frame begins with bytes " + hex(bytes) + ", expected 50 47 53 31") == 0);
    }
  }
}

TEST_CASE("a payload above the limit ends the stream as soon as its header is there") {
  Bytes bytes(frame_header_bytes);
  FrameHeader header{Operation::write, 0, 7, 4097, Status::ok, 0};
  const auto scan_with = [&](std::uint32_t payload_bytes, std::uint32_t limit) {
    header.payload_bytes = payload_bytes;
    encode_header(std::span<std::byte, frame_header_bytes>(bytes), header);
    return scan_frame(bytes, limit);
  };
  const Scan over = scan_with(4097, 4096);
  REQUIRE(over.kind == Scan::Kind::broken);
  CHECK(over.fault.status == Status::limit_exceeded);
  CHECK(over.fault.message == "write frame announces payload_bytes=4097, at most payload_bytes_max=4096");
  CHECK(scan_with(UINT32_MAX, UINT32_MAX - 1).kind == Scan::Kind::broken);
  const Scan at_limit = scan_with(4096, 4096);
  CHECK(at_limit.kind == Scan::Kind::incomplete);
  CHECK(at_limit.bytes_needed == frame_header_bytes + 4096);
  // The sum with the header does not wrap.
  CHECK(scan_with(UINT32_MAX, UINT32_MAX).bytes_needed == frame_header_bytes + std::size_t{UINT32_MAX});
  header.operation = static_cast<Operation>(4711);
  CHECK(scan_with(1, 0).fault.message == "operation 4711 frame announces payload_bytes=1, at most payload_bytes_max=0");
}

TEST_CASE("unknown operations, flags and statuses are frames that can be skipped") {
  Bytes bytes(frame_header_bytes);
  encode_header(std::span<std::byte, frame_header_bytes>(bytes),
                {static_cast<Operation>(4711), 0xFFFF, UINT64_MAX, 0, static_cast<Status>(0xFFFF), 0xFFFF});
  const Scan scan = scan_frame(bytes, 0);
  REQUIRE(scan.kind == Scan::Kind::frame);
  CHECK(static_cast<unsigned>(scan.header.operation) == 4711);
  CHECK(scan.header.flags == 0xFFFF);
  CHECK(scan.header.request_id == UINT64_MAX);
  CHECK(static_cast<unsigned>(scan.header.status) == 0xFFFF);
  CHECK(scan.header.reserved == 0xFFFF);
}

TEST_CASE("a request's header is refused with the status that the page says") {
  const auto status_of = [](const FrameHeader& header) {
    const auto fault = check_request_header(header);
    return fault ? to_string(fault->status) : "accepted";
  };
  CHECK(status_of(size_request_header()) == "accepted");
  for (int bit = 0; bit < 16; ++bit) {
    FrameHeader header = size_request_header();
    header.flags = static_cast<std::uint16_t>(1u << bit);
    CHECK(status_of(header) == "protocol_error");
    header = size_request_header();
    header.reserved = static_cast<std::uint16_t>(1u << bit);
    CHECK(status_of(header) == "protocol_error");
    header = size_request_header();
    header.status = static_cast<Status>(1u << bit);
    CHECK(status_of(header) == "protocol_error");
  }
  FrameHeader header = size_request_header();
  header.request_id = 0;
  CHECK(status_of(header) == "protocol_error");
  for (unsigned operation = 0; operation <= UINT16_MAX; ++operation) {
    header = size_request_header();
    header.operation = static_cast<Operation>(operation);
    REQUIRE(status_of(header) == (operation >= 1 && operation <= 25 ? "accepted" : "unsupported"));
  }
}

}  // namespace pageserver::proto::test
