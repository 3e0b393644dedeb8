#include "tests/unit/client/lies.hpp"

#include <limits>
#include <stdexcept>
#include <utility>

namespace pageserver::test {
namespace {

using proto::Bytes;
using proto::Operation;
using proto::Status;
using Twist = std::function<void(Bytes&)>;
using Serve = std::function<void(FakePeer&)>;

constexpr std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();
// Where the fields of a frame's header are; what follows it is the payload.
constexpr std::size_t operation_at = 4, flags_at = 6, id_at = 8, payload_bytes_at = 16, status_at = 20,
                      reserved_at = 22;
constexpr std::size_t payload_at = proto::frame_header_bytes;

template <class Number>
void put(Bytes& frame, std::size_t at, Number value) {
  for (std::size_t i = 0; i < sizeof value; ++i)
    frame.at(at + i) = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i));
}

/// The frame is as long as its header says.
void resize(Bytes& frame, std::size_t payload_bytes) {
  frame.resize(payload_at + payload_bytes);
  put(frame, payload_bytes_at, static_cast<std::uint32_t>(payload_bytes));
}

template <class Number>
Twist sets(std::size_t at, Number value) {
  return [=](Bytes& frame) { put(frame, at, value); };
}

/// So many bytes of payload more, or fewer.
Twist longer_by(int bytes) {
  return [=](Bytes& frame) {
    resize(frame, static_cast<std::size_t>(static_cast<int>(frame.size() - payload_at) + bytes));
  };
}

/// An error in the place of the answer.
Twist fails_with(Status status, std::string text) {
  return [=](Bytes& frame) {
    Bytes error;
    std::uint64_t id = 0;
    for (std::size_t i = 8; i-- > 0;) id = id << 8 | static_cast<std::uint64_t>(frame.at(id_at + i));
    const auto operation = static_cast<std::uint16_t>(static_cast<unsigned>(frame.at(operation_at)) |
                                                      static_cast<unsigned>(frame.at(operation_at + 1)) << 8);
    proto::encode_error(error, id, static_cast<Operation>(operation), Status::provider_error, "");
    put(error, status_at, static_cast<std::uint16_t>(status));
    error.resize(payload_at);
    for (const char c : text) error.push_back(static_cast<std::byte>(c));
    resize(error, text.size());
    frame = std::move(error);
  };
}

Twist says_first(Bytes other) {
  return [other = std::move(other)](Bytes& frame) { frame.insert(frame.begin(), other.begin(), other.end()); };
}

Bytes notice(Operation operation, Status status, std::string_view text) {
  Bytes bytes;
  proto::encode_notice(bytes, operation, status, text);
  return bytes;
}

Bytes text_bytes(std::string_view text) {
  Bytes bytes;
  for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
  return bytes;
}

Bytes image_bytes() {
  Bytes bytes(lie_pages * page_size);
  for (std::uint64_t i = 0; i < bytes.size(); ++i) bytes[i] = lie_byte_at(i);
  return bytes;
}

/// Serves an image as it should, but for the first answer to `operation`.
Serve twisted(Operation operation, Twist twist) {
  return [=](FakePeer& peer) {
    FakeImage image;
    image.bytes = image_bytes();
    bool told = operation == Operation::hello;
    if (told) peer.twist = twist;
    image.before = [&](FakePeer& to, const Request& request) {
      if (request.header.operation == operation && !std::exchange(told, true)) to.twist = twist;
      return false;
    };
    image.serve(peer);
  };
}

struct Ended : std::exception {};

/// Sends no more than a part of the first answer to `operation`, and then closes, or says nothing more.
Serve torn(Operation operation, std::size_t bytes, bool closes) {
  return [=](FakePeer& peer) {
    twisted(operation, [&peer, bytes, closes](Bytes& frame) {
      const auto part = Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(bytes));
      peer.twist = nullptr;
      peer.send(part);
      if (!closes) peer.wait_for_end();
      throw Ended{};
    })(peer);
  };
}

}  // namespace

std::vector<Lie> all_lies() {
  const std::string fork = "access=fork", cached = "access=fork&cache_bytes=1MiB", pinned = "access=read&view=pinned",
                    writer = "access=write&publish=on_flush&cache_bytes=1MiB", live = "access=read", list = "list";
  std::vector<Lie> lies;
  const auto add = [&](std::string name, std::string query, std::optional<Errc> expected, std::string text,
                       Serve serve) {
    lies.push_back({std::move(name), std::move(query), expected, std::move(text), std::move(serve)});
  };
  const auto lie = [&](std::string name, const std::string& query, Operation operation, Twist twist, Errc expected,
                       std::string text) {
    add(std::move(name), query, expected, std::move(text), twisted(operation, std::move(twist)));
  };
  const auto harmless = [&](std::string name, const std::string& query, Operation operation, Twist twist) {
    add(std::move(name), query, std::nullopt, "", twisted(operation, std::move(twist)));
  };
  const auto broken = Errc::protocol_error;

  // Frames.
  for (const auto& query : {fork, cached}) {
    const std::string how = query == cached ? ", cached" : "";
    lie("another magic" + how, query, Operation::read, sets(0, std::uint32_t{0x32534750}), broken, "begins with bytes");
    lie("the answer to another operation" + how, query, Operation::read, sets(operation_at, std::uint16_t{10}), broken,
        "is a read");
    lie("the answer to an operation that nobody knows" + how, query, Operation::read,
        sets(operation_at, std::uint16_t{300}), broken, "is a read");
    lie("an answer to an answered request" + how, query, Operation::read, sets(id_at, std::uint64_t{2}), broken,
        "answers request id=2, which is not in flight");
    lie("an answer to a request that was not sent" + how, query, Operation::read, sets(id_at, std::uint64_t{900}),
        broken, "answers request id=900, which is not in flight");
    lie("an answer to request 0" + how, query, Operation::read, sets(id_at, std::uint64_t{0}), broken,
        "answers request id=0, which is not in flight");
    lie("an answer to the largest id" + how, query, Operation::read, sets(id_at, huge), broken,
        "which is not in flight");
    lie("an answer that is a request" + how, query, Operation::read, sets(flags_at, std::uint16_t{0}), broken,
        "flags=0");
    lie("an answer that is a notice as well" + how, query, Operation::read, sets(flags_at, std::uint16_t{3}), broken,
        "flags=3");
    lie("an answer with a flag that nobody knows" + how, query, Operation::read, sets(flags_at, std::uint16_t{0x8001}),
        broken, "flags=32769");
    lie("a header whose reserved field is used" + how, query, Operation::read, sets(reserved_at, std::uint16_t{1}),
        broken, "reserved=1");
    lie("a byte too few" + how, query, Operation::read, longer_by(-1), broken, "has length=");
    lie("a byte too many" + how, query, Operation::read, longer_by(1), broken, "has length=");
    lie(
        "no data" + how, query, Operation::read, [](Bytes& frame) { resize(frame, 0); }, broken, "has length=0");
    lie("a length of 4 GiB" + how, query, Operation::read, sets(payload_bytes_at, std::uint32_t{0xffffffff}), broken,
        "payload_bytes=4294967295");
    add("half a header" + how, query, Errc::connection_lost, "in the middle of a frame",
        torn(Operation::read, payload_at / 2, true));
    add("a header alone" + how, query, Errc::connection_lost, "in the middle of a frame",
        torn(Operation::read, payload_at, true));
    add("half of the data" + how, query, Errc::connection_lost, "in the middle of a frame",
        torn(Operation::read, payload_at + 4, true));
    add("half a header and then nothing" + how, query + "&request_timeout=200ms", Errc::timed_out,
        "no answer within 200ms", torn(Operation::read, payload_at / 2, false));
    add("half of the data and then nothing" + how, query + "&request_timeout=200ms", Errc::timed_out,
        "no answer within 200ms", torn(Operation::read, payload_at + 4, false));
    lie("a status that nobody knows" + how, query, Operation::read,
        fails_with(static_cast<Status>(999), "the moon is full"), Errc::provider_error, "the moon is full");
    lie("an error without a text" + how, query, Operation::read, fails_with(Status::no_space, ""), Errc::no_space,
        "read: ");
    lie("an error whose text is no UTF-8" + how, query, Operation::read, fails_with(Status::no_space, "\xff\xfe"),
        broken, "UTF-8");
    lie("an error whose text is too long" + how, query, Operation::read,
        fails_with(Status::no_space, std::string(4000, 'x')), broken, "4000 bytes");
    lie("an error with a text of 512 KiB" + how, query, Operation::read,
        fails_with(Status::no_space, std::string(512u << 10, 'x')), broken, "announces payload_bytes=524288");
  }
  lie(
      "an answer given twice", fork, Operation::stat,
      [](Bytes& frame) {
        const auto again = frame;
        frame.insert(frame.end(), again.begin(), again.end());
      },
      broken, "which is not in flight");
  lie("data with a write's answer", fork, Operation::write, longer_by(1), broken, "write answer");

  // Notices.
  harmless("a notice of a later version", fork, Operation::read, says_first(later_notice()));
  lie(
      "a notice of 512 KiB", fork, Operation::read,
      [](Bytes& frame) {
        auto large = later_notice();
        resize(large, 512u << 10);
        frame.insert(frame.begin(), large.begin(), large.end());
      },
      broken, "announces payload_bytes=524288");
  lie("a goodbye in the middle", fork, Operation::read, says_first(notice(Operation::goodbye, Status::ok, "so long")),
      Errc::connection_lost, "so long");
  lie("a goodbye that blames the client", fork, Operation::read,
      says_first(notice(Operation::goodbye, Status::protocol_error, "what was that")), broken, "what was that");
  lie("a lease that was lost", writer, Operation::read,
      says_first(notice(Operation::lease_lost, Status::lease_lost, "somebody took it")), Errc::lease_lost,
      "somebody took it");
  lie(
      "a goodbye whose text is no UTF-8", fork, Operation::read,
      [](Bytes& frame) {
        auto odd = notice(Operation::goodbye, Status::stopping, "xx");
        put(odd, payload_at, std::uint16_t{0xfeff});
        frame.insert(frame.begin(), odd.begin(), odd.end());
      },
      broken, "UTF-8");

  // The beginning.
  lie("a version that is too new", fork, Operation::hello, sets(payload_at, std::uint16_t{2}), Errc::unsupported,
      "version 2");
  lie("a version 0", fork, Operation::hello, sets(payload_at, std::uint16_t{0}), Errc::unsupported, "version 0");
  lie("a version that the daemon does not have", fork, Operation::hello,
      fails_with(Status::unsupported, "this daemon speaks versions 2 to 3"), Errc::unsupported, "versions 2 to 3");
  lie(
      "a goodbye before all", fork, Operation::hello,
      [](Bytes& frame) { frame = notice(Operation::goodbye, Status::limit_exceeded, "too many connections"); },
      Errc::limit_exceeded, "too many connections");
  lie(
      "another protocol", fork, Operation::hello,
      [](Bytes& frame) { frame = text_bytes("HTTP/1.1 400 Bad Request\r\n\r\n"); }, broken, "is it a pageserverd");
  lie(
      "a hello of 5,000 bytes", fork, Operation::hello, [](Bytes& frame) { resize(frame, 5000); }, broken,
      "payload_bytes=5000");
  lie(
      "a hello that is cut short", fork, Operation::hello, [](Bytes& frame) { resize(frame, 39); }, broken, "39 bytes");
  lie("a hello of another request", fork, Operation::hello, sets(id_at, std::uint64_t{9}), broken, "id=9");
  lie("a name that is no UTF-8", fork, Operation::hello, sets(payload_at + 40, std::uint16_t{0xfeff}), broken, "UTF-8");
  add("no hello", fork, Errc::connection_lost, "before its hello", torn(Operation::hello, 0, true));
  add("half a hello", fork, Errc::connection_lost, "before its hello", torn(Operation::hello, 30, true));
  add("half a hello and then nothing", fork + "&connect_timeout=200ms", Errc::timed_out, "",
      torn(Operation::hello, 30, false));
  lie("requests of 0 bytes", fork, Operation::hello, sets(payload_at + 16, std::uint32_t{0}), broken,
      "request_bytes_max=0");
  harmless("requests of 4 GiB", fork, Operation::hello, sets(payload_at + 16, std::uint32_t{0xffffffff}));
  lie("no request in flight", fork, Operation::hello, sets(payload_at + 20, std::uint32_t{0}), broken,
      "requests_in_flight_max=0");
  harmless("no bytes in flight", cached, Operation::hello, sets(payload_at + 24, std::uint32_t{0}));
  harmless("features that nobody asked for", cached, Operation::hello, sets(payload_at + 8, huge));
  harmless("no features", cached, Operation::hello, sets(payload_at + 8, std::uint64_t{0}));

  // The session.
  for (const auto& query : {fork, cached, live}) {
    const std::string how = query == cached ? ", cached" : query == live ? ", live" : "";
    lie("more pages than there are offsets" + how, query, Operation::open, sets(payload_at + 16, huge), broken,
        "pages=18446744073709551615");
    lie("2^48 pages, as no offset reaches" + how, query, Operation::open, sets(payload_at + 16, std::uint64_t{1} << 48),
        broken, "pages=281474976710656");
  }
  lie("an open that is cut short", fork, Operation::open, longer_by(-1), broken, "open answer");
  lie("an open with more behind it", fork, Operation::open, longer_by(1), broken, "open answer");
  lie("an open with a status that nobody knows", fork, Operation::open,
      fails_with(static_cast<Status>(77), "closed today"), Errc::provider_error, "closed today");
  for (const auto& query : {fork, cached, writer}) {
    const std::string how = query == cached ? ", cached" : query == writer ? ", cached writer" : "";
    // A cache tells the daemon when it has to, and has the pages of the grow in it by then.
    lie("a grow that had more pages" + how, query, Operation::grow, sets(payload_at, std::uint64_t{7}), broken,
        "previous_pages=7");
    lie("a grow that had fewer pages" + how, query, Operation::grow, sets(payload_at, std::uint64_t{1}), broken,
        "previous_pages=1");
    lie("a grow that had all pages" + how, query, Operation::grow, sets(payload_at, huge), broken, "previous_pages=");
    lie("a grow that is cut short" + how, query, Operation::grow, longer_by(-1), broken, "grow answer");
    lie("a zero that answers something" + how, query, Operation::data_ranges, longer_by(3), broken,
        "data_ranges answer");
  }
  lie("ranges that end at 0", fork, Operation::data_ranges, sets(payload_at, std::uint64_t{0}), broken, "data_ranges");
  lie("ranges that end behind what was asked for", fork, Operation::data_ranges, sets(payload_at, std::uint64_t{65537}),
      broken, "data_ranges");
  lie("a range that lies elsewhere", fork, Operation::data_ranges, sets(payload_at + 16, std::uint64_t{65536}), broken,
      "data_ranges");
  lie("a range past 2^64", fork, Operation::data_ranges, sets(payload_at + 16, huge), broken, "data_ranges");
  lie("an empty range", fork, Operation::data_ranges, sets(payload_at + 24, std::uint64_t{0}), broken, "data_ranges");
  lie("five thousand ranges", fork, Operation::data_ranges, sets(payload_at + 8, std::uint32_t{5000}), broken,
      "5000 ranges");
  lie("fewer ranges than announced", fork, Operation::data_ranges, sets(payload_at + 8, std::uint32_t{2}), broken,
      "data_ranges answer");
  lie("a refresh that has fewer pages", pinned, Operation::refresh, sets(payload_at, std::uint64_t{1}), broken,
      "pages=1");
  lie("a refresh that has all pages", pinned, Operation::refresh, sets(payload_at, huge), broken,
      "pages=18446744073709551615");
  lie("a refresh of everything, with ranges", pinned, Operation::refresh, sets(payload_at + 28, std::uint8_t{1}),
      broken, "everything");
  lie("a refresh with flags that nobody knows", pinned, Operation::refresh, sets(payload_at + 28, std::uint8_t{6}),
      broken, "flags");
  lie("a refresh that is cut short", pinned, Operation::refresh, longer_by(-1), broken, "refresh answer");
  lie("a discard that has all pages", fork, Operation::discard, sets(payload_at, huge), broken,
      "pages=18446744073709551615");
  lie("a discard that is cut short", fork, Operation::discard, longer_by(-1), broken, "discard answer");
  lie("a stat that is cut short", fork, Operation::stat, longer_by(-1), broken, "stat answer");
  lie("a stat with more behind it", fork, Operation::stat, longer_by(1), broken, "stat answer");
  lie("a flush that is cut short", "access=write&publish=on_flush", Operation::flush, longer_by(-1), broken,
      "flush answer");
  lie("a commit that is cut short", writer, Operation::commit, longer_by(-1), broken, "commit answer");
  lie("a commit that a full disk refuses", writer, Operation::commit, fails_with(Status::no_space, "the disk is full"),
      Errc::no_space, "the disk is full");

  // The list of stores: 8 bytes, an entry of 16 and the name "demo".
  lie(
      "a list that goes on for ever", list, Operation::list,
      [](Bytes& frame) {
        put(frame, payload_at, std::uint16_t{0});
        put(frame, payload_at + 2, std::uint8_t{1});
        resize(frame, 8);
      },
      broken, "list");
  add("a list that begins again", list, broken, "list", [](FakePeer& peer) {
    FakeImage image;
    image.bytes = image_bytes();
    image.before = [](FakePeer& to, const Request& request) {
      if (request.header.operation == Operation::list) to.twist = sets(payload_at + 2, std::uint8_t{1});
      return false;
    };
    image.serve(peer);
  });
  lie("forty stores in one answer", list, Operation::list, sets(payload_at, std::uint16_t{40}), broken, "40 entries");
  lie("a store with a long name", list, Operation::list, sets(payload_at + 16, std::uint16_t{4000}), broken,
      "list answer");
  lie("a store whose name is no UTF-8", list, Operation::list, sets(payload_at + 24, std::uint16_t{0xfeff}), broken,
      "UTF-8");
  lie("a list that is cut short", list, Operation::list, longer_by(-1), broken, "list answer");
  return lies;
}

}  // namespace pageserver::test
