// Memory that runs out where sessions come, wait, move on and lose what they hold.
#include <stdexcept>
#include <utility>
#include <vector>

#include "tests/unit/storage/memory_world.hpp"

namespace pageserver::test {

TEST_CASE("memory runs out when sessions are opened and end") {
  fail_each_allocation({{{{3 * page + 10, 8}}}}, nothing, [](MemoryWorld& world) {
    world.pinned = world.open_reader(View::pinned);
    world.extra = world.open(session_request(Access::fork, "fork"));
    world.extra->write(3 * page, filled(100, 9));
    world.extra->zero(7 * page, 5 * page);
    world.extra->grow(1);
    world.extra->discard();
    world.extra->write(3 * page + 50, filled(10'000, 9));
    write_all(world);
    world.extra = nullptr;
  });
}

TEST_CASE("memory runs out when views move") {
  const Operation set_up = [](MemoryWorld& world) {
    world.extra = world.open_reader(View::pinned);
    for (Step& step : world.steps) world.write(*world.writer, step);
    for (Step& step : world.steps) step.answered = true;
  };
  fail_each_allocation(small_steps(30), set_up, [](MemoryWorld& world) {
    static_cast<void>(world.extra->refresh());
    std::uint64_t until = 0;
    static_cast<void>(world.extra->data_ranges(0, base_pages * page, 100, until));
    std::vector<std::byte> bytes(2 * page);
    world.extra->read(3 * page, bytes);
    static_cast<void>(world.store->stat(3000));
  });
}

TEST_CASE("memory runs out when a lease is waited for, broken and handed on") {
  fail_each_allocation({{{{3 * page + 10, 8}}}}, nothing, [](MemoryWorld& world) {
    const auto first = start_opening(*world.store, session_request(Access::write, "first", true));
    const auto second = start_opening(*world.store, session_request(Access::write, "second", true));
    const auto refused = start_opening(*world.store, session_request(Access::write, "third"));
    world.writer->on_notice([](const MemoryError&) {});
    world.store->break_lease(0, "a reason that is too long for a string without memory of its own");
    world.run_lanes();
    if (!first->session) throw std::logic_error{"the lease was not handed on"};
    world.writer = std::move(first->session);
    write_all(world);
    world.writer = nullptr;
    if (!second->session) throw std::logic_error{"the lease was not handed on at the end"};
    world.store->cancel_wait(second->place);
  });
}

TEST_CASE("memory runs out when a wait is given up") {
  fail_each_allocation({}, nothing, [](MemoryWorld& world) {
    const auto waiting = start_opening(*world.store, session_request(Access::write, "first", true));
    world.store->cancel_wait(waiting->place);
    if (waiting->calls != 1) throw std::logic_error{"the wait was not answered"};
  });
}

TEST_CASE("memory runs out when a version is given up") {
  const Operation set_up = [](MemoryWorld& world) {
    world.writer = nullptr;
    world.store->close();
    world.options.held_bytes = 1000;
    world.reopen();
    world.become(Publish::on_write);
    world.extra = world.open_reader(View::pinned);
    world.extra->on_notice([](const MemoryError&) {});
  };
  fail_each_allocation({{{{3 * page, 3000}}}}, set_up, write_all);
}

TEST_CASE("a reader whose version is given up by what its own refresh enters moves on") {
  for (std::uint64_t at = 1;; ++at) {
    INFO("allocation " << at);
    MemoryWorld world{{{{{3 * page, 3000}}}}};
    world.writer = nullptr;
    world.store->close();
    world.options.held_bytes = 1000;
    world.reopen();
    world.become(Publish::on_write);
    world.extra = world.open_reader(View::pinned);
    const bool failed = write_all_without_memory(world, at);
    const Refreshed refreshed = world.extra->refresh();
    CHECK(refreshed.everything == world.steps[0].answered);
    CHECK(visible_steps(world, *world.extra).front() == world.steps[0].answered);
    check_world(world, true);
    if (!failed) break;
  }
}

}  // namespace pageserver::test
