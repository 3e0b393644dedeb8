#include "storage/engine/block_reservations.hpp"

#include <vector>

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::BlockReservations;
using storage::PageRun;

TEST_CASE("block reservations: what a publish needs and is not reserved yet, some runs at a time") {
  BlockReservations reservations;
  reservations.add(std::vector<PageRun>{{0, 2}, {10, 12}});
  reservations.begin_publish({{1, 4}, {5, 6}, {9, 13}});
  std::vector<PageRun> missing;
  CHECK(reservations.missing(0, 2, missing) == 2);
  CHECK(missing == std::vector<PageRun>{{2, 4}, {5, 6}});
  missing.clear();
  CHECK(reservations.missing(2, 2, missing) == 3);
  CHECK(missing == std::vector<PageRun>{{9, 10}, {12, 13}});
  reservations.add(missing);
  missing.clear();
  CHECK(reservations.missing(2, 2, missing) == 3);
  CHECK(missing.empty());
  CHECK(reservations.missing(3, 2, missing) == 3);
}

TEST_CASE("block reservations: one run begins at once where nothing is left to be reserved") {
  BlockReservations reservations;
  reservations.add(std::vector<PageRun>{{3, 6}});
  CHECK_FALSE(reservations.try_begin_publish({3, 4}));  // no memory is there yet to note it
  CHECK(reservations.free_until(0) == ~0ull);
  reservations.begin_publish({{8, 9}});
  reservations.end_publish();
  CHECK_FALSE(reservations.try_begin_publish({5, 7}));
  CHECK(reservations.free_until(0) == ~0ull);
  CHECK(reservations.try_begin_publish({4, 6}));
  CHECK(reservations.free_until(0) == 4);
  CHECK(reservations.free_until(6) == ~0ull);
  reservations.end_publish();
  CHECK(reservations.free_until(0) == ~0ull);
  reservations.remove({5, 6});
  CHECK_FALSE(reservations.try_begin_publish({4, 6}));
  reservations.begin_publish(std::vector<PageRun>(1000));
  reservations.end_publish();  // so much memory is not kept
  CHECK_FALSE(reservations.try_begin_publish({4, 5}));
  reservations.give_up();
  CHECK(reservations.try_begin_publish({4, 6}));
}

TEST_CASE("block reservations: a hole ends before what the publish under way needs") {
  BlockReservations reservations;
  CHECK(reservations.free_until(0) == ~0ull);
  reservations.begin_publish({{4, 6}, {8, 9}});
  CHECK(reservations.free_until(0) == 4);
  CHECK(reservations.free_until(6) == 8);
  CHECK(reservations.free_until(5) <= 5);
  reservations.end_publish();
  CHECK(reservations.free_until(0) == ~0ull);
}

TEST_CASE("block reservations: what was promised within a hole is what is reserved or needed there") {
  BlockReservations reservations;
  reservations.add(std::vector<PageRun>{{0, 5}, {20, 30}});
  reservations.begin_publish({{2, 3}, {7, 12}, {40, 50}});
  CHECK(reservations.promised({3, 10}) == std::vector<PageRun>{{3, 5}, {7, 10}});
  reservations.remove({0, 4});
  CHECK(reservations.promised({0, 6}) == std::vector<PageRun>{{4, 5}, {2, 3}});
  CHECK(reservations.any_from(29));
  CHECK_FALSE(reservations.any_from(30));
  reservations.remove(std::vector<PageRun>{{4, 5}, {20, 30}});
  CHECK_FALSE(reservations.any_from(0));
}

TEST_CASE("block reservations: once the file system could not reserve, nothing is asked of it") {
  BlockReservations reservations;
  CHECK(reservations.possible());
  reservations.give_up();
  CHECK_FALSE(reservations.possible());
}

}  // namespace
}  // namespace pageserver::test
