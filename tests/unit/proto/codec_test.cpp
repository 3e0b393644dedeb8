// Each message: there and back, cut, extended, and with every field at its extremes.
#include "tests/support/catch.hpp"

#include "proto/framing.hpp"
#include "tests/unit/proto/all_messages.hpp"
#include "tests/unit/proto/describe.hpp"
#include "tests/unit/proto/random_messages.hpp"

namespace pageserver::proto::test {
namespace {

constexpr std::uint64_t seed = 20260105;

template <class Message>
Bytes payload_of(const Message& message) {
  Bytes frame;
  encode(frame, 1, message);
  return Bytes(frame.begin() + frame_header_bytes, frame.end());
}

/// Payloads whose length is free: the data of a read, and up to their limit the bytes of a ping.
template <class Message>
constexpr bool takes_any_length =
    std::is_same_v<Message, ReadAnswer> || std::is_same_v<Message, PingRequest> || std::is_same_v<Message, PingAnswer>;

template <class Message>
Decoded decode_copy(const Bytes& payload, Message& message) {
  // A buffer of its own size, so that a sanitizer sees each byte read past the end.
  const Bytes exact(payload);
  Decoded fault = decode(exact, message);
  message = {};
  return fault;
}

/// Those in which a later version may say more, which is passed over.
template <class Message>
constexpr bool may_say_more = std::is_same_v<Message, SessionsAnswer> || std::is_same_v<Message, KickAnswer>;

/// What decodes must encode to the same bytes again.
template <class Message>
void check_canonical(const Bytes& payload) {
  Message message;
  if (decode(payload, message)) return;
  const Bytes again = payload_of(message);
  if (again == payload) return;
  Message same;
  if (!may_say_more<Message> || again.size() > payload.size() || decode(again, same) ||
      describe(same) != describe(message))
    FAIL(hex(payload));
}

template <class Number>
void put(Bytes& bytes, std::size_t offset, Number value) {
  for (std::size_t i = 0; i < sizeof value; ++i) bytes[offset + i] = static_cast<std::byte>(value >> (8 * i));
}

std::string_view as_text(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace

TEST_CASE("every message survives encoding and decoding with random values") {
  for_each_message([](auto entry) {
    INFO(name_of(entry) << ", seed " << seed);
    RandomMessages random(seed);
    for (int round = 0; round < 60; ++round) {
      typename decltype(entry)::Message message;
      random.fill(message);
      const std::uint64_t request_id = 1 + random.below(UINT64_MAX);
      Bytes out(7, std::byte{0x55});  // a frame is appended, whatever is there
      encode(out, request_id, message);
      const Scan scan = scan_frame(std::span(out).subspan(7), UINT32_MAX);
      REQUIRE(scan.kind == Scan::Kind::frame);
      REQUIRE(scan.frame_bytes == out.size() - 7);
      REQUIRE(scan.header.operation == entry.operation);
      REQUIRE(scan.header.flags == (entry.is_answer ? flag_answer : 0));
      REQUIRE(scan.header.request_id == request_id);
      REQUIRE(scan.header.status == Status::ok);
      typename decltype(entry)::Message decoded;
      const Decoded fault = decode(scan.payload, decoded);
      REQUIRE(!fault);
      REQUIRE(describe(decoded) == describe(message));
    }
  });
}

TEST_CASE("a payload cut at any length is a protocol error that names its numbers") {
  for_each_message([](auto entry) {
    using Message = typename decltype(entry)::Message;
    RandomMessages random(seed);
    Message message;
    random.fill(message);
    const Bytes whole = payload_of(message);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      INFO(name_of(entry) << " of " << whole.size() << " bytes cut to " << length);
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
      const Decoded fault = decode_copy(cut, message);
      const bool is_whole = std::is_same_v<Message, OpenAnswer> && length == 48;  // without a resume ticket
      if (takes_any_length<Message> || is_whole || (std::is_same_v<Message, WriteRequest> && length >= 8)) {
        REQUIRE(!fault);
        continue;
      }
      REQUIRE(fault.has_value());
      REQUIRE(fault->status == Status::protocol_error);
      REQUIRE(fault->message.find(name_of(entry) + " payload is " + std::to_string(length) + " bytes, expected ") == 0);
    }
  });
}

TEST_CASE("a payload longer by one byte is a protocol error that names its numbers") {
  for_each_message([](auto entry) {
    using Message = typename decltype(entry)::Message;
    if (takes_any_length<Message> || std::is_same_v<Message, WriteRequest>) return;
    RandomMessages random(seed);
    for (int round = 0; round < 10; ++round) {
      Message message;
      random.fill(message);
      Bytes payload = payload_of(message);
      const std::size_t length = payload.size();
      payload.push_back(std::byte{0});
      INFO(name_of(entry) << " of " << length << " bytes");
      const Decoded fault = decode_copy(payload, message);
      REQUIRE(fault.has_value());
      REQUIRE(fault->status == Status::protocol_error);
      REQUIRE(fault->message == name_of(entry) + " payload is " + std::to_string(length + 1) + " bytes, expected " +
                                    std::to_string(length));
    }
  });
}

TEST_CASE("what a later version puts behind an entry's texts, and into its flags, is passed over") {
  RandomMessages random(seed);
  for (int round = 0; round < 20; ++round) {
    KickAnswer message;
    random.fill(message);
    Bytes payload = payload_of(message);
    constexpr std::size_t entry = 8;
    payload[entry + 7] |= std::byte{0xE0};
    const std::size_t more = 1 + random.below(300);
    payload.insert(payload.end(), more, std::byte{0xA5});
    put(payload, entry, static_cast<std::uint16_t>(payload.size() - entry));
    KickAnswer found;
    REQUIRE_FALSE(decode(payload, found).has_value());
    CHECK(describe(found) == describe(message));
    // It has to say how long that is.
    payload.pop_back();
    REQUIRE(decode(payload, found).has_value());
  }
}

TEST_CASE("every field at its extremes is refused or means exactly its bytes") {
  for_each_message([](auto entry) {
    using Message = typename decltype(entry)::Message;
    INFO(name_of(entry));
    RandomMessages random(seed);
    for (int round = 0; round < 4; ++round) {
      Message message;
      random.fill(message);
      const Bytes whole = payload_of(message);
      const std::size_t fields_end = std::min<std::size_t>(whole.size(), 256);
      for (std::size_t offset = 0; offset < fields_end; ++offset) {
        for (const unsigned value : {0u, 1u, 2u, 3u, 0x7Fu, 0x80u, 0xFFu}) {
          Bytes changed = whole;
          put(changed, offset, static_cast<std::uint8_t>(value));
          check_canonical<Message>(changed);
        }
        for (const unsigned value : {0u, 1u, 32u, 33u, 64u, 65u, 255u, 256u, 2048u, 2049u, 0x7FFFu, 0xFFFFu}) {
          if (offset + 2 > whole.size()) break;
          Bytes changed = whole;
          put(changed, offset, static_cast<std::uint16_t>(value));
          check_canonical<Message>(changed);
        }
        for (const std::uint32_t value : {0u, 1u, 4096u, 4097u, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu}) {
          if (offset + 4 > whole.size()) break;
          Bytes changed = whole;
          put(changed, offset, value);
          check_canonical<Message>(changed);
        }
      }
    }
  });
}

TEST_CASE("random bytes are refused or mean exactly those bytes") {
  for_each_message([](auto entry) {
    using Message = typename decltype(entry)::Message;
    INFO(name_of(entry) << ", seed " << seed);
    RandomMessages random(seed + 1);
    for (int round = 0; round < 3000; ++round) {
      const auto bytes = random.bytes(160);
      check_canonical<Message>(Bytes(bytes.begin(), bytes.end()));
    }
  });
}

TEST_CASE("texts that are not UTF-8 are refused") {
  for (const std::string_view bad : {"\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x80\x80",
                                     "\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\x80",
                                     "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "ok\xfe"}) {
    CHECK_FALSE(is_utf8(bad));
    OpenRequest open;
    open.store = "demo";
    const std::string placeholder(bad.size(), 'x');
    open.session_name = placeholder;
    Bytes payload = payload_of(open);
    for (std::size_t i = 0; i < bad.size(); ++i) payload[payload.size() - bad.size() + i] = std::byte(bad[i]);
    const Decoded fault = decode(payload, open);
    REQUIRE(fault.has_value());
    CHECK(fault->status == Status::protocol_error);
    CHECK(fault->message == "open request session name of " + std::to_string(bad.size()) + " bytes is not UTF-8");
  }
}

TEST_CASE("an error's text that is not UTF-8 or over-long is repaired when it is sent") {
  const auto sent = [](std::string_view text) {
    Bytes frame;
    encode_error(frame, 3, Operation::open, Status::provider_error, text);
    const Scan scan = scan_frame(frame, UINT32_MAX);
    REQUIRE(scan.kind == Scan::Kind::frame);
    ErrorText decoded;
    REQUIRE(!decode(scan.payload, decoded));
    return std::string(decoded.message);
  };
  CHECK(sent("open /data/caf\xe9.img: denied") == "open /data/caf?.img: denied");
  CHECK(sent("\xff\xfe") == "??");
  CHECK(sent("") == "");
  const std::string full(message_bytes_max, 'x');
  CHECK(sent(full) == full);
  CHECK(sent(full + "y") == full);
  // 2,047 bytes and then a character of three bytes: it goes as a whole.
  CHECK(sent(full.substr(1) + "€") == full.substr(1));
  CHECK(sent(full.substr(3) + "€") == full.substr(3) + "€");
}

TEST_CASE("a stat answer's texts from the system are repaired when they are sent") {
  StatAnswer answer;
  answer.last_sync_error = "sync caf\xe9";
  const std::string long_name(name_bytes_max + 1, 'n');
  answer.writer = Holder{};
  answer.writer->name = long_name;
  answer.writer->address = "unix";
  const Bytes payload = payload_of(answer);
  StatAnswer decoded;
  REQUIRE(!decode(payload, decoded));
  CHECK(decoded.last_sync_error == "sync caf?");
  CHECK(decoded.writer->name == long_name.substr(1));
  CHECK(decoded.writer->address == "unix");
}

TEST_CASE("a refused store name is quoted without its control characters") {
  RemoveRequest request;
  Bytes payload = payload_of(RemoveRequest{"abcdef"});
  put(payload, 8 + 1, std::uint8_t{'\n'});
  put(payload, 8 + 2, std::uint8_t{'"'});
  put(payload, 8 + 3, std::uint8_t{'\\'});
  const Decoded fault = decode(payload, request);
  REQUIRE(fault.has_value());
  CHECK(fault->status == Status::invalid_argument);
  CHECK(fault->message.find(R"("a\x0a"\ef")") != std::string::npos);

  Bytes long_name(8 + 300, std::byte{'n'});
  put(long_name, 0, std::uint64_t{300});
  const Decoded too_long = decode(long_name, request);
  REQUIRE(too_long.has_value());
  CHECK(too_long->status == Status::invalid_argument);
  CHECK(too_long->message.find(std::string(64, 'n') + "...\"") != std::string::npos);
}

TEST_CASE("faults name the message, the field and the numbers") {
  const auto message_of = [](const Decoded& fault) { return fault ? fault->message : "decoded"; };
  ReadRequest read;
  CHECK(message_of(decode(Bytes(15), read)) == "read request payload is 15 bytes, expected 16");
  OpenRequest open;
  CHECK(message_of(decode(Bytes(39), open)) == "open request payload is 39 bytes, expected at least 40");
  Bytes bad_access = payload_of(OpenRequest{});
  bad_access.resize(40);
  put(bad_access, 0, std::uint8_t{7});
  CHECK(message_of(decode(bad_access, open)) == "open request access is 7, expected 0 to 2");
  HelloRequest hello;
  Bytes small_payload = payload_of(HelloRequest{});
  CHECK(message_of(decode(small_payload, hello)) ==
        "hello request announces payload_bytes_max=0, at least 69632 is needed");
  DataRangesAnswer ranges;
  Bytes many(16);
  put(many, 8, std::uint32_t{UINT32_MAX});
  CHECK(message_of(decode(many, ranges)) == "data_ranges answer announces 4294967295 ranges, at most 4096");
  RefreshAnswer refresh;
  Bytes reserved(32);
  reserved[31] = std::byte{1};
  CHECK(message_of(decode(reserved, refresh)) == "refresh answer byte 31 is reserved and must be 0");
}

TEST_CASE("store names are what the page says") {
  for (const std::string_view good : {"a", "Z", "0", "demo", "a.b", "a_b-c.img", "A...."}) CHECK(is_store_name(good));
  CHECK(is_store_name(std::string(64, 'a')));
  for (const std::string_view bad : {"", ".", "..", ".a", "-a", "_a", "a/b", "a b", "a\n", "ä", "a:b", "a\\b"}) {
    CHECK_FALSE(is_store_name(bad));
  }
  CHECK_FALSE(is_store_name(std::string(65, 'a')));
  CHECK_FALSE(is_store_name(std::string_view("a\0b", 3)));
}

TEST_CASE("unknown operations and statuses have a name with their number") {
  CHECK(to_string(static_cast<Operation>(4711)) == "operation 4711");
  CHECK(to_string(static_cast<Status>(4711)) == "status 4711");
  CHECK_FALSE(is_known(static_cast<Operation>(4711)));
}

TEST_CASE("a header with data behind it equals the message encoded whole") {
  const std::string text = "some bytes of a page";
  const auto data = std::as_bytes(std::span(text));
  Bytes whole;
  encode(whole, 9, ReadAnswer{data});
  Bytes gathered(frame_header_bytes);
  encode_header(std::span<std::byte, frame_header_bytes>(gathered),
                {Operation::read, flag_answer, 9, static_cast<std::uint32_t>(data.size()), Status::ok, 0});
  gathered.insert(gathered.end(), data.begin(), data.end());
  CHECK(as_text(gathered) == as_text(whole));
}

}  // namespace pageserver::proto::test
