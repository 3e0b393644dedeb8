// A session and fork(2): it stays the parent's.
#include "tests/support/catch.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <pageserver/async_session.hpp>

#include "tests/unit/client/fake_daemon.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

/// Runs in the child: the number of calls that did not throw what they should, as its exit status.
int count_failures(std::unique_ptr<RemoteProvider>& provider) {
  int failures = 0;
  std::byte buffer[3];
  const auto lost = [&](auto call) {
    try {
      call();
      ++failures;
    } catch (const MemoryError& error) {
      const bool said = std::string{error.what()}.find("sessions do not survive fork(2)") != std::string::npos;
      if (error.errc() != Errc::connection_lost || !said) ++failures;
    }
  };
  lost([&] { (void)provider->size(); });
  lost([&] { (void)provider->pages(); });
  lost([&] { provider->read(0, buffer); });
  lost([&] { provider->write(0, buffer); });
  lost([&] { provider->grow(0); });
  lost([&] { provider->flush(); });
  lost([&] { provider->stat(); });
  provider.reset();  // neither hangs, nor ends the parent's session
  return failures;
}

/// The exit status of `child`, -1 when a signal ended it.
int status_of(::pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("in a child after fork every call of a session throws, and the parent's works on") {
  FakeImage image;
  image.bytes.resize(page_size);
  FakeDaemon daemon{image};
  {
    auto provider = std::make_unique<RemoteProvider>(daemon.options());
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) ::_exit(count_failures(provider));
    CHECK(status_of(child) == 0);
    CHECK(image.count(proto::Operation::close) == 0);
    provider->write(0, pattern(3));
    CHECK(provider->stat().pages == 1);
  }
  daemon.join();
  CHECK(image.count(proto::Operation::close) == 1);
}

TEST_CASE("a fork while another thread is inside the session leaves a child that can end it") {
  FakeImage image;
  image.bytes.resize(page_size);
  FakeDaemon daemon{image};
  auto provider = std::make_unique<RemoteProvider>(daemon.options());
  std::atomic<bool> stop{false};
  std::thread worker{[&] {
    const auto data = pattern(3000);
    while (!stop) provider->write(0, data);
  }};
  for (int i = 0; i < 30; ++i) {
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      // A child that hangs is ended by this, and fails the test.
      ::alarm(20);
      ::_exit(count_failures(provider));
    }
    CHECK(status_of(child) == 0);
  }
  stop = true;
  worker.join();
  CHECK(provider->pages() == 1);
}

TEST_CASE(
    "in a child after fork a cached session serves nothing and sends nothing, and the parent flushes what it has") {
  FakeImage image;
  image.bytes.resize(4 * page_size);
  FakeDaemon daemon{image};
  auto options = daemon.options();
  options.publish = Publish::on_flush;
  options.cache_bytes = 1 << 20;
  const auto data = pattern(3000);
  {
    auto provider = std::make_unique<RemoteProvider>(options);
    std::vector<std::byte> known(page_size);
    provider->read(page_size, known);
    provider->write(10, data);                 // only in the cache
    provider->write(2 * page_size + 5, data);  // in a page that was not read
    const std::uint64_t requests = image.total();
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::alarm(60);
      int failures = 0;
      try {
        provider->read(page_size, known);  // which the cache has
        ++failures;
      } catch (const MemoryError& error) {
        if (error.errc() != Errc::connection_lost) ++failures;
      }
      ::_exit(failures + count_failures(provider));
    }
    CHECK(status_of(child) == 0);
    CHECK(image.total() == requests);
    std::vector<std::byte> seen(data.size());
    provider->read(10, seen);
    CHECK(seen == data);
    provider->flush();
    CHECK(std::equal(data.begin(), data.end(), image.bytes.begin() + 10));
    CHECK(std::equal(data.begin(), data.end(), image.bytes.begin() + 2 * page_size + 5));
  }
  daemon.join();
  CHECK(image.count(proto::Operation::close) == 1);
}

TEST_CASE("in a child after fork an asynchronous session starts nothing and ends at once, and the parent's goes on") {
  FakeImage image;
  image.bytes = pattern(4 * page_size);
  FakeDaemon daemon{image};
  {
    std::optional<AsyncSession> session(daemon.options());
    std::vector<std::byte> first(3000), second(3000);
    int done = 0;
    session->read(5, first, [&](const MemoryError* error) { done += error == nullptr ? 1 : 100; });
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::alarm(60);
      int failures = 0;
      const auto lost = [&](auto call) {
        try {
          call();
          ++failures;
        } catch (const MemoryError& error) {
          if (error.errc() != Errc::connection_lost) ++failures;
        }
      };
      const auto never = [&](const MemoryError*) { failures += 10; };
      const auto never_a_value = [&](const MemoryError*, const auto&) { failures += 10; };
      lost([&] { session->read(0, second, never); });
      lost([&] { session->write(0, second, never); });
      lost([&] { session->zero(0, 8, never); });
      lost([&] { session->grow(1, never_a_value); });
      lost([&] { session->flush(never); });
      lost([&] { session->commit(never); });
      lost([&] { session->discard(never); });
      lost([&] { session->refresh(never_a_value); });
      lost([&] { session->size(never_a_value); });
      lost([&] { session->data_ranges(0, 8, never_a_value); });
      lost([&] { session->stat(never_a_value); });
      lost([&] { session->break_lease(0, never_a_value); });
      lost([&] { session->poll(); });
      lost([&] { session->wait(); });
      session.reset();
      ::_exit(failures != 0 || done != 0 ? 1 : 0);
    }
    CHECK(status_of(child) == 0);
    session->read(7, second, [&](const MemoryError* error) { done += error == nullptr ? 1 : 100; });
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    CHECK(session->run_until([&] { return done >= 2; }, deadline));
    CHECK(done == 2);
    CHECK(std::equal(first.begin(), first.end(), image.bytes.begin() + 5));
    CHECK(std::equal(second.begin(), second.end(), image.bytes.begin() + 7));
    CHECK(image.count(proto::Operation::read) == 2);
  }
  daemon.join();
  CHECK(image.count(proto::Operation::close) == 1);
}
