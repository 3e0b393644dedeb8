// What a store tells of its pages, for people who look at it.
#include "storage/engine/recent_writes.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {

namespace {

std::vector<std::uint64_t> each(const storage::PageMap& map, std::uint64_t storage::PageTile::*kind) {
  std::vector<std::uint64_t> counts;
  for (const storage::PageTile& tile : map.tiles) counts.push_back(tile.*kind);
  return counts;
}

using Counts = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE_METHOD(EngineHarness, "page map: data, log, what pins hold, and what was written lately, page by page") {
  open();
  const auto write = writer();
  write->grow(6);
  write->write(page_size, bytes_of("first"));
  write->write(4 * page_size, bytes_of("second"));
  const std::uint64_t before = write->version().number;
  storage::PageMapRequest request{.tiles_max = 100, .since_version = before};
  {
    const storage::PageMap map = store().page_map(request);
    CHECK(map.pages == 6);
    CHECK(map.next_page == 6);
    CHECK(map.version == write->version());
    CHECK(each(map, &storage::PageTile::pages) == Counts{1, 1, 1, 1, 1, 1});
    CHECK(each(map, &storage::PageTile::data) == Counts{0, 1, 0, 0, 1, 0});
    CHECK(each(map, &storage::PageTile::logged) == Counts{0, 1, 0, 0, 1, 0});
    CHECK(each(map, &storage::PageTile::held) == Counts{0, 0, 0, 0, 0, 0});
    CHECK(each(map, &storage::PageTile::recent) == Counts{0, 0, 0, 0, 0, 0});
  }
  const auto pin = reader(View::pinned);
  write->write(4 * page_size, bytes_of("third"));
  write->zero(page_size, page_size);
  {
    const storage::PageMap map = store().page_map(request);
    CHECK(each(map, &storage::PageTile::data) == Counts{0, 0, 0, 0, 1, 0});
    CHECK(each(map, &storage::PageTile::logged) == Counts{0, 1, 0, 0, 1, 0});
    CHECK(each(map, &storage::PageTile::held) == Counts{0, 1, 0, 0, 1, 0});
    CHECK(each(map, &storage::PageTile::recent) == Counts{0, 1, 0, 0, 1, 0});
  }
  request.pages_per_tile = 4;
  const storage::PageMap map = store().page_map(request);
  CHECK(each(map, &storage::PageTile::pages) == Counts{4, 2});
  CHECK(each(map, &storage::PageTile::logged) == Counts{1, 1});
}

TEST_CASE_METHOD(EngineHarness, "page map: what a checkpoint took out of the log is in the image, and still recent") {
  options.log_bytes = 1 << 20;
  open();
  const auto write = writer();
  write->grow(3);
  const std::uint64_t before = write->version().number;
  const storage::PageMapRequest request{.tiles_max = 100, .since_version = before};
  store().page_map(request);  // from here on it is noted
  write->write(2 * page_size, bytes_of("late"));
  flush(*write);
  // Until a checkpoint has come.
  const std::vector<std::byte> large(page_size, std::byte{1});
  for (int i = 0; i < 64 && store().page_map(request).tiles[2].logged != 0; ++i) {
    for (int j = 0; j < 4; ++j) write->write(0, large);
    flush(*write);
  }
  const storage::PageMap map = store().page_map(request);
  CHECK(each(map, &storage::PageTile::data) == Counts{1, 0, 1});
  CHECK(map.tiles[2].logged == 0);
  CHECK(each(map, &storage::PageTile::recent) == Counts{1, 0, 1});
  const storage::PageMapRequest later{.tiles_max = 100, .since_version = write->version().number};
  CHECK(each(store().page_map(later), &storage::PageTile::recent) == Counts{0, 0, 0});
}

TEST_CASE_METHOD(EngineHarness, "page map: comes in parts that fit together, and past the end there is nothing") {
  open();
  const auto write = writer();
  write->grow(1000);
  for (std::uint64_t page = 0; page < 1000; page += 3) write->write(page * page_size, bytes_of("x"));
  storage::PageMapRequest request{.pages_per_tile = 7, .tiles_max = 10};
  std::uint64_t pages = 0, data = 0;
  int parts = 0;
  for (storage::PageMap map; parts == 0 || map.next_page < map.pages; ++parts) {
    map = store().page_map(request);
    CHECK(map.tiles.size() <= 10);
    for (const storage::PageTile& tile : map.tiles) {
      pages += tile.pages;
      data += tile.data;
    }
    request.first_page = map.next_page;
  }
  CHECK(pages == 1000);
  CHECK(data == 334);
  CHECK(parts == 15);
  request.first_page = ~0ull;
  CHECK(store().page_map(request).tiles.empty());
}

TEST_CASE("page map: of an image with more pages than there are buckets, neighbours share what was written last") {
  storage::RecentWrites writes;
  writes.note(5, 5, 1);
  CHECK(writes.view().newest(5) == 0);  // nobody looks yet
  writes.watch(storage::RecentWrites::make_room());
  writes.note(5, 6, 2);
  CHECK(writes.view().newest(4) == 0);
  CHECK(writes.view().newest(6) == 2);
  writes.note(storage::RecentWrites::buckets * 4 - 1, storage::RecentWrites::buckets * 4 - 1, 3);
  CHECK(writes.view().newest(4) == 2);
  CHECK(writes.view().newest(7) == 2);
  CHECK(writes.view().newest(8) == 0);
  CHECK(writes.view().newest(storage::RecentWrites::buckets * 4 - 4) == 3);
  CHECK(writes.view().newest(~0ull) == 0);
}

}  // namespace pageserver::test
