// PROTOCOL.md against wire.hpp and against the bytes: its numbers, its offset tables, its worked example.
#include "tests/unit/proto/page.hpp"

#include <map>
#include <set>
#include "tests/support/catch.hpp"

#include "proto/framing.hpp"
#include "tests/unit/proto/all_messages.hpp"
#include "tests/unit/proto/describe.hpp"
#include "tests/unit/proto/vectors.hpp"

namespace pageserver::proto::test {
namespace {

const Page& page() {
  static const Page instance(PAGESERVER_PROTO_DIR "/PROTOCOL.md");
  return instance;
}

const std::vector<Row>& table(std::string_view section, std::size_t index = 0) {
  return page().section(section).tables.at(index);
}

std::uint64_t number_at(std::span<const std::byte> payload, std::size_t offset, std::size_t width) {
  std::uint64_t value = 0;
  for (std::size_t i = width; i-- > 0;) value = (value << 8) | std::to_integer<std::uint64_t>(payload[offset + i]);
  return value;
}

/// FIELD -> VALUE of a vector.
std::map<std::string, std::string> values_of(const Vector& vector) {
  std::map<std::string, std::string> values;
  for (const std::string& line : vector.values) {
    const auto blank = line.find(' ');
    values[line.substr(0, blank)] = line.substr(blank + 1);
  }
  return values;
}

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// How many values there are with names "PREFIX.0.…", "PREFIX.1.…" and so on.
std::size_t count_of(const std::map<std::string, std::string>& values, const std::string& prefix) {
  std::set<std::string> indices;
  for (const auto& [key, value] : values) {
    if (key.compare(0, prefix.size(), prefix) != 0) continue;
    indices.insert(key.substr(0, key.find('.', prefix.size())));
  }
  return indices.size();
}

std::uint64_t expected_flags(const std::map<std::string, std::string>& values) {
  const auto is_true = [&](const char* key) { return values.count(key) != 0 && values.at(key) == "true"; };
  const auto is_there = [&](const std::string& key) { return values.count(key + ".name") != 0; };
  std::uint64_t flags = 0;
  if (is_true("more") || is_true("everything") || is_true("read_only") || is_true("released") || is_there("broken") ||
      is_true("holder_is_dead") || is_true("was_here"))
    flags |= 1;
  if (is_there("writer")) flags |= 2;
  if (is_there("oldest_holder")) flags |= 4;
  if (values.count("recovery.unix_ms") != 0) flags |= feature_recovery;
  if (values.count("load.connections") != 0) flags |= feature_load;
  if (values.count("home.epoch") != 0) flags |= feature_home;
  return flags;
}

/// One row of a message's table against the payload of one vector.
void check_field(const Row& row, std::span<const std::byte> payload, const std::map<std::string, std::string>& values) {
  const std::string& field = row[2];
  const std::size_t offset = std::stoul(row[0]);
  const std::size_t width = std::stoul(row[1]);
  INFO("field " << field << " at " << offset);
  REQUIRE(offset + width <= payload.size());
  if (field == "resume_token") {
    CHECK(hex(payload.subspan(offset, width)) == values.at(field));
    return;
  }
  if (field == "reserved") {
    for (const std::byte b : payload.subspan(offset, width)) CHECK(b == std::byte{0});
    return;
  }
  const std::uint64_t found = number_at(payload, offset, width);
  if (field == "flags") {
    CHECK(found == expected_flags(values));
  } else if (field == "entry_count") {
    CHECK(found == count_of(values, "entries."));
  } else if (field == "range_count") {
    CHECK(found == count_of(values, "ranges.") + count_of(values, "changed."));
  } else if (values.count(field) == 1) {
    CHECK(std::to_string(found) == values.at(field));
  } else {
    REQUIRE(ends_with(field, "_bytes"));
    const std::string text = field.substr(0, field.size() - std::string_view("_bytes").size());
    REQUIRE(values.count(text) == 1);
    CHECK(found == values.at(text).size() - 2);  // in quotes
  }
}

/// The fixed part's fields follow each other from 0 on. Returns its size.
std::size_t check_offsets(const std::vector<Row>& rows) {
  std::size_t end = 0;
  bool fixed = true;
  for (const Row& row : rows) {
    INFO("field " << row[2]);
    if (row[0].empty()) {
      fixed = false;
      continue;
    }
    CHECK(fixed);
    CHECK(std::stoul(row[0]) == end);
    end += std::stoul(row[1]);
  }
  return end;
}

}  // namespace

TEST_CASE("the page's operations are those of wire.hpp") {
  std::map<std::size_t, Row> rows;
  for (const Row& row : table("Operations")) rows[std::stoul(row[0])] = row;
  for (std::size_t number = 0; number <= UINT16_MAX; ++number) {
    const auto operation = static_cast<Operation>(number);
    if (is_known(operation) != (rows.count(number) == 1)) FAIL("operation " << number);
    if (!is_known(operation)) continue;
    CHECK(to_string(operation) == rows[number][1]);
    const bool is_notice = rows[number][2] == "notice";
    CHECK(is_notice == (number >= 128));
    CHECK(check_request_header({operation, 0, 1, 0, Status::ok, 0}).has_value() == is_notice);
  }
}

TEST_CASE("the page's statuses are those of wire.hpp") {
  const auto& rows = table("Statuses");
  for (std::size_t number = 0; number < rows.size(); ++number) {
    CHECK(rows[number][0] == std::to_string(number));
    CHECK(rows[number][1] == to_string(static_cast<Status>(number)));
  }
  CHECK(to_string(static_cast<Status>(rows.size())) == "status " + std::to_string(rows.size()));
}

TEST_CASE("the page's limits are those of wire.hpp") {
  const std::map<std::string, std::uint64_t> expected = {
      {"default_port", default_port},
      {"default_tls_port", default_tls_port},
      {"protocol_version", protocol_version},
      {"frame_header_bytes", frame_header_bytes},
      {"hello_payload_bytes_max", hello_payload_bytes_max},
      {"request_bytes_min", request_bytes_min},
      {"payload_overhead_bytes", payload_overhead_bytes},
      {"client_payload_bytes_min", client_payload_bytes_min},
      {"ping_bytes_max", ping_bytes_max},
      {"store_name_bytes_max", store_name_bytes_max},
      {"name_bytes_max", name_bytes_max},
      {"message_bytes_max", message_bytes_max},
      {"list_entries_max", list_entries_max},
      {"ranges_max", ranges_max},
      {"sessions_entries_max", sessions_entries_max},
      {"credentials_bytes_max", credentials_bytes_max},
      {"resume_token_bytes", resume_token_bytes},
      {"resume_window_max", resume_window_max},
      {"fault_orders_max", fault_orders_max},
      {"fault_orders_bytes_max", fault_orders_bytes_max},
  };
  std::map<std::string, std::uint64_t> found;
  for (const Row& row : table("Limits")) found[row[0]] = std::stoull(row[1]);
  CHECK(found == expected);
}

TEST_CASE("the page's features are those of wire.hpp") {
  const std::map<std::string, std::uint64_t> expected = {
      {"zero", feature_zero},         {"data_ranges", feature_data_ranges}, {"commit", feature_commit},
      {"recovery", feature_recovery}, {"sessions", feature_sessions},       {"load", feature_load},
      {"identity", feature_identity}, {"faults", feature_faults},           {"resume", feature_resume},
      {"ring", feature_ring},         {"restart", feature_restart},         {"takeover", feature_takeover},
      {"home", feature_home}};
  std::map<std::string, std::uint64_t> found;
  std::uint64_t all = 0;
  for (const Row& row : table("Hello")) {
    found[row[1]] = std::stoull(row[0]);
    all |= found[row[1]];
  }
  CHECK(found == expected);
  CHECK(all == (features_all | feature_resume | feature_ring | feature_restart));
}

TEST_CASE("the page's frame header is what the codec writes") {
  Bytes header(frame_header_bytes);
  encode_header(
      std::span<std::byte, frame_header_bytes>(header),
      {static_cast<Operation>(0x1112), 0x1314, 0x15161718191A1B1C, 0x1D1E1F20, static_cast<Status>(0x2122), 0x2324});
  const std::map<std::string, std::uint64_t> expected = {
      {"magic", frame_magic},        {"operation", 0x1112}, {"flags", 0x1314},    {"request_id", 0x15161718191A1B1C},
      {"payload_bytes", 0x1D1E1F20}, {"status", 0x2122},    {"reserved", 0x2324},
  };
  std::map<std::string, std::uint64_t> found;
  for (const Row& row : table("Frames")) found[row[2]] = number_at(header, std::stoul(row[0]), std::stoul(row[1]));
  CHECK(found == expected);
  CHECK(check_offsets(table("Frames")) == frame_header_bytes);
}

TEST_CASE("the page's offset tables say where each value of each vector is") {
  std::set<std::string> checked;
  for (const Vector& vector : read_vectors()) {
    if (vector.kind != "request" && vector.kind != "answer") continue;
    INFO(vector.name);
    const auto payload = std::span<const std::byte>(vector.bytes).subspan(frame_header_bytes);
    const std::string title = vector.operation + " " + vector.kind;
    if (payload.empty() && vector.operation != "ping" && vector.operation != "read") continue;
    const PageSection& section = page().section(title);
    checked.insert(title);
    if (section.text.find("The whole payload is ") != std::string::npos) {
      CHECK(section.tables.empty());
      continue;
    }
    REQUIRE(section.tables.size() == 1);
    check_offsets(section.tables[0]);
    for (const Row& row : section.tables[0]) {
      if (!row[0].empty()) check_field(row, payload, values_of(vector));
    }
  }
  // Every table of a message was looked at.
  for (const PageSection& section : page().sections()) {
    if ((ends_with(section.title, " request") || ends_with(section.title, " answer")) && !section.tables.empty()) {
      INFO(section.title);
      CHECK(checked.count(section.title) == 1);
    }
  }
  CHECK(check_offsets(table("list entry")) == 16);
  CHECK(check_offsets(table("faults entry")) == 24);
  CHECK(check_offsets(table("holder")) == 40);
  CHECK(check_offsets(table("recovery")) == 64);
  CHECK(check_offsets(table("load")) == 64);
  CHECK(check_offsets(table("session entry")) == 136);
  CHECK(check_offsets(table("resume ticket")) == 32);
}

TEST_CASE("the page's worked example is what the codec understands") {
  const auto frames = page().example();
  REQUIRE(frames.size() == 12);
  std::set<std::uint64_t> asked;
  for (const ExampleFrame& frame : frames) {
    INFO(frame.title);
    const Scan scan = scan_frame(frame.bytes, request_bytes_min + payload_overhead_bytes);
    REQUIRE(scan.kind == Scan::Kind::frame);
    CHECK(scan.frame_bytes == frame.bytes.size());
    const std::string name = to_string(scan.header.operation);
    Decoded fault;
    if (frame.from_client) {
      CHECK(frame.title.find(name + " request") == 0);
      CHECK(!check_request_header(scan.header).has_value());
      asked.insert(scan.header.request_id);
      with_operation<Requests>(scan.header.operation, [&](auto entry) {
        typename decltype(entry)::Message message;
        fault = decode(scan.payload, message);
      });
    } else {
      CHECK(scan.header.flags == flag_answer);
      CHECK(asked.count(scan.header.request_id) == 1);
      if (scan.header.status != Status::ok) {
        CHECK(frame.title == "error answer: " + to_string(scan.header.status));
        continue;
      }
      CHECK(frame.title.find(name + " answer") == 0);
      with_operation<Answers>(scan.header.operation, [&](auto entry) {
        typename decltype(entry)::Message message;
        fault = decode(scan.payload, message);
      });
    }
    CHECK(!fault.has_value());
  }
}

}  // namespace pageserver::proto::test
