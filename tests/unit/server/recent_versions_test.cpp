#include "server/stores/recent_versions.hpp"

#include "tests/support/catch.hpp"

using namespace pageserver::server;

TEST_CASE("recent versions: what was the newest at a moment, to within a second") {
  RecentVersions versions;
  CHECK(versions.newest_at(5'000) == 0);
  versions.note(10'000, 3);
  versions.note(10'999, 4);  // too soon after it
  versions.note(11'000, 5);
  versions.note(14'000, 9);
  CHECK(versions.newest_at(9'000) == 3);  // nothing older is known
  CHECK(versions.newest_at(10'000) == 3);
  CHECK(versions.newest_at(10'999) == 3);
  CHECK(versions.newest_at(11'000) == 5);
  CHECK(versions.newest_at(13'999) == 5);
  CHECK(versions.newest_at(20'000) == 9);
  versions.clear();
  CHECK(versions.newest_at(20'000) == 0);
}

TEST_CASE("recent versions: the last 128 are kept") {
  RecentVersions versions;
  for (int i = 1; i <= 200; ++i) versions.note(i * 1'000, static_cast<std::uint64_t>(i));
  CHECK(versions.newest_at(0) == 73);
  CHECK(versions.newest_at(100'000) == 100);
}
