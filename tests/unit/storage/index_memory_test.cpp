#include "storage/engine/index_memory.hpp"

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using base::MemoryShare;
using storage::IndexMemory;

TEST_CASE("index memory: small ranges are kept up to a bound, and again after a checkpoint") {
  IndexMemory memory{nullptr};
  CHECK(memory.keeps_small());
  std::uint64_t ranges = 0;
  for (; memory.keeps_small(); ++ranges) memory.add_small(64);
  CHECK(ranges == (32ull << 20) / 128);
  memory.forget_small();
  CHECK(memory.keeps_small());
}

TEST_CASE("index memory: no small range is kept once all stores have half of what they may have") {
  MemoryShare share{1000, "limits.memory_bytes=4000"};
  IndexMemory memory{&share}, other{&share};
  other.note(499);
  CHECK(memory.keeps_small());
  other.note(500);
  CHECK_FALSE(memory.keeps_small());
}

TEST_CASE("index memory: index and small ranges are charged together, and given back at the end") {
  MemoryShare share{1000, "limits.memory_bytes=4000"};
  {
    IndexMemory memory{&share};
    memory.add_small(36);
    memory.note(200);
    CHECK(share.used() == 300);
    CHECK_FALSE(memory.is_to_shrink());
    memory.note(1000);
    CHECK(memory.is_to_shrink());
    memory.forget_small();
    memory.note(1000);
    CHECK(share.used() == 1000);
    CHECK_FALSE(memory.is_to_shrink());
  }
  CHECK(share.used() == 0);
}

TEST_CASE("index memory: one version is given up between two rounds that come, any number where none does") {
  IndexMemory memory{nullptr};
  CHECK(memory.claim_giving_up(0, true));
  CHECK_FALSE(memory.claim_giving_up(0, true));
  CHECK(memory.claim_giving_up(0, false));
  CHECK(memory.claim_giving_up(0, false));
  CHECK_FALSE(memory.claim_giving_up(0, true));
  CHECK(memory.claim_giving_up(1, true));
  CHECK_FALSE(memory.claim_giving_up(1, true));
}

}  // namespace
}  // namespace pageserver::test
