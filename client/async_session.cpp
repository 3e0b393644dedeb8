#include <pageserver/async_session.hpp>

#include <string>
#include <utility>

#include "client/open_uri.hpp"
#include "client/session/session_opening.hpp"
#include "client/wire/connection.hpp"
#include "client/wire/error_text.hpp"
#include "proto/library_values.hpp"

namespace pageserver {
namespace {

RemoteOptions options_of(std::string_view text) {
  auto uri = client::parse_uri(text);
  if (!uri.is_remote())
    throw MemoryError{Errc::unsupported, "open \"" + std::string{text} +
                                             "\": operations in flight need a daemon; use open(), or a URI with the " +
                                             "scheme pageserver or pageserver+unix"};
  return client::remote_options(std::move(uri));
}

/// From the connection's completion to one without a value.
auto without_value(AsyncSession::Done done) {
  return [done = std::move(done)](const auto& outcome) { done(outcome.error()); };
}

/// ... and to one with a value.
template <class Value>
auto with_value(AsyncSession::Result<Value> done) {
  return [done = std::move(done)](const client::Outcome<Value>& outcome) {
    if (outcome.ok())
      done(nullptr, outcome.value());
    else
      done(outcome.error(), Value{});
  };
}

AsyncSession::DataRanges ranges_of(const proto::DataRangesAnswer& answer) {
  return {answer.described_until, answer.ranges};
}

std::optional<HolderStat> broken_by(const proto::BreakLeaseAnswer& answer) {
  return answer.broken ? std::optional{proto::from_wire(*answer.broken)} : std::nullopt;
}

}  // namespace

class AsyncSession::Impl {
public:
  explicit Impl(RemoteOptions given)
      : options{client::checked(std::move(given))},
        connection{client::endpoint_of(options), client::connection_options(options)} {
    const auto answer = client::open_session_on(connection, options);
    opened = {answer.pages, answer.version};
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    // With operations in flight nothing more is received: their buffers may be gone.
    if (closing_ || connection.is_forked()) return;
    if (connection.outstanding() == 0)
      client::close_session_on(connection);
    else
      connection.leave();
  }

  /// The connection, to start an operation on.
  client::Connection& usable(std::string_view operation) {
    if (closing_)
      throw MemoryError{Errc::invalid_argument,
                        client::error_text(connection.context(), operation, "the session was closed; open another")};
    return connection;
  }

  void check_length(std::string_view operation, std::size_t length) const {
    const auto most = connection.server().request_bytes_max;
    if (length > most)
      throw MemoryError{Errc::limit_exceeded,
                        client::error_text(connection.context(), operation,
                                           "length=" + std::to_string(length) + " exceeds request_bytes_max=" +
                                               std::to_string(most) + " of the daemon; split it")};
  }
  void check_not_completing(std::string_view operation) const {
    if (connection.is_completing() || telling)
      throw MemoryError{Errc::invalid_argument,
                        client::error_text(connection.context(), operation,
                                           "called by a completion, which may start operations and wait for none")};
  }
  template <class Value, class Request, class Convert>
  void start(std::string_view operation, const Request& request, Convert convert, AsyncSession::Result<Value> done) {
    usable(operation).submit_converted<Value>(request, convert, with_value<Value>(std::move(done)));
  }
  bool has(std::uint64_t feature) const noexcept { return (connection.server().features & feature) != 0; }

  /// Starts a change of the image with `submit(done)`, and knows of it until its answer comes.
  template <class Done, class Submit>
  void start_change(std::string_view operation, Done done, Submit submit) {
    usable(operation);
    if (options.publish != Publish::on_flush) return submit(std::move(done));
    submit([this, done = std::move(done)](const auto& outcome) {
      --changes_unanswered;
      done(outcome);
    });
    ++changes_unanswered;
  }
  void commit(AsyncSession::Done done, std::chrono::milliseconds timeout) {
    usable("commit").submit(proto::CommitRequest{}, without_value(std::move(done)), timeout);
  }
  void close(AsyncSession::Done done, std::chrono::milliseconds timeout) {
    const auto completion = [this, done = std::move(done)](const auto& outcome) {
      closed_ = outcome.ok();
      done(outcome.error());
    };
    usable("close").submit(proto::CloseRequest{}, completion, timeout);
    closing_ = true;
  }
  /// What ended the session before it was closed; null: nothing did.
  const MemoryError* ended() const noexcept { return closed_ ? nullptr : connection.ended(); }

  /// Returns how many callbacks ran.
  std::size_t tell_lost() {
    const MemoryError* const reason = connection.lost();
    if (!lost || reason == nullptr) return 0;
    const auto tell = std::exchange(lost, nullptr);
    const MemoryError kept{*reason};
    telling = true;
    struct Told {
      bool& telling;
      ~Told() { telling = false; }
    } const told{telling};
    tell(kept);
    return 1;
  }

  RemoteOptions options;
  client::Connection connection;
  std::function<void(const MemoryError& reason)> lost;
  bool telling = false;
  Size opened;
  std::size_t changes_unanswered = 0;  // of an on_flush session

private:
  bool closing_ = false;
  bool closed_ = false;  // the daemon has said so: that it then closes the connection is in order
};

AsyncSession::AsyncSession(std::string_view uri) : AsyncSession{options_of(uri)} {}
AsyncSession::AsyncSession(RemoteOptions options) : impl_{std::make_unique<Impl>(std::move(options))} {}
AsyncSession::AsyncSession(AsyncSession&&) noexcept = default;
AsyncSession& AsyncSession::operator=(AsyncSession&&) noexcept = default;
AsyncSession::~AsyncSession() = default;

void AsyncSession::read(std::uint64_t offset, std::span<std::byte> buffer, Done done) {
  impl_->check_length("read", buffer.size());
  impl_->usable("read").submit_read(offset, buffer, without_value(std::move(done)));
}

void AsyncSession::write(std::uint64_t offset, std::span<const std::byte> data, Done done) {
  impl_->check_length("write", data.size());
  impl_->start_change("write", without_value(std::move(done)),
                      [&](auto completion) { impl_->connection.submit_write(offset, data, std::move(completion)); });
}

void AsyncSession::zero(std::uint64_t offset, std::uint64_t length, Done done) {
  impl_->start_change("zero", without_value(std::move(done)), [&](auto completion) {
    impl_->connection.submit(proto::ZeroRequest{offset, length}, std::move(completion));
  });
}

void AsyncSession::grow(std::uint64_t new_pages, Result<std::uint64_t> done) {
  impl_->start_change("grow", with_value<std::uint64_t>(std::move(done)), [&](auto completion) {
    impl_->connection.submit_converted<std::uint64_t>(
        proto::GrowRequest{new_pages}, [](const proto::GrowAnswer& answer) { return answer.previous_pages; },
        std::move(completion));
  });
}

void AsyncSession::flush(Done done, std::chrono::milliseconds timeout) {
  if (impl_->changes_unanswered != 0) return impl_->commit(std::move(done), timeout);
  impl_->usable("flush").submit(proto::FlushRequest{}, without_value(std::move(done)), timeout);
}

void AsyncSession::commit(Done done, std::chrono::milliseconds timeout) { impl_->commit(std::move(done), timeout); }

void AsyncSession::discard(Done done) {
  impl_->usable("discard").submit(proto::DiscardRequest{}, without_value(std::move(done)));
}

void AsyncSession::close(Done done, std::chrono::milliseconds timeout) { impl_->close(std::move(done), timeout); }

void AsyncSession::refresh(Result<Refreshed> done) {
  impl_->start<Refreshed>(
      "refresh", proto::RefreshRequest{}, [](const proto::RefreshAnswer& answer) { return answer; }, std::move(done));
}

void AsyncSession::size(Result<Size> done) {
  impl_->start<Size>(
      "size", proto::SizeRequest{},
      [](const proto::SizeAnswer& answer) {
        return Size{answer.pages, answer.version};
      },
      std::move(done));
}

void AsyncSession::data_ranges(std::uint64_t offset, std::uint64_t length, Result<DataRanges> done) {
  impl_->start<DataRanges>("data_ranges", proto::DataRangesRequest{offset, length}, ranges_of, std::move(done));
}

void AsyncSession::stat(Result<Stat> done) {
  impl_->start<Stat>(
      "stat", proto::StatRequest{}, [](const proto::StatAnswer& answer) { return proto::from_wire(answer); },
      std::move(done));
}

void AsyncSession::break_lease(std::uint64_t epoch, Result<std::optional<HolderStat>> done) {
  impl_->start<std::optional<HolderStat>>("break_lease", proto::BreakLeaseRequest{epoch}, broken_by, std::move(done));
}

void AsyncSession::on_lost(std::function<void(const MemoryError& reason)> lost) { impl_->lost = std::move(lost); }

const AsyncSession::Size& AsyncSession::opened() const noexcept { return impl_->opened; }
std::uint32_t AsyncSession::request_bytes_max() const noexcept { return impl_->connection.server().request_bytes_max; }
bool AsyncSession::can_zero() const noexcept { return impl_->has(proto::feature_zero); }
bool AsyncSession::can_find_data() const noexcept { return impl_->has(proto::feature_data_ranges); }
bool AsyncSession::can_commit() const noexcept { return impl_->has(proto::feature_commit); }
std::size_t AsyncSession::outstanding() const noexcept { return impl_->connection.outstanding(); }
bool AsyncSession::has_room() const { return impl_->connection.has_room(); }
std::size_t AsyncSession::poll() {
  impl_->check_not_completing("poll");
  const std::size_t ran = impl_->connection.advance();
  return ran + impl_->tell_lost();
}

bool AsyncSession::wait(Deadline until) {
  impl_->check_not_completing("wait");
  if (outstanding() == 0 && until == Deadline::max() && !impl_->lost) return false;
  const bool ran = impl_->connection.lost() == nullptr || !impl_->lost
                       ? impl_->connection.progress(until, impl_->lost != nullptr)
                       : impl_->connection.advance() > 0;
  return impl_->tell_lost() != 0 || ran;
}

int AsyncSession::socket() const noexcept { return impl_->connection.socket(); }
short AsyncSession::events() const { return impl_->connection.poll_events(); }
AsyncSession::Deadline AsyncSession::next_deadline() const { return impl_->connection.next_deadline(); }

void AsyncSession::throw_if_ended() const {
  if (const auto* const error = impl_->ended()) throw MemoryError{*error};
}

}  // namespace pageserver
