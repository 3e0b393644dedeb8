// Several hosts in one URI: the one that serves the store is found, and all are named where none does.
#include "tests/support/catch.hpp"

#include <chrono>
#include <memory>
#include <string>

#include <pageserver/async_session.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/support/daemon.hpp"
#include "tests/support/errors.hpp"

namespace pageserver::test {
namespace {

std::string at(const Daemon& daemon) { return "127.0.0.1:" + std::to_string(daemon.port()); }

/// A port at which nobody listens: a daemon had it.
std::string nobody() {
  Daemon gone{{"--store", "gone={dir}/gone.img"}};
  const std::string address = at(gone);
  CHECK(gone.stop() == 0);
  return address;
}

TEST_CASE("hosts: the first that answers and knows the store is taken, wherever it stands") {
  Daemon one{{"--store", "other={dir}/other.img"}}, two{{"--store", "a={dir}/a.img"}};
  open(two.tcp_uri("a"))->grow(3);
  const std::string dead = nobody();
  for (const std::string& hosts : {at(two) + "," + at(one), at(one) + "," + at(two), dead + "," + at(two),
                                   dead + "," + at(one) + "," + at(two), at(two) + "," + dead}) {
    INFO(hosts);
    const auto session = open_session("pageserver://" + hosts + "/a?access=read");
    CHECK(session->pages() == 3);
    // Texts name the host that it came to.
    const auto error = thrown_by([&] {
      session->write(0, {});
      session->grow(1);
    });
    CHECK(std::string{error.what()}.find(at(two)) != std::string::npos);
  }
  CHECK(run({pagectl_path(), "info", "pageserver://" + dead + "," + at(one) + "," + at(two) + "/a"}).status == 0);
  CHECK(run({pagectl_path(), "list", "pageserver://" + dead + "," + at(two)}).out.find("a") != std::string::npos);
}

TEST_CASE("hosts: where none serves the store the error names each and why, at once where waiting does not help") {
  Daemon one{{"--store", "other={dir}/other.img"}};
  const std::string dead = nobody(), dead_too = nobody();
  const auto began = std::chrono::steady_clock::now();
  const auto error = thrown_by([&] { static_cast<void>(open("pageserver://" + dead + "," + at(one) + "/a")); });
  check_error(error, Errc::not_found, {"none of the hosts", dead, "is pageserverd running there", at(one), "a"});
  const auto none = thrown_by([&] { static_cast<void>(open("pageserver://" + dead + "," + dead_too + "/a")); });
  check_error(none, Errc::connection_lost, {"none of the hosts", dead, dead_too});
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds{5});
  // What another host would say as well is not asked of it.
  check_error(thrown_by([&] {
                const auto holder = open(one.tcp_uri("other"));
                static_cast<void>(open("pageserver://" + at(one) + "," + dead + "/other"));
              }),
              Errc::busy, {at(one)});
}

TEST_CASE("hosts: a session with resume= goes on after its daemon was started again, beside hosts that are dead") {
  Daemon daemon{{"--store", "a={dir}/a.img"}};
  const std::string address = at(daemon), dead = nobody();
  const auto session = open_session("pageserver://" + dead + "," + address + "/a?resume=30");
  session->grow(1);
  const std::byte mark{42};
  session->write(7, {&mark, 1});
  daemon.kill_hard();
  Daemon next{{"--store", "a=" + daemon.file("a.img"), "--listen", address}};
  session->flush();
  std::byte found{};
  session->read(7, {&found, 1});
  CHECK(found == mark);
}

}  // namespace
}  // namespace pageserver::test
