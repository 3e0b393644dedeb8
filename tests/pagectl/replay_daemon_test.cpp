// The engine's recorded workloads through the daemon: every read right, and the file on disk byte for byte the
// engine's.
#include "tests/support/catch.hpp"

#include "tests/pagectl/served.hpp"

using namespace pageserver::test;

namespace {

nlohmann::json replay(const TraceCase& trace, const std::string& uri, const std::string& depth = "1") {
  return pagectl_json({"replay", engine_fixture(std::string(trace.name) + ".wdtr.zst"), uri, "--depth", depth}, {},
                      std::chrono::seconds(240));
}

void replay_and_compare(const TraceCase& trace, bool over_tcp, const std::string& depth,
                        const std::string& query = {}) {
  Served served;
  const auto uri = over_tcp ? served.daemon->tcp_uri("again", query) : served.daemon->unix_uri("again", query);
  REQUIRE(pagectl({"create", uri}).status == 0);
  if (trace.starts_from_image) {
    unpack("small_crud.img", served.dir.file("start.img"));
    REQUIRE(pagectl({"copy", "--check", served.dir.file("start.img"), served.daemon->tcp_uri("again")}).status == 0);
  }
  const auto report = replay(trace, uri, depth);
  CHECK(report["operations"] == trace.records);
  CHECK(report["hash"] == trace.hash);
  CHECK(pagectl({"hash", served.daemon->tcp_uri("again")}).out == std::string(trace.hash) + "\n");
  CHECK(served.daemon->stop() == 0);
  CHECK(sha256_of(served.dir.file("stores/again.img")) == trace.sha256);
}

}  // namespace

TEST_CASE("small_crud through the daemon leaves the engine's own image") { replay_and_compare(small_crud, true, "1"); }

TEST_CASE("reopen through the daemon leaves the engine's own image") { replay_and_compare(reopen, true, "1"); }

TEST_CASE("blob through the daemon leaves the engine's own image") { replay_and_compare(blob, true, "1"); }

TEST_CASE("small_crud over a Unix socket, many requests in flight, leaves the engine's own image") {
  replay_and_compare(small_crud, false, "64");
}

TEST_CASE("small_crud and reopen, each flush a commit, leave the engine's own image") {
  replay_and_compare(small_crud, true, "1", "publish=on_flush");
  replay_and_compare(reopen, true, "8", "publish=on_flush");
}

TEST_CASE("the traces through a cache, each write published, leave the engine's own image") {
  replay_and_compare(small_crud, true, "1", "cache_bytes=16MiB");
  replay_and_compare(reopen, false, "1", "cache_bytes=256KiB");
}

TEST_CASE("the traces through a cache, each flush a commit, leave the engine's own image") {
  replay_and_compare(small_crud, false, "1", "publish=on_flush&cache_bytes=16MiB");
  replay_and_compare(reopen, true, "1", "publish=on_flush&cache_bytes=512KiB");
  replay_and_compare(blob, false, "1", "publish=on_flush&cache_bytes=16MiB");
}

TEST_CASE("a commit of the engine costs at most three round trips beyond the pages that were not there") {
  const Served served;
  const auto uri = served.daemon->unix_uri("again", "publish=on_flush&cache_bytes=64MiB");
  REQUIRE(pagectl({"create", uri}).status == 0);
  const auto report = replay(small_crud, uri);
  const auto& traffic = report["traffic"];
  const std::uint64_t flushes = report["flushes"];
  const std::uint64_t misses = traffic["cache_misses"];
  REQUIRE(flushes > 10);
  // Opening, the sizes asked for and the last hash are a few more.
  CHECK(traffic["round_trips"].get<std::uint64_t>() <= 3 * flushes + misses + 10);
  CHECK(traffic["bytes_sent"].get<std::uint64_t>() * 4 < report["bytes_written"].get<std::uint64_t>());
}

TEST_CASE("a store that a trace does not start from is refused, and left alone") {
  const Served served;
  const auto result = pagectl({"replay", engine_fixture("small_crud.wdtr.zst"), served.daemon->tcp_uri("demo")});
  CHECK(result.status == 2);
  CHECK_THAT(result.err, Contains("size=262144"));
  CHECK((read_file(served.dir.file("demo.img")) == random_bytes(4, 1)));
}
