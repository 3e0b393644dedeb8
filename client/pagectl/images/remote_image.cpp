// A store of a daemon as an image: one session over the asynchronous client.
#include <algorithm>
#include <limits>
#include <utility>

#include <pageserver/async_session.hpp>
#include <pageserver/error.hpp>

#include "base/bounds.hpp"
#include "client/open_uri.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/pagectl/images/remote.hpp"
#include "client/wire/connection.hpp"

namespace pageserver::pagectl {
namespace {

using namespace std::chrono_literals;

/// From the session's completion to ours.
AsyncSession::Done forward(Image::Done done) {
  return [done = std::move(done)](const MemoryError* error) {
    done(error == nullptr ? nullptr : std::make_exception_ptr(MemoryError(*error)));
  };
}

class RemoteImage final : public Image {
public:
  RemoteImage(std::string name, RemoteOptions options, std::chrono::milliseconds flush_timeout)
      : name_(std::move(name)),
        access_(options.access),
        view_(options.view),
        publish_(options.publish),
        flush_timeout_(flush_timeout),
        session_(std::move(options)),
        pages_(session_.opened().pages),
        version_(session_.opened().version) {}

  const std::string& name() const override { return name_; }

  std::uint64_t pages() override {
    if (is_live()) pages_ = ask_size().pages;
    return pages_;
  }

  std::uint64_t grow(std::uint64_t new_pages) override {
    const auto previous = ask<std::uint64_t>([&](auto done) { session_.grow(new_pages, std::move(done)); });
    pages_ = previous + new_pages;
    return previous;
  }

  void read(std::uint64_t offset, std::span<std::byte> buffer) override {
    check_parts("read", offset, buffer.size());
    each_part(buffer, [&](std::size_t at, std::span<std::byte> part, const Done& done) {
      start_read(offset + at, part, done);
    });
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) override {
    check_parts("write", offset, data.size());
    each_part(data, [&](std::size_t at, std::span<const std::byte> part, const Done& done) {
      start_write(offset + at, part, done);
    });
  }
  void flush() override {
    ask<bool>([&](AsyncSession::Result<bool> done) {
      session_.flush([done = std::move(done)](const MemoryError* error) { done(error, true); }, flush_timeout_);
    });
  }

  std::uint32_t request_bytes_max() const override { return session_.request_bytes_max(); }

  void start_read(std::uint64_t offset, std::span<std::byte> buffer, Done done) override {
    start(done, [&] { session_.read(offset, buffer, forward(done)); });
  }
  void start_write(std::uint64_t offset, std::span<const std::byte> data, Done done) override {
    start(done, [&] { session_.write(offset, data, forward(done)); });
  }
  void start_zero(std::uint64_t offset, std::uint64_t length, Done done) override {
    if (!session_.can_zero()) return start_zero_writes(offset, length, std::move(done));
    start(done, [&] { session_.zero(offset, length, forward(done)); });
  }

  bool has_pending() const override { return session_.outstanding() > 0; }
  void advance() override {
    if (has_pending()) session_.poll();
  }
  void wait() override { session_.wait(); }
  Poll poll_request() const override { return {session_.socket(), session_.events(), session_.next_deadline()}; }

  FoundData find_data(std::uint64_t offset, std::uint64_t length) override {
    if (!session_.can_find_data()) return {{{offset, length}}, offset + length};
    auto found =
        ask<AsyncSession::DataRanges>([&](auto done) { session_.data_ranges(offset, length, std::move(done)); });
    if (found.described_until <= offset) {
      throw MemoryError(Errc::protocol_error,
                        name_ + ": data_ranges offset=" + std::to_string(offset) + " was answered without progress");
    }
    return {std::move(found.ranges), std::min(found.described_until, offset + length)};
  }

  std::optional<Version> version() override {
    if (is_live()) version_ = ask_size().version;
    return version_;
  }
  bool is_stable() const override { return !is_live(); }
  bool publishes_on_flush() const override { return access_ == Access::write && publish_ == Publish::on_flush; }

  std::optional<Stat> stat() override {
    return ask<Stat>([&](auto done) { session_.stat(std::move(done)); });
  }
  std::optional<HolderStat> break_lease(std::uint64_t epoch) override {
    return ask<std::optional<HolderStat>>([&](auto done) { session_.break_lease(epoch, std::move(done)); });
  }

private:
  bool is_live() const { return access_ == Access::read && view_ == View::live; }
  AsyncSession::Size ask_size() {
    return ask<AsyncSession::Size>([&](auto done) { session_.size(std::move(done)); });
  }

  /// Starts one operation with a value and waits for it, and for what was started before.
  template <class Value, class Start>
  Value ask(Start start_one) {
    struct Answer {
      bool done = false;
      std::optional<MemoryError> error;
      Value value{};
    };
    const auto answer = std::make_shared<Answer>();
    start_one(AsyncSession::Result<Value>{[answer](const MemoryError* error, const Value& value) {
      answer->done = true;
      if (error != nullptr)
        answer->error = *error;
      else
        answer->value = value;
    }});
    session_.run_until([&] { return answer->done; });
    if (answer->error) throw MemoryError(*answer->error);
    return std::move(answer->value);
  }

  /// An operation that can't be started any more ends at once, with the reason.
  template <class Start>
  void start(const Done& done, Start start_one) {
    std::exception_ptr refused;
    try {
      return start_one();
    } catch (const std::exception&) {
      refused = std::current_exception();
    }
    done(refused);
  }

  /// The daemon checks each request; a call of several is refused as a whole.
  void check_parts(std::string_view action, std::uint64_t offset, std::size_t length) {
    if (length > request_bytes_max()) base::check_bounds(action, offset, length, size_bytes());
  }

  /// Several parts in flight together; the first error is thrown once none is left, so that no buffer is in use then.
  template <class Span, class Start>
  void each_part(Span data, Start start) {
    struct Parts {
      std::size_t pending = 0;
      std::exception_ptr first;
    };
    const auto parts = std::make_shared<Parts>();
    const Done done = [parts](const std::exception_ptr& error) {
      --parts->pending;
      if (error && !parts->first) parts->first = error;
    };
    std::size_t at = 0;
    do {
      const auto part = std::min<std::size_t>(data.size() - at, request_bytes_max());
      ++parts->pending;
      start(at, data.subspan(at, part), done);
      at += part;
      while (parts->pending >= 16) wait();
    } while (at < data.size() && !parts->first);
    while (parts->pending > 0) wait();
    if (parts->first) std::rethrow_exception(parts->first);
  }

  /// For a daemon without the operation: zeros as bytes. `done` runs with the last of them.
  void start_zero_writes(std::uint64_t offset, std::uint64_t length, Done done) {
    struct Shared {
      Done done;
      std::uint64_t pending = 1;
      std::exception_ptr first;
      void end(const std::exception_ptr& error) {
        if (error && !first) first = error;
        if (--pending == 0) done(first);
      }
    };
    const auto shared = std::make_shared<Shared>();
    shared->done = std::move(done);
    static const std::vector<std::byte> zeros(page_size);
    for (std::uint64_t at = 0; at < length;) {
      const auto part = std::min<std::uint64_t>(length - at, zeros.size());
      ++shared->pending;
      start_write(offset + at, std::span(zeros).first(static_cast<std::size_t>(part)),
                  [shared](const std::exception_ptr& error) { shared->end(error); });
      at += part;
      while (has_pending() && !session_.has_room()) session_.wait();
    }
    shared->end(nullptr);
  }

  std::string name_;
  Access access_;
  View view_;
  Publish publish_;
  std::chrono::milliseconds flush_timeout_;
  AsyncSession session_;
  std::uint64_t pages_;
  Version version_;
};

}  // namespace

std::unique_ptr<client::Connection> dial(const client::Uri& uri) {
  client::ConnectionOptions options;
  options.connect_timeout = uri.connect_timeout;
  options.request_timeout = uri.request_timeout;
  options.poll_us = uri.poll_us;
  options.client_name = "pagectl " PAGECTL_VERSION;
  options.token_file = uri.token_file;
  return opened([&] { return std::make_unique<client::Connection>(uri.endpoint, options); });
}

std::unique_ptr<Image> open_remote_image(const std::string& name, const client::Uri& uri, const OpenMode& mode) {
  auto options = client::remote_options(uri);
  options.client_name = "pagectl " PAGECTL_VERSION;
  // A flush may publish all of a large upload: longer than any other request, unless the user says how long.
  const auto flush_timeout =
      uri.request_timeout_given ? uri.request_timeout : std::max<std::chrono::milliseconds>(uri.request_timeout, 10min);
  auto wanted = options;
  if (uri.access == Access::read && !uri.view_given && mode.one_version) wanted.view = View::pinned;
  if (uri.access == Access::write && !uri.publish_given && mode.one_transaction) wanted.publish = Publish::on_flush;
  const auto open = [&](const RemoteOptions& with) {
    return opened_session(with, [&] { return std::make_unique<RemoteImage>(name, with, flush_timeout); });
  };
  if (wanted.view != options.view || wanted.publish != options.publish) {
    try {
      return open(wanted);
    } catch (const MemoryError& error) {
      // A store that has neither pins nor transactions.
      if (error.errc() != Errc::unsupported) throw;
    }
  }
  return open(options);
}

}  // namespace pageserver::pagectl
