// A program with the engine in its own process (store:PATH), killed with SIGKILL at random moments: the next one that
// opens the store finds what was answered, whole, and what was not whole or not at all.
#include <pageserver/open.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include "tests/support/catch.hpp"

#include "tests/crash/kill_pieces.hpp"
#include "tests/crash/kill_rounds.hpp"

namespace pageserver::test {
namespace {

/// One step of the writer, with its number.
using Step = std::function<void(MemoryProvider& image, std::uint64_t number)>;

/// In a child: opens the store and says each number that was answered, until it is killed.
[[noreturn]] void write_until_killed(const std::string& uri, std::uint64_t number, const Step& step, int answers) {
  try {
    const auto image = open(uri);
    for (;; ++number) {
      step(*image, number);
      if (::write(answers, &number, sizeof number) != sizeof number) break;
    }
  } catch (...) {
    // The pipe ends early, and the parent says so.
  }
  ::_exit(1);
}

/// Kills a writer that begins with `first`, at some moment after some answers. Returns the last number answered.
std::uint64_t kill_a_writer(const std::string& uri, std::uint64_t first, const Step& step, std::mt19937_64& random) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::close(ends[0]);
    write_until_killed(uri, first, step, ends[1]);
  }
  ::close(ends[1]);
  std::uint64_t answered = first - 1;
  const std::uint64_t enough = first + random() % 40;
  std::uint64_t number = 0;
  while (answered < enough && ::read(ends[0], &number, sizeof number) == sizeof number) answered = number;
  for (volatile std::uint64_t spin = random() % 400'000; spin > 0;) spin = spin - 1;
  ::kill(child, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  // What it answered between our last look and its end.
  while (::read(ends[0], &number, sizeof number) == sizeof number) answered = number;
  ::close(ends[0]);
  REQUIRE(answered >= enough);
  return answered;
}

void prepare(const std::string& uri) {
  const auto image = open(uri);
  image->grow(image_pages);
  image->flush();
}

}  // namespace

TEST_CASE("a killed program's on_flush transactions are in its store whole or not at all, answered ones for sure") {
  const std::uint64_t seed = kill_seed();
  INFO("PAGESERVER_KILL_SEED=" << seed);
  std::mt19937_64 random{seed};
  const TempDir folder;
  const std::string uri = "store:" + folder.file("s.img");
  prepare(uri);
  const auto step = [](MemoryProvider& image, std::uint64_t number) {
    for (const ByteRange& piece : pieces) image.write(piece.offset, pattern(number, piece));
    image.flush();
  };
  std::uint64_t next = 1;
  for (int round = 0; round < kill_rounds(20); ++round) {
    const std::uint64_t answered = kill_a_writer(uri + "?publish=on_flush", next, step, random);
    const auto image = open(uri + "?access=read");
    const std::uint64_t found = number_in(*image, pieces[0]);
    INFO("round " << round << ", answered " << answered << ", found " << found);
    CHECK(found >= answered);
    CHECK(found <= answered + 1);
    for (const ByteRange& piece : pieces) REQUIRE(number_in(*image, piece) == found);
    next = found + 1;
  }
}

TEST_CASE("a killed program's on_write publishes are in its store as a prefix, answered ones for sure") {
  const std::uint64_t seed = kill_seed();
  INFO("PAGESERVER_KILL_SEED=" << seed);
  std::mt19937_64 random{seed};
  const TempDir folder;
  const std::string uri = "store:" + folder.file("s.img");
  prepare(uri);
  const auto step = [](MemoryProvider& image, std::uint64_t number) {
    const ByteRange piece = pieces[number % pieces.size()];
    image.write(piece.offset, pattern(number, piece));
  };
  std::uint64_t next = 1;
  for (int round = 0; round < kill_rounds(20); ++round) {
    const std::uint64_t answered = kill_a_writer(uri, next, step, random);
    const auto image = open(uri + "?access=read");
    std::uint64_t found = 0;
    for (const ByteRange& piece : pieces) found = std::max(found, number_in(*image, piece));
    INFO("round " << round << ", answered " << answered << ", found " << found);
    CHECK(found >= answered);
    CHECK(found <= answered + 1);
    // Each piece has the newest number up to there that is its own.
    for (std::uint64_t number = found; number > 0 && found - number < pieces.size(); --number)
      REQUIRE(number_in(*image, pieces[number % pieces.size()]) == number);
    next = found + 1;
  }
}

}  // namespace pageserver::test
