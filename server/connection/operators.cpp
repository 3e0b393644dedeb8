// What those who run the daemon ask it: who is here and does what, and that somebody goes. On the front worker, which
// no disk holds up.
#include <unistd.h>

#include <map>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "server/connection/connection.hpp"

namespace pageserver::server {

namespace {

using proto::FrameHeader;
using proto::Status;
using Payload = std::span<const std::byte>;

// So many connections at most are looked at for one answer: where few of them are meant, others have a turn between.
constexpr std::size_t records_looked_at_max = 1024;

/// Where each stands in the line of its store.
class Places {
public:
  explicit Places(Catalog& catalog) : catalog_(catalog) {}

  std::uint64_t of(const DescribedConnection& waiting) {
    if (waiting.place == 0) return 0;
    const auto [line, is_new] = lines_.try_emplace(waiting.store);
    if (is_new)
      if (const auto use = catalog_.look(waiting.store)) line->second = use->host().line();
    const auto found = std::find(line->second.begin(), line->second.end(), waiting.place);
    return found == line->second.end() ? 0 : static_cast<std::uint64_t>(found - line->second.begin()) + 1;
  }

private:
  Catalog& catalog_;
  std::map<std::string, std::vector<std::uint64_t>> lines_;
};

}  // namespace

Load Connection::load(StoreHost* host) const {
  Load load = server_.catalog.load(host);
  load.connections = server_.connections();
  return load;
}

void Connection::take_sessions(const FrameHeader& header, Payload payload) {
  proto::SessionsRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers().error(header, *fault);
  if (!agreed_on(header, proto::feature_sessions) || !allows(header, request.store)) return;
  proto::SessionsAnswer answer;
  answer.described_until = request.after;
  const auto records = server_.records(request.after, records_looked_at_max + 1);
  const std::int64_t now_ms = base::monotonic_ms();
  std::vector<DescribedConnection> found;
  found.reserve(proto::sessions_entries_max);
  Places places(server_.catalog);
  for (std::size_t i = 0; i < records.size(); ++i) {
    answer.more = found.size() == proto::sessions_entries_max || i == records_looked_at_max;
    if (answer.more) break;
    const ConnectionRecord& record = *records[i];
    answer.described_until = record.connection_id();
    if (!request.store.empty() && !record.is_on(request.store)) continue;
    DescribedConnection described = record.describe(now_ms);
    if (!gate_.administers(described.store)) continue;
    found.push_back(std::move(described));
    found.back().entry.place_in_line = places.of(found.back());
  }
  for (DescribedConnection& described : found) answer.entries.push_back(described.finished());
  const auto use = request.store.empty() ? nullptr : server_.catalog.look(std::string(request.store));
  answer.load = load(use == nullptr ? nullptr : &use->host());
  if (use == nullptr && !request.store.empty()) {
    // No store of that name is open.
    answer.load.store_calls_waiting = answer.load.store_calls_stuck = answer.load.stuck_ms = 0;
  }
  answers().add(header.request_id, answer);
}

void Connection::take_kick(const FrameHeader& header, Payload payload) {
  proto::KickRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers().error(header, *fault);
  if (!agreed_on(header, proto::feature_sessions) || !allows(header, {})) return;
  const bool by_session = request.what == proto::KickWhat::session;
  const std::shared_ptr<Connection> target = by_session ? server_.find_session(request.id) : server_.find(request.id);
  const std::string which = (by_session ? "session " : "connection ") + std::to_string(request.id);
  // One that it may not end is, to this client, not there.
  const bool is_there = target != nullptr && !target->record()->is_over(by_session);
  if (!is_there || !gate_.administers(target->record()->describe(base::monotonic_ms()).store))
    return answers().error(header.request_id, header.operation, Status::not_found,
                           "kick: there is no " + which + "; `pagectl sessions` shows those that are there");
  auto kick = std::make_unique<KickUnderWay>();
  kick->header = header;
  kick->kicked = target->record()->describe(base::monotonic_ms());
  Places places(server_.catalog);
  kick->kicked.entry.place_in_line = places.of(kick->kicked);
  std::string reason = which + " was ended by " + base::quoted(greeting_.client_name) + " at " + address_;
  if (!request.reason.empty()) reason += ": " + std::string(request.reason);
  kick->number = pending_.begin(Pending::What::kick);
  try {
    target->kick(reason, [self = shared_from_this(), number = kick->number] {
      self->complete(number, [connection = self.get()] { connection->answer_kick(true); });
    });
  } catch (...) {
    pending_.clear();
    throw;
  }
  const proto::SessionEntry& entry = kick->kicked.finished();
  server_.log.info("session kicked", {{"session", entry.session_id},
                                      {"connection", entry.connection_id},
                                      {"store", entry.store},
                                      {"name", entry.session_name},
                                      {"address", entry.address},
                                      {"by", greeting_.client_name},
                                      {"by_who", gate_.who().text()},
                                      {"by_address", address_},
                                      {"reason", request.reason}});
  kick_ = std::move(kick);
}

// In a job of the store, behind an opening or a close that is under way there.
void Connection::take_takeover(const FrameHeader& header, Payload payload) {
  proto::TakeoverRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers().error(header, *fault);
  if (!agreed_on(header, proto::feature_takeover) || !allows(header, request.store)) return;
  char host[256] = "";
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  const std::string who =
      std::string(host) + ", process " + std::to_string(::getpid()) + ", for " + gate_.who().text() + " at " + address_;
  on_admin(server_.catalog.changes(), header,
           [header, who, name = std::string(request.store), dead = request.holder_is_dead](
               const std::shared_ptr<Connection>& self, std::uint64_t number) {
             const auto done = [self, number, header, name](const StoreHost::TakeOver& taken,
                                                            std::exception_ptr error) {
               self->complete(number, [connection = self.get(), header, name, taken, error = std::move(error)] {
                 connection->answer_takeover(header, name, taken, error);
               });
             };
             try {
               auto use = self->server_.catalog.resolve(name, self->peer_);
               StoreHost& of = use->host();
               of.jobs().submit([use = std::move(use), done, who, dead]() mutable {
                 StoreHost::TakeOver taken;
                 std::exception_ptr error;
                 try {
                   taken = use->host().take_over(who, dead);
                 } catch (...) {
                   error = std::current_exception();
                 }
                 use.reset();  // before the client hears of it
                 done(taken, std::move(error));
               });
             } catch (...) {
               done({}, std::current_exception());
             }
           });
  // First its holder is asked, and then it is opened.
  if (pending_.what() == Pending::What::admin)
    bound_by_home(header, HomeKeeper::ask_patience + opening_time(), std::string(request.store));
}

void Connection::answer_takeover(const FrameHeader& header, const std::string& store, const StoreHost::TakeOver& taken,
                                 const std::exception_ptr& error) {
  if (error) return refused("takeover", store, header, error);
  proto::TakeoverAnswer answer;
  answer.was_here = taken.was_here;
  answer.took_ms = static_cast<std::uint64_t>(taken.took.count());
  answer.holder = taken.holder;
  if (!taken.was_here)
    server_.lines.info(peer_, "takeover",
                       {{"store", store},
                        {"from", taken.holder},
                        {"by_who", gate_.who().text()},
                        {"by_address", address_},
                        {"ms", taken.took.count()}});
  answers().add(header.request_id, answer);
}

bool Connection::is_served_elsewhere(std::string_view store) const {
  const auto use = server_.catalog.look(std::string(store));
  return use != nullptr && use->host().is_elsewhere();
}

// As a completion, or instead of it.
void Connection::answer_kick(bool released) {
  const std::unique_ptr<KickUnderWay> kick = std::move(kick_);
  if (kick == nullptr) return;
  if (!released) pending_.clear();
  clear_deadline();
  proto::KickAnswer answer;
  answer.released = released;
  answer.kicked = kick->kicked.finished();
  answers().add(kick->header.request_id, answer);
  recheck_input_ = true;
}

// At most as many as the peer may have in flight: it is for people to see.
std::uint32_t Connection::count_waiting_frames() const {
  std::uint32_t count = 0;
  std::span<const std::byte> rest = stream_.input().bytes();
  while (count + 1 < server_.config.limits.requests_in_flight) {
    const proto::Scan scan =
        proto::scan_frame(rest, server_.config.limits.request_bytes + proto::payload_overhead_bytes);
    if (scan.kind != proto::Scan::Kind::frame) break;
    ++count;
    rest = rest.subspan(scan.frame_bytes);
  }
  return count;
}

}  // namespace pageserver::server
