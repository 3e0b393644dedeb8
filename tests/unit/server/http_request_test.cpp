#include <string>
#include "tests/support/catch.hpp"

#include "server/http/request.hpp"

using namespace pageserver::server::http;

namespace {

unsigned refusal_of(const std::string& bytes) {
  const Parsed parsed = parse_request(bytes);
  REQUIRE(parsed.state == Parsed::State::refused);
  CHECK_FALSE(parsed.why.empty());
  return parsed.code;
}

}  // namespace

TEST_CASE("http request: method, path, query and host are those that were sent") {
  const std::string bytes = "HEAD /readyz?verbose HTTP/1.1\r\nUser-Agent: x\r\nhOsT: \t127.0.0.1:80 \r\n\r\nbehind";
  const Parsed parsed = parse_request(bytes);
  REQUIRE(parsed.state == Parsed::State::request);
  CHECK(parsed.request.method == Method::head);
  CHECK(parsed.request.path == "/readyz");
  CHECK(parsed.request.query == "verbose");
  CHECK(parsed.request.host == "127.0.0.1:80");
  for (std::size_t length = 0; length < bytes.find("\r\n\r\n") + 4; ++length)
    CHECK(parse_request(std::string_view(bytes).substr(0, length)).state == Parsed::State::incomplete);
}

TEST_CASE("http request: the host of an absolute target wins over the field") {
  const std::string bytes = "GET HTTP://evil.example:1/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const Parsed parsed = parse_request(bytes);
  REQUIRE(parsed.state == Parsed::State::request);
  CHECK(parsed.request.path == "/metrics");
  CHECK(parsed.request.host == "evil.example:1");
}

TEST_CASE("http request: what is none gets a code that says why") {
  CHECK(refusal_of("GET / HTTP/1.1\r\n\r\n") == 400);
  CHECK(refusal_of("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n") == 400);
  CHECK(refusal_of("GET / HTTP/1.1\r\nHost:\r\n\r\n") == 400);
  CHECK(refusal_of("GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n") == 400);
  CHECK(refusal_of("GET / HTTP/1.1\r\nHost : a\r\n\r\n") == 400);
  CHECK(refusal_of("GET / HTTP/1.1\nHost: a\n\n") == 400);
  CHECK(refusal_of("GET  / HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
  CHECK(refusal_of("GET * HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
  CHECK(refusal_of("GET /#a HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
  CHECK(refusal_of("GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
  CHECK(refusal_of("GET / HTTP/2\r\nHost: a\r\n\r\n") == 505);
  CHECK(refusal_of("POST / HTTP/1.1\r\nHost: a\r\n\r\n") == 405);
  CHECK(refusal_of("get / HTTP/1.1\r\nHost: a\r\n\r\n") == 405);
  CHECK(refusal_of("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n") == 413);
  CHECK(refusal_of("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n") == 413);
  CHECK(refusal_of("GET / HTTP/1.1\r\nHost: " + std::string(head_bytes_max, 'a')) == 431);
}

TEST_CASE("http request: a host that no name server can lead elsewhere is numeric, or localhost") {
  for (const char* const host :
       {"127.0.0.1", "127.0.0.1:9653", "[::1]", "[::1]:80", "localhost", "LocalHost:1", "10.0.0.7"})
    CHECK(is_numeric_or_local(host));
  for (const char* const host : {"", ":80", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "::1",
                                 "[::1", "[127.0.0.1]", "127.1", "127.0.0.1:80x", "[::1]80"})
    CHECK_FALSE(is_numeric_or_local(host));
}
