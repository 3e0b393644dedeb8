// ps_async_*: an AsyncSession behind a handle.
#include <poll.h>
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <pageserver/pageserver.h>
#include <pageserver/async_session.hpp>

#include "client/c/guard.hpp"
#include "client/c/options.hpp"
#include "client/c/results.hpp"
#include "client/open_uri.hpp"

using pageserver::AsyncSession;
using pageserver::Errc;
using pageserver::MemoryError;
using pageserver::c::fill;
using pageserver::c::given;
using pageserver::c::guarded;

struct ps_async {
  explicit ps_async(pageserver::RemoteOptions options) : session{std::move(options)} {}

  AsyncSession session;
  std::size_t completed = 0;  // completions that ran since the session was opened
  bool dispatches = false;    // completions run now, or may
  bool closed = false;        // by one of them
};

namespace {

/// What a completion gets to see of an error.
class Reported {
public:
  explicit Reported(const MemoryError& error) {
    pageserver::c::report(&error_, static_cast<int>(error.errc()), error.what());
  }
  Reported() { pageserver::c::report_current(&error_); }
  const ps_error* get() const { return &error_; }

private:
  ps_error error_ = PS_ERROR_INIT;
};

/// Counts a completion. False: there is nobody to tell.
template <class Done>
bool runs(ps_async& async, Done done) {
  ++async.completed;
  return done != nullptr && !async.closed;
}

auto plain(ps_async& async, ps_done done, void* user_data) {
  return [&async, done, user_data](const MemoryError* error) {
    if (!runs(async, done)) return;
    if (error != nullptr) return done(user_data, Reported{*error}.get());
    done(user_data, nullptr);
  };
}

/// For a value that `make(std::optional<Result>&, const Value&)` puts into a Result, or leaves it empty. There may be
/// no memory for it: then that is the error.
template <class Result, class Value, class Done, class Make>
auto with_result(ps_async& async, Done done, void* user_data, Make make) {
  return [&async, done, user_data, make](const MemoryError* error, const Value& value) {
    if (!runs(async, done)) return;
    if (error != nullptr) return done(user_data, Reported{*error}.get(), nullptr);
    std::optional<Result> result;
    try {
      make(result, value);
    } catch (const std::exception&) {
      return done(user_data, Reported{}.get(), nullptr);
    }
    done(user_data, nullptr, result ? &*result : nullptr);
  };
}

/// Calls `start(ps_async&)`.
template <class Start>
int starting(ps_async* async, const char* function, ps_error* error, Start start) noexcept {
  return guarded(error, [&] {
    auto& opened = given(async, function, "async");
    if (opened.closed)
      throw MemoryError{Errc::invalid_argument,
                        std::string{function} + ": the session was closed by this completion " + "or one before it"};
    start(opened);
  });
}

/// Calls `run(ps_async&)`, which may run completions, one of which may close the session. Says how many ran.
template <class Run>
int dispatching(ps_async* async, const char* function, size_t* completed, ps_error* error, Run run) noexcept {
  if (async != nullptr && async->dispatches)
    return guarded(error, [&] {
      throw MemoryError{
          Errc::invalid_argument,
          std::string{function} + ": called by a completion, which may start operations and wait for " + "none"};
    });
  const int code = starting(async, function, error, [&](auto& opened) {
    const auto before = opened.completed;
    opened.dispatches = true;
    run(opened);
    if (completed != nullptr) *completed = opened.completed - before;
  });
  if (async == nullptr) return code;
  async->dispatches = false;
  if (async->closed) delete async;
  return code;
}

AsyncSession::Deadline deadline_of(int timeout_ms) {
  if (timeout_ms < 0) return AsyncSession::Deadline::max();
  return std::chrono::steady_clock::now() + std::chrono::milliseconds{timeout_ms};
}

std::chrono::milliseconds timeout_of(std::uint64_t ms) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  return std::chrono::milliseconds{static_cast<std::int64_t>(std::min(ms, most))};
}

int milliseconds_left(const AsyncSession& session) {
  const auto deadline = session.next_deadline();
  if (deadline == AsyncSession::Deadline::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, std::numeric_limits<int>::max()));
}

}  // namespace

int ps_async_open(const char* uri, const ps_options* options, ps_async** async, ps_error* error) {
  const char* const f = __func__;
  return guarded(error, [&] {
    auto& out = given(async, f, "async");
    out = nullptr;
    auto target = pageserver::c::target_of(uri, options, pageserver::client::UriTarget::image, f);
    if (!target.uri.is_remote())
      throw MemoryError{Errc::unsupported, std::string{f} + " \"" + uri + "\": operations in flight need a daemon; " +
                                               "use ps_session_open(), or a URI with the scheme pageserver or " +
                                               "pageserver+unix"};
    auto remote = pageserver::client::remote_options(std::move(target.uri));
    remote.client_name = std::move(target.client_name);
    remote.token = std::move(target.token);
    out = std::make_unique<ps_async>(std::move(remote)).release();
  });
}

void ps_async_close(ps_async* async) {
  if (async != nullptr && async->dispatches)
    async->closed = true;
  else
    delete async;
}

int ps_async_read(ps_async* async, uint64_t offset, void* buffer, size_t length, ps_done done, void* user_data,
                  ps_error* error) {
  const char* const f = __func__;
  return starting(async, f, error, [&](auto& opened) {
    if (length != 0) given(static_cast<std::byte*>(buffer), f, "buffer");
    opened.session.read(offset, {static_cast<std::byte*>(buffer), length}, plain(opened, done, user_data));
  });
}

int ps_async_write(ps_async* async, uint64_t offset, const void* data, size_t length, ps_done done, void* user_data,
                   ps_error* error) {
  const char* const f = __func__;
  return starting(async, f, error, [&](auto& opened) {
    if (length != 0) given(static_cast<const std::byte*>(data), f, "data");
    opened.session.write(offset, {static_cast<const std::byte*>(data), length}, plain(opened, done, user_data));
  });
}

int ps_async_zero(ps_async* async, uint64_t offset, uint64_t length, ps_done done, void* user_data, ps_error* error) {
  return starting(async, __func__, error,
                  [&](auto& opened) { opened.session.zero(offset, length, plain(opened, done, user_data)); });
}

int ps_async_grow(ps_async* async, uint64_t new_pages, ps_pages_done done, void* user_data, ps_error* error) {
  return starting(async, __func__, error, [&](auto& opened) {
    opened.session.grow(new_pages, [&opened, done, user_data](const MemoryError* failed, std::uint64_t pages) {
      if (!runs(opened, done)) return;
      if (failed != nullptr) return done(user_data, Reported{*failed}.get(), 0);
      done(user_data, nullptr, pages);
    });
  });
}

int ps_async_flush(ps_async* async, uint64_t timeout_ms, ps_done done, void* user_data, ps_error* error) {
  return starting(async, __func__, error,
                  [&](auto& opened) { opened.session.flush(plain(opened, done, user_data), timeout_of(timeout_ms)); });
}

int ps_async_commit(ps_async* async, uint64_t timeout_ms, ps_done done, void* user_data, ps_error* error) {
  return starting(async, __func__, error,
                  [&](auto& opened) { opened.session.commit(plain(opened, done, user_data), timeout_of(timeout_ms)); });
}

int ps_async_end(ps_async* async, uint64_t timeout_ms, ps_done done, void* user_data, ps_error* error) {
  return starting(async, __func__, error,
                  [&](auto& opened) { opened.session.close(plain(opened, done, user_data), timeout_of(timeout_ms)); });
}

int ps_async_discard(ps_async* async, ps_done done, void* user_data, ps_error* error) {
  return starting(async, __func__, error,
                  [&](auto& opened) { opened.session.discard(plain(opened, done, user_data)); });
}

int ps_async_refresh(ps_async* async, ps_refreshed_done done, void* user_data, ps_error* error) {
  using Result = pageserver::c::RefreshedResult;
  using Value = pageserver::Refreshed;
  return starting(async, __func__, error, [&](auto& opened) {
    opened.session.refresh(with_result<Result, Value>(opened, done, user_data,
                                                      [](auto& result, const Value& value) { result.emplace(value); }));
  });
}

int ps_async_size(ps_async* async, ps_view_done done, void* user_data, ps_error* error) {
  using Value = AsyncSession::Size;
  return starting(async, __func__, error, [&](auto& opened) {
    opened.session.size(with_result<ps_view, Value>(opened, done, user_data, [](auto& result, const Value& value) {
      result.emplace(ps_view{sizeof(ps_view), value.pages, pageserver::c::version_of(value.version)});
    }));
  });
}

int ps_async_data_ranges(ps_async* async, uint64_t offset, uint64_t length, ps_ranges_done done, void* user_data,
                         ps_error* error) {
  using Result = pageserver::c::RangesResult;
  using Value = AsyncSession::DataRanges;
  return starting(async, __func__, error, [&](auto& opened) {
    opened.session.data_ranges(
        offset, length, with_result<Result, Value>(opened, done, user_data, [](auto& result, const Value& value) {
          result.emplace(value.described_until, value.ranges);
        }));
  });
}

int ps_async_stat(ps_async* async, ps_stat_done done, void* user_data, ps_error* error) {
  using Result = pageserver::c::StatResult;
  using Value = pageserver::Stat;
  return starting(async, __func__, error, [&](auto& opened) {
    opened.session.stat(with_result<Result, Value>(opened, done, user_data,
                                                   [](auto& result, const Value& value) { result.emplace(value); }));
  });
}

int ps_async_break_lease(ps_async* async, uint64_t epoch, ps_holder_done done, void* user_data, ps_error* error) {
  using Result = pageserver::c::HolderResult;
  using Value = std::optional<pageserver::HolderStat>;
  return starting(async, __func__, error, [&](auto& opened) {
    opened.session.break_lease(
        epoch, with_result<Result, Value>(opened, done, user_data, [](auto& result, const Value& value) {
          if (value) result.emplace(*value);
        }));
  });
}

int ps_async_on_lost(ps_async* async, ps_done lost, void* user_data, ps_error* error) {
  return starting(async, __func__, error, [&](ps_async& opened) {
    if (lost == nullptr) return opened.session.on_lost(nullptr);
    opened.session.on_lost([told = plain(opened, lost, user_data)](const MemoryError& reason) { told(&reason); });
  });
}

int ps_async_interest(ps_async* async, ps_interest* interest, ps_error* error) {
  const char* const f = __func__;
  return starting(async, f, error, [&](auto& opened) {
    const auto& session = opened.session;
    fill(given(interest, f, "interest"),
         {0, session.socket(), session.events(), milliseconds_left(session), session.has_room() ? 1 : 0,
          session.outstanding()},
         f);
  });
}

int ps_async_opened(ps_async* async, ps_opened* opened, ps_error* error) {
  const char* const f = __func__;
  return starting(async, f, error, [&](auto& handle) {
    const auto& session = handle.session;
    fill(given(opened, f, "opened"),
         {0, session.opened().pages, pageserver::c::version_of(session.opened().version), session.request_bytes_max(),
          session.can_zero() ? 1 : 0, session.can_find_data() ? 1 : 0, session.can_commit() ? 1 : 0},
         f);
  });
}

int ps_async_dispatch(ps_async* async, size_t* completed, ps_error* error) {
  return dispatching(async, __func__, completed, error, [](auto& opened) { opened.session.poll(); });
}

int ps_async_wait(ps_async* async, int timeout_ms, size_t* completed, ps_error* error) {
  return dispatching(async, __func__, completed, error,
                     [&](auto& opened) { opened.session.wait(deadline_of(timeout_ms)); });
}

int ps_async_run(ps_async* async, int timeout_ms, ps_error* error) {
  const char* const f = __func__;
  return dispatching(async, f, nullptr, error, [&](auto& opened) {
    auto& session = opened.session;
    const auto is_done = [&] { return opened.closed || session.outstanding() == 0; };
    if (!session.run_until(is_done, deadline_of(timeout_ms)))
      throw MemoryError{Errc::timed_out, std::string{f} + ": " + std::to_string(session.outstanding()) +
                                             " operations are outstanding after timeout_ms=" +
                                             std::to_string(timeout_ms) + "; the session goes on"};
    // Throws what ended the session.
    if (!opened.closed) session.run_until([] { return false; }, std::chrono::steady_clock::now());
  });
}

static_assert(PS_EVENT_IN == POLLIN && PS_EVENT_OUT == POLLOUT);
