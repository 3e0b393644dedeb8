// A store of a daemon as an image: one session over the asynchronous connection.
#include <algorithm>
#include <limits>
#include <utility>

#include <pageserver/error.hpp>

#include "client/connection.hpp"
#include "client/message_conversion.hpp"
#include "client/pagectl/image.hpp"
#include "client/pagectl/remote.hpp"
#include "storage/bounds.hpp"

namespace pageserver::pagectl {
namespace {

using namespace std::chrono_literals;
using client::from_proto;

/// From the connection's completion to ours.
template <class Answer>
auto forward(Image::Done done) {
  return [done = std::move(done)](const client::Outcome<Answer>& outcome) {
    done(outcome.ok() ? nullptr : std::make_exception_ptr(MemoryError(*outcome.error())));
  };
}

class RemoteImage final : public Image {
public:
  RemoteImage(std::string name, const client::Uri& uri) : name_(std::move(name)), uri_(uri), connection_(dial(uri)) {
    connection_->name_store(uri.store);
  }

  /// Opens the session with the first of `choices` that the store supports.
  struct Choice {
    View view = View::live;
    Publish publish = Publish::on_write;
  };
  void open(const std::vector<Choice>& choices) {
    for (std::size_t i = 0; i < choices.size(); ++i) {
      try {
        return open(choices[i]);
      } catch (const MemoryError& error) {
        if (error.errc() != Errc::unsupported || i + 1 == choices.size()) throw;
      }
    }
  }

  ~RemoteImage() override {
    // With requests in flight something failed: their buffers may be gone, so nothing more is received.
    if (!opened_ || connection_->ended() || connection_->outstanding() > 0) return;
    try {
      connection_->call(
          proto::CloseRequest{}, [](const proto::CloseAnswer&) {}, 1s);
    } catch (const std::exception&) {
      // The daemon ends the session when the connection goes.
    }
  }

  const std::string& name() const override { return name_; }

  std::uint64_t pages() override {
    if (uri_.access == Access::read && view_ == View::live) {
      connection_->call(proto::SizeRequest{}, [&](const proto::SizeAnswer& answer) { pages_ = answer.pages; });
    }
    return pages_;
  }

  std::uint64_t grow(std::uint64_t new_pages) override {
    std::uint64_t previous = 0;
    connection_->call(proto::GrowRequest{new_pages},
                      [&](const proto::GrowAnswer& answer) { previous = answer.previous_pages; });
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
    // It may publish all of a large upload: longer than any other request.
    const std::chrono::milliseconds timeout = std::max<std::chrono::milliseconds>(uri_.request_timeout, 10min);
    connection_->call(
        proto::FlushRequest{}, [](const proto::FlushAnswer&) {}, timeout);
  }

  std::uint32_t request_bytes_max() const override { return connection_->server().request_bytes_max; }

  void start_read(std::uint64_t offset, std::span<std::byte> buffer, Done done) override {
    if (!is_usable(proto::Operation::read, done)) return;
    connection_->submit_read(offset, buffer, forward<proto::ReadAnswer>(std::move(done)));
  }
  void start_write(std::uint64_t offset, std::span<const std::byte> data, Done done) override {
    if (!is_usable(proto::Operation::write, done)) return;
    connection_->submit_write(offset, data, forward<proto::WriteAnswer>(std::move(done)));
  }
  void start_zero(std::uint64_t offset, std::uint64_t length, Done done) override {
    if ((connection_->server().features & proto::feature_zero) == 0) {
      return start_zero_writes(offset, length, std::move(done));
    }
    if (!is_usable(proto::Operation::zero, done)) return;
    connection_->submit(proto::ZeroRequest{offset, length}, forward<proto::ZeroAnswer>(std::move(done)));
  }

  bool has_pending() const override { return connection_->outstanding() > 0; }
  void advance() override {
    if (has_pending()) connection_->advance();
  }
  void wait() override {
    if (has_pending()) connection_->progress();
  }
  Poll poll_request() const override {
    return {connection_->socket(), connection_->poll_events(), connection_->next_deadline()};
  }

  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length) override {
    if (length == 0) return {};
    if ((connection_->server().features & proto::feature_data_ranges) == 0) return {{offset, length}};
    std::vector<ByteRange> ranges;
    const std::uint64_t end = offset + length;
    while (offset < end) {
      std::uint64_t described_until = offset;
      connection_->call(proto::DataRangesRequest{offset, end - offset}, [&](const proto::DataRangesAnswer& answer) {
        described_until = std::min(answer.described_until, end);
        for (const auto& range : answer.ranges) ranges.push_back({range.offset, range.length});
      });
      if (described_until <= offset) {
        throw MemoryError(Errc::protocol_error, connection_->context() + ": data_ranges offset=" +
                                                    std::to_string(offset) + " was answered without progress");
      }
      offset = described_until;
    }
    return ranges;
  }

  std::optional<Version> version() override {
    if (uri_.access == Access::read && view_ == View::live) {
      connection_->call(proto::SizeRequest{},
                        [&](const proto::SizeAnswer& answer) { version_ = from_proto(answer.version); });
    }
    return version_;
  }
  bool is_stable() const override { return uri_.access != Access::read || view_ == View::pinned; }
  bool publishes_on_flush() const override { return uri_.access == Access::write && publish_ == Publish::on_flush; }

  std::optional<Stat> stat() override {
    Stat out;
    connection_->call(proto::StatRequest{}, [&](const proto::StatAnswer& answer) { out = from_proto(answer); });
    return out;
  }
  std::optional<HolderStat> break_lease(std::uint64_t epoch) override {
    std::optional<HolderStat> broken;
    connection_->call(proto::BreakLeaseRequest{epoch}, [&](const proto::BreakLeaseAnswer& answer) {
      if (answer.broken) broken = from_proto(*answer.broken);
    });
    return broken;
  }

private:
  void open(const Choice& choice) {
    proto::OpenRequest request;
    request.access = client::to_proto(uri_.access);
    request.view = client::to_proto(choice.view);
    request.publish = client::to_proto(choice.publish);
    request.wait_ms = uri_.wait_ms;
    request.store = uri_.store;
    request.session_name = uri_.name;
    connection_->call(
        request,
        [&](const proto::OpenAnswer& answer) {
          pages_ = answer.pages;
          version_ = from_proto(answer.version);
        },
        uri_.request_timeout + std::chrono::milliseconds(uri_.wait_ms));
    view_ = choice.view;
    publish_ = choice.publish;
    opened_ = true;
  }

  /// A request that can't be submitted any more ends at once, with the reason.
  bool is_usable(proto::Operation operation, const Done& done) const {
    try {
      connection_->check_usable(operation);
      return true;
    } catch (const MemoryError&) {
      done(std::current_exception());
      return false;
    }
  }

  /// The daemon checks each request; a call of several is refused as a whole.
  void check_parts(std::string_view action, std::uint64_t offset, std::size_t length) {
    if (length > request_bytes_max()) storage::check_bounds(action, offset, length, size_bytes());
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
      while (has_pending() && !connection_->has_room()) connection_->progress();
    }
    shared->end(nullptr);
  }

  std::string name_;
  client::Uri uri_;
  std::unique_ptr<client::Connection> connection_;
  View view_ = View::live;
  Publish publish_ = Publish::on_write;
  bool opened_ = false;
  std::uint64_t pages_ = 0;
  Version version_;
};

}  // namespace

std::unique_ptr<client::Connection> dial(const client::Uri& uri) {
  client::ConnectionOptions options;
  options.connect_timeout = uri.connect_timeout;
  options.request_timeout = uri.request_timeout;
  options.poll_us = uri.poll_us;
  options.client_name = "pagectl " PAGECTL_VERSION;
  return std::make_unique<client::Connection>(uri.endpoint, options);
}

std::unique_ptr<Image> open_remote_image(const std::string& name, const client::Uri& uri, bool view_given,
                                         bool publish_given, const OpenMode& mode) {
  auto image = std::make_unique<RemoteImage>(name, uri);
  std::vector<RemoteImage::Choice> choices;
  if (uri.access == Access::read && !view_given && mode.one_version) choices.push_back({View::pinned, uri.publish});
  if (uri.access == Access::write && !publish_given && mode.one_transaction) {
    choices.push_back({uri.view, Publish::on_flush});
  }
  choices.push_back({uri.view, uri.publish});
  image->open(choices);
  return image;
}

}  // namespace pageserver::pagectl
