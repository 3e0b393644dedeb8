// Sessions through shared memory: what a daemon takes for a ring, what a hostile peer can do with one, and the library.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <fstream>
#include <random>

#include <nlohmann/json.hpp>
#include <pageserver/async_session.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/daemon/helpers.hpp"
#include "tests/daemon/ring_client.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

using Json = nlohmann::json;

/// A daemon that polls, and one that hardly ever does: then both ends sleep and wake each other for each message.
struct Served {
  explicit Served(const std::string& poll_us = "1000", std::vector<std::string> more = {},
                  const std::string& limits = {})
      : daemon(flags(poll_us, std::move(more), limits), &dir) {
    daemon.expect_complaint("faults can be ordered");
  }

  std::vector<std::string> flags(const std::string& poll_us, std::vector<std::string> more,
                                 const std::string& limits) const {
    std::ofstream(dir.file("c.json")) << R"({"poll_us": )" << poll_us << R"(, "limits": {)" << limits << "}}";
    more.insert(more.end(), {"--config", dir.file("c.json"), "--store", "demo=" + dir.file("demo.img"), "--store",
                             "other=" + dir.file("other.img")});
    return more;
  }
  std::string uri(const std::string& query = {}) const {
    return daemon.unix_uri("demo", query.find("poll_us") == std::string::npos
                                       ? "poll_us=1000" + (query.empty() ? "" : "&" + query)
                                       : query);
  }
  RingClient client(std::string_view store = "demo", proto::Access access = proto::Access::write) const {
    return RingClient(daemon.socket_path(), store, access);
  }
  /// As pagectl sessions shows the only session.
  std::string transport() const {
    const Json shown = Json::parse(
        run({pagectl_path(), "sessions", "--json", "pageserver+unix:///?socket=" + daemon.socket_path()}).out);
    for (const Json& session : shown.at("sessions"))
      if (!session.at("session").is_null()) return session.at("transport");
    return "none";
  }
  /// Somebody else is served as if nothing were.
  void check_others(unsigned salt) const {
    const auto session = open(daemon.tcp_uri("other"));
    if (session->pages() == 0) session->grow(1);
    const auto data = pattern(5000, salt);
    session->write(100, data);
    std::vector<std::byte> back(data.size());
    session->read(100, back);
    CHECK(back == data);
  }

  TempDir dir;
  Daemon daemon;
};

std::size_t descriptors_of(pid_t pid) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd"))
    ++count;
  return count;
}

UniqueFd memfd(off_t bytes, int seals) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(::ftruncate(fd.get(), bytes) == 0);
  if (seals != 0) REQUIRE(::fcntl(fd.get(), F_ADD_SEALS, seals) == 0);
  return fd;
}

constexpr int all_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr auto right_bytes = static_cast<off_t>(ring::memory_bytes(RingClient::direction_bytes));

}  // namespace

TEST_CASE("ring: requests and answers go through shared memory, and nothing but bells over the socket") {
  const Served served;
  RingClient client = served.client();
  CHECK(served.transport() == "ring");
  client.call(proto::GrowRequest{2}).as<proto::GrowAnswer>();
  const auto data = pattern(1000);
  for (int i = 0; i < 500; ++i) {
    client.call(proto::WriteRequest{static_cast<std::uint64_t>(i), data}).as<proto::WriteAnswer>();
    REQUIRE(client.read(static_cast<std::uint64_t>(i), 1000) == data);
  }
  CHECK_FALSE(client.socket().readable_within(std::chrono::milliseconds(0)));
  client.call(proto::CloseRequest{}).as<proto::CloseAnswer>();
  CHECK_FALSE(client.receive());
}

TEST_CASE("ring: whatever is no sealed memory of the right size is refused, and the connection goes on") {
  const Served served;
  RingClient client(served.daemon.socket_path());
  const std::size_t descriptors = descriptors_of(served.daemon.pid());
  const auto refused = [&](const std::vector<int>& passed, std::string_view why,
                           std::uint64_t bytes = RingClient::direction_bytes) {
    const Frame answer = client.ask(passed, bytes);
    CHECK(answer.status() == proto::Status::invalid_argument);
    CHECK(answer.text().find(why) != std::string::npos);
  };
  const UniqueFd good = memfd(right_bytes, all_seals), unsealed = memfd(right_bytes, 0);
  const UniqueFd small = memfd(right_bytes - 1, all_seals), large = memfd(right_bytes + 4096, all_seals);
  const UniqueFd file(::open(served.dir.file("file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(::ftruncate(file.get(), right_bytes) == 0);
  const UniqueFd read_only(::open(("/proc/self/fd/" + std::to_string(good.get())).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  const UniqueFd out(pipe[0]), in(pipe[1]);
  refused({}, "no descriptor");
  refused({good.get(), good.get()}, "several descriptors");
  refused({good.get(), good.get(), good.get(), good.get()}, "several descriptors");
  refused({unsealed.get()}, "not sealed");
  refused({small.get()}, "wanted are exactly");
  refused({large.get()}, "wanted are exactly");
  refused({file.get()}, "");
  refused({out.get()}, "no memfd");
  refused({read_only.get()}, "can't be mapped");
  refused({good.get()}, "no power of two", 65537);
  refused({good.get()}, "no power of two", 1u << 31);
  refused({good.get()}, "no power of two", 0);
  CHECK(descriptors_of(served.daemon.pid()) == descriptors);
  // One that comes with another request is not there for the next one.
  proto::Bytes ping;
  proto::encode(ping, 7, proto::PingRequest{});
  send_with(client.socket().fd(), ping, {good.get()});
  client.socket().must_receive().as<proto::PingAnswer>();
  refused({}, "no descriptor");
  CHECK(descriptors_of(served.daemon.pid()) == descriptors);
  client.begin();
  client.call(proto::PingRequest{}).as<proto::PingAnswer>();
  CHECK(descriptors_of(served.daemon.pid()) == descriptors);
  const Frame second = client.call(proto::RingRequest{RingClient::direction_bytes});
  CHECK(second.text().find("has one already") != std::string::npos);
}

TEST_CASE("ring: over TCP, without polling and without the feature there is none") {
  const Served served;
  RawClient tcp = RawClient::tcp(served.daemon.port());
  CHECK((tcp.hello("raw", with_ring).features & proto::feature_ring) == 0);
  CHECK(tcp.call(proto::RingRequest{65536}).status() == proto::Status::unsupported);
  RawClient plain = RawClient::local(served.daemon.socket_path());
  plain.hello();
  CHECK(plain.call(proto::RingRequest{65536}).status() == proto::Status::unsupported);
  const Served sleeping("0");
  RawClient local = RawClient::local(sleeping.daemon.socket_path());
  CHECK((local.hello("raw", with_ring).features & proto::feature_ring) == 0);
}

TEST_CASE("ring: an index that is not possible ends that connection with the reason, and no other") {
  const Served served;
  for (unsigned i = 0; i < 4; ++i) {
    RingClient client = served.client();
    if (i == 0) client.header().requests_written = ~0ull;
    if (i == 1) client.header().requests_written = client.header().requests_read + RingClient::direction_bytes + 1;
    if (i == 2) client.header().requests_written = client.header().requests_read - 1;
    if (i == 3) client.header().answers_read = ~0ull / 2;
    // Whoever sleeps by now is woken.
    const std::byte bell{0};
    client.socket().send_bytes({&bell, 1});
    // It looks at what was read once it has no room by what it knows.
    const auto echo = pattern(proto::ping_bytes_max);
    for (int ping = 0; i == 3 && ping < 2000; ++ping)
      if (!client.send_bytes(client.frame_of(proto::PingRequest{echo}), std::chrono::milliseconds(100))) break;
    if (i < 3) {
      const auto goodbye = client.receive();
      REQUIRE(goodbye);
      CHECK((goodbye->header.operation == proto::Operation::goodbye));
      CHECK(goodbye->text().find("index that is not possible") != std::string::npos);
    }
    CHECK(client.socket().closed_within());
    served.check_others(i);
  }
}

TEST_CASE("ring: a peer that scribbles while the daemon reads harms nobody but itself") {
  const Served served;
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (unsigned round = 0; round < 12; ++round) {
    RingClient client = served.client();
    // Mapped once more: the client's own end is not meant to be torn by a thread of its process.
    const auto own = client.memory();
    void* const again = ::mremap(own.data(), 0, own.size(), MREMAP_MAYMOVE);
    REQUIRE(again != MAP_FAILED);
    const std::span memory(static_cast<std::byte*>(again), own.size());
    std::atomic<bool> stop{false};
    const std::uint64_t salt = random();
    // Bytes of requests and of answers in all rounds; in every other one indices and words, too.
    std::thread scribbler([&] {
      std::mt19937_64 mine(salt);
      while (!stop) {
        const std::size_t from = round % 2 == 0 ? ring::header_bytes : 0;
        const std::size_t span = mine() % 16 == 0 ? memory.size() - from : 8192;
        const std::size_t at = from + mine() % span;
        if (at < memory.size()) std::atomic_ref(memory[at]).store(static_cast<std::byte>(mine()));
      }
    });
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(sanitized ? 400 : 150);
    try {
      while (std::chrono::steady_clock::now() < deadline) {
        const std::vector<std::byte> data = pattern(1 + random() % 3000);
        if (!client.send_bytes(client.frame_of(proto::WriteRequest{random() % 60000, data}),
                               std::chrono::milliseconds(20)))
          break;
        if (!client.send_bytes(client.frame_of(proto::ReadRequest{0, 4000}), std::chrono::milliseconds(20))) break;
        std::array<std::byte, 8192> some;
        while (client.end().read(some) > 0) continue;
        int error = 0;
        if (client.end().look_at_socket(error) == ring::End::Socket::end) break;
      }
    } catch (const std::exception&) {
      // It has written over its own, too.
    }
    stop = true;
    scribbler.join();
    ::munmap(again, own.size());
    served.check_others(round);
  }
  CHECK(served.daemon.unexpected_complaints().empty());
}

TEST_CASE("ring: what a peer had written before its end is carried out, and half a frame is dropped") {
  const Served served;
  {
    RingClient client = served.client();
    client.call(proto::GrowRequest{1}).as<proto::GrowAnswer>();
    std::vector<std::byte> frames;
    for (unsigned i = 0; i < 20; ++i) {
      const auto frame = client.frame_of(proto::WriteRequest{i * 100, pattern(100, i)});
      frames.insert(frames.end(), frame.begin(), frame.end());
    }
    const auto half = client.frame_of(proto::WriteRequest{5000, pattern(100)});
    frames.insert(frames.end(), half.begin(), half.end() - 10);
    client.send_bytes(frames);
    client.socket().close();
  }
  const auto reader = open(served.daemon.tcp_uri("demo", "wait_ms=10000"));
  std::vector<std::byte> back(100);
  for (unsigned i = 0; i < 20; ++i) {
    reader->read(i * 100, back);
    CHECK(back == pattern(100, i));
  }
  reader->read(5000, back);
  CHECK(back == std::vector<std::byte>(100));
}

TEST_CASE("ring: a frame that is cut anywhere is waited for, or dropped where nothing more comes") {
  const Served served;
  RingClient client = served.client();
  client.call(proto::GrowRequest{1}).as<proto::GrowAnswer>();
  const auto whole = client.frame_of(proto::WriteRequest{0, pattern(40)});
  for (std::size_t cut = 1; cut < whole.size(); ++cut) {
    CAPTURE(cut);
    const auto frame = client.frame_of(proto::WriteRequest{cut, pattern(40, static_cast<unsigned>(cut))});
    client.send_bytes(std::span(frame).first(cut));
    if (cut % 8 == 0) std::this_thread::yield();
    client.send_bytes(std::span(frame).subspan(cut));
    client.receive()->as<proto::WriteAnswer>();
    REQUIRE(client.read(cut, 40) == pattern(40, static_cast<unsigned>(cut)));
  }
  client.call(proto::CloseRequest{});
  for (std::size_t cut = 0; cut < whole.size(); cut += 9) {
    CAPTURE(cut);
    RingClient other = served.client("other");
    other.send_bytes(std::span(whole).first(cut));
    other.socket().close();
    wait_until([&] { return served.transport() == "none"; });
  }
  CHECK(open(served.daemon.tcp_uri("other"))->pages() == 0);
}

TEST_CASE("ring: a peer that never reads is bounded, and dropped when its time is over") {
  const Served served("1000", {}, R"("stall_timeout": "300ms", "buffered_bytes": 1052672)");
  RingClient client = served.client();
  client.call(proto::GrowRequest{16}).as<proto::GrowAnswer>();
  const auto frame = client.frame_of(proto::ReadRequest{0, 1u << 20});
  for (int i = 0; i < 200; ++i)
    if (!client.send_bytes(frame, std::chrono::milliseconds(50))) break;
  served.daemon.wait_for_log("the peer reads no answers");
  served.check_others(1);
}

TEST_CASE("ring: rings of one peer have a bound, and who finds none there goes on over the socket") {
  const Served served("1000", {}, R"("memory_bytes": "64MiB")");
  std::vector<std::unique_ptr<RingClient>> clients;
  Frame last{};
  for (int i = 0; i < 400; ++i) {
    auto client = std::make_unique<RingClient>(served.daemon.socket_path());
    ring::MadeMemory made = ring::make_memory(RingClient::direction_bytes);
    last = client->ask({made.descriptor.get()});
    if (last.status() != proto::Status::ok) break;
    clients.push_back(std::move(client));
  }
  REQUIRE(last.status() == proto::Status::limit_exceeded);
  CHECK(last.text().find("limits.memory_bytes") != std::string::npos);
  CHECK(clients.size() >= 4);
  {
    const auto session = open(served.uri());
    session->grow(1);
    session->write(0, pattern(100));
    CHECK(served.transport() == "socket");
  }
  // What has ended gives its part back.
  clients.clear();
  wait_until([&] {
    const auto session = open(served.uri("wait_ms=1000"));
    return served.transport() == "ring";
  });
}

TEST_CASE("ring: the library takes one where both ends poll, and none where it is told not to") {
  const Served served;
  {
    const auto session = open(served.uri());
    CHECK(served.transport() == "ring");
  }
  {
    const auto session = open(served.uri("transport=socket"));
    CHECK(served.transport() == "socket");
  }
  {
    const auto session = open(served.uri("poll_us=0"));
    CHECK(served.transport() == "socket");
  }
  const Served sleeping("0");
  const auto session = open(sleeping.uri());
  session->grow(1);
  CHECK(sleeping.transport() == "socket");
}

TEST_CASE("ring: ends that sleep for each message wake each other, and calls of all sizes come through") {
  const Served served("1");
  const auto session = open(served.uri("poll_us=1"));
  REQUIRE(served.transport() == "ring");
  session->grow(64);
  std::vector<std::byte> back;
  for (unsigned i = 0; i < 300; ++i) {
    const auto data = pattern(1 + i * 97, i);
    session->write(i * 1000, data);
    back.resize(data.size());
    session->read(i * 1000, back);
    REQUIRE(back == data);
  }
  for (const std::size_t bytes :
       {std::size_t{100'000}, std::size_t{300'000}, std::size_t{1} << 20, std::size_t{4'000'000}}) {
    const auto data = pattern(bytes, static_cast<unsigned>(bytes));
    session->write(12345, data);
    back.resize(bytes);
    session->read(12345, back);
    REQUIRE(back == data);
  }
  session->flush();
}

TEST_CASE("ring: the end of the daemon ends the session") {
  Served served;
  const auto session = open(served.uri());
  session->grow(1);
  served.daemon.kill_hard();
  check_error(thrown_by([&] { session->write(0, pattern(10)); }), Errc::connection_lost, {"closed the connection"});
  check_error(thrown_by([&] { session->write(0, pattern(10)); }), Errc::connection_lost, {""});
}

TEST_CASE("ring: what the daemon says last is heard, at a kick and at a stop") {
  Served served;
  const auto session = open_session(served.uri());
  const Json shown = Json::parse(
      run({pagectl_path(), "sessions", "--json", "pageserver+unix:///?socket=" + served.daemon.socket_path()}).out);
  std::uint64_t id = 0;
  for (const Json& each : shown.at("sessions"))
    if (!each.at("session").is_null()) id = each.at("session");
  run({pagectl_path(), "kick", "pageserver+unix:///?socket=" + served.daemon.socket_path(), std::to_string(id)});
  check_error(thrown_by([&] { session->stat(); }), Errc::connection_lost, {"was ended by"});
  const auto other = open_session(served.uri());
  CHECK(served.daemon.stop() == 0);
  check_error(thrown_by([&] { other->stat(); }), Errc::connection_lost, {"stopping"});
}

TEST_CASE("ring: after a fork the child uses nothing of it, and the parent goes on") {
  const Served served;
  auto session = open(served.uri());
  session->grow(1);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::array<std::byte, 3> buffer{};
    const auto error = thrown_by([&] { session->read(0, buffer); });
    const bool said = error.errc() == Errc::connection_lost;
    session.reset();
    ::_exit(said ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  session->write(0, pattern(3));
  CHECK(served.transport() == "ring");
}

TEST_CASE("ring: an event loop of the program waits at the socket, and misses nothing") {
  const Served served("1");
  AsyncSession session(served.uri("poll_us=1"));
  REQUIRE(served.transport() == "ring");
  int done = 0;
  session.grow(16, [&](const MemoryError* error, std::uint64_t) { done += error == nullptr ? 1 : 0; });
  const auto data = pattern(70'000);
  std::vector<std::vector<std::byte>> back(40);
  for (std::size_t i = 0; i < back.size(); ++i) {
    back[i].resize(data.size());
    session.write(i * 1000, data, [&](const MemoryError* error) { done += error == nullptr ? 1 : 0; });
    session.read(i * 1000, back[i], [&](const MemoryError* error) { done += error == nullptr ? 1 : 0; });
  }
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (session.outstanding() > 0) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    // Only the descriptor: what would be missed shows as a wait without an end.
    pollfd polled{session.socket(), session.events(), 0};
    REQUIRE(::poll(&polled, 1, 20'000) == 1);
    session.poll();
  }
  CHECK(done == 81);
  for (const auto& each : back) CHECK(each == data);
}

TEST_CASE("ring: a session that is resumed has a ring again, and each request was carried out once") {
  const Served served("1000", {"--allow-faults"});
  const auto session = open_session(served.uri("resume=30&faults=write:5:cut=after,write:9:torn,read:3:cut=before"));
  session->grow(1);
  for (unsigned i = 0; i < 20; ++i) {
    const auto data = pattern(200, i);
    session->write(i * 200, data);
    std::vector<std::byte> back(200);
    session->read(i * 200, back);
    REQUIRE(back == data);
  }
  CHECK(served.transport() == "ring");
}

TEST_CASE("ring: answers that come by drops and cut answers are as over a socket") {
  const Served served("1000", {"--allow-faults"});
  {
    const auto session = open_session(served.uri("faults=read:drip=7"));
    session->grow(1);
    std::vector<std::byte> back(100);
    session->read(0, back);
    CHECK(back == std::vector<std::byte>(100));
  }
  for (const std::string fault : {"read:torn", "read:cut=before", "read:cut=after"}) {
    const auto session = open_session(served.uri("faults=" + fault));
    std::vector<std::byte> back(100);
    check_error(thrown_by([&] { session->read(0, back); }), Errc::connection_lost, {"closed the connection"});
  }
}

TEST_CASE("ring: several threads of one session share it") {
  const Served served;
  const auto session = open(served.uri());
  session->grow(16);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < 4; ++number)
    threads.emplace_back([&, number] {
      for (unsigned i = 0; i < 100; ++i) {
        const auto data = pattern(1 + i * 200, number * 100 + i);
        session->write(number * 200'000, data);
        std::vector<std::byte> back(data.size());
        session->read(number * 200'000, back);
        if (back != data) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}
