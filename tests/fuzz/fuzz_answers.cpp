// Every decoder of answers, and of the texts of errors and notices (operation 0 here).
#include "tests/fuzz/canonical.hpp"

using namespace pageserver::proto;

namespace {

void check_text(std::span<const std::byte> payload) {
  ErrorText text;
  if (const Decoded fault = decode(payload, text)) return fuzz::check_fault(*fault);
  Bytes frame;
  encode_error(frame, 1, Operation::read, Status::provider_error, text.message);
  fuzz::require(frame.size() == frame_header_bytes + payload.size() &&
                    std::equal(payload.begin(), payload.end(), frame.begin() + frame_header_bytes),
                "a text that decodes encodes to the same bytes");
}

/// Whatever a text is, what is sent of it can be decoded.
void check_repair(std::span<const std::byte> bytes) {
  Bytes frame;
  encode_notice(frame, Operation::goodbye, Status::stopping,
                {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  ErrorText text;
  fuzz::require(!decode(std::span(frame).subspan(frame_header_bytes), text), "a text that was sent decodes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  fuzz::check_payload<test::Answers>(input);
  if (!input.empty() && input[0] == std::byte{0}) {
    check_text(input.subspan(1));
    check_repair(input.subspan(1));
  }
  return 0;
}
