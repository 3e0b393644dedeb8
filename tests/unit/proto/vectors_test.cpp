// The bytes of proto/test_vectors.txt against the codec, in both directions.
#include <set>
#include "tests/support/catch.hpp"

#include "proto/framing.hpp"
#include "tests/unit/proto/all_messages.hpp"
#include "tests/unit/proto/describe.hpp"
#include "tests/unit/proto/vectors.hpp"

namespace pageserver::proto::test {
namespace {

constexpr std::uint32_t payload_bytes_max = request_bytes_min + payload_overhead_bytes;

/// What the page's enumeration calls an operation or status that it does not have.
std::string vector_name(std::string name) {
  for (char& c : name) c = c == ' ' ? '_' : c;
  return name;
}

Scan scan_whole(const Vector& vector) {
  Scan scan = scan_frame(vector.bytes, vector.before_hello ? hello_payload_bytes_max : payload_bytes_max);
  if (scan.kind == Scan::Kind::frame) {
    CHECK(scan.frame_bytes == vector.bytes.size());
  }
  return scan;
}

template <class Entries>
void check_message(const Vector& vector, const Scan& scan) {
  const bool known = with_operation<Entries>(scan.header.operation, [&](auto entry) {
    typename decltype(entry)::Message message;
    const Decoded fault = decode(scan.payload, message);
    INFO((fault ? fault->message : ""));
    REQUIRE(!fault);
    Lines lines = describe(message);
    lines.insert(lines.begin(), "request_id " + std::to_string(scan.header.request_id));
    CHECK(lines == vector.values);
    Bytes again;
    encode(again, scan.header.request_id, message);
    CHECK(hex(again) == hex(vector.bytes));
  });
  CHECK(known);
}

void check_text(const Vector& vector, const Scan& scan) {
  ErrorText message;
  REQUIRE(!decode(scan.payload, message));
  Lines lines = describe(message);
  lines.insert(lines.begin(), "status " + vector_name(to_string(scan.header.status)));
  lines.insert(lines.begin(), "request_id " + std::to_string(scan.header.request_id));
  CHECK(lines == vector.values);
  Bytes again;
  if (vector.kind == "error") {
    CHECK(scan.header.flags == flag_answer);
    encode_error(again, scan.header.request_id, scan.header.operation, scan.header.status, message.message);
  } else {
    CHECK(scan.header.flags == flag_notice);
    encode_notice(again, scan.header.operation, scan.header.status, message.message);
  }
  CHECK(hex(again) == hex(vector.bytes));
}

/// The verdict of a server: "goodbye STATUS", "answer STATUS", or "ok".
std::string verdict_of_server(const Vector& vector) {
  const Scan scan = scan_whole(vector);
  if (scan.kind == Scan::Kind::broken) return "goodbye " + to_string(scan.fault.status);
  const std::string way = vector.before_hello ? "goodbye " : "answer ";
  if (scan.kind == Scan::Kind::incomplete) return "incomplete";
  if (const auto fault = check_request_header(scan.header)) return way + to_string(fault->status);
  std::string verdict = "ok";
  with_operation<Requests>(scan.header.operation, [&](auto entry) {
    typename decltype(entry)::Message message;
    if (const Decoded fault = decode(scan.payload, message)) {
      verdict = way + to_string(fault->status);
      CHECK(fault->message.find("request") != std::string::npos);
      CHECK(is_utf8(fault->message));
    }
  });
  return verdict;
}

bool client_refuses(const Vector& vector) {
  const Scan scan = scan_whole(vector);
  REQUIRE(scan.kind == Scan::Kind::frame);
  if (scan.header.status != Status::ok) {
    ErrorText message;
    return decode(scan.payload, message).has_value();
  }
  bool refused = false;
  with_operation<Answers>(scan.header.operation, [&](auto entry) {
    typename decltype(entry)::Message message;
    refused = decode(scan.payload, message).has_value();
  });
  return refused;
}

}  // namespace

TEST_CASE("every good vector decodes to its values and encodes to its bytes") {
  for (const Vector& vector : read_vectors()) {
    if (!vector.refused.empty()) continue;
    INFO(vector.name);
    const Scan scan = scan_whole(vector);
    REQUIRE(scan.kind == Scan::Kind::frame);
    CHECK(vector_name(to_string(scan.header.operation)) == vector.operation);
    if (vector.kind == "request") {
      const auto fault = check_request_header(scan.header);
      CHECK(!fault);
      check_message<Requests>(vector, scan);
    } else if (vector.kind == "answer") {
      CHECK(scan.header.flags == flag_answer);
      CHECK(scan.header.status == Status::ok);
      check_message<Answers>(vector, scan);
    } else {
      REQUIRE((vector.kind == "error" || vector.kind == "notice"));
      check_text(vector, scan);
    }
  }
}

TEST_CASE("every malformed vector gets the verdict that it states") {
  for (const Vector& vector : read_vectors()) {
    if (vector.refused.empty()) continue;
    INFO(vector.name);
    if (vector.refused == "client") {
      CHECK(client_refuses(vector));
    } else {
      CHECK(verdict_of_server(vector) == vector.refused + " " + vector.status);
    }
  }
}

TEST_CASE("the vectors have every message and unique names") {
  std::set<std::string> names;
  std::set<std::string> messages;
  for (const Vector& vector : read_vectors()) {
    INFO(vector.name);
    CHECK(names.insert(vector.name).second);
    CHECK((!vector.kind.empty()) != (!vector.refused.empty()));
    messages.insert(vector.operation + " " + vector.kind);
  }
  for_each_message([&](auto entry) {
    INFO(name_of(entry));
    CHECK(messages.count(name_of(entry)) == 1);
  });
  CHECK(messages.count("lease_lost notice") == 1);
  CHECK(messages.count("goodbye notice") == 1);
  CHECK(messages.count("waiting notice") == 1);
}

}  // namespace pageserver::proto::test
