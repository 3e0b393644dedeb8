// The long one: 329,277 operations, 6.8 GB read and 1.2 GB written.
#include "tests/support/catch.hpp"

#include "tests/pagectl/served.hpp"

using namespace pageserver::test;

namespace {

constexpr std::chrono::seconds limit{900};

}  // namespace

TEST_CASE("oltp through the daemon leaves the engine's own image") {
  Served served;
  const auto uri = served.daemon->tcp_uri("again");
  REQUIRE(pagectl({"create", uri}).status == 0);
  const auto report = pagectl_json({"replay", engine_fixture("oltp.wdtr.zst"), uri}, {}, limit);
  CHECK(report["operations"] == oltp.records);
  CHECK(report["hash"] == oltp.hash);
  CHECK(served.daemon->stop() == 0);
  CHECK(sha256_of(served.dir.file("stores/again.img")) == oltp.sha256);
}

TEST_CASE("oltp through a cache, each flush a commit, leaves the engine's own image") {
  Served served;
  const auto uri = served.daemon->unix_uri("again", "publish=on_flush&cache_bytes=64MiB");
  REQUIRE(pagectl({"create", uri}).status == 0);
  const auto report = pagectl_json({"replay", engine_fixture("oltp.wdtr.zst"), uri}, {}, limit);
  CHECK(report["operations"] == oltp.records);
  CHECK(report["hash"] == oltp.hash);
  CHECK(served.daemon->stop() == 0);
  CHECK(sha256_of(served.dir.file("stores/again.img")) == oltp.sha256);
}

TEST_CASE("oltp on a plain file leaves the engine's own image") {
  const TempDir dir;
  const auto report = pagectl_json({"replay", engine_fixture("oltp.wdtr.zst"), dir.file("a.img")}, {}, limit);
  CHECK(report["operations"] == oltp.records);
  CHECK(sha256_of(dir.file("a.img")) == oltp.sha256);
}
