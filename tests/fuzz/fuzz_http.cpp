// Whatever a peer sends to the metrics listener: the parser ends, points only into what it was given, and says the same
// of a head whatever comes behind it.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/http/request.hpp"
#include "tests/fuzz/require.hpp"

using namespace pageserver::server::http;
using pageserver::fuzz::require;

namespace {

bool is_within(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void check_request(const Request& request, const std::string& bytes) {
  require(is_within(request.path, bytes) && is_within(request.query, bytes) && is_within(request.host, bytes),
          "a part of the request is a part of what came");
  require(request.path.starts_with('/') && !request.host.empty(), "there is a path and a host");
  require(request.path.find_first_of("?# \r\n") == std::string_view::npos, "the path is one");
  require(request.host.find_first_of(" \r\n") == std::string_view::npos, "the host is one word");
  require(is_within(without_port(request.host), request.host), "a host without its port is a part of it");
  static_cast<void>(is_numeric_or_local(request.host));
  const std::string more = bytes + "GET / HTTP/1.1\r\n";
  const Parsed again = parse_request(more);
  require(
      again.state == Parsed::State::request && again.request.path == request.path && again.request.host == request.host,
      "what comes behind a head changes nothing");
  const std::size_t end = bytes.find("\r\n\r\n") + 4;
  const Parsed before = parse_request(std::string_view(bytes).substr(0, end - 1));
  require(before.state != Parsed::State::request, "a head is none before its last byte");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const Parsed parsed = parse_request(bytes);
  switch (parsed.state) {
    case Parsed::State::incomplete: require(bytes.size() < head_bytes_max, "a head without an end is refused"); break;
    case Parsed::State::refused:
      require(parsed.code >= 400 && parsed.code < 600 && !parsed.why.empty(), "a refusal has a code and a reason");
      break;
    case Parsed::State::request: check_request(parsed.request, bytes); break;
  }
  return 0;
}
