// Every allocation of every call of the C interface fails in turn: a code, no exception, and the handle goes on or has
// ended.
#include "tests/support/catch.hpp"

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <pageserver/pageserver.h>

#include "tests/support/c_handles.hpp"
#include "tests/support/daemon.hpp"
#include "tests/unit/client/failing_memory.hpp"

using namespace pageserver::test;

namespace {

constexpr std::uint64_t page = PS_PAGE_BYTES;
constexpr unsigned allocations_max = 4'000;

/// Runs `call(error)` with each of its allocations failing in turn, with `again()` before each. Returns how often it
/// said PS_NO_MEMORY.
unsigned fail_each(const std::function<void()>& again, const std::function<int(ps_error*)>& call) {
  unsigned without_memory = 0;
  for (unsigned number = 1; number < allocations_max; ++number) {
    again();
    INFO("allocation " << number);
    ps_error error = no_error();
    int code = PS_OK;
    bool failed = false;
    {
      const FailingAllocation failing{number};
      code = call(&error);
      failed = FailingAllocation::failed();
    }
    INFO(ps_code_name(code) << ": " << error.text);
    if (!failed) {
      CHECK(code == PS_OK);
      return without_memory;
    }
    CHECK((code == PS_OK || error.code == code));
    if (code == PS_NO_MEMORY) {
      ++without_memory;
      CHECK(std::string{error.text}.find("memory") != std::string::npos);
    }
  }
  FAIL("it allocates without end");
  return 0;
}

}  // namespace

TEST_CASE("C: an opening without memory is no_memory and leaves no handle") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  TempDir dir;
  ps_options options{};
  options.size = sizeof options;
  options.name = "a name that is too long for a short string";
  for (const auto& uri :
       {daemon.unix_uri("demo", "access=fork"), "store:" + dir.file("own.img"), std::string{"heap:"}}) {
    INFO(uri);
    CSession session;
    CHECK(fail_each([&] { session.reset(); },
                    [&](ps_error* error) {
                      ps_session* opened = nullptr;
                      const int code =
                          ps_session_open(uri.c_str(), uri == "heap:" ? nullptr : &options, &opened, error);
                      if ((opened != nullptr) != (code == PS_OK)) std::abort();
                      session.reset(opened);
                      return code;
                    }) > 0);
  }
  CDaemon handle;
  const auto server = daemon.server_uri(), reading = daemon.unix_uri("demo", "access=read");
  CHECK(fail_each([&] { handle.reset(); },
                  [&](ps_error* error) {
                    ps_daemon* opened = nullptr;
                    const int code = ps_daemon_open(server.c_str(), nullptr, &opened, error);
                    handle.reset(opened);
                    return code;
                  }) > 0);
  CAsync async;
  CHECK(fail_each([&] { async.reset(); },
                  [&](ps_error* error) {
                    ps_async* opened = nullptr;
                    const int code = ps_async_open(reading.c_str(), nullptr, &opened, error);
                    async.reset(opened);
                    return code;
                  }) > 0);
}

TEST_CASE("C: a call without memory answers a code, and what the session says next is right") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  {
    const auto writer = c_session(daemon.unix_uri("demo"));
    REQUIRE(ps_session_grow(writer.get(), 4, nullptr, nullptr) == PS_OK);
    REQUIRE(ps_session_write(writer.get(), page, "here", 4, nullptr) == PS_OK);
  }
  const std::vector<std::function<int(ps_session*, ps_error*)>> calls{
      [](auto* session, auto* error) {
        char seen[4];
        const int code = ps_session_read(session, page, seen, 4, error);
        if (code == PS_OK && std::memcmp(seen, "here", 4) != 0) std::abort();
        return code;
      },
      [](auto* session, auto* error) { return ps_session_write(session, 2 * page, "there", 5, error); },
      [](auto* session, auto* error) { return ps_session_flush(session, error); },
      [](auto* session, auto* error) { return ps_session_refresh(session, nullptr, error); },
      [](auto* session, auto* error) {
        const ps_refreshed* refreshed = nullptr;
        const int code = ps_session_refresh(session, &refreshed, error);
        if ((refreshed != nullptr) != (code == PS_OK)) std::abort();
        ps_refreshed_free(refreshed);
        return code;
      },
      [](auto* session, auto* error) {
        const ps_stat* stat = nullptr;
        const int code = ps_session_stat(session, &stat, error);
        if ((stat != nullptr) != (code == PS_OK)) std::abort();
        ps_stat_free(stat);
        return code;
      },
      [](auto* session, auto* error) {
        const ps_ranges* ranges = nullptr;
        const int code = ps_session_data_ranges(session, 0, 4 * page, &ranges, error);
        if ((ranges != nullptr) != (code == PS_OK)) std::abort();
        ps_ranges_free(ranges);
        return code;
      },
  };
  for (const std::string query : {"access=fork", "access=fork&cache_bytes=1MiB"}) {
    unsigned without_memory = 0;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      INFO(query << ", call " << i);
      CSession session;
      without_memory += fail_each(
          [&] {
            if (session) {
              // It goes on, and then it is right, or it has ended.
              char seen[4];
              const int code = ps_session_read(session.get(), page, seen, 4, nullptr);
              CHECK((code == PS_CONNECTION_LOST || (code == PS_OK && std::memcmp(seen, "here", 4) == 0)));
            }
            session = c_session(daemon.unix_uri("demo", query));
          },
          [&](ps_error* error) {
            return i == 3 || i == 4 ? (ps_session_discard(session.get(), nullptr), calls[i](session.get(), error))
                                    : calls[i](session.get(), error);
          });
    }
    CHECK(without_memory > 0);
  }
}

TEST_CASE("C: a daemon's handle without memory answers codes") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  CDaemon handle;
  const auto again = [&] { handle = c_daemon(daemon.server_uri()); };
  CHECK(fail_each(again, [&](ps_error* error) {
          const ps_stores* stores = nullptr;
          const int code = ps_daemon_list(handle.get(), &stores, error);
          if ((stores != nullptr) != (code == PS_OK)) std::abort();
          ps_stores_free(stores);
          return code;
        }) > 0);
  CHECK(fail_each(again, [&](ps_error* error) {
          const ps_daemon_info* info = nullptr;
          const int code = ps_daemon_describe(handle.get(), &info, error);
          ps_daemon_info_free(info);
          return code;
        }) > 0);
  CHECK(fail_each(again,
                  [&](ps_error* error) { return ps_daemon_break_lease(handle.get(), "demo", 0, nullptr, error); }) > 0);
}

TEST_CASE("C, async: an operation without memory was not started, or ends once, with a code") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  REQUIRE(ps_session_grow(c_session(daemon.unix_uri("demo")).get(), 4, nullptr, nullptr) == PS_OK);
  struct Counts {
    int started = 0, ended = 0, without_memory = 0;
    void end(const ps_error* error) {
      ++ended;
      if (error != nullptr && error->code == PS_NO_MEMORY) ++without_memory;
    }
  } counts;
  const auto work = [&](ps_async* session) {
    static char seen[300];
    const auto plain = [](void* data, const ps_error* error) { static_cast<Counts*>(data)->end(error); };
    const auto stat = [](void* data, const ps_error* error, const ps_stat*) { static_cast<Counts*>(data)->end(error); };
    const auto ranges = [](void* data, const ps_error* error, const ps_ranges*) {
      static_cast<Counts*>(data)->end(error);
    };
    const auto pages = [](void* data, const ps_error* error, std::uint64_t) { static_cast<Counts*>(data)->end(error); };
    counts.started += ps_async_read(session, 0, seen, sizeof seen, plain, &counts, nullptr) == PS_OK;
    counts.started += ps_async_write(session, 0, "x", 1, plain, &counts, nullptr) == PS_OK;
    counts.started += ps_async_grow(session, 0, pages, &counts, nullptr) == PS_OK;
    counts.started += ps_async_stat(session, stat, &counts, nullptr) == PS_OK;
    counts.started += ps_async_data_ranges(session, 0, page, ranges, &counts, nullptr) == PS_OK;
    return ps_async_run(session, 30'000, nullptr);
  };
  int without_memory = 0;
  for (unsigned number = 1;; ++number) {
    REQUIRE(number < allocations_max);
    INFO("allocation " << number);
    const auto session = c_async(daemon.unix_uri("demo", "access=fork"));
    counts = {};
    bool failed = false;
    int code = PS_OK;
    {
      const FailingAllocation failing{number};
      code = work(session.get());
      failed = FailingAllocation::failed();
    }
    if (code == PS_NO_MEMORY) code = ps_async_run(session.get(), 30'000, nullptr);
    CHECK((code == PS_OK || code == PS_CONNECTION_LOST));
    CHECK(counts.ended == counts.started);
    without_memory += counts.without_memory + (5 - counts.started);
    if (!failed) {
      CHECK(counts.started == 5);
      break;
    }
  }
  CHECK(without_memory > 0);
}
