#include "client/session/plain_session.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "base/bounds.hpp"
#include "client/session/session_opening.hpp"
#include "client/wire/error_text.hpp"
#include "proto/library_values.hpp"

namespace pageserver::client {
namespace {

constexpr std::uint64_t offset_max = std::numeric_limits<std::uint64_t>::max();

}  // namespace

PlainSession::PlainSession(RemoteOptions options)
    : options_{checked(std::move(options))},
      shared_{endpoint_of(options_), connection_options(options_)},
      request_bytes_max_{server().request_bytes_max} {
  const auto opened = open_session_on(shared_.connection(), options_);
  known_.pages = opened.pages;
  known_.size_bytes_max = opened.size_bytes_max;
  known_.held = opened.version;
  known_.pages_known = options_.access != Access::read || options_.view == View::pinned;
}

void PlainSession::check_usable() {
  shared_.look(proto::Operation::flush, [] {});
}

void PlainSession::end() {
  shared_.run([](Connection& connection, Batch& batch) {
    connection.submit(proto::CloseRequest{}, [&batch](const auto& outcome) { batch.finish(outcome.error()); });
    batch.add();
  });
}

void PlainSession::close() noexcept { close_session_on(shared_.connection()); }

void PlainSession::fail(Errc code, std::string_view message) const {
  throw MemoryError{code, shared_.connection().context() + ": " + std::string{message}};
}

template <class Request, class Check, class Use>
void PlainSession::request(const Request& message, Check check, Use use) {
  shared_.run([&](Connection& connection, Batch& batch) {
    connection.submit_checked(message, check, [&batch, &use](const auto& outcome) {
      try {
        if (outcome.ok()) use(outcome.value());
        batch.finish(outcome.error());
      } catch (...) {
        batch.finish_with(std::current_exception());
      }
    });
    batch.add();
  });
}

template <class Request, class Check, class Use>
void PlainSession::resize(const Request& message, Check check, Use use) {
  shared_.run([&](Connection& connection, Batch& batch) {
    const auto done = [this, &batch, &use](const auto& outcome) {
      shared_.assert_held();
      known_.end_resize();
      try {
        if (outcome.ok()) use(outcome.value());
        batch.finish(outcome.error());
      } catch (...) {
        batch.finish_with(std::current_exception());
      }
    };
    shared_.assert_held();
    connection.submit_checked(message, check, done);
    batch.add();
    known_.begin_resize();
  });
}

proto::SizeAnswer PlainSession::ask_size() {
  proto::SizeAnswer size;
  request(
      proto::SizeRequest{}, [](const proto::SizeAnswer& answer) { return check_pages("size answer", answer.pages); },
      [&](const proto::SizeAnswer& answer) {
        size = answer;
        if (options_.access == Access::read) return;
        shared_.assert_held();
        known_.pages = answer.pages + known_.unsent_pages;
        known_.pages_known = true;
      });
  return size;
}

std::uint64_t PlainSession::pages() {
  bool known = false;
  std::uint64_t pages = 0;
  shared_.look(proto::Operation::size, [&] {
    shared_.assert_held();
    known = known_.pages_known;
    pages = known_.pages;
  });
  return known ? pages : ask_size().pages;
}

void PlainSession::refuse_readers(std::string_view action) const {
  if (options_.access != Access::read) return;
  fail(Errc::read_only,
       std::string{action} + ": this session has access=read; open it with access=write or access=fork");
}

void PlainSession::check_bounds(std::string_view action, std::uint64_t offset, std::uint64_t length,
                                std::uint64_t pages) const {
  try {
    base::check_bounds(action, offset, length, pages * page_size);
  } catch (const MemoryError& error) {
    fail(error.errc(), error.what());
  }
}

void PlainSession::check_known_bounds(std::string_view action, std::uint64_t offset, std::uint64_t length) const {
  if (known_.pages_known) check_bounds(action, offset, length, known_.pages);
}

std::uint64_t PlainSession::grow(std::uint64_t new_pages) {
  refuse_readers("grow");
  if (new_pages == 0) return pages();
  std::uint64_t previous = 0;
  const auto check = [&](const proto::GrowAnswer& answer) {
    shared_.assert_held();
    return check_previous_pages(answer);
  };
  resize(proto::GrowRequest{new_pages}, check, [&](const proto::GrowAnswer& answer) {
    shared_.assert_held();
    previous = answer.previous_pages;
    known_.pages = previous + new_pages;
  });
  return previous;
}

proto::Decoded PlainSession::check_previous_pages(const proto::GrowAnswer& answer) const {
  const auto had = known_.sent_pages();
  if (!known_.can_tell() || answer.previous_pages == had) return check_pages("grow answer", answer.previous_pages);
  return proto::Fault{proto::Status::protocol_error,
                      "grow answer has previous_pages=" + std::to_string(answer.previous_pages) +
                          ", the session had pages=" + std::to_string(had)};
}

void PlainSession::submit_reads(Connection& connection, Batch& batch, std::uint64_t offset,
                                std::span<std::byte> buffer) const {
  do {
    const auto part = buffer.first(std::min(buffer.size(), request_bytes_max_));
    connection.submit_read(offset, part, [&batch](const auto& outcome) { batch.finish(outcome.error()); });
    batch.add();
    buffer = buffer.subspan(part.size());
    offset += part.size();
  } while (!buffer.empty());
}

void PlainSession::submit_writes(Connection& connection, Batch& batch, std::uint64_t offset,
                                 std::span<const std::byte> data) const {
  do {
    const auto part = data.first(std::min(data.size(), request_bytes_max_));
    connection.submit_write(offset, part, [&batch](const auto& outcome) { batch.finish(outcome.error()); });
    batch.add();
    data = data.subspan(part.size());
    offset += part.size();
  } while (!data.empty());
}

void PlainSession::read(std::uint64_t offset, std::span<std::byte> buffer) {
  const bool live = options_.access == Access::read && options_.view == View::live;
  if (live && buffer.size() > request_bytes_max_) return read_split_live(offset, buffer);
  shared_.run([&](Connection& connection, Batch& batch) {
    shared_.assert_held();
    connection.check_usable(proto::Operation::read);
    check_known_bounds("read", offset, buffer.size());
    submit_reads(connection, batch, offset, buffer);
  });
}

// The parts alone would answer with their own numbers; the size, asked for in the same breath, gives the caller's.
void PlainSession::read_split_live(std::uint64_t offset, std::span<std::byte> buffer) {
  if (buffer.size() > offset_max - offset) check_bounds("read", offset, buffer.size(), ask_size().pages);
  std::uint64_t pages = 0;
  bool size_known = false;
  try {
    shared_.run([&](Connection& connection, Batch& batch) {
      connection.submit(proto::SizeRequest{}, [&](const auto& outcome) {
        if (outcome.ok()) pages = outcome.value().pages;
        size_known = outcome.ok();
        batch.finish(outcome.error());
      });
      batch.add();
      submit_reads(connection, batch, offset, buffer);
    });
  } catch (const MemoryError& error) {
    if (error.errc() == Errc::out_of_bounds && size_known) check_bounds("read", offset, buffer.size(), pages);
    throw;
  }
}

void PlainSession::write(std::uint64_t offset, std::span<const std::byte> data) {
  refuse_readers("write");
  shared_.run([&](Connection& connection, Batch& batch) {
    shared_.assert_held();
    connection.check_usable(proto::Operation::write);
    check_known_bounds("write", offset, data.size());
    submit_writes(connection, batch, offset, data);
  });
}

void PlainSession::flush() {
  // Only a writer has something that others could see or lose.
  if (options_.access != Access::write) return shared_.look(proto::Operation::flush, [] {});
  shared_.run([&](Connection& connection, Batch& batch) {
    connection.submit(proto::FlushRequest{}, [this, &batch](const auto& outcome) {
      shared_.assert_held();
      // Private grows were published, or not: the daemon knows.
      if (!outcome.ok() && options_.publish == Publish::on_flush) known_.pages_known = false;
      batch.finish(outcome.error());
    });
    batch.add();
  });
}

Version PlainSession::version() {
  const bool held = options_.access == Access::fork || options_.view == View::pinned;
  if (!held) return ask_size().version;
  Version version;
  shared_.look(proto::Operation::size, [&] {
    shared_.assert_held();
    version = known_.held;
  });
  return version;
}

Refreshed PlainSession::refresh() {
  Refreshed refreshed;
  const auto check = [&](const proto::RefreshAnswer& answer) -> proto::Decoded {
    shared_.assert_held();
    // Images grow and never shrink, but for one that was restored, which is another incarnation.
    if (known_.can_tell() && answer.version.incarnation == known_.held.incarnation && answer.pages < known_.pages)
      return proto::Fault{proto::Status::protocol_error, "refresh answer has pages=" + std::to_string(answer.pages) +
                                                             ", the version before had " +
                                                             std::to_string(known_.pages)};
    return check_pages("refresh answer", answer.pages);
  };
  resize(proto::RefreshRequest{}, check, [&](const proto::RefreshAnswer& answer) {
    shared_.assert_held();
    // The session notes its view first: there may be no memory for the rest.
    known_.pages = answer.pages;
    known_.held = answer.version;
    refreshed = answer;
  });
  return refreshed;
}

void PlainSession::discard() {
  if (options_.access == Access::read) return shared_.look(proto::Operation::discard, [] {});
  const auto check = [&](const proto::DiscardAnswer& answer) -> proto::Decoded {
    shared_.assert_held();
    if (known_.can_tell() && answer.pages > known_.pages)
      return proto::Fault{proto::Status::protocol_error, "discard answer has pages=" + std::to_string(answer.pages) +
                                                             ", the session had " + std::to_string(known_.pages)};
    return check_pages("discard answer", answer.pages);
  };
  resize(proto::DiscardRequest{}, check, [&](const proto::DiscardAnswer& answer) {
    shared_.assert_held();
    known_.pages = answer.pages;
    known_.pages_known = true;
    known_.held = answer.version;
  });
}

std::optional<HolderStat> PlainSession::break_lease(std::uint64_t epoch) {
  std::optional<HolderStat> broken;
  request(
      proto::BreakLeaseRequest{epoch}, [](const proto::BreakLeaseAnswer&) { return proto::Decoded{}; },
      [&](const proto::BreakLeaseAnswer& answer) {
        if (answer.broken) broken = proto::from_wire(*answer.broken);
      });
  return broken;
}

std::optional<MemoryError> PlainSession::lost() {
  try {
    shared_.look(proto::Operation::read, [] {});
  } catch (const MemoryError& error) {
    return error;
  }
  return {};
}

std::optional<MemoryError> PlainSession::known_loss() {
  std::optional<MemoryError> loss;
  shared_.run([&](Connection& connection, Batch&) {
    if (const MemoryError* const error = connection.lost()) loss = *error;
  });
  return loss;
}

Stat PlainSession::stat() {
  Stat stat;
  request(
      proto::StatRequest{}, [](const proto::StatAnswer&) { return proto::Decoded{}; },
      [&](const proto::StatAnswer& answer) { stat = proto::from_wire(answer); });
  return stat;
}

std::vector<OrderedFault> PlainSession::faults(const proto::FaultsRequest& message) {
  check_faults_request(shared_.connection(), message);
  std::vector<OrderedFault> ordered;
  request(
      message, [](const proto::FaultsAnswer&) { return proto::Decoded{}; },
      [&](const proto::FaultsAnswer& answer) {
        ordered.clear();
        for (const proto::FaultsEntry& entry : answer.entries)
          ordered.push_back({std::string{entry.order}, entry.seen, entry.struck});
      });
  return ordered;
}

RemoteTraffic PlainSession::traffic() {
  RemoteTraffic traffic;
  shared_.run([&](Connection& connection, Batch&) {
    shared_.assert_held();
    const auto& counters = connection.counters();
    traffic.requests = counters.requests;
    traffic.round_trips = shared_.round_trips();
    traffic.bytes_sent = counters.bytes_sent;
    traffic.bytes_received = counters.bytes_received;
  });
  return traffic;
}

void PlainSession::zero(std::uint64_t offset, std::uint64_t length) {
  refuse_readers("zero");
  if ((shared_.connection().server().features & proto::feature_zero) == 0) return write_zeros(offset, length);
  shared_.run([&](Connection& connection, Batch& batch) {
    shared_.assert_held();
    connection.check_usable(proto::Operation::zero);
    check_known_bounds("zero", offset, length);
    connection.submit(proto::ZeroRequest{offset, length},
                      [&batch](const auto& outcome) { batch.finish(outcome.error()); });
    batch.add();
  });
}

// For a daemon that has no zero operation: the bytes themselves, a bounded number of requests at a time.
void PlainSession::write_zeros(std::uint64_t offset, std::uint64_t length) {
  constexpr std::size_t requests_max = 16;
  shared_.look(proto::Operation::zero, [&] {
    shared_.assert_held();
    check_known_bounds("zero", offset, length);
  });
  const std::vector<std::byte> zeros(
      static_cast<std::size_t>(std::min<std::uint64_t>(length, std::min<std::size_t>(request_bytes_max_, 1u << 20))));
  while (length > 0) {
    shared_.run([&](Connection& connection, Batch& batch) {
      for (std::size_t i = 0; i < requests_max && length > 0; ++i) {
        const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(length, zeros.size()));
        submit_writes(connection, batch, offset, std::span{zeros}.first(part));
        offset += part;
        length -= part;
      }
    });
  }
}

std::vector<ByteRange> PlainSession::data_ranges(std::uint64_t offset, std::uint64_t length) {
  shared_.look(proto::Operation::data_ranges, [&] {
    shared_.assert_held();
    check_known_bounds("data_ranges", offset, length);
  });
  if (options_.access == Access::read && options_.view == View::live)
    check_bounds("data_ranges", offset, length, ask_size().pages);
  std::vector<ByteRange> ranges;
  if (length == 0) return ranges;
  if ((shared_.connection().server().features & proto::feature_data_ranges) == 0) return {{offset, length}};
  const std::uint64_t end = offset + length;
  while (offset < end) {
    std::uint64_t described_until = offset;
    const auto check = [&](const proto::DataRangesAnswer& answer) -> proto::Decoded {
      const bool fits = answer.described_until > offset && answer.described_until <= end &&
                        (answer.ranges.empty() ||
                         (answer.ranges.front().offset >= offset &&
                          answer.ranges.back().offset + answer.ranges.back().length <= answer.described_until));
      if (fits) return {};
      return proto::Fault{proto::Status::protocol_error,
                          "data_ranges answer describes something else than offset=" + std::to_string(offset) +
                              " length=" + std::to_string(end - offset)};
    };
    request(proto::DataRangesRequest{offset, end - offset}, check, [&](const proto::DataRangesAnswer& answer) {
      described_until = answer.described_until;
      ranges.insert(ranges.end(), answer.ranges.begin(), answer.ranges.end());
    });
    offset = described_until;
  }
  return ranges;
}

}  // namespace pageserver::client
