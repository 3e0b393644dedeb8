// Sets of pages against a plain array of flags.
#include "storage/engine/page_runs.hpp"

#include <random>

#include <pageserver/memory_provider.hpp>

#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {

using storage::LogRange;
using storage::PageRun;
using storage::PageRuns;

TEST_CASE("page runs: additions and removals leave what an array of flags has, in as few runs as can be") {
  const unsigned seed = GENERATE(1u, 2u, 3u);
  INFO("seed " << seed);
  std::mt19937 random{seed};
  constexpr std::uint64_t size = 60;
  PageRuns runs;
  std::vector<bool> model(size);
  for (int step = 0; step < 2000; ++step) {
    const std::uint64_t first = random() % size;
    const std::uint64_t end = first + random() % (size - first + 1);
    const bool adds = random() % 2 == 0;
    adds ? runs.add({first, end}) : runs.remove({first, end});
    std::fill(model.begin() + static_cast<std::ptrdiff_t>(first), model.begin() + static_cast<std::ptrdiff_t>(end),
              adds);
    std::vector<PageRun> there, missing;
    const std::uint64_t from = random() % size;
    const std::uint64_t until = from + random() % (size - from + 1);
    runs.common({from, until}, there);
    runs.missing({from, until}, missing);
    REQUIRE(runs.has({from, until}) == missing.empty());
    std::vector<int> seen(size);
    for (const PageRun& run : there) {
      REQUIRE(run.first < run.end);
      for (std::uint64_t page = run.first; page < run.end; ++page) seen[page] += 1;
    }
    for (const PageRun& run : missing) {
      REQUIRE(run.first < run.end);
      for (std::uint64_t page = run.first; page < run.end; ++page) seen[page] += 2;
    }
    for (std::uint64_t page = 0; page < size; ++page)
      REQUIRE(seen[page] == (page < from || page >= until ? 0 : model[page] ? 1 : 2));
    std::size_t count = 0;
    for (std::uint64_t page = 0; page < size; ++page) count += model[page] && (page == 0 || !model[page - 1]) ? 1u : 0u;
    REQUIRE(runs.run_count() == count);
  }
}

TEST_CASE("page runs: pages with data are those of bytes, and of zeros that are no whole page") {
  const auto pages = [](std::vector<LogRange> ranges) { return storage::pages_with_data(ranges); };
  CHECK(pages({{10, 5, false}, {page_size - 1, 2, false}}) == std::vector<PageRun>{{0, 2}});
  CHECK(pages({{0, 1ull << 40, true}}).empty());
  CHECK(pages({{1, 5 * page_size, true}}) == std::vector<PageRun>{{0, 1}, {5, 6}});
  CHECK(pages({{page_size, 7, true}}) == std::vector<PageRun>{{1, 2}});
  CHECK(pages({{page_size + 7, page_size - 7, true}}) == std::vector<PageRun>{{1, 2}});
  CHECK(pages({{9 * page_size, 1, false}, {0, 1, false}, {0, 0, false}}) == std::vector<PageRun>{{0, 1}, {9, 10}});
}

}  // namespace pageserver::test
