// Every allocation of every operation fails in turn: the session then is at its end, or all that it says is right.
#include "tests/support/catch.hpp"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <pageserver/async_session.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/support/daemon.hpp"
#include "tests/unit/client/failing_memory.hpp"

using namespace pageserver;
using namespace pageserver::test;
using namespace std::chrono_literals;

namespace {

using Bytes = std::vector<std::byte>;
constexpr std::size_t pages = 18;  // more than a request takes
constexpr unsigned allocations_max = 4000;
// A session that is at its end says no word of farewell: the daemon may know of it a moment later.
constexpr const char* patient = "wait_ms=30000";

Bytes filled(std::size_t size, unsigned seed) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i * 13 + seed * 101 + (i >> 8)) & 0xff);
  return bytes;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) ++count;
  return count;
}

/// What may stand at each byte: one of these images.
using Possible = std::vector<Bytes>;

bool is_possible(const Bytes& seen, const Possible& possible) {
  if (std::any_of(possible.begin(), possible.end(), [&](const Bytes& each) { return each == seen; })) return true;
  for (std::size_t i = 0; i < seen.size(); ++i)
    if (std::none_of(possible.begin(), possible.end(), [&](const Bytes& each) { return each[i] == seen[i]; }))
      return false;
  return true;
}

struct Operation {
  std::string name;
  std::function<void(Session&)> run;
  /// What the image is afterwards when it went well.
  std::function<void(Bytes&)> effect = [](Bytes&) {};
};

void put(Bytes& image, std::size_t offset, const Bytes& data) {
  if (image.size() < offset + data.size()) image.resize(offset + data.size());
  std::copy(data.begin(), data.end(), image.begin() + static_cast<std::ptrdiff_t>(offset));
}

const Bytes small_data = filled(100, 3);
const Bytes page_data = filled(3 * page_size, 4);
const Bytes large_data = filled(17 * page_size, 5);

void check_read(Session& session, std::size_t offset, std::size_t length) {
  Bytes into(length);
  session.read(offset, into);
}

std::vector<Operation> reading_operations() {
  return {
      {"size", [](Session& s) { (void)s.size(); }},
      {"read of 8", [](Session& s) { check_read(s, 77, 8); }},
      {"read of 3 pages", [](Session& s) { check_read(s, 100, 3 * page_size); }},
      {"read of 17 pages", [](Session& s) { check_read(s, 100, 17 * page_size); }},
      {"read forward",
       [](Session& s) {
         for (std::size_t page = 5; page < 14; ++page) check_read(s, page * page_size, 16);
       }},
      {"version", [](Session& s) { (void)s.version(); }},
      {"stat", [](Session& s) { (void)s.stat(); }},
      {"data_ranges", [](Session& s) { (void)s.data_ranges(0, pages * page_size); }},
      {"flush", [](Session& s) { s.flush(); }},
      {"traffic", [](Session& s) { (void)dynamic_cast<RemoteProvider&>(s).traffic(); }},
      {"read past the end",
       [](Session& s) {
         try {
           check_read(s, 1ull << 40, 8);
         } catch (const MemoryError&) {
         }
       }},
  };
}

std::vector<Operation> writing_operations() {
  return {
      {"write of 100", [](Session& s) { s.write(70, small_data); }, [](Bytes& image) { put(image, 70, small_data); }},
      {"write of 3 pages", [](Session& s) { s.write(100, page_data); },
       [](Bytes& image) { put(image, 100, page_data); }},
      {"write of 17 pages", [](Session& s) { s.write(100, large_data); },
       [](Bytes& image) { put(image, 100, large_data); }},
      {"writes forward",
       [](Session& s) {
         for (std::size_t page = 0; page < 8; ++page)
           s.write(page * page_size, std::span{large_data}.subspan(page * page_size, page_size));
       },
       [](Bytes& image) {
         put(image, 0, {large_data.begin(), large_data.begin() + 8 * page_size});
       }},
      {"zero", [](Session& s) { s.zero(5000, 2 * page_size); },
       [](Bytes& image) { std::fill_n(image.begin() + 5000, 2 * page_size, std::byte{0}); }},
      {"write then flush",
       [](Session& s) {
         s.write(70, small_data);
         s.flush();
       },
       [](Bytes& image) { put(image, 70, small_data); }},
  };
}

/// Sticky means: every call throws, and the same. True: the session is at its end.
bool is_at_its_end(Session& session) {
  const auto error_of = [](auto call) -> std::string {
    try {
      call();
    } catch (const MemoryError& error) {
      return std::to_string(static_cast<int>(error.errc())) + error.what();
    }
    return {};
  };
  std::byte one[1];
  const auto first = error_of([&] { session.read(0, one); });
  if (first.empty()) return false;
  CHECK(error_of([&] { (void)session.size(); }) == first);
  CHECK(error_of([&] { (void)session.stat(); }) == first);
  CHECK(error_of([&] { (void)session.data_ranges(0, 1); }) == first);
  CHECK(error_of([&] { session.read(0, one); }) == first);
  return true;
}

struct Kind {
  std::string query;
  bool writes;
  bool sees_own;  ///< a fork, or a writer before its flush: only the session itself can tell
};

class Trial {
public:
  explicit Trial(const Kind& kind) : daemon_{{"--store", "demo={dir}/demo.img"}}, kind_{kind} {
    const auto writer = open(daemon_.unix_uri("demo"));
    writer->grow(pages);
  }

  /// Fails each allocation of `operation` in turn. Returns how many it has.
  unsigned run(const Operation& operation) {
    for (unsigned number = 1; number < allocations_max; ++number) {
      INFO(kind_.query << ": " << operation.name << ", allocation " << number);
      static const auto before = filled(pages * page_size, 1);
      if (number == 1 || kind_.writes) {
        const auto writer = open(daemon_.unix_uri("demo", patient));
        writer->write(0, before);
      }
      const auto descriptors = open_descriptors();
      const bool failed = once(operation, number, before);
      CHECK(open_descriptors() == descriptors);
      if (!failed) return number - 1;
    }
    FAIL("it allocates without end");
    return 0;
  }

private:
  bool once(const Operation& operation, unsigned number, const Bytes& before) {
    auto session =
        open_session(daemon_.unix_uri("demo", kind_.query + (kind_.writes && !kind_.sees_own ? "&wait_ms=30000" : "")));
    Bytes warm(2 * page_size);
    session->read(0, warm);  // a cache has something to be wrong about
    bool failed = false;
    bool threw = false;
    {
      const FailingAllocation failing{number};
      try {
        operation.run(*session);
      } catch (const std::bad_alloc&) {
        threw = true;
      } catch (const MemoryError&) {
        threw = true;
      }
      failed = FailingAllocation::failed();
    }
    auto after = before;
    operation.effect(after);
    Possible possible{after};
    if (threw) possible.push_back(before);
    if (!failed) CHECK_FALSE(threw);
    if (is_at_its_end(*session)) {
      CHECK(failed);
      session.reset();
      // What was not answered may have been applied, and what was private is gone.
      possible.push_back(before);
      check_published(possible);
      return failed;
    }
    Bytes seen(before.size());
    session->read(0, seen);
    CHECK(is_possible(seen, possible));
    // In small pieces, from a cache where there is one: the same.
    for (std::size_t page = 0; page < pages; ++page) {
      Bytes piece(16);
      session->read(page * page_size + 90, piece);
      CHECK(std::equal(piece.begin(), piece.end(), seen.begin() + static_cast<std::ptrdiff_t>(page * page_size + 90)));
    }
    if (!kind_.writes) return failed;
    if (kind_.sees_own) {
      session->discard();
      Bytes again(before.size());
      session->read(0, again);
      CHECK((again == before || operation.name == "write then flush"));
      return failed;
    }
    // All that it shows is what a flush makes of it.
    session->flush();
    session.reset();
    check_published({seen});
    return failed;
  }

  void check_published(const Possible& possible) {
    auto reader = open(daemon_.unix_uri("demo", "access=read"));
    Bytes seen(possible.front().size());
    reader->read(0, seen);
    CHECK(is_possible(seen, possible));
  }

  Daemon daemon_;
  const Kind kind_;
};

}  // namespace

TEST_CASE("a session whose every allocation fails in turn is at its end or right") {
  const std::vector<Kind> kinds{
      {"access=read", false, false},
      {"access=read&view=pinned&cache_bytes=4MiB", false, false},
      {"access=write", true, false},
      {"access=write&cache_bytes=256KiB", true, false},
      {"access=write&publish=on_flush&cache_bytes=4MiB", true, false},
      {"access=fork&cache_bytes=256KiB", true, true},
  };
  for (const auto& kind : kinds) {
    Trial trial{kind};
    unsigned failed = 0;
    for (const auto& operation : kind.writes ? writing_operations() : reading_operations())
      failed += trial.run(operation);
    // Once it is open, a writer without a cache has one request in flight, always in the same place: nothing is needed.
    const bool needs_none = kind.query == "access=write";
    INFO(kind.query);
    CHECK((failed == 0) == needs_none);
  }
}

TEST_CASE("an opening whose every allocation fails in turn leaves no descriptor behind") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  for (const auto& uri : {daemon.tcp_uri("demo", "cache_bytes=1MiB"), daemon.unix_uri("demo")}) {
    const auto descriptors = open_descriptors();
    unsigned number = 1;
    for (;; ++number) {
      std::unique_ptr<Session> session;
      bool failed = false;
      {
        const FailingAllocation failing{number};
        try {
          session = open_session(uri);
        } catch (const std::bad_alloc&) {
        } catch (const MemoryError& error) {
          // The one before may still be on its way out.
          if (error.errc() != Errc::busy && error.errc() != Errc::connection_lost &&
              error.errc() != Errc::provider_error)
            throw;
        }
        failed = FailingAllocation::failed();
      }
      session.reset();
      CHECK(open_descriptors() == descriptors);
      if (!failed) break;
      REQUIRE(number < allocations_max);
    }
    CHECK(number > 10);
  }
}

TEST_CASE("a refresh or discard whose every allocation fails in turn leaves no byte of another version") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  {
    const auto writer = open(daemon.unix_uri("demo"));
    writer->grow(pages);
  }
  const auto old_bytes = filled(pages * page_size, 1);
  const auto new_bytes = filled(pages * page_size, 2);
  for (const bool discards : {false, true}) {
    bool more = true;
    for (unsigned number = 1; more; ++number) {
      INFO((discards ? "discard" : "refresh") << ", allocation " << number);
      REQUIRE(number < allocations_max);
      const auto write = [&](const Bytes& bytes) { open(daemon.unix_uri("demo", patient))->write(0, bytes); };
      write(old_bytes);
      const std::string query =
          discards ? "publish=on_flush&cache_bytes=4MiB" : "access=read&view=pinned&cache_bytes=4MiB";
      auto session = open_session(daemon.unix_uri("demo", query + (discards ? "&wait_ms=30000" : "")));
      Bytes seen(4 * page_size);
      for (std::size_t page = 0; page < 4; ++page) session->read(page * page_size, std::span{seen}.subspan(0, 8));
      if (discards) {
        // Some of it is told to the daemon, some is not.
        for (std::size_t page = 0; page < 12; ++page)
          session->write(page * page_size, std::span{new_bytes}.subspan(page * page_size, page_size));
      } else {
        write(new_bytes);
      }
      bool threw = false;
      {
        const FailingAllocation failing{number};
        try {
          if (discards)
            session->discard();
          else
            (void)session->refresh();
        } catch (const std::bad_alloc&) {
          threw = true;
        } catch (const MemoryError&) {
          threw = true;
        }
        more = FailingAllocation::failed();
      }
      if (is_at_its_end(*session)) continue;
      for (std::size_t page = 0; page < 4; ++page)
        session->read(page * page_size, std::span{seen}.subspan(page * page_size, page_size));
      const auto is = [&](const Bytes& bytes) { return std::equal(seen.begin(), seen.end(), bytes.begin()); };
      CHECK((is(old_bytes) || is(new_bytes)));
      if (!threw) CHECK(is(discards ? old_bytes : new_bytes));
      if (discards) {
        // All of the transaction, or nothing of it.
        session->flush();
        session.reset();
        Bytes published(12 * page_size);
        open(daemon.unix_uri("demo", "access=read"))->read(0, published);
        const auto is_all = [&](const Bytes& bytes) {
          return std::equal(published.begin(), published.end(), bytes.begin());
        };
        CHECK((is_all(old_bytes) || is_all(new_bytes)));
        if (!threw) CHECK(is_all(old_bytes));
      }
    }
  }
}

TEST_CASE(
    "an asynchronous session whose every allocation fails in turn is at its end or right, and ends each operation") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  const auto image = filled(pages * page_size, 1);
  {
    const auto writer = open(daemon.unix_uri("demo"));
    writer->grow(pages);
    writer->write(0, image);
  }
  Bytes into(4 * page_size);
  std::uint64_t value = 0;
  using Start = std::function<void(AsyncSession&, const std::function<void(const MemoryError*)>&)>;
  const auto with = [](const std::function<void(const MemoryError*)>& done) {
    return [done](const MemoryError* error, const auto&) { done(error); };
  };
  const std::vector<std::pair<std::string, Start>> operations{
      {"read", [&](AsyncSession& s, const auto& done) { s.read(5, into, done); }},
      {"small read", [&](AsyncSession& s, const auto& done) { s.read(5, std::span{into}.first(8), done); }},
      {"write", [&](AsyncSession& s, const auto& done) { s.write(0, std::span{image}.first(3 * page_size), done); }},
      {"zero", [&](AsyncSession& s, const auto& done) { s.zero(17 * page_size + 5, 8, done); }},
      {"grow",
       [&](AsyncSession& s, const auto& done) {
         s.grow(0, [&value, done](const MemoryError* error, const std::uint64_t& previous) {
           value = previous;
           done(error);
         });
       }},
      {"flush", [&](AsyncSession& s, const auto& done) { s.flush(done); }},
      {"discard", [&](AsyncSession& s, const auto& done) { s.discard(done); }},
      {"refresh", [&](AsyncSession& s, const auto& done) { s.refresh(with(done)); }},
      {"size", [&](AsyncSession& s, const auto& done) { s.size(with(done)); }},
      {"data_ranges", [&](AsyncSession& s, const auto& done) { s.data_ranges(0, pages * page_size, with(done)); }},
      {"stat", [&](AsyncSession& s, const auto& done) { s.stat(with(done)); }},
  };
  for (const auto& [name, start] : operations) {
    bool more = true;
    for (unsigned number = 1; more; ++number) {
      INFO(name << ", allocation " << number);
      REQUIRE(number < allocations_max);
      const auto descriptors = open_descriptors();
      {
        AsyncSession session{daemon.unix_uri("demo", patient)};
        int started = 0;
        int ended = 0;
        {
          const std::function<void(const MemoryError*)> done = [&ended](const MemoryError*) { ++ended; };
          const FailingAllocation failing{number};
          for (int i = 0; i < 3; ++i) {
            try {
              start(session, done);
              ++started;
            } catch (const std::bad_alloc&) {
            } catch (const MemoryError&) {
            }
          }
          while (session.outstanding() > 0) {
            try {
              if (!session.wait(AsyncSession::Deadline::clock::now() + 30s)) break;
            } catch (const std::bad_alloc&) {
            }
          }
          more = FailingAllocation::failed();
        }
        CHECK(session.outstanding() == 0);
        CHECK(ended == started);
        if (!more) CHECK(started == 3);
        Bytes again(4 * page_size);
        std::optional<Errc> failed;
        try {
          session.read(5, again, [&](const MemoryError* error) {
            if (error != nullptr) failed = error->errc();
          });
          session.run_until([&] { return session.outstanding() == 0; }, AsyncSession::Deadline::clock::now() + 30s);
        } catch (const MemoryError& error) {
          failed = error.errc();
        }
        if (failed) {
          CHECK(*failed == Errc::connection_lost);
          CHECK(more);
        } else {
          CHECK(std::equal(again.begin(), again.end(), image.begin() + 5));
        }
      }
      CHECK(open_descriptors() == descriptors);
    }
  }
}
