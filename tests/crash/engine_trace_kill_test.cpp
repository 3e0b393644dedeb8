// The recorded workloads of the real engine, one transaction for each of its commits, with the daemon killed at random
// records: what is found afterwards is the state at a commit, by hash.
#include <pageserver/error.hpp>
#include <pageserver/heap_provider.hpp>
#include <pageserver/open.hpp>

#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "client/pagectl/work/trace_reader.hpp"
#include "tests/crash/kill_rounds.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pageserver::test {
namespace {

using pagectl::TraceOp;
using pagectl::TraceReader;
using pagectl::TraceRecord;

std::string trace_path(const std::string& name) {
  return std::string{PAGESERVER_ENGINE_FIXTURES} + "/" + name + ".wdtr.zst";
}

std::uint64_t hash_of(MemoryProvider& provider) {
  std::vector<std::byte> image(provider.size());
  provider.read(0, image);
  return XXH3_64bits(image.data(), image.size());
}

/// Does one record; a read is not compared here, since replaying has tests of its own.
void apply(TraceReader& trace, const TraceRecord& record, MemoryProvider& image, std::vector<std::byte>& buffer) {
  buffer.assign(record.length, std::byte{0});
  switch (record.op) {
    case TraceOp::grow: image.grow(record.new_pages); break;
    case TraceOp::read: image.read(record.offset, buffer); break;
    case TraceOp::write:
      trace.data(buffer);
      image.write(record.offset, buffer);
      break;
    case TraceOp::zero: image.write(record.offset, buffer); break;
    case TraceOp::flush: image.flush(); break;
    case TraceOp::out_of_bounds: break;
  }
}

/// The image's hash before the first commit and after each.
std::vector<std::uint64_t> hashes_at_commits(const std::string& path, std::uint64_t& records) {
  TraceReader trace{path};
  HeapProvider image;
  std::vector<std::byte> buffer;
  std::vector<std::uint64_t> hashes{hash_of(image)};
  for (TraceRecord record; trace.next(record); ++records) {
    apply(trace, record, image, buffer);
    if (record.op == TraceOp::flush) hashes.push_back(hash_of(image));
  }
  return hashes;
}

struct Commits {
  std::size_t answered = 0;
  std::size_t attempted = 0;
};

/// Replays until the daemon is gone or the trace ends.
Commits replay_until_killed(const std::string& path, MemoryProvider& image, std::atomic<std::uint64_t>& progress) {
  TraceReader trace{path};
  std::vector<std::byte> buffer;
  Commits commits;
  try {
    for (TraceRecord record; trace.next(record);) {
      if (record.op == TraceOp::flush) ++commits.attempted;
      apply(trace, record, image, buffer);
      if (record.op == TraceOp::flush) ++commits.answered;
      progress.fetch_add(1);
      progress.notify_one();
    }
  } catch (const MemoryError& error) {
    INFO(error.what());
    REQUIRE(error.code() == Errc::connection_lost);
  }
  return commits;
}

void kill_at_random_records(const std::string& name, int rounds, const std::string& query) {
  const std::uint64_t seed = kill_seed();
  INFO("trace " << name << ", PAGESERVER_KILL_SEED=" << seed);
  std::mt19937_64 random{seed};
  const std::string path = trace_path(name);
  std::uint64_t records = 0;
  const std::vector<std::uint64_t> hashes = hashes_at_commits(path, records);
  REQUIRE(hashes.size() > 10);
  for (int round = 0; round < rounds; ++round) {
    Daemon daemon{{"--store", "s={dir}/s.img"}};
    std::atomic<std::uint64_t> progress{0};
    Commits commits;
    {
      const auto image = open(daemon.unix_uri("s", query));
      const std::uint64_t after = 1 + random() % (records - 1);
      INFO("round " << round << ", kill after record " << after);
      const Killer killer{daemon, progress, after, random() % 200'000};
      commits = replay_until_killed(path, *image, progress);
    }
    daemon.start_again();
    const std::uint64_t found = hash_of(*open(daemon.unix_uri("s", "access=read")));
    INFO("round " << round << ", commits answered=" << commits.answered << " attempted=" << commits.attempted);
    bool at_commit = false;
    for (std::size_t commit = commits.answered; commit <= commits.attempted; ++commit)
      at_commit = at_commit || hashes[commit] == found;
    REQUIRE(at_commit);
  }
}

}  // namespace

TEST_CASE("small_crud killed at random records is found at a commit") {
  kill_at_random_records("small_crud", kill_rounds(12), "publish=on_flush");
}

TEST_CASE("small_crud killed at random records, with a cache, is found at a commit") {
  kill_at_random_records("small_crud", kill_rounds(12), "publish=on_flush&cache_bytes=512KiB");
}

TEST_CASE("blob killed at random records is found at a commit") {
  kill_at_random_records("blob", kill_rounds(8), "publish=on_flush");
}

TEST_CASE("blob killed at random records, with a cache, is found at a commit") {
  kill_at_random_records("blob", kill_rounds(8), "publish=on_flush&cache_bytes=4MiB");
}

}  // namespace pageserver::test
