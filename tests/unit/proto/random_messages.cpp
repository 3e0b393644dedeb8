#include "tests/unit/proto/random_messages.hpp"

namespace pageserver::proto::test {

std::uint64_t RandomMessages::number() {
  switch (below(5)) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return below(300);
    default: return random_();
  }
}

std::string_view RandomMessages::text(std::size_t bytes_max) {
  static constexpr std::string_view characters[] = {
      "a", "Z", " ", "ä", "\xdf\xbf", "€", "\xef\xbf\xbf", "😀", "\xf4\x8f\xbf\xbf"};
  std::string value;
  const std::size_t wanted = coin() ? bytes_max : below(bytes_max + 1);
  for (;;) {
    const std::string_view next = characters[below(std::size(characters))];
    if (value.size() + next.size() > wanted) break;
    value += next;
  }
  return texts_.emplace_back(std::move(value));
}

std::string_view RandomMessages::store_name() {
  static constexpr std::string_view characters = "ABCXYZabcxyz0189._-";
  std::string value(1 + below(store_name_bytes_max), '?');
  for (char& c : value) c = characters[below(characters.size())];
  value[0] = characters[below(characters.size() - 3)];
  return texts_.emplace_back(std::move(value));
}

std::span<const std::byte> RandomMessages::bytes(std::size_t bytes_max) {
  Bytes value(below(bytes_max + 1));
  for (std::byte& b : value) b = static_cast<std::byte>(random_());
  return bytes_.emplace_back(std::move(value));
}

std::vector<Range> RandomMessages::ranges() {
  std::vector<Range> value;
  const std::size_t count = below(4) == 0 ? ranges_max : below(20);
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t offset = end + (coin() ? 0 : below(1ull << 40));
    const std::uint64_t length = 1 + below(1ull << 40);
    value.push_back({offset, length});
    end = offset + length;
  }
  return value;
}

std::optional<Recovery> RandomMessages::recovery() {
  if (coin()) return {};
  Recovery value;
  value.unix_ms = static_cast<std::int64_t>(number());
  for (std::uint64_t* const counter :
       {&value.log_bytes, &value.log_files, &value.records, &value.pages, &value.dropped_files, &value.dropped_records})
    *counter = number();
  value.kept_count = small<std::uint32_t>();
  const std::uint64_t names = std::min<std::uint64_t>(value.kept_count, below(8));
  for (std::uint64_t i = 0; i < names; ++i) value.kept_files.push_back(store_name());
  value.warning = text(message_bytes_max);
  return value;
}

std::optional<Holder> RandomMessages::holder() {
  if (coin()) return {};
  Holder value;
  value.name = text(name_bytes_max);
  value.address = text(name_bytes_max);
  value.since_unix_ms = static_cast<std::int64_t>(number());
  value.idle_ms = number();
  value.epoch = number();
  value.access = static_cast<Access>(below(3));
  value.view = static_cast<View>(below(2));
  value.publish = static_cast<Publish>(below(2));
  value.version_number = number();
  return value;
}

void RandomMessages::fill(HelloRequest& m) {
  m.version_max = static_cast<std::uint16_t>(1 + below(UINT16_MAX));
  m.version_min = static_cast<std::uint16_t>(1 + below(m.version_max));
  m.payload_bytes_max = static_cast<std::uint32_t>(client_payload_bytes_min +
                                                   below(std::uint64_t{UINT32_MAX} + 1 - client_payload_bytes_min));
  m.features = number();
  m.client_name = text(name_bytes_max);
  m.credentials = (m.features & feature_identity) != 0 ? text(credentials_bytes_max) : "";
}

void RandomMessages::fill(HelloAnswer& m) {
  m.version = small<std::uint16_t>();
  m.features = number();
  m.payload_bytes_max = small<std::uint32_t>();
  m.request_bytes_max = small<std::uint32_t>();
  m.requests_in_flight_max = small<std::uint32_t>();
  m.buffered_bytes_max = small<std::uint32_t>();
  m.connection_id = number();
  m.server_name = text(name_bytes_max);
}

void RandomMessages::fill(ListAnswer& m) {
  m.more = coin();
  m.entries.resize(below(list_entries_max + 1));
  for (ListEntry& entry : m.entries) {
    entry = {store_name(), number(), coin(), coin(), recovery(), coin()};
    if (!entry.recovery) continue;
    entry.recovery->warning = {};
    entry.recovery->kept_files.clear();
  }
}

void RandomMessages::fill(OpenRequest& m) {
  m.access = static_cast<Access>(below(3));
  m.view = m.access == Access::read && coin() ? View::pinned : View::live;
  m.publish = m.access == Access::write && coin() ? Publish::on_flush : Publish::on_write;
  m.wait_ms = small<std::uint32_t>();
  m.resume_token = {};
  m.last_request_id = 0;
  if (coin()) {
    m.resume_token = resume_token();
    m.last_request_id = number();
  }
  m.store = store_name();
  m.session_name = text(name_bytes_max);
}

ResumeToken RandomMessages::resume_token() {
  ResumeToken token;
  for (std::uint8_t& byte : token) byte = static_cast<std::uint8_t>(below(256));
  token[0] |= 1;  // zeros are none
  return token;
}

void RandomMessages::fill(OpenAnswer& m) {
  m = {number(), number(), version(), number(), number(), {}};
  if (coin()) m.resume = ResumeTicket{resume_token(), number(), small<std::uint32_t>(), coin()};
}

void RandomMessages::fill(RefreshAnswer& m) {
  m.version = version();
  m.pages = number();
  m.everything = coin();
  m.changed = m.everything ? std::vector<Range>{} : ranges();
}

void RandomMessages::fill(StatAnswer& m) {
  m.store = store_name();
  m.version = version();
  m.read_only = coin();
  m.writer = holder();
  m.oldest_holder = holder();
  for (std::uint64_t* counter :
       {&m.pages, &m.writers_waiting, &m.sessions_live, &m.sessions_pinned, &m.sessions_write, &m.sessions_fork,
        &m.size_bytes_max, &m.log_bytes, &m.checkpoint_lag_bytes, &m.held_bytes, &m.fork_bytes}) {
    *counter = number();
  }
  m.last_sync_error = text(message_bytes_max);
  m.image_warning = text(message_bytes_max);
  m.recovery = recovery();
  if (coin()) m.load = load();
  if (coin()) m.home = Home{text(message_bytes_max), text(message_bytes_max), text(message_bytes_max), number()};
}

SessionEntry RandomMessages::entry() {
  SessionEntry e;
  e.state = static_cast<SessionState>(below(256));
  e.waits_for = static_cast<WaitsFor>(below(256));
  e.access = static_cast<Access>(below(3));
  e.view = static_cast<View>(below(2));
  e.publish = static_cast<Publish>(below(2));
  for (bool* const flag : {&e.peer_known, &e.has_lease, &e.lost_lease, &e.kicked, &e.ring}) *flag = coin();
  for (std::uint64_t* const value :
       {&e.connection_id, &e.session_id, &e.connected_ms, &e.opened_ms, &e.idle_ms, &e.epoch, &e.place_in_line,
        &e.held_version, &e.requests, &e.bytes_read, &e.bytes_written, &e.private_bytes, &e.unsent_bytes})
    *value = number();
  for (std::uint32_t* const value : {&e.requests_in_flight, &e.peer_uid, &e.peer_pid, &e.request_ms})
    *value = small<std::uint32_t>();
  e.store = coin() ? store_name() : "";
  e.session_name = text(name_bytes_max);
  e.client_name = text(name_bytes_max);
  e.address = text(name_bytes_max);
  return e;
}

void RandomMessages::fill(SessionsAnswer& m) {
  m.more = coin();
  m.described_until = number();
  m.load = load();
  m.entries.resize(below(sessions_entries_max + 1));
  for (SessionEntry& one : m.entries) one = entry();
}

}  // namespace pageserver::proto::test
