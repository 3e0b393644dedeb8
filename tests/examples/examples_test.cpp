// What README and examples/ show does what they say it does, against a real daemon.
#include "tests/support/catch.hpp"

#include <array>
#include <fstream>

#include <pageserver/open.hpp>

#include "tests/support/daemon.hpp"

namespace pageserver::test {
namespace {

RunResult run_example(const std::string& name, std::vector<std::string> arguments, const std::string& input = {}) {
  std::vector<std::string> words{std::string(PAGESERVER_EXAMPLES) + "/example_" + name};
  words.insert(words.end(), arguments.begin(), arguments.end());
  auto result = run(words, input);
  INFO(name << ": " << result.err);
  CHECK(result.status == 0);
  return result;
}

/// A daemon whose store has four pages, 7 as the byte at 4096 and 9 as the last one.
struct Served {
  Served() {
    const auto image = open(daemon.tcp_uri("demo", "access=write"));
    image->grow(4);
    image->write(4096, std::array{std::byte{7}});
    image->write(4 * page_size - 1, std::array{std::byte{9}});
    image->flush();
  }

  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  std::string uri = daemon.tcp_uri("demo");
};

std::byte byte_at(const std::string& uri, std::uint64_t offset) {
  std::array<std::byte, 1> byte{};
  open(uri)->read(offset, byte);
  return byte[0];
}

}  // namespace

TEST_CASE("example hello says hello in a daemon's store, in a file and in memory") {
  Served served;
  CHECK(run_example("hello", {served.uri}).out == "hello from 4 pages\n");
  CHECK(byte_at(served.daemon.tcp_uri("demo", "access=read"), 70'000) == std::byte{'h'});
  CHECK(run_example("hello", {served.daemon.file("plain.img")}).out == "hello from 16 pages\n");
  CHECK(byte_at(served.daemon.file("plain.img"), 70'004) == std::byte{'o'});
  CHECK(run_example("hello", {"heap:"}).out == "hello from 16 pages\n");
}

TEST_CASE("example many_in_flight reads every block") {
  Served served;
  CHECK(run_example("many_in_flight", {served.uri}).out == "64 blocks, 62 of zeros\n");
}

TEST_CASE("the examples in C do the same") {
  Served served;
  CHECK(run_example("c_hello", {served.uri}).out == "hello from 4 pages\n");
  CHECK(byte_at(served.daemon.tcp_uri("demo", "access=read"), 70'000) == std::byte{'h'});
  CHECK(run_example("c_hello", {"heap:"}).out == "hello from 16 pages\n");
  CHECK(run_example("c_many_in_flight", {served.uri}).out == "64 blocks\n");
  const auto refused = run({std::string(PAGESERVER_EXAMPLES) + "/example_c_hello", served.uri + "?view=pinned"});
  CHECK(refused.status == 1);
  CHECK_THAT(refused.err, Contains("invalid_argument: "));
}

TEST_CASE("example fork_per_test leaves the store as it was") {
  Served served;
  run_example("fork_per_test", {served.uri});
  CHECK(open(served.daemon.tcp_uri("demo", "access=read"))->pages() == 4);
  CHECK(byte_at(served.daemon.tcp_uri("demo", "access=read"), 4096) == std::byte{7});
}

TEST_CASE("example pinned_backup copies one version and refuses a file that is not empty") {
  Served served;
  const std::string copy = served.daemon.file("copy.img");
  const auto result = run_example("pinned_backup", {served.uri, copy});
  CHECK_THAT(result.out, Contains("4 pages"));
  CHECK(std::filesystem::file_size(copy) == 4 * page_size);
  CHECK(byte_at("file:" + copy + "?access=read", 4096) == std::byte{7});
  CHECK(byte_at("file:" + copy + "?access=read", 4 * page_size - 1) == std::byte{9});
  const auto again = run({std::string(PAGESERVER_EXAMPLES) + "/example_pinned_backup", served.uri, copy});
  CHECK(again.status == 1);
  CHECK_THAT(again.err, Contains("is not empty"));
}

TEST_CASE("example embedded keeps whole transactions only, also when it runs again") {
  TempDir folder;
  for (int times = 0; times < 2; ++times)
    CHECK(run_example("embedded", {folder.file("bank.img")}).out == "70 and 30\n");
  CHECK(byte_at(folder.file("bank.img"), 0) == std::byte{70});
}

TEST_CASE("example event_loop answers its input and ends with it") {
  Served served;
  const auto result = run_example("event_loop", {served.uri}, "4096\n0\n262143\n262144\n");
  CHECK_THAT(result.out, Contains("4096: 7\n") && Contains("\n0: 0\n") && Contains("262143: 9\n"));
  CHECK_THAT(result.out, Contains("exceeds size=262144"));
}

}  // namespace pageserver::test
