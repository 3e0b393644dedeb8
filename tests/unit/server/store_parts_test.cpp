// What a store's host is made of, each part alone.
#include "tests/support/catch.hpp"

#include <atomic>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "server/stores/hosted_store.hpp"
#include "server/stores/lane.hpp"
#include "server/stores/last_look.hpp"
#include "server/stores/store_jobs.hpp"
#include "server/stores/store_loops.hpp"
#include "server/stores/store_warnings.hpp"
#include "server/stores/ways.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/wait.hpp"
#include "tests/unit/server/fake_store.hpp"

namespace pageserver::test {

using namespace pageserver::server;

TEST_CASE("hosted store: it is there from put to close, which waits for those who look, while new ones don't begin") {
  HostedStore hosted;
  CHECK(hosted.current() == nullptr);
  hosted.look([](storage::Store&) { FAIL("none is open"); });
  CHECK_FALSE(hosted.close([](storage::Store&) { FAIL("none is open"); }));
  const auto before = HostedStore::Clock::now();
  storage::Store& store = hosted.put(std::make_unique<FakeStore>());
  CHECK(hosted.current() == &store);
  CHECK(hosted.opened_at() >= before);

  std::promise<void> inside;
  std::promise<void> go_on;
  std::atomic<bool> looked{false};
  std::thread looker{[&] {
    hosted.look([&](storage::Store&) {
      inside.set_value();
      go_on.get_future().wait();
      looked = true;
    });
  }};
  inside.get_future().wait();
  bool waited = false;
  std::thread closer{[&] {
    CHECK(hosted.close([&](storage::Store& closing) {
      waited = looked;
      hosted.look([](storage::Store&) { FAIL("it is just being closed"); });
      closing.close();
    }));
  }};
  go_on.set_value();
  looker.join();
  closer.join();
  CHECK(waited);
  CHECK(hosted.current() == nullptr);
}

TEST_CASE("hosted store: a look that fails is left out, and a close that fails leaves no store") {
  HostedStore hosted;
  hosted.put(std::make_unique<FakeStore>());
  CHECK_NOTHROW(hosted.look([](storage::Store&) { throw std::runtime_error{"its disk fails"}; }));
  CHECK_THROWS_AS(hosted.close([](storage::Store&) { throw std::runtime_error{"its disk fails"}; }),
                  std::runtime_error);
  CHECK(hosted.current() == nullptr);
}

TEST_CASE("hosted store: one that is set aside lives on for its sessions, and the next one takes its place") {
  HostedStore hosted;
  auto first = std::make_unique<FakeStore>();
  FakeStore* const aside = first.get();
  hosted.put(std::move(first));
  hosted.set_aside();
  CHECK(hosted.current() == nullptr);
  aside->wanted = "somebody who still has a session";
  storage::Store& second = hosted.put(std::make_unique<FakeStore>());
  CHECK(hosted.current() == &second);
  CHECK(aside->wanted == "somebody who still has a session");
}

TEST_CASE("store loops: readers and forks take turns, writers stay where they are, and none meets the others") {
  Log log{LogFormat::text, static_cast<LogLevel>(100)};
  SharedThreads shared{2, {}, log};
  StoreLoops loops{shared.loops, nullptr};
  const auto writer = loops.next_for(Access::write);
  CHECK(writer == loops.writer());
  std::set<Worker*> readers;
  for (const Access access : {Access::read, Access::fork}) readers.insert(loops.next_for(access).get());
  CHECK(readers.size() == 2);
  CHECK(readers.contains(loops.a_reader().get()));
  CHECK_FALSE(readers.contains(writer.get()));
  CHECK(loops.next_for(Access::write) == writer);
  CHECK(loops.stuck().count == 0);
  CHECK(loops.waiting() == 0);
}

TEST_CASE("store jobs: one of a kind waits at a time, one that runs is no obstacle to the next, one alone is") {
  Log log{LogFormat::text, static_cast<LogLevel>(100)};
  SharedThreads shared{1, {}, log};
  std::atomic<int> watches{0}, maps{0}, told{0};
  // Said by the jobs, and checked by this thread.
  std::atomic<bool> next_while_one_runs{false}, map_while_one_runs{true}, map_when_told{false};
  std::promise<void> go_on, inside;
  {
    StoreJobs jobs{shared.disk, nullptr};
    jobs.strand().submit([&] {
      inside.set_value();
      go_on.get_future().wait();
    });
    inside.get_future().wait();
    const auto watch = [&] { ++watches; };
    CHECK(jobs.submit_once(StoreJobs::Kind::watch, watch));
    CHECK_FALSE(jobs.submit_once(StoreJobs::Kind::watch, watch));
    // The next look at a store that has changed meanwhile is asked for inside the last one.
    CHECK(jobs.submit_once(StoreJobs::Kind::home,
                           [&] { next_while_one_runs = jobs.submit_once(StoreJobs::Kind::home, watch); }));
    const auto nothing = [] {};
    const auto map = [&] {
      ++maps;
      map_while_one_runs = jobs.submit_alone(StoreJobs::Kind::page_map, nothing, nothing);
    };
    // Whoever is told may ask for the next one.
    const auto tell = [&] {
      map_when_told = jobs.submit_alone(
          StoreJobs::Kind::page_map, [&] { ++maps; }, [&] { ++told; });
    };
    CHECK(jobs.submit_alone(StoreJobs::Kind::page_map, map, tell));
    CHECK(jobs.strand().waiting() == 3);
    go_on.set_value();
    wait_until([&] { return told == 1; });
  }
  CHECK(watches == 2);
  CHECK(maps == 2);
  CHECK(next_while_one_runs);
  CHECK_FALSE(map_while_one_runs);
  CHECK(map_when_told);
}

TEST_CASE("ways: all have answered up to the slowest, and one question at a time is on each") {
  using Way = Ways::Way;
  std::optional<Ways::Question> late;
  {
    Ways ways;
    CHECK(ways.answered_ms() == 0);
    const std::int64_t before = base::monotonic_ms();
    const auto answer_now = [](const Ways::Question& question) { question.answer(); };
    ways.ask(Way::jobs, answer_now);
    ways.ask(Way::readers, answer_now);
    CHECK(ways.answered_ms() == 0);
    ways.ask(Way::writers, [&](const Ways::Question& question) { late = question; });
    ways.ask(Way::writers, [](const Ways::Question&) { FAIL("one is under way"); });
    CHECK(ways.answered_ms() == 0);
    late->answer();
    CHECK(ways.answered_ms() >= before);
    // Without memory nobody was asked, and so the next one can be.
    ways.ask(Way::jobs, [](const Ways::Question&) { throw std::bad_alloc(); });
    bool asked = false;
    ways.ask(Way::jobs, [&](const Ways::Question&) { asked = true; });
    CHECK(asked);
  }
  late->answer();  // the store has gone meanwhile
}

TEST_CASE("last look: pages and disk stay as they were seen, and versions are those of this opening") {
  const TempDir dir;
  LastLook look;
  CHECK(look.pages() == 0);
  CHECK(look.disk_available_bytes() == 0);
  look.note_disk(dir.path().string());
  const std::uint64_t available = look.disk_available_bytes();
  CHECK(available != 0);
  look.note_disk(dir.file("not there/a.img"));
  CHECK(look.disk_available_bytes() == available);
  Stat stat;
  stat.pages = 3;
  stat.version.number = 10;
  look.begin_anew(stat, 1'000);
  stat.pages = 4;
  stat.version.number = 20;
  look.note(stat, 61'000);
  CHECK(look.pages() == 4);
  CHECK(look.newest_version_at(60'999) == 10);
  CHECK(look.newest_version_at(61'000) == 20);
  look.note_pages(7);
  CHECK(look.pages() == 7);
  stat.version.number = 1;
  look.begin_anew(stat, 62'000);
  CHECK(look.newest_version_at(61'500) == 1);
}

TEST_CASE("store warnings: each thing is said once, what has changed is, and after another opening all of it again") {
  Log log;
  StoreWarnings warnings{log, "demo"};
  Stat stat;
  warnings.say(stat);
  CHECK(log.lines(LogLevel::warn) == 0);
  stat.image_warning = "somebody writes the image";
  stat.last_sync_error = "EIO";
  warnings.say(stat);
  warnings.say(stat);
  CHECK(log.lines(LogLevel::warn) == 1);
  CHECK(log.lines(LogLevel::error) == 1);
  stat.image_warning.clear();
  warnings.say(stat);
  stat.image_warning = "somebody writes the image";
  warnings.say(stat);
  CHECK(log.lines(LogLevel::warn) == 2);
  CHECK(log.lines(LogLevel::error) == 1);
  warnings.begin_anew();
  warnings.say(stat);
  CHECK(log.lines(LogLevel::warn) == 3);
  CHECK(log.lines(LogLevel::error) == 2);
}

}  // namespace pageserver::test
