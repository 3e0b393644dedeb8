// Nothing that a peer sends harms the daemon or another session.
#include <array>
#include <functional>
#include <iostream>
#include <random>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

constexpr std::uint64_t marker_id = 0xabcdef;
// No session has such a number, also with some of its bytes changed.
constexpr std::uint64_t nobody = 0xeeeeeeeeeeeeeeee;
constexpr std::uint16_t operations_end = static_cast<std::uint16_t>(proto::Operation::kick) + 1;

/// A daemon with a victim store, and another session that must not notice anything. The destructor asserts the memory.
class Siege {
public:
  Siege() : daemon({"--store", "victim={dir}/v.img", "--store", "other={dir}/o.img", "--log-level", "warn"}) {
    raise_open_files_limit();
    bystander.emplace(session_on(daemon, "other"));
    bystander->grow(4);
    // What the first connections of a kind make resident once.
    for (int i = 0; i < 20; ++i) session_on(daemon, "victim").call(proto::CloseRequest{});
    before_kib = resident_kib(daemon.pid());
  }
  ~Siege() {
    check_bystander();
    const std::size_t after = resident_kib(daemon.pid());
    UNSCOPED_INFO("resident before " << before_kib << " KiB, after " << after << " KiB");
    if (!sanitized) CHECK(after <= before_kib + 64 * 1024);
  }
  void check_bystander() {
    const auto data = pattern(5000, ++round);
    bystander->write(round * 10, data);
    REQUIRE(bystander->read(round * 10, 5000) == data);
  }
  RawClient greeted() const {
    RawClient client = RawClient::tcp(daemon.port());
    client.hello();
    return client;
  }

  Daemon daemon;
  std::optional<RawClient> bystander;
  std::size_t before_kib = 0;
  unsigned round = 0;
};

proto::Bytes hello_frame() {
  proto::HelloRequest hello;
  hello.payload_bytes_max = 1u << 20;
  hello.features = proto::features_all;
  hello.client_name = "malformed";
  proto::Bytes frame;
  proto::encode(frame, 1, hello);
  return frame;
}

proto::Bytes open_frame(std::string_view store, proto::Access access) {
  proto::OpenRequest open;
  open.store = store;
  open.access = access;
  open.session_name = "malformed";
  proto::Bytes frame;
  proto::encode(frame, 2, open);
  return frame;
}

template <class Request>
proto::Bytes frame_of(const Request& request) {
  proto::Bytes frame;
  proto::encode(frame, 7, request);
  return frame;
}

// One frame of every request but hello.
std::vector<proto::Bytes> all_requests() {
  static const auto data = pattern(40, 1);
  proto::OpenRequest open;
  open.store = "victim";
  open.access = proto::Access::read;
  open.session_name = "second";
  return {frame_of(proto::PingRequest{std::span(data).first(8)}),
          frame_of(proto::ListRequest{"abc"}),
          frame_of(proto::CreateRequest{"fresh", 3}),
          frame_of(proto::RemoveRequest{"fresh"}),
          frame_of(open),
          frame_of(proto::SizeRequest{}),
          frame_of(proto::GrowRequest{1}),
          frame_of(proto::ReadRequest{3, 100}),
          frame_of(proto::WriteRequest{3, data}),
          frame_of(proto::ZeroRequest{3, 10}),
          frame_of(proto::DataRangesRequest{0, 100}),
          frame_of(proto::FlushRequest{}),
          frame_of(proto::CommitRequest{}),
          frame_of(proto::FaultsRequest{proto::FaultsWhat::add, proto::FaultsScope::session, "read:cut=after"}),
          frame_of(proto::DiscardRequest{}),
          frame_of(proto::RefreshRequest{}),
          frame_of(proto::StatRequest{}),
          frame_of(proto::BreakLeaseRequest{0}),
          frame_of(proto::SessionsRequest{0, "victim"}),
          frame_of(proto::KickRequest{nobody, proto::KickWhat::session, "no reason"}),
          frame_of(proto::CloseRequest{})};
}

void set_payload_bytes(proto::Bytes& frame, std::uint32_t bytes) {
  for (std::size_t i = 0; i < 4; ++i) frame[16 + i] = static_cast<std::byte>(bytes >> (8 * i));
}

// The connection lives: a ping behind whatever came is answered, after any answers before it.
void check_alive(RawClient& client) {
  proto::Bytes ping;
  proto::encode(ping, marker_id, proto::PingRequest{});
  REQUIRE(client.send_bytes(ping));
  for (;;) {
    const Frame frame = client.must_receive();
    if (frame.is_notice()) continue;
    if (frame.header.request_id == marker_id) return;
  }
}

// The daemon has answered or closed as it likes; what it sent were frames.
void drain(RawClient& client) {
  client.end_of_stream();
  try {
    while (client.receive()) {
    }
  } catch (const std::runtime_error& error) {
    // A reset, or an end within a frame, only when the daemon closed while we were sending.
    CHECK(std::string(error.what()).find("no answer in time") == std::string::npos);
    CHECK(std::string(error.what()).find("broken frame") == std::string::npos);
  }
}

}  // namespace

TEST_CASE("a malformed session request without a session is a protocol_error, a well-formed one has no session") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  RawClient client = RawClient::tcp(daemon.port());
  client.hello();
  using proto::Operation;
  for (const Operation operation : {Operation::size, Operation::grow, Operation::read, Operation::write,
                                    Operation::zero, Operation::data_ranges, Operation::flush, Operation::commit,
                                    Operation::discard, Operation::refresh, Operation::stat, Operation::break_lease}) {
    CAPTURE(proto::to_string(operation));
    std::array<std::byte, proto::frame_header_bytes + 3> frame{};
    proto::encode_header(std::span(frame).first<proto::frame_header_bytes>(),
                         {operation, 0, 9, 3, proto::Status::ok, 0});
    client.send_bytes(frame);
    CHECK(client.must_receive().status() == proto::Status::protocol_error);
  }
  CHECK(client.call(proto::SizeRequest{}).status() == proto::Status::invalid_argument);
  CHECK(client.call(proto::ReadRequest{0, 8}).status() == proto::Status::invalid_argument);
}

TEST_CASE("each request with a payload cut at every length is answered, and the connection lives") {
  Siege siege;
  for (const bool with_session : {false, true}) {
    RawClient client = siege.greeted();
    if (with_session) {
      client.open("victim");
      client.grow(1);
    }
    for (const proto::Bytes& whole : all_requests()) {
      for (std::size_t length = proto::frame_header_bytes; length < whole.size(); ++length) {
        proto::Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
        set_payload_bytes(cut, static_cast<std::uint32_t>(length - proto::frame_header_bytes));
        REQUIRE(client.send_bytes(cut));
        const Frame answer = client.must_receive();
        CHECK(answer.header.request_id == 7);
        if (answer.status() != proto::Status::ok) CHECK_FALSE(answer.text().empty());
      }
    }
    check_alive(client);
  }
}

TEST_CASE("each request with a byte too many is answered with a protocol error, and the connection lives") {
  Siege siege;
  RawClient client = siege.greeted();
  client.open("victim");
  for (proto::Bytes frame : all_requests()) {
    const auto operation = static_cast<proto::Operation>(frame[4]);
    if (operation == proto::Operation::ping || operation == proto::Operation::write) continue;  // open-ended
    if (operation == proto::Operation::list || operation == proto::Operation::create ||
        operation == proto::Operation::remove || operation == proto::Operation::open ||
        operation == proto::Operation::sessions || operation == proto::Operation::kick) {
      continue;  // refused for having a session, before their payload is looked at
    }
    frame.push_back(std::byte{});
    set_payload_bytes(frame, static_cast<std::uint32_t>(frame.size() - proto::frame_header_bytes));
    REQUIRE(client.send_bytes(frame));
    INFO(proto::to_string(operation));
    CHECK(client.must_receive().status() == proto::Status::protocol_error);
  }
  check_alive(client);
}

TEST_CASE("what is for connections without a session is a protocol error with a byte too many, too") {
  Siege siege;
  RawClient client = siege.greeted();
  for (proto::Bytes frame : {frame_of(proto::ListRequest{"abc"}), frame_of(proto::CreateRequest{"fresh", 3}),
                             frame_of(proto::RemoveRequest{"fresh"}), frame_of(proto::SessionsRequest{0, "victim"}),
                             frame_of(proto::KickRequest{nobody, proto::KickWhat::session, "no reason"})}) {
    frame.push_back(std::byte{});
    set_payload_bytes(frame, static_cast<std::uint32_t>(frame.size() - proto::frame_header_bytes));
    REQUIRE(client.send_bytes(frame));
    INFO(proto::to_string(static_cast<proto::Operation>(frame[4])));
    CHECK(client.must_receive().status() == proto::Status::protocol_error);
  }
  check_alive(client);
}

TEST_CASE("every two bytes of each request without a session at their extremes do no harm") {
  Siege siege;
  for (const proto::Bytes& whole : {frame_of(proto::SessionsRequest{0, "victim"}),
                                    frame_of(proto::KickRequest{nobody, proto::KickWhat::session, "no reason"})}) {
    RawClient client = siege.greeted();
    for (std::size_t at = proto::frame_header_bytes; at + 2 <= whole.size(); at += 2) {
      for (const unsigned value : {0u, 0x7fffu, 0x8000u, 0xffffu}) {
        proto::Bytes frame = whole;
        frame[at] = static_cast<std::byte>(value);
        frame[at + 1] = static_cast<std::byte>(value >> 8);
        client.send_bytes(frame);
      }
    }
    check_alive(client);
  }
}

TEST_CASE("every two bytes of each request at their extremes do no harm") {
  Siege siege;
  for (const proto::Bytes& whole : all_requests()) {
    for (std::size_t at = proto::frame_header_bytes; at + 2 <= whole.size(); at += 2) {
      for (const unsigned value : {0u, 0x7fffu, 0x8000u, 0xffffu}) {
        RawClient client = siege.greeted();
        client.open("victim", proto::Access::read);
        proto::Bytes frame = whole;
        frame[at] = static_cast<std::byte>(value);
        frame[at + 1] = static_cast<std::byte>(value >> 8);
        client.send_bytes(frame);
        drain(client);
      }
    }
    siege.check_bystander();
  }
}

TEST_CASE("every length in a header is answered, skipped, or ends the connection with a goodbye") {
  Siege siege;
  for (const std::uint32_t bytes :
       {0u, 1u, 7u, 4096u, (1u << 20) + 4096, (1u << 20) + 4097, 0x7fffffffu, 0x80000000u, 0xfffffff0u, 0xffffffffu}) {
    for (std::uint16_t operation = 0; operation < operations_end; ++operation) {
      RawClient client = siege.greeted();
      std::array<std::byte, proto::frame_header_bytes> header{};
      proto::encode_header(header, {static_cast<proto::Operation>(operation), 0, 7, bytes, proto::Status::ok, 0});
      client.send_bytes(header);
      if (bytes > (1u << 20) + 4096) {
        const Frame goodbye = client.must_receive();
        CHECK(goodbye.header.operation == proto::Operation::goodbye);
        CHECK(goodbye.status() == proto::Status::limit_exceeded);
        CHECK_FALSE(client.receive());
      } else {
        drain(client);
      }
    }
  }
}

TEST_CASE("every header field that is not a request's is answered, and the connection lives") {
  Siege siege;
  RawClient client = siege.greeted();
  const auto ask = [&](const proto::FrameHeader& header) {
    std::array<std::byte, proto::frame_header_bytes> bytes{};
    proto::encode_header(bytes, header);
    REQUIRE(client.send_bytes(bytes));
    return client.must_receive().status();
  };
  using proto::Operation;
  using proto::Status;
  CHECK(ask({Operation::size, 1, 7, 0, Status::ok, 0}) == Status::protocol_error);
  CHECK(ask({Operation::size, 0x8000, 7, 0, Status::ok, 0}) == Status::protocol_error);
  CHECK(ask({Operation::size, 0, 7, 0, Status::busy, 0}) == Status::protocol_error);
  CHECK(ask({Operation::size, 0, 7, 0, Status::ok, 1}) == Status::protocol_error);
  CHECK(ask({Operation::size, 0, 0, 0, Status::ok, 0}) == Status::protocol_error);
  CHECK(ask({Operation::lease_lost, 0, 7, 0, Status::ok, 0}) == Status::unsupported);
  CHECK(ask({Operation::goodbye, 0, 7, 0, Status::ok, 0}) == Status::unsupported);
  CHECK(ask({Operation::waiting, 0, 7, 0, Status::ok, 0}) == Status::unsupported);
  CHECK(ask({static_cast<Operation>(99), 0, 7, 0, Status::ok, 0}) == Status::unsupported);
  CHECK(ask({static_cast<Operation>(0xffff), 0, 7, 0, Status::ok, 0}) == Status::unsupported);
  check_alive(client);
}

TEST_CASE("a hello that is cut at every length, or is none, gets a goodbye that says why") {
  Siege siege;
  const proto::Bytes whole = hello_frame();
  for (std::size_t length = proto::frame_header_bytes; length < whole.size(); ++length) {
    RawClient client = RawClient::tcp(siege.daemon.port());
    proto::Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    set_payload_bytes(cut, static_cast<std::uint32_t>(length - proto::frame_header_bytes));
    client.send_bytes(cut);
    const Frame goodbye = client.must_receive();
    CHECK(goodbye.header.operation == proto::Operation::goodbye);
    CHECK(goodbye.status() == proto::Status::protocol_error);
    CHECK_FALSE(goodbye.text().empty());
    CHECK_FALSE(client.receive());
  }
  std::string why;
  const auto goodbye_to = [&](std::span<const std::byte> bytes) {
    RawClient client = RawClient::tcp(siege.daemon.port());
    client.send_bytes(bytes);
    const Frame goodbye = client.must_receive();
    CHECK(goodbye.header.operation == proto::Operation::goodbye);
    CHECK_FALSE(client.receive());
    why = goodbye.text();
    return goodbye.status();
  };
  CHECK(goodbye_to(bytes_of("GET / HTTP/1.1\r\n\r\n")) == proto::Status::protocol_error);
  CHECK(goodbye_to(frame_of(proto::PingRequest{})) == proto::Status::protocol_error);
  CHECK(goodbye_to(open_frame("victim", proto::Access::read)) == proto::Status::protocol_error);
  proto::Bytes without_id = whole;
  std::fill_n(without_id.begin() + 8, 8, std::byte{0});
  CHECK(goodbye_to(without_id) == proto::Status::protocol_error);
  CHECK(why.find("request_id=0") != std::string::npos);
  proto::Bytes huge = whole;
  set_payload_bytes(huge, 4097);
  CHECK(goodbye_to(huge) == proto::Status::limit_exceeded);
  proto::HelloRequest future;
  future.version_min = 2;
  future.version_max = 9;
  future.payload_bytes_max = 1u << 20;
  CHECK(goodbye_to(frame_of(future)) == proto::Status::unsupported);
}

TEST_CASE("random bytes do no harm, before and after hello, in frames and without") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  Siege siege;
  const auto noise = [&](std::size_t count) {
    proto::Bytes bytes(count);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random());
    return bytes;
  };
  for (int i = 0; i < 300; ++i) {
    RawClient client = i % 3 == 0 ? RawClient::local(siege.daemon.socket_path()) : RawClient::tcp(siege.daemon.port());
    if (i % 2 == 1) client.hello();
    if (i % 4 == 1) client.try_open("victim", i % 8 == 1 ? proto::Access::read : proto::Access::write);
    if (i % 5 == 0) {
      client.send_bytes(noise(random() % 5000));
    } else {
      for (int frames = 0; frames < 20; ++frames) {
        const proto::Bytes payload = noise(random() % 200);
        proto::Bytes frame(proto::frame_header_bytes);
        proto::encode_header(std::span<std::byte, proto::frame_header_bytes>(frame),
                             {static_cast<proto::Operation>(random() % operations_end),
                              static_cast<std::uint16_t>(random() % 8 == 0 ? random() : 0), random(),
                              static_cast<std::uint32_t>(payload.size()), proto::Status::ok, 0});
        frame.insert(frame.end(), payload.begin(), payload.end());
        if (!client.send_bytes(frame)) break;
      }
    }
    if (i % 7 == 0) {
      client.reset();
    } else {
      drain(client);
    }
    if (i % 50 == 0) siege.check_bystander();
  }
}

TEST_CASE("a valid stream cut at every byte does no harm, and split at every byte it is understood") {
  Siege siege;
  proto::Bytes stream = hello_frame();
  const auto add = [&](const proto::Bytes& frame) { stream.insert(stream.end(), frame.begin(), frame.end()); };
  const auto data = pattern(40, 1);
  add(open_frame("victim", proto::Access::write));
  add(frame_of(proto::GrowRequest{1}));
  add(frame_of(proto::WriteRequest{3, data}));
  add(frame_of(proto::ReadRequest{3, 40}));
  add(frame_of(proto::FlushRequest{}));
  add(frame_of(proto::StatRequest{}));
  add(frame_of(proto::CloseRequest{}));
  for (std::size_t length = 0; length < stream.size(); ++length) {
    RawClient client = RawClient::tcp(siege.daemon.port());
    client.send_bytes(std::span(stream).first(length));
    if (length % 3 == 0) {
      client.reset();
    } else if (length % 3 == 1) {
      client.close();
    } else {
      drain(client);
    }
  }
  siege.check_bystander();
  for (std::size_t length = 1; length < stream.size(); ++length) {
    RawClient client = RawClient::tcp(siege.daemon.port());
    client.send_bytes(std::span(stream).first(length));
    client.send_bytes(std::span(stream).subspan(length));
    // The victim's lease may still be with a connection of before for a moment: then open is refused, else all is well.
    CHECK(client.must_receive().header.operation == proto::Operation::hello);
    const bool opened = client.must_receive().status() == proto::Status::ok;
    for (int i = 0; i < 6; ++i) {
      const Frame frame = client.must_receive();
      if (opened) CHECK(frame.status() == proto::Status::ok);
    }
    CHECK_FALSE(client.receive());
  }
}

TEST_CASE("a thousand connections of every bad kind at once do no harm") {
  Siege siege;
  std::vector<RawClient> clients;
  const proto::Bytes hello = hello_frame();
  proto::Bytes half_write;
  proto::encode(half_write, 9, proto::WriteRequest{0, pattern(1u << 20, 1)});
  half_write.resize(20'000);
  const proto::Bytes reads = [] {
    proto::Bytes frames;
    for (std::uint64_t i = 0; i < 100; ++i) proto::encode(frames, 10 + i, proto::ReadRequest{0, 200});
    return frames;
  }();
  for (int i = 0; i < 1000; ++i) {
    clients.push_back(RawClient::tcp(siege.daemon.port(), i % 5 == 4 ? 4096 : 0));
    RawClient& client = clients.back();
    switch (i % 5) {
      case 0: break;                                                               // says nothing
      case 1: client.send_bytes(std::span(hello).first(hello.size() - 1)); break;  // stops in its hello
      case 2: client.hello(); break;                                               // idles
      case 3:                                                                      // stops in a frame that claims 1 MiB
        client.hello();
        client.open("victim", proto::Access::read);
        client.send_bytes(half_write);
        break;
      default:  // asks and never reads
        client.hello();
        client.open("other", proto::Access::read);
        client.send_bytes(reads);
    }
    if (i % 100 == 0) siege.check_bystander();
  }
  siege.check_bystander();
  for (std::size_t i = 2; i < clients.size(); i += 5) check_alive(clients[i]);
}

TEST_CASE("readers that never read cost their own bounded buffers only") {
  Siege siege;
  std::vector<RawClient> deaf;
  proto::Bytes batch;
  for (std::uint64_t i = 0; i < 200; ++i) proto::encode(batch, 10 + i, proto::ReadRequest{0, 200'000});
  for (int i = 0; i < 20; ++i) {
    deaf.push_back(RawClient::tcp(siege.daemon.port(), 4096));
    deaf.back().hello();
    deaf.back().open("other", proto::Access::read);
    REQUIRE(deaf.back().send_bytes(batch));
    siege.check_bystander();
  }
}

TEST_CASE("an idle connection with a session takes at most 16 KiB of resident memory") {
  raise_open_files_limit();
  Daemon daemon({"--store", "demo={dir}/demo.img", "--log-level", "warn"});
  RawClient writer = session_on(daemon, "demo");
  writer.grow(16);
  constexpr std::size_t count = 1000;
  std::vector<RawClient> idle;
  const auto open_one = [&] {
    idle.push_back(session_on(daemon, "demo", proto::Access::read));
    // It has worked before it idles: its buffers must be gone again.
    idle.back().read(0, 100'000);
  };
  for (int i = 0; i < 20; ++i) open_one();
  const std::size_t before = resident_kib(daemon.pid());
  for (std::size_t i = 0; i < count; ++i) open_one();
  const std::size_t after = resident_kib(daemon.pid());
  INFO("before " << before << " KiB, after " << after << " KiB");
  if (!sanitized) CHECK(after - before <= 16 * count);
}
