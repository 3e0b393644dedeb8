#include "client/session/remote_session.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "base/bounds.hpp"
#include "base/process_mark.hpp"
#include "client/session/message_conversion.hpp"
#include "client/session/session_opening.hpp"
#include "client/wire/error_mapping.hpp"

namespace pageserver::client {
namespace {

constexpr std::uint64_t offset_max = std::numeric_limits<std::uint64_t>::max();

}  // namespace

void end_session(std::unique_ptr<RemoteSession> session) noexcept {
  if (!session->is_forked()) {
    session->close();
    return;
  }
  session->abandon();
  storage::keep_for_ever(session.release());
}

RemoteSession::RemoteSession(RemoteOptions options)
    : options_{checked(std::move(options))}, shared_{endpoint_of(options_), connection_options(options_)} {
  const auto opened = open_session_on(shared_.connection(), options_);
  pages_ = opened.pages;
  size_bytes_max_ = opened.size_bytes_max;
  held_ = opened.version;
  pages_known_ = options_.access != Access::read || options_.view == View::pinned;
  request_bytes_max_ = shared_.connection().server().request_bytes_max;
}

void RemoteSession::close() noexcept { close_session_on(shared_.connection()); }

void RemoteSession::fail(Errc code, std::string_view message) const {
  throw MemoryError{code, shared_.connection().context() + ": " + std::string{message}};
}

template <class Request, class Use>
void RemoteSession::request(const Request& message, Use use) {
  shared_.run([&](Connection& connection, Batch& batch) {
    connection.submit(message, [&batch, &use](const auto& outcome) {
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

proto::SizeAnswer RemoteSession::ask_size() {
  proto::SizeAnswer size;
  request(proto::SizeRequest{}, [&](const proto::SizeAnswer& answer) {
    size = answer;
    if (options_.access == Access::read) return;
    pages_ = answer.pages + unsent_pages_;
    pages_known_ = true;
  });
  return size;
}

std::uint64_t RemoteSession::pages(std::string_view) {
  bool known = false;
  std::uint64_t pages = 0;
  shared_.look(proto::Operation::size, [&] {
    known = pages_known_;
    pages = pages_;
  });
  return known ? pages : ask_size().pages;
}

void RemoteSession::refuse_readers(std::string_view action) const {
  if (options_.access != Access::read) return;
  fail(Errc::read_only,
       std::string{action} + ": this session has access=read; open it with access=write or access=fork");
}

void RemoteSession::check_bounds(std::string_view action, std::uint64_t offset, std::uint64_t length,
                                 std::uint64_t pages) const {
  try {
    storage::check_bounds(action, offset, length, pages * page_size);
  } catch (const MemoryError& error) {
    fail(error.errc(), error.what());
  }
}

void RemoteSession::check_known_bounds(std::string_view action, std::uint64_t offset, std::uint64_t length) {
  if (pages_known_) check_bounds(action, offset, length, pages_);
}

std::uint64_t RemoteSession::grow(std::uint64_t new_pages) {
  refuse_readers("grow");
  if (new_pages == 0) return RemoteSession::pages("grow");
  std::uint64_t previous = 0;
  request(proto::GrowRequest{new_pages}, [&](const proto::GrowAnswer& answer) {
    previous = answer.previous_pages;
    pages_ = previous + new_pages;
  });
  return previous;
}

void RemoteSession::submit_reads(Connection& connection, Batch& batch, std::uint64_t offset,
                                 std::span<std::byte> buffer) const {
  do {
    const auto part = buffer.first(std::min(buffer.size(), request_bytes_max_));
    connection.submit_read(offset, part, [&batch](const auto& outcome) { batch.finish(outcome.error()); });
    batch.add();
    buffer = buffer.subspan(part.size());
    offset += part.size();
  } while (!buffer.empty());
}

void RemoteSession::submit_writes(Connection& connection, Batch& batch, std::uint64_t offset,
                                  std::span<const std::byte> data) const {
  do {
    const auto part = data.first(std::min(data.size(), request_bytes_max_));
    connection.submit_write(offset, part, [&batch](const auto& outcome) { batch.finish(outcome.error()); });
    batch.add();
    data = data.subspan(part.size());
    offset += part.size();
  } while (!data.empty());
}

void RemoteSession::read(std::uint64_t offset, std::span<std::byte> buffer) {
  const bool live = options_.access == Access::read && options_.view == View::live;
  if (live && buffer.size() > request_bytes_max_) return read_split_live(offset, buffer);
  shared_.run([&](Connection& connection, Batch& batch) {
    connection.check_usable(proto::Operation::read);
    check_known_bounds("read", offset, buffer.size());
    submit_reads(connection, batch, offset, buffer);
  });
}

// The parts alone would answer with their own numbers; the size, asked for in the same breath, gives the caller's.
void RemoteSession::read_split_live(std::uint64_t offset, std::span<std::byte> buffer) {
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

void RemoteSession::write(std::uint64_t offset, std::span<const std::byte> data) {
  refuse_readers("write");
  shared_.run([&](Connection& connection, Batch& batch) {
    connection.check_usable(proto::Operation::write);
    check_known_bounds("write", offset, data.size());
    submit_writes(connection, batch, offset, data);
  });
}

void RemoteSession::flush() {
  // Only a writer has something that others could see or lose.
  if (options_.access != Access::write) return shared_.look(proto::Operation::flush, [] {});
  shared_.run([&](Connection& connection, Batch& batch) {
    connection.submit(proto::FlushRequest{}, [this, &batch](const auto& outcome) {
      // Private grows were published, or not: the daemon knows.
      if (!outcome.ok() && options_.publish == Publish::on_flush) pages_known_ = false;
      batch.finish(outcome.error());
    });
    batch.add();
  });
}

Version RemoteSession::version() {
  const bool held = options_.access == Access::fork || options_.view == View::pinned;
  if (!held) return from_proto(ask_size().version);
  Version version;
  shared_.look(proto::Operation::size, [&] { version = held_; });
  return version;
}

Refreshed RemoteSession::refresh() {
  Refreshed refreshed;
  request(proto::RefreshRequest{}, [&](const proto::RefreshAnswer& answer) {
    // First what the session has to know, should there be no memory for the rest.
    pages_ = answer.pages;
    held_ = from_proto(answer.version);
    refreshed = from_proto(answer);
  });
  return refreshed;
}

void RemoteSession::discard() {
  if (options_.access == Access::read) return shared_.look(proto::Operation::discard, [] {});
  request(proto::DiscardRequest{}, [&](const proto::DiscardAnswer& answer) {
    pages_ = answer.pages;
    pages_known_ = true;
    held_ = from_proto(answer.version);
  });
}

Stat RemoteSession::stat() {
  Stat stat;
  request(proto::StatRequest{}, [&](const proto::StatAnswer& answer) { stat = from_proto(answer); });
  return stat;
}

RemoteTraffic RemoteSession::traffic() {
  RemoteTraffic traffic;
  shared_.run([&](Connection& connection, Batch&) {
    const auto& counters = connection.counters();
    traffic.requests = counters.requests;
    traffic.round_trips = shared_.round_trips();
    traffic.bytes_sent = counters.bytes_sent;
    traffic.bytes_received = counters.bytes_received;
  });
  return traffic;
}

void RemoteSession::zero(std::uint64_t offset, std::uint64_t length) {
  refuse_readers("zero");
  if ((shared_.connection().server().features & proto::feature_zero) == 0) return write_zeros(offset, length);
  shared_.run([&](Connection& connection, Batch& batch) {
    connection.check_usable(proto::Operation::zero);
    check_known_bounds("zero", offset, length);
    connection.submit(proto::ZeroRequest{offset, length},
                      [&batch](const auto& outcome) { batch.finish(outcome.error()); });
    batch.add();
  });
}

// For a daemon that has no zero operation: the bytes themselves, a bounded number of requests at a time.
void RemoteSession::write_zeros(std::uint64_t offset, std::uint64_t length) {
  constexpr std::size_t requests_max = 16;
  shared_.look(proto::Operation::zero, [&] { check_known_bounds("zero", offset, length); });
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

std::vector<ByteRange> RemoteSession::data_ranges(std::uint64_t offset, std::uint64_t length) {
  shared_.look(proto::Operation::data_ranges, [&] { check_known_bounds("data_ranges", offset, length); });
  if (options_.access == Access::read && options_.view == View::live)
    check_bounds("data_ranges", offset, length, ask_size().pages);
  std::vector<ByteRange> ranges;
  if (length == 0) return ranges;
  if ((shared_.connection().server().features & proto::feature_data_ranges) == 0) return {{offset, length}};
  const std::uint64_t end = offset + length;
  while (offset < end) {
    std::uint64_t described_until = offset;
    request(proto::DataRangesRequest{offset, end - offset}, [&](const proto::DataRangesAnswer& answer) {
      described_until = answer.described_until;
      for (const auto& range : answer.ranges) ranges.push_back({range.offset, range.length});
    });
    if (described_until <= offset)
      fail(Errc::protocol_error, "data_ranges: the daemon described nothing from offset=" + std::to_string(offset));
    offset = described_until;
  }
  return ranges;
}

}  // namespace pageserver::client
