// Answers with status ok: what the server sends. The tables of PROTOCOL.md, "Messages", in their order.
#include "proto/codec.hpp"
#include "proto/codec_recovery.hpp"
#include "proto/frame_writer.hpp"
#include "proto/payload_reader.hpp"

namespace pageserver::proto {
namespace {

constexpr std::size_t hello_answer_fixed_bytes = 40;
constexpr std::size_t list_fixed_bytes = 8;
constexpr std::size_t list_entry_bytes = 16;
constexpr std::size_t open_bytes = 48;
constexpr std::size_t ticket_bytes = 32;
constexpr std::size_t size_bytes = 24;
constexpr std::size_t flush_bytes = 16;
constexpr std::size_t data_ranges_fixed_bytes = 16;
constexpr std::size_t refresh_fixed_bytes = 32;
constexpr std::size_t range_bytes = 16;

constexpr std::uint8_t list_more = 1;
constexpr std::uint8_t entry_read_only = 1;
constexpr std::uint8_t entry_open = 2;
constexpr std::uint8_t entry_has_recovery = 4;
constexpr std::uint8_t entry_recovery_warned = 8;
constexpr std::uint8_t refresh_everything = 1;

void encode_empty_answer(Bytes& out, std::uint64_t request_id, Operation operation) {
  FrameWriter(out, answer_header(operation, request_id, 0));
}

/// size and discard answer the same.
Decoded decode_size(std::string_view what, std::span<const std::byte> payload, std::uint64_t& pages, Version& version) {
  PayloadReader in(what, payload);
  if (!in.exactly(size_bytes)) return in.result();
  pages = in.number<std::uint64_t>();
  version = in.version();
  return in.result();
}

void encode_size(Bytes& out, std::uint64_t request_id, Operation operation, std::uint64_t pages,
                 const Version& version) {
  FrameWriter(out, answer_header(operation, request_id, size_bytes)).number(pages).version(version);
}

/// flush and commit answer the same.
Decoded decode_version(std::string_view what, std::span<const std::byte> payload, Version& version) {
  PayloadReader in(what, payload);
  if (!in.exactly(flush_bytes)) return in.result();
  version = in.version();
  return in.result();
}

void encode_version(Bytes& out, std::uint64_t request_id, Operation operation, const Version& version) {
  FrameWriter(out, answer_header(operation, request_id, flush_bytes)).version(version);
}

/// True when `count` ranges are allowed and fill the payload exactly.
bool ranges_fit(PayloadReader& in, std::size_t fixed_bytes, std::uint32_t count) {
  if (count > ranges_max) {
    in.refuse(Status::limit_exceeded,
              "announces " + std::to_string(count) + " ranges, at most " + std::to_string(ranges_max));
    return false;
  }
  return in.exactly(fixed_bytes + count * range_bytes);
}

void write_ranges(FrameWriter& frame, const std::vector<Range>& ranges) {
  for (const Range& range : ranges) frame.number(range.offset).number(range.length);
}

}  // namespace

Decoded decode(std::span<const std::byte> payload, HelloAnswer& message) {
  PayloadReader in("hello answer", payload);
  if (!in.at_least(hello_answer_fixed_bytes)) return in.result();
  message.version = in.number<std::uint16_t>();
  const auto server_name_bytes = in.number<std::uint16_t>();
  message.payload_bytes_max = in.number<std::uint32_t>();
  message.features = in.number<std::uint64_t>();
  message.request_bytes_max = in.number<std::uint32_t>();
  message.requests_in_flight_max = in.number<std::uint32_t>();
  message.buffered_bytes_max = in.number<std::uint32_t>();
  in.reserved(4);
  message.connection_id = in.number<std::uint64_t>();
  if (!in.exactly(hello_answer_fixed_bytes + server_name_bytes)) return in.result();
  message.server_name = in.name(server_name_bytes, "server name");
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const HelloAnswer& message) {
  const SendableText server_name(message.server_name, name_bytes_max);
  FrameWriter(out, answer_header(Operation::hello, request_id, hello_answer_fixed_bytes + server_name.size()))
      .number(message.version)
      .length(server_name.size())
      .number(message.payload_bytes_max)
      .number(message.features)
      .number(message.request_bytes_max)
      .number(message.requests_in_flight_max)
      .number(message.buffered_bytes_max)
      .reserved(4)
      .number(message.connection_id)
      .text(server_name.view());
}

Decoded decode(std::span<const std::byte> payload, PingAnswer& message) {
  PayloadReader in("ping answer", payload);
  message.echo = in.echo();
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const PingAnswer& message) {
  assert(message.echo.size() <= ping_bytes_max);
  append_frame(out, answer_header(Operation::ping, request_id, message.echo.size()), {}, message.echo);
}

Decoded decode(std::span<const std::byte> payload, ListAnswer& message) {
  PayloadReader in("list answer", payload);
  message.entries.clear();
  if (!in.at_least(list_fixed_bytes)) return in.result();
  const auto count = in.number<std::uint16_t>();
  message.more = in.flags(list_more) != 0;
  in.reserved(5);
  if (count > list_entries_max) {
    in.refuse(Status::limit_exceeded,
              "announces " + std::to_string(count) + " entries, at most " + std::to_string(list_entries_max));
  }
  if (!in.at_least(list_fixed_bytes + count * list_entry_bytes)) return in.result();
  std::array<std::size_t, list_entries_max> name_bytes{};
  std::array<bool, list_entries_max> has_recovery{};
  std::size_t names_bytes = 0, recoveries_bytes = 0;
  message.entries.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    ListEntry& entry = message.entries[i];
    entry.pages = in.number<std::uint64_t>();
    name_bytes[i] = in.number<std::uint16_t>();
    const auto flags = in.flags(entry_read_only | entry_open | entry_has_recovery | entry_recovery_warned);
    entry.read_only = (flags & entry_read_only) != 0;
    entry.open = (flags & entry_open) != 0;
    has_recovery[i] = (flags & entry_has_recovery) != 0;
    entry.recovery_warned = (flags & entry_recovery_warned) != 0;
    if (has_recovery[i]) recoveries_bytes += recovery_record_bytes;
    in.reserved(5);
    names_bytes += name_bytes[i];
  }
  if (!in.exactly(list_fixed_bytes + count * list_entry_bytes + recoveries_bytes + names_bytes)) return in.result();
  for (std::size_t i = 0; i < count; ++i) {
    if (!has_recovery[i]) continue;
    RecoveryRecord record = read_recovery(in);
    if (record.warning_bytes != 0 || record.kept_files_bytes != 0)
      in.refuse(Status::protocol_error, "announces texts of a recovery, which only a stat has");
    message.entries[i].recovery = std::move(record.recovery);
  }
  for (std::size_t i = 0; i < count; ++i) {
    message.entries[i].store = in.text(name_bytes[i], store_name_bytes_max, "store name");
  }
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const ListAnswer& message) {
  assert(message.entries.size() <= list_entries_max);
  std::size_t payload_bytes = list_fixed_bytes + message.entries.size() * list_entry_bytes;
  for (const ListEntry& entry : message.entries) {
    assert(entry.store.size() <= store_name_bytes_max);
    payload_bytes += entry.store.size() + (entry.recovery ? recovery_record_bytes : 0);
  }
  FrameWriter frame(out, answer_header(Operation::list, request_id, payload_bytes));
  frame.length(message.entries.size()).choice(message.more ? list_more : 0).reserved(5);
  for (const ListEntry& entry : message.entries) {
    const int flags = (entry.read_only ? entry_read_only : 0) | (entry.open ? entry_open : 0) |
                      (entry.recovery ? entry_has_recovery : 0) | (entry.recovery_warned ? entry_recovery_warned : 0);
    frame.number(entry.pages).length(entry.store.size()).choice(flags).reserved(5);
  }
  for (const ListEntry& entry : message.entries)
    if (entry.recovery) OutgoingRecovery(*entry.recovery, false).write_record(frame);
  for (const ListEntry& entry : message.entries) frame.text(entry.store);
}

Decoded decode(std::span<const std::byte> payload, CreateAnswer&) { return decode_nothing("create answer", payload); }
void encode(Bytes& out, std::uint64_t request_id, const CreateAnswer&) {
  encode_empty_answer(out, request_id, Operation::create);
}

Decoded decode(std::span<const std::byte> payload, RemoveAnswer&) { return decode_nothing("remove answer", payload); }
void encode(Bytes& out, std::uint64_t request_id, const RemoveAnswer&) {
  encode_empty_answer(out, request_id, Operation::remove);
}

Decoded decode(std::span<const std::byte> payload, RingAnswer&) { return decode_nothing("ring answer", payload); }
void encode(Bytes& out, std::uint64_t request_id, const RingAnswer&) {
  encode_empty_answer(out, request_id, Operation::ring);
}

Decoded decode(std::span<const std::byte> payload, OpenAnswer& message) {
  PayloadReader in("open answer", payload);
  const bool has_ticket = payload.size() >= open_bytes + ticket_bytes;
  if (!in.exactly(open_bytes + (has_ticket ? ticket_bytes : 0))) return in.result();
  message.resume.reset();
  message.session_id = in.number<std::uint64_t>();
  message.epoch = in.number<std::uint64_t>();
  message.pages = in.number<std::uint64_t>();
  message.version = in.version();
  message.size_bytes_max = in.number<std::uint64_t>();
  if (!has_ticket) return in.result();
  ResumeTicket& ticket = message.resume.emplace();
  for (std::uint8_t& byte : ticket.token) byte = in.number<std::uint8_t>();
  ticket.executed = in.number<std::uint64_t>();
  ticket.linger_ms = in.number<std::uint32_t>();
  const auto rebuilt = in.number<std::uint32_t>();
  ticket.rebuilt = rebuilt == 1;
  if (rebuilt > 1)
    in.refuse(Status::protocol_error, "has resume.rebuilt=" + std::to_string(rebuilt) + ", known are 0 and 1");
  if (ticket.token == ResumeToken{}) in.refuse(Status::protocol_error, "has a resume token of zeros");
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const OpenAnswer& message) {
  const std::size_t payload_bytes = open_bytes + (message.resume ? ticket_bytes : 0);
  FrameWriter frame(out, answer_header(Operation::open, request_id, payload_bytes));
  frame.number(message.session_id)
      .number(message.epoch)
      .number(message.pages)
      .version(message.version)
      .number(message.size_bytes_max);
  if (!message.resume) return;
  frame.bytes(std::as_bytes(std::span(message.resume->token)))
      .number(message.resume->executed)
      .number(message.resume->linger_ms)
      .number(static_cast<std::uint32_t>(message.resume->rebuilt ? 1 : 0));
}

Decoded decode(std::span<const std::byte> payload, SizeAnswer& message) {
  return decode_size("size answer", payload, message.pages, message.version);
}
void encode(Bytes& out, std::uint64_t request_id, const SizeAnswer& message) {
  encode_size(out, request_id, Operation::size, message.pages, message.version);
}

Decoded decode(std::span<const std::byte> payload, GrowAnswer& message) {
  PayloadReader in("grow answer", payload);
  if (!in.exactly(sizeof message.previous_pages)) return in.result();
  message.previous_pages = in.number<std::uint64_t>();
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const GrowAnswer& message) {
  FrameWriter(out, answer_header(Operation::grow, request_id, sizeof message.previous_pages))
      .number(message.previous_pages);
}

Decoded decode(std::span<const std::byte> payload, ReadAnswer& message) {
  message.data = payload;
  return {};
}

void encode(Bytes& out, std::uint64_t request_id, const ReadAnswer& message) {
  append_frame(out, answer_header(Operation::read, request_id, message.data.size()), {}, message.data);
}

Decoded decode(std::span<const std::byte> payload, WriteAnswer&) { return decode_nothing("write answer", payload); }
void encode(Bytes& out, std::uint64_t request_id, const WriteAnswer&) {
  encode_empty_answer(out, request_id, Operation::write);
}

Decoded decode(std::span<const std::byte> payload, ZeroAnswer&) { return decode_nothing("zero answer", payload); }
void encode(Bytes& out, std::uint64_t request_id, const ZeroAnswer&) {
  encode_empty_answer(out, request_id, Operation::zero);
}

Decoded decode(std::span<const std::byte> payload, DataRangesAnswer& message) {
  PayloadReader in("data_ranges answer", payload);
  message.ranges.clear();
  if (!in.at_least(data_ranges_fixed_bytes)) return in.result();
  message.described_until = in.number<std::uint64_t>();
  const auto count = in.number<std::uint32_t>();
  in.reserved(4);
  if (!ranges_fit(in, data_ranges_fixed_bytes, count)) return in.result();
  in.ranges(count, message.ranges);
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const DataRangesAnswer& message) {
  assert(message.ranges.size() <= ranges_max);
  const std::size_t payload_bytes = data_ranges_fixed_bytes + message.ranges.size() * range_bytes;
  FrameWriter frame(out, answer_header(Operation::data_ranges, request_id, payload_bytes));
  frame.number(message.described_until).number(static_cast<std::uint32_t>(message.ranges.size())).reserved(4);
  write_ranges(frame, message.ranges);
}

Decoded decode(std::span<const std::byte> payload, FlushAnswer& message) {
  return decode_version("flush answer", payload, message.version);
}
void encode(Bytes& out, std::uint64_t request_id, const FlushAnswer& message) {
  encode_version(out, request_id, Operation::flush, message.version);
}

Decoded decode(std::span<const std::byte> payload, CommitAnswer& message) {
  return decode_version("commit answer", payload, message.version);
}
void encode(Bytes& out, std::uint64_t request_id, const CommitAnswer& message) {
  encode_version(out, request_id, Operation::commit, message.version);
}

Decoded decode(std::span<const std::byte> payload, DiscardAnswer& message) {
  return decode_size("discard answer", payload, message.pages, message.version);
}
void encode(Bytes& out, std::uint64_t request_id, const DiscardAnswer& message) {
  encode_size(out, request_id, Operation::discard, message.pages, message.version);
}

Decoded decode(std::span<const std::byte> payload, RefreshAnswer& message) {
  PayloadReader in("refresh answer", payload);
  message.changed.clear();
  if (!in.at_least(refresh_fixed_bytes)) return in.result();
  message.pages = in.number<std::uint64_t>();
  message.version = in.version();
  const auto count = in.number<std::uint32_t>();
  message.everything = in.flags(refresh_everything) != 0;
  in.reserved(3);
  if (!ranges_fit(in, refresh_fixed_bytes, count)) return in.result();
  if (message.everything && count != 0) {
    in.refuse(Status::protocol_error, "says that everything changed and lists " + std::to_string(count) + " ranges");
  }
  in.ranges(count, message.changed);
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const RefreshAnswer& message) {
  assert(message.changed.size() <= ranges_max && (!message.everything || message.changed.empty()));
  FrameWriter frame(
      out, answer_header(Operation::refresh, request_id, refresh_fixed_bytes + message.changed.size() * range_bytes));
  frame.number(message.pages)
      .version(message.version)
      .number(static_cast<std::uint32_t>(message.changed.size()))
      .choice(message.everything ? refresh_everything : 0)
      .reserved(3);
  write_ranges(frame, message.changed);
}

Decoded decode(std::span<const std::byte> payload, CloseAnswer&) { return decode_nothing("close answer", payload); }
void encode(Bytes& out, std::uint64_t request_id, const CloseAnswer&) {
  encode_empty_answer(out, request_id, Operation::close);
}

}  // namespace pageserver::proto
