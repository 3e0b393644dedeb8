// Thousands of peers at once that each make the daemon keep as much as it lets them: its memory stays within
// limits.memory_bytes, and somebody else is served meanwhile.
#include <sys/socket.h>

#include <map>

#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"
#include "tests/support/skip.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

constexpr std::size_t peers_max = 4096;
constexpr std::uint64_t mib = 1u << 20;
constexpr std::size_t stores = 32;
constexpr std::string_view not_measurable = "memory under a sanitizer is not what the program takes";
constexpr std::uint64_t memory_bytes = 128 * mib;

/// Memory of a process that no file stands behind.
std::uint64_t anonymous_bytes(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; status >> word;) {
    std::uint64_t kib = 0;
    if (word == "RssAnon:" && status >> kib) return kib * 1024;
  }
  throw std::runtime_error("no RssAnon for process " + std::to_string(pid));
}

struct Attacked {
  Attacked() {
    raise_open_files_limit();
    std::filesystem::create_directory(dir.path() / "stores");
    for (std::size_t i = 0; i < stores; ++i)
      std::ofstream(dir.path() / "stores" / ("s" + std::to_string(i) + ".img")).flush();
    std::ofstream(dir.file("c.json")) << R"({"limits": {"memory_bytes": "128MiB", "connections": 5000,)"
                                      << R"( "lease_line": 5000, "log_bytes": "64MiB", "held_bytes": "1GiB",)"
                                      << R"( "hello_timeout": "1h", "stall_timeout": "1h"},)"
                                      << R"( "log": {"level": "warn"}})";
    daemon.emplace(std::vector<std::string>{"--config", "{dir}/c.json", "--directory", "{dir}/stores", "--store",
                                            "known={dir}/known.img", "--store", "big={dir}/big.img"},
                   &dir);
    known.emplace(RawClient::local(daemon->socket_path()));
    known->hello("known");
    known->open("known");
    known->grow(64);
    RawClient big = RawClient::local(daemon->socket_path());
    big.hello();
    big.open("big");
    big.grow(64);
    for (std::uint64_t at = 0; at < 64 * 65536; at += mib) big.write(at, pattern(mib, 7));
  }

  /// One that reads and sends little at a time, so that the kernel keeps little for it.
  RawClient peer() const {
    RawClient client = RawClient::tcp(daemon->port(), 4096);
    const int bytes = 16 << 10;
    ::setsockopt(client.fd(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    client.hello("hostile");
    return client;
  }

  /// The known client's requests are answered, small ones and large ones.
  void serve_known() {
    known->write(8, pattern(8, 1));
    CHECK(known->read(8, 8) == pattern(8, 1));
    const auto large = pattern(mib, 3);
    known->write(65536, large);
    CHECK(known->read(65536, static_cast<std::uint32_t>(mib)) == large);
  }

  void check_memory() const {
    const std::uint64_t bytes = anonymous_bytes(daemon->pid());
    INFO("anonymous memory " << bytes / 1024 << " KiB");
    CHECK(bytes <= memory_bytes);
  }

  /// Sends `bytes` to each for as long as somebody takes some.
  static void push(std::vector<RawClient>& peers, std::span<const std::byte> bytes) {
    std::map<int, std::size_t> sent;
    for (int idle_rounds = 0; idle_rounds < 3; ++idle_rounds) {
      for (RawClient& peer : peers) {
        std::size_t& at = sent[peer.fd()];
        while (at < bytes.size()) {
          const ssize_t put = ::send(peer.fd(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
          if (put <= 0) break;
          at += static_cast<std::size_t>(put);
          idle_rounds = 0;
        }
      }
    }
  }

  TempDir dir;
  std::optional<Daemon> daemon;
  std::optional<RawClient> known;
};

template <class Request>
proto::Bytes encoded(const Request& request) {
  proto::Bytes bytes;
  proto::encode(bytes, 99, request);
  return bytes;
}

/// What each case does first and last.
struct Siege : Attacked {
  Siege() { writer.hello("writer"); }

  RawClient session(std::string_view store, proto::Access access, proto::View view = proto::View::live) const {
    RawClient client = peer();
    proto::OpenRequest open;
    open.access = access;
    open.view = view;
    open.store = store;
    client.call(open).as<proto::OpenAnswer>();
    return client;
  }
  void check_and_end() {
    for (int i = 0; i < 20; ++i) {
      serve_known();
      check_memory();
    }
    peers.clear();
    serve_known();
  }

  RawClient writer = RawClient::local(daemon->socket_path());
  std::vector<RawClient> peers;
};

/// The first `bytes` of a write of a mebibyte.
proto::Bytes part_of_a_large_frame(std::size_t bytes) {
  proto::Bytes frame = encoded(proto::WriteRequest{0, pattern(mib, 1)});
  frame.resize(bytes);
  return frame;
}

}  // namespace

TEST_CASE("thousands that stop within a large frame leave the daemon within its memory, and others are served") {
  if (sanitized) return skip(not_measurable);
  const std::size_t bytes = GENERATE(std::size_t{300'000}, proto::frame_header_bytes);
  Siege siege;
  for (std::size_t i = 0; i < peers_max; ++i) siege.peers.push_back(siege.session("big", proto::Access::fork));
  Siege::push(siege.peers, part_of_a_large_frame(bytes));
  siege.check_and_end();
}

TEST_CASE("thousands that send large frames before they open leave the daemon within its memory") {
  if (sanitized) return skip(not_measurable);
  Siege siege;
  for (std::size_t i = 0; i < peers_max; ++i) siege.peers.push_back(siege.peer());
  Siege::push(siege.peers, part_of_a_large_frame(300'000));
  siege.check_and_end();
}

TEST_CASE("thousands that read no answers leave the daemon within its memory, and others are served") {
  if (sanitized) return skip(not_measurable);
  Siege siege;
  for (std::size_t i = 0; i < peers_max; ++i) siege.peers.push_back(siege.session("big", proto::Access::read));
  proto::Bytes requests;
  for (int i = 0; i < 16; ++i) proto::encode(requests, 100, proto::ReadRequest{0, 1u << 18});
  Siege::push(siege.peers, requests);
  siege.check_and_end();
}

TEST_CASE("thousands in line that send ahead leave the daemon within its memory, and others are served") {
  if (sanitized) return skip(not_measurable);
  Siege siege;
  siege.writer.open("big");
  for (std::size_t i = 0; i < peers_max; ++i) siege.peers.push_back(siege.peer());
  proto::OpenRequest open;
  open.access = proto::Access::write;
  open.store = "big";
  open.wait_ms = 3'600'000;
  proto::Bytes bytes = encoded(open);
  for (int i = 0; i < 5; ++i) proto::encode(bytes, 100, proto::WriteRequest{0, pattern(65'000, 1)});
  Siege::push(siege.peers, bytes);
  siege.check_and_end();
}

TEST_CASE("thousands of forks that write leave the daemon within its memory, and others are served") {
  if (sanitized) return skip(not_measurable);
  Siege siege;
  for (std::size_t i = 0; i < peers_max; ++i) siege.peers.push_back(siege.session("big", proto::Access::fork));
  proto::Bytes bytes;
  for (std::uint64_t at = 0; at < 8; ++at)
    proto::encode(bytes, 100, proto::WriteRequest{at * 65'536, pattern(9'000, 1)});
  Siege::push(siege.peers, bytes);
  // What has no room in memory goes to files; what finds it may have no room at all.
  for (RawClient& peer : siege.peers)
    for (int i = 0; i < 8; ++i) {
      const Frame answer = peer.must_receive();
      if (answer.status() == proto::Status::ok) continue;
      REQUIRE(answer.status() == proto::Status::limit_exceeded);
      REQUIRE(answer.text().find("limits.memory_bytes=134217728") != std::string::npos);
    }
  siege.check_and_end();
}

TEST_CASE("many large transactions leave the daemon within its memory, and others are served") {
  if (sanitized) return skip(not_measurable);
  Siege siege;
  for (std::size_t i = 0; i < stores; ++i) {
    // With small buffers each of its writes would wait for delayed acknowledgements.
    siege.peers.push_back(RawClient::tcp(siege.daemon->port()));
    RawClient& peer = siege.peers.back();
    peer.hello("hostile");
    proto::OpenRequest open;
    open.access = proto::Access::write;
    open.publish = proto::Publish::on_flush;
    const std::string store = "s" + std::to_string(i);
    open.store = store;
    peer.call(open).as<proto::OpenAnswer>();
    peer.grow(64);
    for (std::uint64_t at = 0; at < 4; ++at) peer.write(at * mib, pattern(mib, 1));
  }
  siege.check_and_end();
}

TEST_CASE("thousands of pins leave the daemon within its memory, and are given up where that is too little") {
  if (sanitized) return skip(not_measurable);
  Siege siege;
  for (std::size_t i = 0; i < peers_max; ++i)
    siege.peers.push_back(siege.session("big", proto::Access::read, proto::View::pinned));
  siege.writer.open("big");
  // Pieces of eight bytes, each at a place of its own: what finds them is ten times as large.
  constexpr std::size_t each = 512, rounds = 1280;
  for (std::size_t round = 0; round < rounds; ++round) {
    proto::Bytes bytes;
    for (std::size_t i = 0; i < each; ++i)
      proto::encode(bytes, 100, proto::WriteRequest{(round * each + i) * 16 % (64 * 65'536 - 8), pattern(8, 1)});
    siege.writer.send_bytes(bytes);
    for (std::size_t i = 0; i < each; ++i) siege.writer.must_receive().as<proto::WriteAnswer>();
  }
  const Frame given_up = siege.peers.front().call(proto::ReadRequest{0, 8});
  CHECK(given_up.status() == proto::Status::snapshot_too_old);
  CHECK(given_up.text().find("limits.memory_bytes=") != std::string::npos);
  siege.check_and_end();
}

TEST_CASE("thousands that ask for lists and read none leave the daemon within its memory") {
  if (sanitized) return skip(not_measurable);
  Siege siege;
  for (std::size_t i = 0; i < peers_max; ++i) siege.peers.push_back(siege.peer());
  proto::Bytes requests;
  for (int i = 0; i < 64; ++i) proto::encode(requests, 100, proto::ListRequest{});
  Siege::push(siege.peers, requests);
  siege.check_and_end();
}
