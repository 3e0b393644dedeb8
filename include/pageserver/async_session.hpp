// A session on a daemon's store with many operations in flight from one thread, each ending in a callback.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/remote_provider.hpp>
#include <pageserver/session.hpp>

namespace pageserver {

/// The session beside RemoteProvider for programs that keep the wire full: a copy, a scan, a server with an event loop
/// of its own. It has no thread and no cache, and never blocks but in its constructor, its destructor, wait() and
/// run_until().
///
///     AsyncSession session{"pageserver://127.0.0.1/demo?access=read"};
///     for (auto& block : blocks)
///       session.read(block.offset, block.bytes, [&](const MemoryError* error) { if (error == nullptr) use(block); });
///     session.run_until([&] { return session.outstanding() == 0; });
///
/// Order: operations take effect in the order they were started, each for itself: one that is refused does not keep
/// those behind it from taking effect, but for commit(). Those that the daemon does not take yet wait here,
/// without a bound: a loop that starts them does so while has_room().
///
/// Completions: each runs once, inside poll(), wait() or run_until(), never inside the call that started it; today in
/// the order of starting, but answers may come in any. `error` is null when all went well, and lives, like every value
/// beside it, until the completion returns. A completion may start operations and may destroy nothing of the session;
/// poll() and wait() throw invalid_argument in one. What it throws passes through the call that ran it, which runs no
/// further one; the session goes on with the next call as if nothing had been thrown. Those still outstanding when the
/// session is destroyed never run.
///
/// Buffers: those of read() and write() must stay, and a write's stay unchanged, until the completion runs or the
/// session is destroyed.
///
/// Errors: an operation that the daemon refuses gets that error and is the only one to. connection_lost, timed_out and
/// protocol_error end the session: all that is outstanding gets that error, and starting anything throws it from then
/// on. After the daemon's notice that the lease is lost, starting an operation throws lease_lost. In a child after
/// fork(2) every call throws connection_lost.
///
/// Memory: what can't be started for want of it throws std::bad_alloc and is not started. Where there is none for what
/// the daemon answered, the session ends with connection_lost.
///
/// Threads: one at a time.
class PAGESERVER_EXPORT AsyncSession {
public:
  using Done = std::function<void(const MemoryError* error)>;
  /// `value` is meaningless where there is an error.
  template <class Value>
  using Result = std::function<void(const MemoryError* error, const Value& value)>;
  using Deadline = std::chrono::steady_clock::time_point;

  /// As open_session(), for a remote URI; `cache_bytes` means nothing here. Throws as RemoteProvider does.
  explicit AsyncSession(std::string_view uri);
  explicit AsyncSession(RemoteOptions options);
  AsyncSession(AsyncSession&&) noexcept;
  AsyncSession& operator=(AsyncSession&&) noexcept;
  /// Ends the session. Waits for the daemon's word, at most a second, when nothing is outstanding; else just leaves. A
  /// loop that can't wait calls close() before.
  ~AsyncSession();

  /// At most request_bytes_max() bytes, else throws limit_exceeded; the same for write().
  void read(std::uint64_t offset, std::span<std::byte> buffer, Done done);
  void write(std::uint64_t offset, std::span<const std::byte> data, Done done);
  /// Of any length. `unsupported` unless can_zero().
  void zero(std::uint64_t offset, std::uint64_t length, Done done);
  /// The value is the number of pages before.
  void grow(std::uint64_t new_pages, Result<std::uint64_t> done);
  /// Publishes what is private and makes durable what is published: everything that was written until then, also when
  /// a change before it was refused. For an on_flush transaction that is in flight commit() is meant. So a flush that
  /// is started while a write, zero or grow of an on_flush session has no answer yet is a commit(), and never publishes
  /// half of what it was started behind. Wait for the answers, and it is a flush again.
  ///
  /// `timeout` replaces request_timeout: publishing a large transaction takes longer than any other request.
  void flush(Done done, std::chrono::milliseconds timeout = {});
  /// As flush(), unless a write, zero or grow of this session was refused since its last flush, commit or discard that
  /// went well: then nothing is published, what is private stays so, and the error is invalid_argument. Its text names
  /// the change. Start what is missing again, wait for it and flush(), or discard(). So a transaction costs one round
  /// trip: start its changes and the commit behind them. `unsupported`, and nothing published, unless can_commit().
  void commit(Done done, std::chrono::milliseconds timeout = {});
  void discard(Done done);
  /// Ends the session behind everything that was started before: when `done` runs without an error that is answered,
  /// what is private is dropped, and the lease is free; nothing is outstanding then. From the start on nothing more can
  /// be started (invalid_argument), and the destructor waits for nothing. After a lost lease this still works.
  void close(Done done, std::chrono::milliseconds timeout = {});
  void refresh(Result<Refreshed> done);

  struct Size {
    std::uint64_t pages = 0;
    Version version;
  };
  /// Of the session's view.
  void size(Result<Size> done);

  /// What `ranges` leaves out of the part up to `described_until` is zero. Ask again from there for the rest.
  struct DataRanges {
    std::uint64_t described_until = 0;
    std::vector<ByteRange> ranges;
  };
  /// `unsupported` unless can_find_data().
  void data_ranges(std::uint64_t offset, std::uint64_t length, Result<DataRanges> done);
  void stat(Result<Stat> done);
  /// Takes the lease from the writer with this epoch (0: whichever). The value is that writer; nothing: there was none.
  void break_lease(std::uint64_t epoch, Result<std::optional<HolderStat>> done);

  /// `lost` runs once, inside poll(), wait() or run_until(), when the lease is lost or the connection has ended, also
  /// when nothing is outstanding: behind the completions that get the same error, which is beside it. wait() then waits
  /// for that, too. Null: nobody wants to know. Rules as for completions.
  void on_lost(std::function<void(const MemoryError& reason)> lost);

  /// The view as it was when the session was opened.
  const Size& opened() const noexcept;
  std::uint32_t request_bytes_max() const noexcept;
  bool can_zero() const noexcept;
  bool can_find_data() const noexcept;
  bool can_commit() const noexcept;

  /// Operations started whose completion did not run yet.
  std::size_t outstanding() const noexcept;
  /// True: an operation started now is sent at once and does not wait for others.
  bool has_room() const;

  /// Sends and receives what is possible without waiting. Returns how many completions ran.
  std::size_t poll();
  /// poll() until at least one completion ran. False when `until` passed first, or nothing was outstanding.
  bool wait(Deadline until = Deadline::max());
  /// wait() until `done()` holds; false when `until` passed first. Throws the error that ended the session where
  /// `done()` does not hold then; with nothing outstanding only `until` ends it.
  template <class Condition>
  bool run_until(Condition done, Deadline until = Deadline::max()) {
    while (!done()) {
      if (outstanding() == 0) throw_if_ended();
      if (!wait(until) && (outstanding() == 0 || std::chrono::steady_clock::now() >= until)) return done();
    }
    return true;
  }

  // For an event loop outside: wait for events() on socket() until next_deadline() at the latest, then poll(). All
  // three change with each call, and starting operations sends nothing by itself: poll() after that, too.
  // With `resume` the descriptor stays the same while connections come and go, and is none of the network.
  int socket() const noexcept;
  /// As poll(2) takes them: POLLIN, and POLLOUT while there is something to send.
  short events() const;
  /// When the oldest operation times out; the end of time when none is outstanding.
  Deadline next_deadline() const;

private:
  void throw_if_ended() const;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pageserver
