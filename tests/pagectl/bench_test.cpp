#include "tests/support/catch.hpp"

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

TEST_CASE("bench measures each size and depth and leaves the image alone") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(4, 1));
  const auto report =
      pagectl_json({"bench", dir.file("a.img"), "--size", "8,4KiB", "--depth", "1,4", "--count", "200"});
  REQUIRE(report["runs"].size() == 4);
  CHECK(report["runs"][3]["request_bytes"] == 4096);
  CHECK(report["runs"][3]["depth"] == 4);
  for (const auto& run : report["runs"]) {
    CHECK(run["requests"] == 200);
    CHECK(run["writes"] == 0);
    const auto& latency = run["latency_us"];
    CHECK(latency["min"] <= latency["median"]);
    CHECK(latency["median"] <= latency["p90"]);
    CHECK(latency["p90"] <= latency["p99"]);
    CHECK(latency["p99"] <= latency["max"]);
    CHECK(run["requests_per_second"] > 0);
  }
  CHECK((read_file(dir.file("a.img")) == random_bytes(4, 1)));
}

TEST_CASE("bench writes only when told to, and says so") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(4, 1));
  const auto result = pagectl({"bench", dir.file("a.img"), "--size", "64KiB", "--count", "50", "--write", "100"});
  CHECK(result.status == 0);
  CHECK_THAT(result.err, Contains("overwrites"));
  CHECK_THAT(result.out, Contains("p99.9 us"));
  CHECK((read_file(dir.file("a.img")) != random_bytes(4, 1)));
}

TEST_CASE("bench refuses what it can't measure, before it writes") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(1, 1));
  const auto large = pagectl({"bench", dir.file("a.img"), "--size", "8,128KiB", "--write", "100"});
  CHECK(large.status == 2);
  CHECK_THAT(large.err, Contains("--size 131072 exceeds size=65536"));
  CHECK((read_file(dir.file("a.img")) == random_bytes(1, 1)));
  CHECK(pagectl({"bench", dir.file("a.img"), "--size", "0"}).status == 2);
  for (const char* seconds : {"nan", "-nan", "inf", "1e300", "9223372037", "0", "-1", "1e-9"}) {
    const auto refused = pagectl({"bench", dir.file("a.img"), "--size", "8", "--seconds", seconds, "--write", "100"});
    INFO(refused.err);
    CHECK(refused.status == 2);
    CHECK_THAT(refused.err, Contains("is not within 0.001 to 1000000"));
  }
  CHECK(pagectl({"bench", dir.file("a.img"), "--count", "5", "--seconds", "1"}).status == 2);
}
