// sessions and kick: what those who run a daemon ask it.
#include "proto/codec.hpp"
#include "proto/frame_writer.hpp"
#include "proto/load_block.hpp"
#include "proto/payload_reader.hpp"

namespace pageserver::proto {
namespace {

constexpr std::size_t sessions_request_fixed_bytes = 16;
constexpr std::size_t sessions_fixed_bytes = 16;
constexpr std::size_t entry_fixed_bytes = 136;
constexpr std::size_t kick_request_fixed_bytes = 16;
constexpr std::size_t kick_fixed_bytes = 8;

constexpr std::uint8_t sessions_more = 1;
constexpr std::uint8_t entry_peer_known = 1;
constexpr std::uint8_t entry_has_lease = 2;
constexpr std::uint8_t entry_lost_lease = 4;
constexpr std::uint8_t entry_kicked = 8;
constexpr std::uint8_t entry_ring = 16;
constexpr std::uint8_t kick_released = 1;

/// False: nothing more may be read.
bool read_entry(PayloadReader& in, SessionEntry& entry) {
  const std::size_t begin = in.position();
  if (!in.at_least(begin + entry_fixed_bytes)) return false;
  const auto entry_bytes = in.number<std::uint16_t>();
  entry.state = static_cast<SessionState>(in.number<std::uint8_t>());
  entry.waits_for = static_cast<WaitsFor>(in.number<std::uint8_t>());
  entry.access = in.choice(Access::fork, "access");
  entry.view = in.choice(View::pinned, "view");
  entry.publish = in.choice(Publish::on_flush, "publish");
  const auto flags = in.number<std::uint8_t>();
  entry.peer_known = (flags & entry_peer_known) != 0;
  entry.has_lease = (flags & entry_has_lease) != 0;
  entry.lost_lease = (flags & entry_lost_lease) != 0;
  entry.kicked = (flags & entry_kicked) != 0;
  entry.ring = (flags & entry_ring) != 0;
  for (std::uint64_t* const number :
       {&entry.connection_id, &entry.session_id, &entry.connected_ms, &entry.opened_ms, &entry.idle_ms, &entry.epoch,
        &entry.place_in_line, &entry.held_version, &entry.requests, &entry.bytes_read, &entry.bytes_written,
        &entry.private_bytes, &entry.unsent_bytes})
    *number = in.number<std::uint64_t>();
  for (std::uint32_t* const number : {&entry.requests_in_flight, &entry.peer_uid, &entry.peer_pid, &entry.request_ms})
    *number = in.number<std::uint32_t>();
  const auto store_bytes = in.number<std::uint16_t>();
  const auto session_name_bytes = in.number<std::uint16_t>();
  const auto client_name_bytes = in.number<std::uint16_t>();
  const auto address_bytes = in.number<std::uint16_t>();
  const std::size_t known = entry_fixed_bytes + store_bytes + session_name_bytes + client_name_bytes + address_bytes;
  if (entry_bytes < known) {
    in.refuse(Status::protocol_error, "has an entry of entry_bytes=" + std::to_string(entry_bytes) +
                                          ", and its fields and texts alone take " + std::to_string(known));
    return false;
  }
  if (!in.at_least(begin + entry_bytes)) return false;
  entry.store = in.text(store_bytes, store_name_bytes_max, "store name");
  entry.session_name = in.text(session_name_bytes, name_bytes_max, "session name");
  entry.client_name = in.text(client_name_bytes, name_bytes_max, "client name");
  entry.address = in.text(address_bytes, name_bytes_max, "address");
  in.skip(entry_bytes - known);
  return true;
}

/// An entry with its texts as they are sent.
struct OutgoingEntry {
  explicit OutgoingEntry(const SessionEntry& from)
      : entry(from),
        store(from.store, store_name_bytes_max),
        session_name(from.session_name, name_bytes_max),
        client_name(from.client_name, name_bytes_max),
        address(from.address, name_bytes_max) {}

  std::size_t bytes() const {
    return entry_fixed_bytes + store.size() + session_name.size() + client_name.size() + address.size();
  }

  void write(FrameWriter& frame) const {
    const int flags = (entry.peer_known ? entry_peer_known : 0) | (entry.has_lease ? entry_has_lease : 0) |
                      (entry.lost_lease ? entry_lost_lease : 0) | (entry.kicked ? entry_kicked : 0) |
                      (entry.ring ? entry_ring : 0);
    frame.length(bytes())
        .choice(entry.state)
        .choice(entry.waits_for)
        .choice(entry.access)
        .choice(entry.view)
        .choice(entry.publish)
        .choice(flags)
        .number(entry.connection_id)
        .number(entry.session_id)
        .number(entry.connected_ms)
        .number(entry.opened_ms)
        .number(entry.idle_ms)
        .number(entry.epoch)
        .number(entry.place_in_line)
        .number(entry.held_version)
        .number(entry.requests)
        .number(entry.bytes_read)
        .number(entry.bytes_written)
        .number(entry.private_bytes)
        .number(entry.unsent_bytes)
        .number(entry.requests_in_flight)
        .number(entry.peer_uid)
        .number(entry.peer_pid)
        .number(entry.request_ms)
        .length(store.size())
        .length(session_name.size())
        .length(client_name.size())
        .length(address.size())
        .text(store.view())
        .text(session_name.view())
        .text(client_name.view())
        .text(address.view());
  }

  const SessionEntry& entry;
  SendableText store;
  SendableText session_name;
  SendableText client_name;
  SendableText address;
};

}  // namespace

Decoded decode(std::span<const std::byte> payload, SessionsRequest& message) {
  PayloadReader in("sessions request", payload);
  if (!in.at_least(sessions_request_fixed_bytes)) return in.result();
  message.after = in.number<std::uint64_t>();
  const auto store_bytes = in.number<std::uint16_t>();
  in.reserved(6);
  if (!in.exactly(sessions_request_fixed_bytes + store_bytes)) return in.result();
  message.store = store_bytes == 0 ? std::string_view() : in.store_name(store_bytes);
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const SessionsRequest& message) {
  assert(message.store.size() <= store_name_bytes_max);
  FrameWriter(out, request_header(Operation::sessions, request_id, sessions_request_fixed_bytes + message.store.size()))
      .number(message.after)
      .length(message.store.size())
      .reserved(6)
      .text(message.store);
}

Decoded decode(std::span<const std::byte> payload, SessionsAnswer& message) {
  PayloadReader in("sessions answer", payload);
  message.entries.clear();
  if (!in.at_least(sessions_fixed_bytes + load_bytes)) return in.result();
  const auto count = in.number<std::uint16_t>();
  message.more = in.flags(sessions_more) != 0;
  in.reserved(5);
  message.described_until = in.number<std::uint64_t>();
  message.load = read_load(in);
  if (count > sessions_entries_max) {
    in.refuse(Status::limit_exceeded,
              "announces " + std::to_string(count) + " entries, at most " + std::to_string(sessions_entries_max));
    return in.result();
  }
  message.entries.resize(count);
  for (SessionEntry& entry : message.entries)
    if (!read_entry(in, entry)) return in.result();
  if (!in.exactly(in.position())) return in.result();
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const SessionsAnswer& message) {
  assert(message.entries.size() <= sessions_entries_max);
  std::vector<OutgoingEntry> entries(message.entries.begin(), message.entries.end());
  std::size_t payload_bytes = sessions_fixed_bytes + load_bytes;
  for (const OutgoingEntry& entry : entries) payload_bytes += entry.bytes();
  FrameWriter frame(out, answer_header(Operation::sessions, request_id, payload_bytes));
  frame.length(entries.size()).choice(message.more ? sessions_more : 0).reserved(5).number(message.described_until);
  write_load(frame, message.load);
  for (const OutgoingEntry& entry : entries) entry.write(frame);
}

Decoded decode(std::span<const std::byte> payload, KickRequest& message) {
  PayloadReader in("kick request", payload);
  if (!in.at_least(kick_request_fixed_bytes)) return in.result();
  message.id = in.number<std::uint64_t>();
  message.what = in.choice(KickWhat::connection, "what");
  in.reserved(1);
  const auto reason_bytes = in.number<std::uint16_t>();
  in.reserved(4);
  if (!in.exactly(kick_request_fixed_bytes + reason_bytes)) return in.result();
  message.reason = in.name(reason_bytes, "reason");
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const KickRequest& message) {
  const SendableText reason(message.reason, name_bytes_max);
  FrameWriter(out, request_header(Operation::kick, request_id, kick_request_fixed_bytes + reason.size()))
      .number(message.id)
      .choice(message.what)
      .reserved(1)
      .length(reason.size())
      .reserved(4)
      .text(reason.view());
}

Decoded decode(std::span<const std::byte> payload, KickAnswer& message) {
  PayloadReader in("kick answer", payload);
  if (!in.at_least(kick_fixed_bytes)) return in.result();
  message.released = in.flags(kick_released) != 0;
  in.reserved(7);
  if (!read_entry(in, message.kicked)) return in.result();
  if (!in.exactly(in.position())) return in.result();
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const KickAnswer& message) {
  const OutgoingEntry kicked(message.kicked);
  FrameWriter frame(out, answer_header(Operation::kick, request_id, kick_fixed_bytes + kicked.bytes()));
  frame.choice(message.released ? kick_released : 0).reserved(7);
  kicked.write(frame);
}

}  // namespace pageserver::proto
