#include "tests/unit/proto/describe.hpp"

namespace pageserver::proto::test {
namespace {

class Writer {
public:
  template <class Integer>
  Writer& number(const std::string& key, Integer value) {
    return line(key, std::to_string(value));
  }
  template <class Enum>
  Writer& choice(const std::string& key, Enum value) {
    return number(key, static_cast<unsigned>(value));
  }
  Writer& text(const std::string& key, std::string_view value) { return line(key, "\"" + std::string(value) + "\""); }
  Writer& flag(const std::string& key, bool value) { return line(key, value ? "true" : "false"); }
  Writer& bytes(const std::string& key, std::span<const std::byte> value) {
    return line(key, value.empty() ? "empty" : hex(value));
  }
  Writer& version(const Version& value) {
    return number("incarnation", value.incarnation).number("number", value.number);
  }
  Writer& ranges(const std::string& key, const std::vector<Range>& value) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      const std::string prefix = key + "." + std::to_string(i);
      number(prefix + ".offset", value[i].offset).number(prefix + ".length", value[i].length);
    }
    return *this;
  }
  Writer& holder(const std::string& key, const std::optional<Holder>& value) {
    if (!value) return line(key, "absent");
    return text(key + ".name", value->name)
        .text(key + ".address", value->address)
        .number(key + ".since_unix_ms", value->since_unix_ms)
        .number(key + ".idle_ms", value->idle_ms)
        .number(key + ".epoch", value->epoch)
        .number(key + ".version_number", value->version_number)
        .choice(key + ".access", value->access)
        .choice(key + ".view", value->view)
        .choice(key + ".publish", value->publish);
  }
  /// A list has no texts of it.
  Writer& recovery(const std::string& key, const std::optional<Recovery>& value, bool texts) {
    if (!value) return line(key, "absent");
    number(key + ".unix_ms", value->unix_ms)
        .number(key + ".log_bytes", value->log_bytes)
        .number(key + ".log_files", value->log_files)
        .number(key + ".records", value->records)
        .number(key + ".pages", value->pages)
        .number(key + ".dropped_files", value->dropped_files)
        .number(key + ".dropped_records", value->dropped_records)
        .number(key + ".kept_count", value->kept_count);
    if (!texts) return *this;
    text(key + ".warning", value->warning);
    for (std::size_t i = 0; i < value->kept_files.size(); ++i)
      text(key + ".kept_files." + std::to_string(i), value->kept_files[i]);
    return *this;
  }
  Writer& load(const std::string& prefix, const Load& value) {
    return number(prefix + "connections", value.connections)
        .number(prefix + "directory_requests", value.directory_requests)
        .number(prefix + "disk_calls_waiting", value.disk_calls_waiting)
        .number(prefix + "disk_calls_running", value.disk_calls_running)
        .number(prefix + "disk_threads_max", value.disk_threads_max)
        .number(prefix + "store_calls_waiting", value.store_calls_waiting)
        .number(prefix + "store_calls_stuck", value.store_calls_stuck)
        .number(prefix + "stuck_ms", value.stuck_ms);
  }
  Writer& ticket(const std::optional<ResumeTicket>& value) {
    if (!value) return line("resume", "absent");
    return bytes("resume.token", std::as_bytes(std::span(value->token)))
        .number("resume.executed", value->executed)
        .number("resume.linger_ms", value->linger_ms)
        .number("resume.rebuilt", value->rebuilt ? 1 : 0);
  }
  Writer& load(const std::string& key, const std::optional<Load>& value) {
    return value ? load(key + ".", *value) : line(key, "absent");
  }
  Writer& home(const std::string& key, const std::optional<Home>& value) {
    if (!value) return line(key, "absent");
    return number(key + ".epoch", value->epoch)
        .text(key + ".name", value->name)
        .text(key + ".holder", value->holder)
        .text(key + ".health", value->health);
  }
  Writer& entry(const std::string& key, const SessionEntry& value) {
    return choice(key + ".state", value.state)
        .choice(key + ".waits_for", value.waits_for)
        .choice(key + ".access", value.access)
        .choice(key + ".view", value.view)
        .choice(key + ".publish", value.publish)
        .flag(key + ".peer_known", value.peer_known)
        .flag(key + ".has_lease", value.has_lease)
        .flag(key + ".lost_lease", value.lost_lease)
        .flag(key + ".kicked", value.kicked)
        .flag(key + ".ring", value.ring)
        .number(key + ".connection_id", value.connection_id)
        .number(key + ".session_id", value.session_id)
        .number(key + ".connected_ms", value.connected_ms)
        .number(key + ".opened_ms", value.opened_ms)
        .number(key + ".idle_ms", value.idle_ms)
        .number(key + ".epoch", value.epoch)
        .number(key + ".place_in_line", value.place_in_line)
        .number(key + ".held_version", value.held_version)
        .number(key + ".requests", value.requests)
        .number(key + ".bytes_read", value.bytes_read)
        .number(key + ".bytes_written", value.bytes_written)
        .number(key + ".private_bytes", value.private_bytes)
        .number(key + ".unsent_bytes", value.unsent_bytes)
        .number(key + ".requests_in_flight", value.requests_in_flight)
        .number(key + ".peer_uid", value.peer_uid)
        .number(key + ".peer_pid", value.peer_pid)
        .number(key + ".request_ms", value.request_ms)
        .text(key + ".store", value.store)
        .text(key + ".session_name", value.session_name)
        .text(key + ".client_name", value.client_name)
        .text(key + ".address", value.address);
  }
  Lines take() { return std::move(lines_); }

private:
  Writer& line(const std::string& key, const std::string& value) {
    lines_.push_back(key + " " + value);
    return *this;
  }
  Lines lines_;
};

}  // namespace

std::string hex(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result;
  for (const std::byte b : bytes) {
    if (!result.empty()) result += ' ';
    result += digits[std::to_integer<unsigned>(b) >> 4];
    result += digits[std::to_integer<unsigned>(b) & 15u];
  }
  return result;
}

Lines describe(const HelloRequest& m) {
  return Writer()
      .number("version_min", m.version_min)
      .number("version_max", m.version_max)
      .number("payload_bytes_max", m.payload_bytes_max)
      .number("features", m.features)
      .text("client_name", m.client_name)
      .text("credentials", m.credentials)
      .take();
}

Lines describe(const HelloAnswer& m) {
  return Writer()
      .number("version", m.version)
      .number("payload_bytes_max", m.payload_bytes_max)
      .number("features", m.features)
      .number("request_bytes_max", m.request_bytes_max)
      .number("requests_in_flight_max", m.requests_in_flight_max)
      .number("buffered_bytes_max", m.buffered_bytes_max)
      .number("connection_id", m.connection_id)
      .text("server_name", m.server_name)
      .take();
}

Lines describe(const PingRequest& m) { return Writer().bytes("echo", m.echo).take(); }
Lines describe(const PingAnswer& m) { return Writer().bytes("echo", m.echo).take(); }
Lines describe(const ListRequest& m) { return Writer().text("after", m.after).take(); }

Lines describe(const ListAnswer& m) {
  Writer out;
  out.flag("more", m.more);
  for (std::size_t i = 0; i < m.entries.size(); ++i) {
    const std::string prefix = "entries." + std::to_string(i);
    out.text(prefix + ".store", m.entries[i].store)
        .number(prefix + ".pages", m.entries[i].pages)
        .flag(prefix + ".read_only", m.entries[i].read_only)
        .flag(prefix + ".open", m.entries[i].open)
        .recovery(prefix + ".recovery", m.entries[i].recovery, false)
        .flag(prefix + ".recovery_warned", m.entries[i].recovery_warned);
  }
  return out.take();
}

Lines describe(const CreateRequest& m) { return Writer().text("store", m.store).number("pages", m.pages).take(); }
Lines describe(const RemoveRequest& m) { return Writer().text("store", m.store).take(); }

Lines describe(const OpenRequest& m) {
  return Writer()
      .choice("access", m.access)
      .choice("view", m.view)
      .choice("publish", m.publish)
      .number("wait_ms", m.wait_ms)
      .bytes("resume_token", std::as_bytes(std::span(m.resume_token)))
      .number("last_request_id", m.last_request_id)
      .text("store", m.store)
      .text("session_name", m.session_name)
      .take();
}

Lines describe(const OpenAnswer& m) {
  return Writer()
      .number("session_id", m.session_id)
      .number("epoch", m.epoch)
      .number("pages", m.pages)
      .version(m.version)
      .number("size_bytes_max", m.size_bytes_max)
      .ticket(m.resume)
      .take();
}

Lines describe(const SizeAnswer& m) { return Writer().number("pages", m.pages).version(m.version).take(); }
Lines describe(const GrowRequest& m) { return Writer().number("new_pages", m.new_pages).take(); }
Lines describe(const GrowAnswer& m) { return Writer().number("previous_pages", m.previous_pages).take(); }
Lines describe(const ReadRequest& m) { return Writer().number("offset", m.offset).number("length", m.length).take(); }
Lines describe(const ReadAnswer& m) { return Writer().bytes("data", m.data).take(); }
Lines describe(const WriteRequest& m) { return Writer().number("offset", m.offset).bytes("data", m.data).take(); }
Lines describe(const ZeroRequest& m) { return Writer().number("offset", m.offset).number("length", m.length).take(); }

Lines describe(const DataRangesRequest& m) {
  return Writer().number("offset", m.offset).number("length", m.length).take();
}

Lines describe(const DataRangesAnswer& m) {
  return Writer().number("described_until", m.described_until).ranges("ranges", m.ranges).take();
}

Lines describe(const FlushAnswer& m) { return Writer().version(m.version).take(); }
Lines describe(const CommitAnswer& m) { return Writer().version(m.version).take(); }
Lines describe(const DiscardAnswer& m) { return Writer().number("pages", m.pages).version(m.version).take(); }

Lines describe(const RefreshAnswer& m) {
  return Writer()
      .number("pages", m.pages)
      .version(m.version)
      .flag("everything", m.everything)
      .ranges("changed", m.changed)
      .take();
}

Lines describe(const StatAnswer& m) {
  return Writer()
      .number("pages", m.pages)
      .version(m.version)
      .number("writers_waiting", m.writers_waiting)
      .number("sessions_live", m.sessions_live)
      .number("sessions_pinned", m.sessions_pinned)
      .number("sessions_write", m.sessions_write)
      .number("sessions_fork", m.sessions_fork)
      .number("size_bytes_max", m.size_bytes_max)
      .number("log_bytes", m.log_bytes)
      .number("checkpoint_lag_bytes", m.checkpoint_lag_bytes)
      .number("held_bytes", m.held_bytes)
      .number("fork_bytes", m.fork_bytes)
      .flag("read_only", m.read_only)
      .text("store", m.store)
      .text("last_sync_error", m.last_sync_error)
      .text("image_warning", m.image_warning)
      .holder("writer", m.writer)
      .holder("oldest_holder", m.oldest_holder)
      .recovery("recovery", m.recovery, true)
      .load("load", m.load)
      .home("home", m.home)
      .take();
}

Lines describe(const BreakLeaseRequest& m) { return Writer().number("epoch", m.epoch).take(); }
Lines describe(const BreakLeaseAnswer& m) { return Writer().holder("broken", m.broken).take(); }
Lines describe(const SessionsRequest& m) { return Writer().number("after", m.after).text("store", m.store).take(); }

Lines describe(const SessionsAnswer& m) {
  Writer out;
  out.flag("more", m.more).number("described_until", m.described_until).load("", m.load);
  for (std::size_t i = 0; i < m.entries.size(); ++i) out.entry("entries." + std::to_string(i), m.entries[i]);
  return out.take();
}

Lines describe(const KickRequest& m) {
  return Writer().number("id", m.id).choice("what", m.what).text("reason", m.reason).take();
}

Lines describe(const KickAnswer& m) { return Writer().flag("released", m.released).entry("kicked", m.kicked).take(); }

Lines describe(const WhoamiRequest& m) { return Writer().text("store", m.store).take(); }

Lines describe(const WhoamiAnswer& m) {
  return Writer().number("rights", m.rights).text("identity", m.identity).text("why", m.why).take();
}

Lines describe(const TakeoverRequest& m) {
  return Writer().text("store", m.store).flag("holder_is_dead", m.holder_is_dead).take();
}

Lines describe(const TakeoverAnswer& m) {
  return Writer().flag("was_here", m.was_here).number("took_ms", m.took_ms).text("holder", m.holder).take();
}

Lines describe(const RingRequest& m) { return Writer().number("direction_bytes", m.direction_bytes).take(); }

Lines describe(const FaultsRequest& m) {
  return Writer().choice("what", m.what).choice("scope", m.scope).text("orders", m.orders).take();
}

Lines describe(const FaultsAnswer& m) {
  Writer out;
  for (std::size_t i = 0; i < m.entries.size(); ++i) {
    const std::string prefix = "entries." + std::to_string(i);
    out.text(prefix + ".order", m.entries[i].order)
        .number(prefix + ".seen", m.entries[i].seen)
        .number(prefix + ".struck", m.entries[i].struck);
  }
  return out.take();
}

Lines describe(const ErrorText& m) { return Writer().text("message", m.message).take(); }

}  // namespace pageserver::proto::test
