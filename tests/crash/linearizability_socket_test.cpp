// Live readers and a writer over real sockets, against a real daemon: what they saw must be what one memory answers.
#include <atomic>
#include <chrono>
#include <cstring>
#include <iostream>
#include <memory>
#include <pageserver/open.hpp>
#include <string>
#include <thread>
#include "tests/support/catch.hpp"

#include "tests/crash/linearizability.hpp"
#include "tests/crash/random.hpp"
#include "tests/support/daemon.hpp"

namespace pageserver::test {
namespace {

constexpr std::uint64_t cell_size = 8;
constexpr std::uint64_t image_pages = 4;
constexpr std::uint64_t image_cells = image_pages * page_size / cell_size;
constexpr std::uint64_t cells_max = 12'000;  // more than a page, so that ranges reach over page borders
constexpr unsigned reader_count = 4;
constexpr std::size_t operations_min = 12'000;

std::uint64_t now() { return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()); }

/// Half of the ranges begin shortly before a page border.
std::pair<std::uint64_t, std::uint64_t> pick_cells(Random& random) {
  const std::uint64_t cells = 1 + random.below(random.one_in(8) ? cells_max : 600);
  std::uint64_t first = random.below(image_cells - cells);
  if (random.one_in(2)) {
    first = (1 + random.below(image_pages - 1)) * (page_size / cell_size) - 1 -
            random.below(std::min<std::uint64_t>(cells, 300));
    first = std::min(first, image_cells - cells);
  }
  return {first, cells};
}

struct Shared {
  std::size_t writes_min = 0;
  std::atomic<std::size_t> operations{0};
  std::atomic<std::size_t> writes{0};
  std::atomic<bool> failed{false};
  bool enough() const { return failed.load() || (operations.load() >= operations_min && writes.load() >= writes_min); }
};

std::vector<History::Write> write_until_enough(const std::string& uri, bool transactions, Shared& shared,
                                               std::string& problem) {
  std::vector<History::Write> writes;
  Random random(1);
  try {
    const auto session = open_session(uri);
    while (!shared.enough()) {
      const auto [first, cells] = pick_cells(random);
      const std::vector<std::uint64_t> values(cells, writes.size() + 1);
      const auto bytes = std::as_bytes(std::span(values));
      History::Write write;
      write.first_cell = first;
      write.cells = cells;
      write.asked = now();
      session->write(first * cell_size, bytes);
      if (transactions) session->flush();
      write.answered = now();
      writes.push_back(write);
      ++shared.operations;
      ++shared.writes;
    }
  } catch (const std::exception& error) {
    problem = error.what();
    shared.failed = true;
  }
  return writes;
}

std::vector<History::Read> read_until_enough(const std::string& uri, unsigned number, Shared& shared,
                                             std::string& problem) {
  std::vector<History::Read> reads;
  Random random(100 + number);
  try {
    const auto session = open_session(uri);
    while (!shared.enough()) {
      const auto [first, cells] = pick_cells(random);
      History::Read read;
      read.session = number;
      read.first_cell = first;
      read.values.resize(cells);
      read.asked = now();
      session->read(first * cell_size, std::as_writable_bytes(std::span(read.values)));
      read.answered = now();
      reads.push_back(std::move(read));
      ++shared.operations;
    }
  } catch (const std::exception& error) {
    problem = error.what();
    shared.failed = true;
  }
  return reads;
}

}  // namespace

TEST_CASE("live reads and publishes over sockets are linearizable") {
  const bool transactions = GENERATE(false, true);
  const bool unix_socket = GENERATE(false, true);
  // The writer's; a live reader has none.
  const bool cache = unix_socket && GENERATE(false, true);
  Daemon daemon({"--store", "shared={dir}/shared.img"});
  const auto uri = [&](const std::string& query) {
    return unix_socket ? daemon.unix_uri("shared", query) : daemon.tcp_uri("shared", query);
  };
  open_session(uri("access=write"))->grow(image_pages);

  Shared shared;
  shared.writes_min = transactions ? 20 : 200;  // each transaction waits for a sync of a real disk
  std::string problems[1 + reader_count];
  History history;
  std::vector<History::Read> reads[reader_count];
  std::vector<std::thread> threads;
  const std::string cached = cache ? "&cache_bytes=1MiB" : "";
  const std::string writer_uri =
      uri("access=write&publish=" + std::string(transactions ? "on_flush" : "on_write") + cached);
  threads.emplace_back(
      [&] { history.writes = write_until_enough(writer_uri, transactions, shared, problems[reader_count]); });
  for (unsigned number = 0; number < reader_count; ++number) {
    threads.emplace_back([&, number] {
      reads[number] = read_until_enough(uri("access=read&view=live" + cached), number, shared, problems[number]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& problem : problems) REQUIRE(problem == "");
  for (auto& some : reads) history.reads.insert(history.reads.end(), some.begin(), some.end());

  const double share = concurrent_share(history);
  std::cout << history.writes.size() << " writes, " << history.reads.size() << " reads, "
            << static_cast<int>(share * 100) << " % concurrent\n";
  CHECK(history.writes.size() + history.reads.size() >= 10'000);
  CHECK(history.writes.size() >= shared.writes_min);
  CHECK(share >= 0.3);
  CHECK(contradiction(history).value_or("") == "");
}

}  // namespace pageserver::test
