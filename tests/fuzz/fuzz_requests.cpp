// Every decoder of requests.
#include "tests/fuzz/canonical.hpp"

using namespace pageserver::proto;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::check_payload<test::Requests>(std::as_bytes(std::span(data, size)));
  return 0;
}
