// What requests cost a program that uses the C++ library: scripts/bench_clients.py drives it beside the same program in
// Rust (client/rust/examples/rounds.rs).
//
//   client_rounds URI
//
// Reads lines `read|write BYTES DEPTH COUNT` and answers each with the nanoseconds that a request took.
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <pageserver/async_session.hpp>
#include <pageserver/open.hpp>

namespace {

using Clock = std::chrono::steady_clock;

class Random {
public:
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

private:
  std::uint64_t state_ = 1;
};

struct Round {
  bool write = false;
  std::uint64_t bytes = 0;
  std::uint64_t depth = 0;
  std::uint64_t count = 0;
};

void one_at_a_time(pageserver::Session& session, const Round& round) {
  Random random;
  const std::uint64_t places = session.size() / round.bytes;
  std::vector<std::byte> buffer(round.bytes);
  for (std::uint64_t number = 0; number < round.count; ++number) {
    const std::uint64_t offset = random.next() % places * round.bytes;
    if (round.write)
      session.write(offset, buffer);
    else
      session.read(offset, buffer);
  }
}

void in_flight(pageserver::AsyncSession& session, std::uint64_t size, const Round& round) {
  Random random;
  const std::uint64_t places = size / round.bytes;
  std::vector<std::vector<std::byte>> buffers(round.depth, std::vector<std::byte>(round.bytes));
  std::uint64_t started = 0;
  std::uint64_t ended = 0;
  const pageserver::AsyncSession::Done done = [&ended](const pageserver::MemoryError* error) {
    if (error != nullptr) throw pageserver::MemoryError{*error};
    ++ended;
  };
  while (ended < round.count) {
    for (; started < round.count && started - ended < round.depth; ++started) {
      auto& buffer = buffers[started % round.depth];
      const std::uint64_t offset = random.next() % places * round.bytes;
      if (round.write)
        session.write(offset, buffer, done);
      else
        session.read(offset, buffer, done);
    }
    session.wait();
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) throw std::runtime_error("usage: client_rounds URI");
  const std::string uri = argv[1];
  auto session = pageserver::open_session(uri);
  const std::uint64_t size = session->size();
  // A store has one writer: the session changes its kind with the rounds.
  std::unique_ptr<pageserver::AsyncSession> async;
  for (std::string line; std::getline(std::cin, line);) {
    Round round;
    std::string what;
    std::istringstream words{line};
    if (!(words >> what >> round.bytes >> round.depth >> round.count) || round.bytes == 0 || round.count == 0)
      throw std::runtime_error("no round: " + line);
    round.write = what == "write";
    if (round.depth > 1 && async == nullptr) {
      session.reset();
      async = std::make_unique<pageserver::AsyncSession>(uri);
    } else if (round.depth <= 1 && session == nullptr) {
      async.reset();
      session = pageserver::open_session(uri);
    }
    const auto began = Clock::now();
    if (round.depth > 1)
      in_flight(*async, size, round);
    else
      one_at_a_time(*session, round);
    const std::chrono::duration<double, std::nano> took = Clock::now() - began;
    std::cout << took.count() / static_cast<double>(round.count) << std::endl;
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "client_rounds: %s\n", error.what());
  return 1;
}
