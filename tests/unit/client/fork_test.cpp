// A session and fork(2): it stays the parent's.
#include <catch2/catch.hpp>

#include <sys/wait.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

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
