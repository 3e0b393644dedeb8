// Slots for requests in flight: how many, which error counts, and what outlives a command.
#include "tests/support/catch.hpp"

#include <functional>
#include <stdexcept>
#include <string>

#include "client/pagectl/work/slots.hpp"

using namespace pageserver;
using namespace pageserver::pagectl;

namespace {

/// Ends one started request for each wait().
struct Requests {
  std::vector<std::function<void()>> started;

  void wait() {
    REQUIRE_FALSE(started.empty());
    started.front()();
    started.erase(started.begin());
  }
};

std::exception_ptr error_of(const char* text) { return std::make_exception_ptr(std::runtime_error{text}); }

std::string thrown_text(const Slots<int>& slots) {
  try {
    slots.throw_error();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "nothing";
}

}  // namespace

TEST_CASE("no more slots are taken than there are: the next one waits for a request to end") {
  Requests image;
  Slots<int> slots{2};
  for (int i = 0; i < 5; ++i) {
    int& slot = slots.wait_for_one(image);
    slot = i;
    image.started.push_back([state = slots.state(), &slot] { state->give_back(slot); });
    CHECK(slots.taken() <= slots.count());
  }
  CHECK(slots.taken() == 2);
  CHECK(image.started.size() == 2);
  slots.drain(image, 1);
  CHECK(slots.taken() == 1);
  slots.drain(image);
  CHECK(slots.taken() == 0);
  CHECK(image.started.empty());
}

TEST_CASE("the error of the lowest number counts, and of one number the first") {
  Slots<int> slots{1};
  CHECK(thrown_text(slots) == "nothing");
  slots.state()->fail(error_of("seven"), 7);
  slots.state()->fail(error_of("eight"), 8);
  slots.state()->fail(error_of("seven again"), 7);
  CHECK(thrown_text(slots) == "seven");
  slots.state()->fail(error_of("three"), 3);
  CHECK(thrown_text(slots) == "three");
}

TEST_CASE("an error is thrown by the call that waits for a slot, and by a drain") {
  Requests image;
  Slots<int> slots{1};
  slots.state()->fail(error_of("failed"));
  CHECK_THROWS_AS(slots.wait_for_one(image), std::runtime_error);
  CHECK_THROWS_AS(slots.drain(image), std::runtime_error);
}

TEST_CASE("a request that ends after the command finds its slot") {
  std::function<void()> late;
  {
    Slots<std::vector<int>> slots{1};
    auto& slot = slots.take();
    slot.assign(1000, 1);
    late = [state = slots.state(), &slot] {
      slot.back() = 2;
      state->give_back(slot);
    };
  }
  late();
}
