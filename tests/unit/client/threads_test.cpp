// Several threads on one session.
#include "tests/support/catch.hpp"

#include <atomic>
#include <cstring>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/client/fake_daemon.hpp"

using namespace pageserver;
using namespace pageserver::test;
using proto::Operation;

TEST_CASE("threads share a session, each with its own bytes") {
  FakeImage image;
  image.limits.request_bytes_max = 4096;
  image.limits.requests_in_flight_max = 5;
  image.bytes.resize(8 * page_size);
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options()};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      try {
        std::vector<std::byte> back;
        for (unsigned round = 0; round < 150; ++round) {
          const std::size_t size = 1 + (round * 977 + t * 131) % 20'000;
          const auto data = pattern(size, t * 1000 + round);
          back.assign(size, std::byte{0});
          provider.write(t * page_size + round, data);
          provider.read(t * page_size + round, back);
          if (back != data || provider.pages() != 8) ++wrong;
        }
      } catch (const std::exception&) {
        ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("calls that are split take effect one after the other, each as a whole") {
  FakeImage image;
  image.limits.request_bytes_max = 512;
  image.bytes.resize(page_size);
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options()};
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0};
  std::vector<std::thread> writers;
  for (unsigned t = 1; t <= 3; ++t) {
    writers.emplace_back([&, t] {
      const std::vector<std::byte> data(10'000, static_cast<std::byte>(t));
      while (!stop) provider.write(0, data);
    });
  }
  std::vector<std::byte> seen(10'000);
  for (int i = 0; i < 300; ++i) {
    provider.read(0, seen);
    if (std::memcmp(seen.data(), seen.data() + 1, seen.size() - 1) != 0) ++torn;
  }
  stop = true;
  for (auto& writer : writers) writer.join();
  CHECK(torn == 0);
}

TEST_CASE("a thread's slow request does not keep the others' from being sent") {
  std::promise<void> flush_came;
  FakeDaemon daemon{[&](FakePeer& peer) {
    peer.greet({}, 1);
    const auto flush = peer.expect(Operation::flush);
    flush_came.set_value();
    // The flush is answered only after another thread's read has come in.
    const auto read = peer.expect(Operation::read);
    peer.answer(read, proto::ReadAnswer{pattern(4)});
    peer.answer(flush, proto::FlushAnswer{});
    peer.answer(peer.expect(Operation::close), proto::CloseAnswer{});
  }};
  {
    RemoteProvider provider{daemon.options()};
    std::thread flusher{[&] { provider.flush(); }};
    flush_came.get_future().wait();
    std::byte buffer[4];
    provider.read(0, buffer);
    flusher.join();
    CHECK(std::memcmp(buffer, pattern(4).data(), 4) == 0);
  }
  daemon.join();
}

TEST_CASE("a write larger than the socket takes leaves although another thread is asleep in its wait") {
  constexpr std::size_t size = 8u << 20;
  std::promise<void> flush_came;
  FakeDaemon daemon{[&](FakePeer& peer) {
    Limits limits;
    limits.request_bytes_max = 16u << 20;
    peer.greet(limits, size / page_size);
    const auto flush = peer.expect(Operation::flush);
    flush_came.set_value();
    const auto write = peer.expect(Operation::write);
    peer.answer(write, proto::WriteAnswer{});
    peer.answer(flush, proto::FlushAnswer{});
    peer.answer(peer.expect(Operation::close), proto::CloseAnswer{});
  }};
  {
    RemoteProvider provider{daemon.options()};
    std::thread flusher{[&] { provider.flush(); }};
    flush_came.get_future().wait();
    provider.write(0, pattern(size));
    flusher.join();
  }
  daemon.join();
}

TEST_CASE("when the connection ends, every thread is told") {
  constexpr int count = 6;
  FakeDaemon daemon{[&](FakePeer& peer) {
    peer.greet({}, 1);
    for (int i = 0; i < count; ++i) (void)peer.expect(Operation::stat);
    peer.notice(Operation::goodbye, proto::Status::stopping, "stop");
  }};
  RemoteProvider provider{daemon.options()};
  std::atomic<int> lost{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t) {
    threads.emplace_back([&] {
      try {
        provider.stat();
      } catch (const MemoryError& error) {
        if (error.errc() == Errc::connection_lost) ++lost;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(lost == count);
}
