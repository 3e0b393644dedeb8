#include "storage/engine/store_faults.hpp"

#include <new>
#include <string>

#include "tests/support/catch.hpp"
#include "tests/support/files.hpp"

namespace pageserver::test {
namespace {

using storage::StoreFaults;

/// Calls `note` as a handler of `error` does.
template <class Error, class Note>
void handle(const Error& error, Note note) {
  try {
    throw Error{error};
  } catch (...) {
    note();
  }
}

TEST_CASE("store faults: nothing is durable any more after a sync that failed, and the first reason is told") {
  StoreFaults faults{"/data/a.img"};
  CHECK_FALSE(faults.sync_failed());
  CHECK_NOTHROW(faults.check_durable());
  CHECK(faults.why_not_durable().empty());
  handle(MemoryError{Errc::provider_error, "the disk is on fire"}, [&] { faults.note_failed_sync(); });
  handle(MemoryError{Errc::provider_error, "and now under water"}, [&] { faults.note_failed_sync(); });
  CHECK(faults.sync_failed());
  CHECK(faults.why_not_durable() == "the disk is on fire");
  const MemoryError error = faults.not_durable_error();
  CHECK(error.errc() == Errc::provider_error);
  CHECK(contains(error.what(), "\"/data/a.img\""));
  CHECK(contains(error.what(), "the disk is on fire"));
  CHECK_THROWS_AS(faults.check_durable(), MemoryError);
}

TEST_CASE("store faults: a sync that failed for want of memory is told without any") {
  StoreFaults faults{"/data/a.img"};
  handle(std::bad_alloc{}, [&] { faults.note_failed_sync(); });
  CHECK(faults.why_not_durable() == "out of memory");
}

TEST_CASE("store faults: what is back in its place is warned of once, with what was found before") {
  StoreFaults faults{"/data/a.img"};
  CHECK(faults.note_placement("").empty());
  CHECK(faults.note_placement("the image was renamed").empty());
  CHECK(faults.is_misplaced());
  CHECK(faults.why_not_durable() == "the image was renamed");
  CHECK(contains(faults.misplaced_error("flush of", "the image was renamed").what(),
                 "flush of \"/data/a.img\": the image was renamed; until then"));
  CHECK(contains(faults.note_placement(""), "before: the image was renamed"));
  CHECK_FALSE(faults.is_misplaced());
  CHECK(faults.note_placement("").empty());
}

TEST_CASE("store faults: a failed sync is told before a file that is away") {
  StoreFaults faults{"/data/a.img"};
  static_cast<void>(faults.note_placement("the image was renamed"));
  handle(MemoryError{Errc::provider_error, "the disk is on fire"}, [&] { faults.note_failed_sync(); });
  CHECK(faults.why_not_durable() == "the disk is on fire");
}

TEST_CASE("store faults: a checkpoint that failed is told with its reason until one succeeds") {
  StoreFaults faults{"/data/a.img"};
  CHECK(faults.checkpoint_error() == nullptr);
  handle(MemoryError{Errc::no_space, "no room for \"x\""}, [&] { faults.note_failed_checkpoint(); });
  REQUIRE(faults.checkpoint_error() != nullptr);
  CHECK(faults.checkpoint_error()->errc() == Errc::no_space);
  CHECK(contains(faults.checkpoint_error()->what(), "safe in the log. no room for \"x\""));
  handle(std::bad_alloc{}, [&] { faults.note_failed_checkpoint(); });
  CHECK(faults.checkpoint_error()->errc() == Errc::limit_exceeded);
  CHECK(contains(faults.checkpoint_error()->what(), "Memory ran out"));
  faults.forget_failed_checkpoint();
  CHECK(faults.checkpoint_error() == nullptr);
}

}  // namespace
}  // namespace pageserver::test
