// The ring alone: both ends in one process, over one mapping, so that the thread sanitizer sees what they do.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/ring/end.hpp"
#include "base/ring/memory.hpp"
#include "base/unique_fd.hpp"
#include "tests/support/bytes.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

using namespace pageserver;
using namespace pageserver::test;
using ring::End;

namespace {

constexpr std::size_t direction_bytes = ring::direction_bytes_min;

/// Both ends, and the sockets by which they wake each other.
struct Both {
  Both() {
    std::array<int, 2> pair{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
    client_socket.reset(pair[0]);
    server_socket.reset(pair[1]);
    REQUIRE(made.memory);
    client = std::make_unique<End>(start(), direction_bytes, ring::Side::client, pair[0]);
    server = std::make_unique<End>(start(), direction_bytes, ring::Side::server, pair[1]);
  }
  std::byte* start() const { return made.memory.start(); }
  ring::Header& header() const { return *reinterpret_cast<ring::Header*>(start()); }

  ring::MadeMemory made = ring::make_memory(direction_bytes);
  UniqueFd client_socket, server_socket;
  std::unique_ptr<End> client, server;
};

std::vector<std::byte> read_some(End& end, std::size_t most) {
  std::vector<std::byte> bytes(most);
  bytes.resize(end.read(bytes));
  return bytes;
}

End::Socket look(End& end) {
  int error = 0;
  return end.look_at_socket(error);
}

/// A descriptor of what `make` has made of it.
std::string fault_of(int descriptor) {
  std::string fault;
  const ring::Memory memory = ring::map_memory(descriptor, direction_bytes, fault);
  CHECK(static_cast<bool>(memory) == fault.empty());
  return fault;
}

UniqueFd memfd(unsigned flags, off_t bytes, int seals) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC | flags));
  REQUIRE(fd.is_open());
  REQUIRE(::ftruncate(fd.get(), bytes) == 0);
  if (seals != 0) REQUIRE(::fcntl(fd.get(), F_ADD_SEALS, seals) == 0);
  return fd;
}

}  // namespace

TEST_CASE("ring: what one end writes the other reads, in both directions and around the end") {
  Both both;
  const auto bytes = pattern(direction_bytes / 3 * 2);
  for (int round = 0; round < 5; ++round) {
    CHECK(both.client->write(bytes) == bytes.size());
    CHECK(read_some(*both.server, 2 * direction_bytes) == bytes);
    CHECK(both.server->write(bytes) == bytes.size());
    CHECK(read_some(*both.client, 2 * direction_bytes) == bytes);
  }
  CHECK_FALSE(both.server->has_bytes());
}

TEST_CASE("ring: one that is full takes nothing more, and one that is empty gives nothing") {
  Both both;
  CHECK(read_some(*both.server, 1).empty());
  const auto bytes = pattern(direction_bytes + 100);
  CHECK(both.client->write(bytes) == direction_bytes);
  CHECK_FALSE(both.client->has_room());
  CHECK(both.client->write(bytes) == 0);
  CHECK(read_some(*both.server, 7).size() == 7);
  CHECK(both.client->has_room());
  CHECK(both.client->write(std::span(bytes).subspan(direction_bytes)) == 7);
  CHECK_FALSE(both.client->is_write_broken());
}

TEST_CASE("ring: what is appended is not there before it is published") {
  Both both;
  CHECK(both.client->append(bytes_of("abc")) == 3);
  CHECK_FALSE(both.server->has_bytes());
  both.client->publish();
  CHECK(read_some(*both.server, 10) == bytes_of("abc"));
}

TEST_CASE("ring: the socket rings once for who sleeps, and not for who does not") {
  Both both;
  both.client->write(bytes_of("a"));
  CHECK(look(*both.server) == End::Socket::quiet);
  CHECK_FALSE(both.server->begin_sleep(ring::sleeps_for_bytes));  // something is there
  read_some(*both.server, 10);
  CHECK(both.server->begin_sleep(ring::sleeps_for_bytes));
  both.client->write(bytes_of("b"));
  both.client->write(bytes_of("c"));
  std::array<std::byte, 8> bells{};
  CHECK(::recv(both.server_socket.get(), bells.data(), bells.size(), MSG_DONTWAIT) == 1);
  CHECK(look(*both.server) == End::Socket::quiet);
  both.server->end_sleep();
}

TEST_CASE("ring: who waits for room is woken for half of it, or when all is read") {
  Both both;
  const auto bytes = pattern(direction_bytes);
  both.client->write(bytes);
  CHECK(both.client->begin_sleep(ring::sleeps_for_room));
  read_some(*both.server, 100);
  CHECK(look(*both.client) == End::Socket::quiet);
  read_some(*both.server, direction_bytes / 2);
  CHECK(look(*both.client) == End::Socket::rung);
  CHECK_FALSE(both.client->begin_sleep(ring::sleeps_for_room));  // there is some
}

TEST_CASE("ring: the end of the socket shows behind its bells") {
  Both both;
  CHECK(both.client->begin_sleep(ring::sleeps_for_bytes));
  both.server->write(bytes_of("last"));
  both.server_socket.reset();
  CHECK(look(*both.client) == End::Socket::rung);
  CHECK(look(*both.client) == End::Socket::end);
  CHECK(read_some(*both.client, 10) == bytes_of("last"));
}

TEST_CASE("ring: an index that is not possible ends the direction, and nothing is read or written by it") {
  SECTION("more is written than there is room for") {
    Both both;
    both.header().requests_written = direction_bytes + 1;
    CHECK(both.server->has_bytes());
    CHECK(read_some(*both.server, 100).empty());
    CHECK(both.server->is_read_broken());
    both.header().requests_written = 5;
    CHECK(read_some(*both.server, 100).empty());
  }
  SECTION("it goes back") {
    Both both;
    both.client->write(pattern(100));
    read_some(*both.server, 100);
    both.header().requests_written = 99;
    CHECK(read_some(*both.server, 100).empty());
    CHECK(both.server->is_read_broken());
  }
  SECTION("more is read than was written") {
    Both both;
    both.server->write(pattern(direction_bytes));
    both.header().answers_read = direction_bytes + 1;
    CHECK(both.server->write(pattern(10)) == 0);
    CHECK(both.server->is_write_broken());
  }
}

TEST_CASE("ring: an end's own indices are its own, whatever is written over them") {
  Both both;
  both.header().requests_read = 77;
  both.header().answers_written = 99;
  both.client->write(bytes_of("abc"));
  CHECK(read_some(*both.server, 10) == bytes_of("abc"));
  CHECK(both.server->write(bytes_of("de")) == 2);
  CHECK(read_some(*both.client, 10) == bytes_of("de"));
}

TEST_CASE("ring: whatever indices are written, no more comes than fits, and every copy stays inside") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    Both both;
    std::vector<std::byte> into(3 * direction_bytes);
    const auto wild = [&] {
      const std::uint64_t bits = random();
      return random() % 2 == 0 ? bits : bits % (3 * direction_bytes);
    };
    std::uint64_t came = 0;
    for (int step = 0; step < 20; ++step) {
      switch (random() % 4) {
        case 0: both.header().requests_written = wild(); break;
        case 1: both.header().answers_read = wild(); break;
        case 2: {
          const std::size_t count = both.server->read(into);
          came += count;
          REQUIRE(count <= direction_bytes);
          break;
        }
        default: REQUIRE(both.server->write(std::span(into).first(wild() % into.size())) <= into.size()); break;
      }
      (void)both.server->begin_sleep(ring::sleeps_for_bytes | ring::sleeps_for_room);
    }
  }
}

TEST_CASE("ring: two threads that sleep and wake each other lose nothing and never hang") {
  Both both;
  constexpr std::size_t total = 8u << 20;
  // One sends and one receives at each end, as a client with several threads does. Chunks are of all lengths.
  const auto stream = [](std::size_t at) { return static_cast<std::byte>(at * 31 + at / 257); };
  const auto send = [&](End& end, unsigned salt) {
    std::mt19937 random(salt);
    std::vector<std::byte> chunk;
    for (std::size_t sent = 0; sent < total;) {
      chunk.resize(std::min<std::size_t>(1 + random() % (direction_bytes / 2), total - sent));
      for (std::size_t i = 0; i < chunk.size(); ++i) chunk[i] = stream(sent + i);
      for (std::size_t at = 0; at < chunk.size();) {
        const std::size_t taken = end.write(std::span(chunk).subspan(at));
        at += taken;
        if (taken == 0 && end.begin_sleep(ring::sleeps_for_room)) {
          int error = 0;
          (void)end.look_at_socket(error, true);
          end.end_sleep();
        }
      }
      sent += chunk.size();
    }
  };
  const auto receive = [&](End& end, unsigned salt) {
    std::mt19937 random(salt);
    std::vector<std::byte> chunk;
    std::size_t wrong = 0;
    for (std::size_t received = 0; received < total;) {
      chunk.resize(1 + random() % direction_bytes);
      const std::size_t count = end.read(chunk);
      for (std::size_t i = 0; i < count; ++i) wrong += chunk[i] != stream(received + i) ? 1u : 0u;
      received += count;
      if (count == 0 && end.begin_sleep(ring::sleeps_for_bytes)) {
        int error = 0;
        (void)end.look_at_socket(error, true);
        end.end_sleep();
      }
    }
    return wrong;
  };
  std::size_t wrong = 0;
  std::thread client([&] {
    send(*both.client, 1);
    wrong = receive(*both.client, 2);
  });
  std::size_t wrong_too = receive(*both.server, 3);
  send(*both.server, 4);
  client.join();
  CHECK(wrong == 0);
  CHECK(wrong_too == 0);
}

TEST_CASE("ring: only sealed memory of exactly the right size is mapped") {
  const auto bytes = static_cast<off_t>(ring::memory_bytes(direction_bytes));
  constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  CHECK(fault_of(memfd(MFD_ALLOW_SEALING, bytes, seals).get()).empty());
  CHECK(fault_of(ring::make_memory(direction_bytes).descriptor.get()).empty());
  CHECK(fault_of(memfd(MFD_ALLOW_SEALING, bytes - 1, seals).get()).find("wanted are exactly") != std::string::npos);
  CHECK(fault_of(memfd(MFD_ALLOW_SEALING, bytes + 1, seals).get()).find("wanted are exactly") != std::string::npos);
  for (const int lacking : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL})
    CHECK(fault_of(memfd(MFD_ALLOW_SEALING, bytes, seals & ~lacking).get()).find("not sealed") != std::string::npos);
  CHECK(fault_of(memfd(0, bytes, 0).get()).find("not sealed") != std::string::npos);
  CHECK(fault_of(memfd(MFD_ALLOW_SEALING, bytes, seals | F_SEAL_WRITE).get()).find("can't be mapped") !=
        std::string::npos);
  const TempDir dir;
  UniqueFd file(::open(dir.file("ring").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(::ftruncate(file.get(), bytes) == 0);
  CHECK_FALSE(fault_of(file.get()).empty());
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  const UniqueFd out(pipe[0]), in(pipe[1]);
  CHECK_FALSE(fault_of(out.get()).empty());
  const UniqueFd sealed = memfd(MFD_ALLOW_SEALING, bytes, seals);
  const UniqueFd read_only(::open(("/proc/self/fd/" + std::to_string(sealed.get())).c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(fault_of(read_only.get()).find("can't be mapped") != std::string::npos);
}
