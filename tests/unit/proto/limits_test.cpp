// Each limit of the page: what has exactly as much is accepted, one more, with all its bytes there, is limit_exceeded.
#include "tests/support/catch.hpp"

#include "proto/codec.hpp"

namespace pageserver::proto::test {
namespace {

void append(Bytes& out, std::uint64_t value, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

void append_text(Bytes& out, std::size_t bytes) { out.insert(out.end(), bytes, std::byte{'n'}); }

template <class Message>
std::string verdict(const Bytes& payload) {
  Message message;
  const Decoded fault = decode(payload, message);
  return fault ? to_string(fault->status) : "accepted";
}

void append_ranges(Bytes& out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    append(out, 2 * i, 8);
    append(out, 1, 8);
  }
}

Bytes data_ranges_with(std::size_t count) {
  Bytes payload;
  append(payload, 1u << 20, 8);
  append(payload, count, 4);
  append(payload, 0, 4);
  append_ranges(payload, count);
  return payload;
}

Bytes refresh_with(std::size_t count) {
  Bytes payload(24);
  append(payload, count, 4);
  append(payload, 0, 4);
  append_ranges(payload, count);
  return payload;
}

Bytes list_with(std::size_t count, std::size_t name_bytes) {
  Bytes payload;
  append(payload, count, 2);
  append(payload, 0, 6);
  for (std::size_t i = 0; i < count; ++i) {
    append(payload, 1, 8);
    append(payload, name_bytes, 2);
    append(payload, 0, 6);
  }
  append_text(payload, count * name_bytes);
  return payload;
}

Bytes hello_request_with(std::uint32_t payload_bytes_max, std::size_t name_bytes) {
  Bytes payload;
  append(payload, 1, 2);
  append(payload, 1, 2);
  append(payload, payload_bytes_max, 4);
  append(payload, 0, 8);
  append(payload, name_bytes, 2);
  append(payload, 0, 6);
  append_text(payload, name_bytes);
  return payload;
}

Bytes hello_answer_with(std::size_t name_bytes) {
  Bytes payload;
  append(payload, 1, 2);
  append(payload, name_bytes, 2);
  payload.resize(40);
  append_text(payload, name_bytes);
  return payload;
}

Bytes open_with(std::size_t store_bytes, std::size_t name_bytes) {
  Bytes payload(32);
  append(payload, store_bytes, 2);
  append(payload, name_bytes, 2);
  append(payload, 0, 4);
  append_text(payload, store_bytes + name_bytes);
  return payload;
}

/// Texts of these sizes: the store's name, the sync error, the warning, the writer's name and address.
Bytes stat_with(std::size_t store, std::size_t error, std::size_t warning, std::size_t name, std::size_t address) {
  Bytes payload(104);
  append(payload, store, 2);
  append(payload, error, 2);
  append(payload, warning, 2);
  append(payload, 2, 2);  // there is a writer
  payload.resize(payload.size() + 32);
  append(payload, name, 2);
  append(payload, address, 2);
  append(payload, 0, 4);
  append_text(payload, store + error + warning + name + address);
  return payload;
}

/// A stat answer with a home whose texts have these sizes.
Bytes home_with(std::size_t name, std::size_t holder, std::size_t health) {
  Bytes payload(110);
  append(payload, feature_home, 2);
  append(payload, 7, 8);
  append(payload, name, 2);
  append(payload, holder, 2);
  append(payload, health, 2);
  append(payload, 0, 2);
  append_text(payload, name + holder + health);
  return payload;
}

}  // namespace

TEST_CASE("lists of ranges may have 4096 of them") {
  CHECK(verdict<DataRangesAnswer>(data_ranges_with(ranges_max)) == "accepted");
  CHECK(verdict<DataRangesAnswer>(data_ranges_with(ranges_max + 1)) == "limit_exceeded");
  CHECK(verdict<RefreshAnswer>(refresh_with(ranges_max)) == "accepted");
  CHECK(verdict<RefreshAnswer>(refresh_with(ranges_max + 1)) == "limit_exceeded");
}

TEST_CASE("a list answer may have 32 stores with names of 64 bytes") {
  CHECK(verdict<ListAnswer>(list_with(list_entries_max, store_name_bytes_max)) == "accepted");
  CHECK(verdict<ListAnswer>(list_with(list_entries_max + 1, 1)) == "limit_exceeded");
  CHECK(verdict<ListAnswer>(list_with(1, store_name_bytes_max + 1)) == "limit_exceeded");
}

TEST_CASE("names may have 255 bytes, store names 64") {
  CHECK(verdict<HelloRequest>(hello_request_with(client_payload_bytes_min, name_bytes_max)) == "accepted");
  CHECK(verdict<HelloRequest>(hello_request_with(client_payload_bytes_min, name_bytes_max + 1)) == "limit_exceeded");
  CHECK(verdict<HelloRequest>(hello_request_with(client_payload_bytes_min - 1, 0)) == "invalid_argument");
  CHECK(verdict<HelloAnswer>(hello_answer_with(name_bytes_max)) == "accepted");
  CHECK(verdict<HelloAnswer>(hello_answer_with(name_bytes_max + 1)) == "limit_exceeded");
  CHECK(verdict<OpenRequest>(open_with(store_name_bytes_max, name_bytes_max)) == "accepted");
  CHECK(verdict<OpenRequest>(open_with(1, name_bytes_max + 1)) == "limit_exceeded");
  // An over-long store name is a name that no store can have.
  CHECK(verdict<OpenRequest>(open_with(store_name_bytes_max + 1, 0)) == "invalid_argument");
}

TEST_CASE("each text of a stat answer has its limit") {
  CHECK(verdict<StatAnswer>(stat_with(store_name_bytes_max, message_bytes_max, message_bytes_max, name_bytes_max,
                                      name_bytes_max)) == "accepted");
  CHECK(verdict<StatAnswer>(stat_with(store_name_bytes_max + 1, 0, 0, 0, 0)) == "limit_exceeded");
  CHECK(verdict<StatAnswer>(stat_with(0, message_bytes_max + 1, 0, 0, 0)) == "limit_exceeded");
  CHECK(verdict<StatAnswer>(stat_with(0, 0, message_bytes_max + 1, 0, 0)) == "limit_exceeded");
  CHECK(verdict<StatAnswer>(stat_with(0, 0, 0, name_bytes_max + 1, 0)) == "limit_exceeded");
  CHECK(verdict<StatAnswer>(stat_with(0, 0, 0, 0, name_bytes_max + 1)) == "limit_exceeded");
  CHECK(verdict<StatAnswer>(home_with(message_bytes_max, message_bytes_max, message_bytes_max)) == "accepted");
  CHECK(verdict<StatAnswer>(home_with(message_bytes_max + 1, 0, 0)) == "limit_exceeded");
  CHECK(verdict<StatAnswer>(home_with(0, message_bytes_max + 1, 0)) == "limit_exceeded");
  CHECK(verdict<StatAnswer>(home_with(0, 0, message_bytes_max + 1)) == "limit_exceeded");
}

TEST_CASE("an error's text may have 2048 bytes, a ping 64") {
  CHECK(verdict<ErrorText>(Bytes(message_bytes_max, std::byte{'x'})) == "accepted");
  CHECK(verdict<ErrorText>(Bytes(message_bytes_max + 1, std::byte{'x'})) == "limit_exceeded");
  CHECK(verdict<PingRequest>(Bytes(ping_bytes_max)) == "accepted");
  CHECK(verdict<PingRequest>(Bytes(ping_bytes_max + 1)) == "limit_exceeded");
  CHECK(verdict<PingAnswer>(Bytes(ping_bytes_max + 1)) == "limit_exceeded");
}

TEST_CASE("the largest answers fit into what every client takes") {
  DataRangesAnswer ranges;
  ranges.ranges.resize(ranges_max);
  RefreshAnswer refresh;
  refresh.changed.resize(ranges_max);
  Bytes frame;
  encode(frame, 1, ranges);
  CHECK(frame.size() - frame_header_bytes <= client_payload_bytes_min);
  frame.clear();
  encode(frame, 1, refresh);
  CHECK(frame.size() - frame_header_bytes <= client_payload_bytes_min);
  CHECK(stat_with(store_name_bytes_max, message_bytes_max, message_bytes_max, name_bytes_max, name_bytes_max).size() +
            40 + 2 * name_bytes_max <=
        client_payload_bytes_min);
  CHECK(list_with(list_entries_max, store_name_bytes_max).size() <= client_payload_bytes_min);
  // And what a server sends before hello is answered fits into what a client takes then.
  CHECK(hello_answer_with(name_bytes_max).size() <= hello_payload_bytes_max);
  CHECK(message_bytes_max <= hello_payload_bytes_max);
}

}  // namespace pageserver::proto::test
