// The long one: 329,277 operations, 6.8 GB read and 1.2 GB written.
#include "tests/support/catch.hpp"

#include <utility>

#include "tests/pagectl/mounted.hpp"
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

#ifdef PAGESERVER_REPLAY_ON_FILE
TEST_CASE("oltp on a mounted fork and on a mounted writer leaves the engine's own image") {
  if (!can_mount()) return;
  Served served;
  for (const auto& [query, option] : {std::pair{"access=fork", "rw"}, std::pair{"publish=on_flush", "writeback"}}) {
    INFO(query << " -o " << option);
    REQUIRE(pagectl({"create", served.daemon->unix_uri("again")}).status == 0);
    const Mount mount(served.daemon->unix_uri("again", query), served.dir.file("mounted"), {"-o", option});
    const auto replayed =
        run({"python3", PAGESERVER_REPLAY_ON_FILE, engine_fixture("oltp.wdtr.zst"), mount.file}, {}, limit);
    INFO(replayed.err);
    CHECK(replayed.status == 0);
    CHECK(sha256_of(mount.file) == oltp.sha256);
    CHECK(mount.unmount() == 0);
    const auto hash = pagectl({"hash", served.daemon->unix_uri("again")}).out;
    CHECK(hash.starts_with(oltp.hash) == (query != std::string("access=fork")));
    REQUIRE(pagectl({"remove", served.daemon->unix_uri("again")}).status == 0);
  }
}
#endif
