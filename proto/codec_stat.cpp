// The two answers that describe sessions to people: stat and break_lease.
#include "proto/codec.hpp"
#include "proto/codec_recovery.hpp"
#include "proto/frame_writer.hpp"
#include "proto/load_block.hpp"
#include "proto/payload_reader.hpp"

namespace pageserver::proto {
namespace {

constexpr std::size_t stat_fixed_bytes = 112;
constexpr std::size_t break_lease_fixed_bytes = 8;
constexpr std::size_t holder_bytes = 40;
constexpr std::size_t home_record_bytes = 16;

constexpr std::uint16_t stat_read_only = 1;
constexpr std::uint16_t stat_has_writer = 2;
constexpr std::uint16_t stat_has_oldest_holder = 4;
// Of a feature's block: the feature's bit.
constexpr std::uint16_t stat_has_recovery = feature_recovery;
constexpr std::uint16_t stat_has_load = feature_load;
constexpr std::uint16_t stat_has_home = feature_home;
constexpr std::uint8_t break_lease_broken = 1;

/// A holder's record, whose texts come later in the payload.
struct HolderRecord {
  Holder holder;
  std::size_t name_bytes = 0;
  std::size_t address_bytes = 0;
};

HolderRecord read_record(PayloadReader& in) {
  HolderRecord record;
  record.holder.since_unix_ms = static_cast<std::int64_t>(in.number<std::uint64_t>());
  record.holder.idle_ms = in.number<std::uint64_t>();
  record.holder.epoch = in.number<std::uint64_t>();
  record.holder.version_number = in.number<std::uint64_t>();
  record.name_bytes = in.number<std::uint16_t>();
  record.address_bytes = in.number<std::uint16_t>();
  record.holder.access = in.choice(Access::fork, "access");
  record.holder.view = in.choice(View::pinned, "view");
  record.holder.publish = in.choice(Publish::on_flush, "publish");
  in.reserved(1);
  return record;
}

std::size_t text_bytes(const std::optional<HolderRecord>& record) {
  return record ? record->name_bytes + record->address_bytes : 0;
}

std::optional<Holder> read_texts(PayloadReader& in, std::optional<HolderRecord>& record) {
  if (!record) return {};
  record->holder.name = in.text(record->name_bytes, name_bytes_max, "holder name");
  record->holder.address = in.text(record->address_bytes, name_bytes_max, "holder address");
  return record->holder;
}

/// A holder that may be there, with its texts as they are sent.
struct OutgoingHolder {
  explicit OutgoingHolder(const std::optional<Holder>& from)
      : holder(from),
        name(from ? from->name : "", name_bytes_max),
        address(from ? from->address : "", name_bytes_max) {}

  std::size_t bytes() const { return holder ? holder_bytes + name.size() + address.size() : 0; }

  void write_record(FrameWriter& frame) const {
    if (!holder) return;
    frame.number(static_cast<std::uint64_t>(holder->since_unix_ms))
        .number(holder->idle_ms)
        .number(holder->epoch)
        .number(holder->version_number)
        .length(name.size())
        .length(address.size())
        .choice(holder->access)
        .choice(holder->view)
        .choice(holder->publish)
        .reserved(1);
  }

  void write_texts(FrameWriter& frame) const { frame.text(name.view()).text(address.view()); }

  const std::optional<Holder>& holder;
  SendableText name;
  SendableText address;
};

/// The block of a stat answer: its record, and the texts behind it.
Home read_home(PayloadReader& in, std::size_t known_bytes) {
  Home home;
  home.epoch = in.number<std::uint64_t>();
  const auto name_bytes = in.number<std::uint16_t>();
  const auto holder_text_bytes = in.number<std::uint16_t>();
  const auto health_bytes = in.number<std::uint16_t>();
  in.reserved(2);
  if (!in.exactly(known_bytes + name_bytes + holder_text_bytes + health_bytes)) return home;
  home.name = in.text(name_bytes, message_bytes_max, "home");
  home.holder = in.text(holder_text_bytes, message_bytes_max, "home's holder");
  home.health = in.text(health_bytes, message_bytes_max, "home's health");
  return home;
}

/// A home with its texts as they are sent.
struct OutgoingHome {
  explicit OutgoingHome(const Home& from)
      : epoch(from.epoch),
        name(from.name, message_bytes_max),
        holder(from.holder, message_bytes_max),
        health(from.health, message_bytes_max) {}

  std::size_t bytes() const { return home_record_bytes + name.size() + holder.size() + health.size(); }
  void write(FrameWriter& frame) const {
    frame.number(epoch).length(name.size()).length(holder.size()).length(health.size()).reserved(2);
    frame.text(name.view()).text(holder.view()).text(health.view());
  }

  std::uint64_t epoch;
  SendableText name;
  SendableText holder;
  SendableText health;
};

void read_counters(PayloadReader& in, StatAnswer& message) {
  message.pages = in.number<std::uint64_t>();
  message.version = in.version();
  message.writers_waiting = in.number<std::uint64_t>();
  message.sessions_live = in.number<std::uint64_t>();
  message.sessions_pinned = in.number<std::uint64_t>();
  message.sessions_write = in.number<std::uint64_t>();
  message.sessions_fork = in.number<std::uint64_t>();
  message.size_bytes_max = in.number<std::uint64_t>();
  message.log_bytes = in.number<std::uint64_t>();
  message.checkpoint_lag_bytes = in.number<std::uint64_t>();
  message.held_bytes = in.number<std::uint64_t>();
  message.fork_bytes = in.number<std::uint64_t>();
}

}  // namespace

Decoded decode(std::span<const std::byte> payload, StatAnswer& message) {
  PayloadReader in("stat answer", payload);
  message.writer.reset();
  message.oldest_holder.reset();
  message.recovery.reset();
  message.load.reset();
  message.home.reset();
  if (!in.at_least(stat_fixed_bytes)) return in.result();
  read_counters(in, message);
  const auto store_bytes = in.number<std::uint16_t>();
  const auto last_sync_error_bytes = in.number<std::uint16_t>();
  const auto image_warning_bytes = in.number<std::uint16_t>();
  const auto flags = in.flags16(stat_read_only | stat_has_writer | stat_has_oldest_holder | stat_has_recovery |
                                stat_has_load | stat_has_home);
  message.read_only = (flags & stat_read_only) != 0;
  const bool has_writer = (flags & stat_has_writer) != 0;
  const bool has_oldest = (flags & stat_has_oldest_holder) != 0;
  const bool has_recovery = (flags & stat_has_recovery) != 0;
  const bool has_load = (flags & stat_has_load) != 0;
  const bool has_home = (flags & stat_has_home) != 0;

  const std::size_t records_end = stat_fixed_bytes + (has_writer ? holder_bytes : 0) + (has_oldest ? holder_bytes : 0);
  if (!in.at_least(records_end)) return in.result();
  std::optional<HolderRecord> writer;
  std::optional<HolderRecord> oldest;
  if (has_writer) writer = read_record(in);
  if (has_oldest) oldest = read_record(in);

  const std::size_t texts_bytes =
      store_bytes + std::size_t{last_sync_error_bytes} + image_warning_bytes + text_bytes(writer) + text_bytes(oldest);
  const std::size_t blocks_bytes =
      (has_recovery ? recovery_record_bytes : 0) + (has_load ? load_bytes : 0) + (has_home ? home_record_bytes : 0);
  // How long the texts of a recovery and of a home are is said behind these.
  std::size_t known_bytes = records_end + texts_bytes + blocks_bytes;
  if (has_recovery || has_home ? !in.at_least(known_bytes) : !in.exactly(known_bytes)) return in.result();
  message.store = in.text(store_bytes, store_name_bytes_max, "store name");
  message.last_sync_error = in.text(last_sync_error_bytes, message_bytes_max, "last sync error");
  message.image_warning = in.text(image_warning_bytes, message_bytes_max, "image warning");
  message.writer = read_texts(in, writer);
  message.oldest_holder = read_texts(in, oldest);
  if (has_recovery) {
    RecoveryRecord recovery = read_recovery(in);
    known_bytes += recovery.warning_bytes + recovery.kept_files_bytes;
    if (has_home ? !in.at_least(known_bytes) : !in.exactly(known_bytes)) return in.result();
    message.recovery = read_recovery_texts(in, std::move(recovery));
  }
  if (has_load) message.load = read_load(in);
  if (has_home) message.home = read_home(in, known_bytes);
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const StatAnswer& message) {
  assert(message.store.size() <= store_name_bytes_max);
  const OutgoingHolder writer(message.writer);
  const OutgoingHolder oldest(message.oldest_holder);
  std::optional<OutgoingRecovery> recovery;
  if (message.recovery) recovery.emplace(*message.recovery, true);
  std::optional<OutgoingHome> home;
  if (message.home) home.emplace(*message.home);
  const SendableText last_sync_error(message.last_sync_error, message_bytes_max);
  const SendableText image_warning(message.image_warning, message_bytes_max);
  const std::size_t payload_bytes = stat_fixed_bytes + message.store.size() + last_sync_error.size() +
                                    image_warning.size() + writer.bytes() + oldest.bytes() +
                                    (recovery ? recovery_record_bytes + recovery->text_bytes() : 0) +
                                    (message.load ? load_bytes : 0) + (home ? home->bytes() : 0);
  const int flags = (message.read_only ? stat_read_only : 0) | (message.writer ? stat_has_writer : 0) |
                    (message.oldest_holder ? stat_has_oldest_holder : 0) | (recovery ? stat_has_recovery : 0) |
                    (message.load ? stat_has_load : 0) | (home ? stat_has_home : 0);
  FrameWriter frame(out, answer_header(Operation::stat, request_id, payload_bytes));
  frame.number(message.pages)
      .version(message.version)
      .number(message.writers_waiting)
      .number(message.sessions_live)
      .number(message.sessions_pinned)
      .number(message.sessions_write)
      .number(message.sessions_fork)
      .number(message.size_bytes_max)
      .number(message.log_bytes)
      .number(message.checkpoint_lag_bytes)
      .number(message.held_bytes)
      .number(message.fork_bytes)
      .length(message.store.size())
      .length(last_sync_error.size())
      .length(image_warning.size())
      .number(static_cast<std::uint16_t>(flags));
  writer.write_record(frame);
  oldest.write_record(frame);
  frame.text(message.store).text(last_sync_error.view()).text(image_warning.view());
  writer.write_texts(frame);
  oldest.write_texts(frame);
  if (recovery) {
    recovery->write_record(frame);
    recovery->write_texts(frame);
  }
  if (message.load) write_load(frame, *message.load);
  if (home) home->write(frame);
}

Decoded decode(std::span<const std::byte> payload, BreakLeaseAnswer& message) {
  PayloadReader in("break_lease answer", payload);
  message.broken.reset();
  if (!in.at_least(break_lease_fixed_bytes)) return in.result();
  const bool broken = in.flags(break_lease_broken) != 0;
  in.reserved(7);
  const std::size_t records_end = break_lease_fixed_bytes + (broken ? holder_bytes : 0);
  if (!in.at_least(records_end)) return in.result();
  std::optional<HolderRecord> record;
  if (broken) record = read_record(in);
  if (!in.exactly(records_end + text_bytes(record))) return in.result();
  message.broken = read_texts(in, record);
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const BreakLeaseAnswer& message) {
  const OutgoingHolder broken(message.broken);
  FrameWriter frame(out, answer_header(Operation::break_lease, request_id, break_lease_fixed_bytes + broken.bytes()));
  frame.choice(message.broken ? break_lease_broken : 0).reserved(7);
  broken.write_record(frame);
  broken.write_texts(frame);
}

}  // namespace pageserver::proto
