// A MemoryError while there is no memory: it is handed on from one place to the next, so a copy must not need any.
#include "tests/support/catch.hpp"

#include <exception>
#include <string>
#include <type_traits>

#include <pageserver/error.hpp>

#include "tests/unit/storage/failing_resources.hpp"

namespace pageserver::test {

static_assert(std::is_nothrow_copy_constructible_v<MemoryError>);
static_assert(std::is_nothrow_copy_assignable_v<MemoryError>);
static_assert(std::is_nothrow_move_constructible_v<MemoryError>);

namespace {

// Too long for a string's own room.
const std::string text = "write offset=70000 length=9 exceeds size=65536; grow the image first";

}  // namespace

TEST_CASE("a MemoryError is copied, assigned and kept for later without any memory") {
  const MemoryError error{Errc::out_of_bounds, text};
  MemoryError assigned{Errc::busy, "another text, which is too long for a string's own room as well"};
  std::exception_ptr kept;
  std::exception_ptr caught;
  const char* copied_text = nullptr;
  bool failed = true;
  {
    const FailingMemory none{1, true};
    const MemoryError copy{error};
    assigned = copy;
    kept = std::make_exception_ptr(copy);
    try {
      throw MemoryError{copy};
    } catch (...) {
      caught = std::current_exception();
    }
    copied_text = copy.what();
    failed = none.failed();
  }
  CHECK_FALSE(failed);
  CHECK(copied_text == error.what());  // the very text: it is shared
  CHECK(assigned.what() == text);
  CHECK(assigned.errc() == Errc::out_of_bounds);
  for (const auto& each : {kept, caught}) {
    try {
      std::rethrow_exception(each);
    } catch (const MemoryError& thrown) {
      CHECK(thrown.what() == text);
      CHECK(thrown.errc() == Errc::out_of_bounds);
    } catch (const std::bad_alloc&) {
      FAIL("the copy took memory");
    }
  }
}

}  // namespace pageserver::test
