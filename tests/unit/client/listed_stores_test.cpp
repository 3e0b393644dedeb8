// pageserver::Daemon against the real one: what a program does about stores without opening any.
#include "tests/support/catch.hpp"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <pageserver/daemon.hpp>
#include <pageserver/open.hpp>
#include <pageserver/version.hpp>

#include "tests/support/daemon.hpp"
#include "tests/support/errors.hpp"
#include "tests/unit/storage/forked.hpp"

namespace pageserver::test {
namespace {

using Served = test::Daemon;
using Client = pageserver::Daemon;

struct Folder {
  TempDir dir;
  Served daemon{{"--config", write_config()}, &dir};

private:
  std::string write_config() {
    std::filesystem::create_directory(dir.file("stores"));
    const std::string path = dir.file("config.json");
    std::ofstream{path} << R"({"directory": {"path": ")" << dir.file("stores")
                        << R"(", "create": true, "remove": true}})";
    return path;
  }
};

std::string unix_server(const Served& daemon) { return "pageserver+unix:///?socket=" + daemon.socket_path(); }

}  // namespace

TEST_CASE("a program makes, lists and removes stores") {
  Folder folder;
  Client client{folder.daemon.server_uri()};
  CHECK(client.list().empty());
  client.create("b", 3);
  client.create("a");
  auto stores = client.list();
  REQUIRE(stores.size() == 2);
  CHECK(stores[0].name == "a");
  CHECK(stores[0].pages == 0);
  CHECK(stores[1].name == "b");
  CHECK(stores[1].pages == 3);
  CHECK_FALSE(stores[1].read_only);
  {
    const auto memory = open(folder.daemon.tcp_uri("b"));
    CHECK(memory->pages() == 3);
    CHECK(client.list()[1].open);
    check_error(thrown_by([&] { client.remove("b"); }), Errc::busy, {"b"});
  }
  CHECK_NOTHROW(client.remove("b"));
  CHECK(client.list().size() == 1);
  check_error(thrown_by([&] { client.create("a"); }), Errc::already_exists, {"a"});
  CHECK(errc_of([&] { client.remove("b"); }) == Errc::not_found);
  for (const auto& name : std::vector<std::string>{"", "no/slash", "a b", std::string(65, 'x')}) {
    INFO(name);
    CHECK(errc_of([&] { client.create(name); }) == Errc::invalid_argument);
    CHECK(errc_of([&] { client.remove(name); }) == Errc::invalid_argument);
  }
  // None of that ended the connection.
  CHECK(client.ping() > std::chrono::nanoseconds{0});
}

TEST_CASE("a client knows what the daemon says of itself, over both transports") {
  Served daemon{{"--store", "demo={dir}/demo.img"}};
  for (const auto& uri : {daemon.server_uri(), unix_server(daemon)}) {
    const Client client{uri};
    CHECK(client.info().name == "pageserverd " + std::string{library_version()});
    CHECK(client.info().protocol_version == 1);
    CHECK(client.info().request_bytes_max >= 1u << 20);
    CHECK(client.info().requests_in_flight_max >= 1);
  }
  Client client{unix_server(daemon)};
  CHECK(errc_of([&] { client.create("other"); }) == Errc::permission_denied);
  CHECK(errc_of([&] { client.remove("demo"); }) == Errc::permission_denied);
}

TEST_CASE("a client of a daemon takes its URI and no other") {
  for (const char* uri :
       {"pageserver://127.0.0.1/demo", "heap:", "/tmp/x.img", "store:x.img", "http://127.0.0.1", ""}) {
    INFO(uri);
    CHECK(errc_of([&] { const Client client{uri}; }) == Errc::invalid_argument);
  }
  CHECK(errc_of([] { const Client client{"pageserver+unix:///?socket=/no/such/socket"}; }) == Errc::connection_lost);
}

TEST_CASE("a client whose daemon is gone says so at each call, and several threads may be inside") {
  Served daemon{{"--store", "demo={dir}/demo.img"}};
  Client client{daemon.server_uri()};
  std::vector<std::thread> threads;
  std::atomic<int> answered{0};
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) {
        if (n % 10 == 0 && client.list().size() == 1) ++answered;
        (void)client.ping();
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(answered == 40);
  Forked child{[&](auto report, auto) {
    try {
      (void)client.ping();
      report("answered");
    } catch (const MemoryError& error) {
      report(std::string{to_string(error.errc())});
    }
  }};
  CHECK(child.line() == "connection_lost");
  CHECK_NOTHROW(client.ping());
  daemon.kill_hard();
  CHECK(errc_of([&] { (void)client.ping(); }) == Errc::connection_lost);
  CHECK(errc_of([&] { (void)client.list(); }) == Errc::connection_lost);
  auto moved = std::move(client);
  CHECK(errc_of([&] { (void)client.list(); }) == Errc::invalid_argument);
  CHECK(errc_of([&] { (void)moved.list(); }) == Errc::connection_lost);
}

TEST_CASE("the library says its version as a number, as a text and when it runs") {
  CHECK(library_version() == PAGESERVER_VERSION);
  CHECK(std::to_string(PAGESERVER_VERSION_MAJOR) + "." + std::to_string(PAGESERVER_VERSION_MINOR) + "." +
            std::to_string(PAGESERVER_VERSION_PATCH) ==
        PAGESERVER_VERSION);
  CHECK(PAGESERVER_VERSION_NUMBER ==
        PAGESERVER_VERSION_MAJOR * 1'000'000 + PAGESERVER_VERSION_MINOR * 1'000 + PAGESERVER_VERSION_PATCH);
}

}  // namespace pageserver::test
