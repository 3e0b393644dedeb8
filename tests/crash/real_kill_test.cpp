// A real daemon killed with SIGKILL at random moments under real clients: what was answered is there, whole, and what
// was not is there whole or not at all.
#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include <algorithm>
#include "tests/support/catch.hpp"

#include "tests/crash/kill_pieces.hpp"
#include "tests/crash/kill_rounds.hpp"
#include "tests/support/certificates.hpp"

namespace pageserver::test {
namespace {

bool is_loss(const MemoryError& error) { return error.code() == Errc::connection_lost; }

void prepare(Daemon& daemon) {
  const auto image = open(daemon.unix_uri("s"));
  image->grow(image_pages);
  image->flush();
}

/// Kills the daemon once under one writer; returns the numbers {answered, attempted}.
template <class Step>
std::pair<std::uint64_t, std::uint64_t> run_until_killed(Daemon& daemon, std::mt19937_64& random,
                                                         const std::string& uri, std::uint64_t first, Step step) {
  std::atomic<std::uint64_t> progress{0};
  std::uint64_t answered = first - 1;
  std::uint64_t attempted = first - 1;
  const auto image = open(uri);
  Killer killer{daemon, progress, 1 + random() % 40, random() % 400'000};
  try {
    for (;;) {
      ++attempted;
      step(*image, attempted);
      answered = attempted;
      progress.fetch_add(1);
      progress.notify_one();
    }
  } catch (const MemoryError& error) {
    INFO(error.what());
    REQUIRE(is_loss(error));
  }
  return {answered, attempted};
}

/// Kills the daemon round after round under a writer that calls `step(image, number)` with rising numbers. `look` gets
/// what the next start made of it, and the last number that was answered and the last that was attempted. `uri` is
/// called with what the session is for, after each start.
template <class Uri, class Step, class Look>
void kill_and_look(Daemon& daemon, int rounds, Uri uri, Step step, Look look) {
  const std::uint64_t seed = kill_seed();
  INFO("PAGESERVER_KILL_SEED=" << seed);
  std::mt19937_64 random{seed};
  prepare(daemon);
  std::uint64_t next = 1;
  for (int round = 0; round < rounds; ++round) {
    INFO("round " << round);
    const auto [answered, attempted] = run_until_killed(daemon, random, uri(Access::write), next, step);
    daemon.start_again();
    const auto image = open(uri(Access::read));
    look(*image, answered, attempted);
    next = attempted + 1;
  }
  CHECK(daemon.stop() == 0);
}

/// A writer over the Unix socket, and a reader over TCP.
auto sockets_of(Daemon& daemon, const std::string& query) {
  return [&daemon, query](Access access) {
    return access == Access::write ? daemon.unix_uri("s", query) : daemon.tcp_uri("s", "access=read");
  };
}

void write_pieces(MemoryProvider& image, std::uint64_t number) {
  for (const ByteRange piece : pieces) image.write(piece.offset, pattern(number, piece));
}

}  // namespace

TEST_CASE("a killed daemon keeps every answered write, and no write in part") {
  const std::string cache = GENERATE("", "cache_bytes=1MiB");
  INFO("client " << cache);
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  constexpr ByteRange piece{page_size / 2 + 5, 6 * page_size};
  kill_and_look(
      daemon, kill_rounds(20), sockets_of(daemon, cache),
      [&](MemoryProvider& image, std::uint64_t number) { image.write(piece.offset, pattern(number, piece)); },
      [&](MemoryProvider& image, std::uint64_t answered, std::uint64_t attempted) {
        const std::uint64_t found = number_in(image, piece);
        REQUIRE(found >= answered);
        REQUIRE(found <= attempted);
      });
}

TEST_CASE("a killed daemon keeps every answered flush, and no transaction in part") {
  const std::string query = GENERATE("publish=on_flush", "publish=on_flush&cache_bytes=1MiB");
  INFO(query);
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  kill_and_look(
      daemon, kill_rounds(20), sockets_of(daemon, query),
      [](MemoryProvider& image, std::uint64_t number) {
        write_pieces(image, number);
        image.flush();
      },
      [](MemoryProvider& image, std::uint64_t answered, std::uint64_t attempted) {
        const std::uint64_t found = number_in(image, pieces[0]);
        for (const ByteRange piece : pieces) REQUIRE(number_in(image, piece) == found);
        REQUIRE(found >= answered);
        REQUIRE(found <= attempted);
      });
}

TEST_CASE("a killed daemon keeps growth and content of one transaction together") {
  const std::string query = GENERATE("publish=on_flush", "publish=on_flush&cache_bytes=1MiB");
  INFO(query);
  const std::uint64_t seed = kill_seed();
  INFO("PAGESERVER_KILL_SEED=" << seed);
  std::mt19937_64 random{seed};
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  for (int round = 0; round < kill_rounds(20); ++round) {
    INFO("round " << round);
    std::uint64_t first_page = 0;
    {
      const auto image = open(daemon.unix_uri("s", "access=read"));
      first_page = image->pages();
    }
    const auto [answered, attempted] = run_until_killed(
        daemon, random, daemon.unix_uri("s", query), first_page + 1, [&](MemoryProvider& image, std::uint64_t number) {
          const std::uint64_t page = image.grow(1);
          image.write(page * page_size, pattern(number, {page * page_size, page_size}));
          image.flush();
        });
    daemon.start_again();
    const auto image = open(daemon.tcp_uri("s", "access=read"));
    REQUIRE(image->pages() >= answered);
    REQUIRE(image->pages() <= attempted);
    for (std::uint64_t page = first_page; page < image->pages(); ++page)
      REQUIRE(number_in(*image, {page * page_size, page_size}) == page + 1);
  }
  CHECK(daemon.stop() == 0);
}

TEST_CASE("over TLS a killed daemon keeps every answered write and flush, and no part of one") {
  const bool on_flush = GENERATE(false, true);
  INFO("on_flush " << on_flush);
  Certificates certificates;
  certificates.make("server", {});
  Daemon daemon{{"--store", "s={dir}/s.img", "--listen-tls", "127.0.0.1:0", "--tls-certificate",
                 certificates.certificate("server"), "--tls-key", certificates.key("server")}};
  const auto uri = [&](Access access) {
    const std::string& address = daemon.listeners().at(1);
    const std::string query = access == Access::read ? "&access=read" : on_flush ? "&publish=on_flush" : "";
    return "pageservers://localhost" + address.substr(address.rfind(':')) +
           "/s?tls_ca=" + certificates.certificate("ca") + query;
  };
  kill_and_look(
      daemon, kill_rounds(10), uri,
      [&](MemoryProvider& image, std::uint64_t number) {
        write_pieces(image, number);
        if (on_flush) image.flush();
      },
      [&](MemoryProvider& image, std::uint64_t answered, std::uint64_t attempted) {
        std::uint64_t before = attempted;
        for (const ByteRange& piece : pieces) {
          const std::uint64_t found = number_in(image, piece);
          REQUIRE(found >= answered);
          REQUIRE(found <= before);
          // Alone a write is whole; a transaction is as a whole, and of single writes the later ones may be missing.
          if (on_flush && &piece != &pieces[0]) REQUIRE(found == before);
          before = found;
        }
      });
}

}  // namespace pageserver::test
