#include "client/pagectl/commands/top_sample.hpp"

#include "client/pagectl/commands/session_report.hpp"
#include "client/wire/administration.hpp"
#include "client/wire/store_list.hpp"

namespace pageserver::pagectl {
namespace {

// A session's numbers only rise; a daemon that says otherwise did nothing for it, as far as anybody knows.
double per_second(std::uint64_t before, std::uint64_t now, double seconds) {
  return now <= before ? 0 : static_cast<double>(now - before) / seconds;
}

void count_session(TopStore& store, const TopSession& session) {
  switch (session.report.access) {
    case Access::read: ++store.readers; break;
    case Access::write: ++store.writers; break;
    case Access::fork: ++store.forks; break;
  }
  if (session.report.has_lease) store.writer = who_text(session.report);
  if (!session.rates) return;
  if (!store.rates) store.rates.emplace();
  store.rates->requests += session.rates->requests;
  store.rates->bytes_read += session.rates->bytes_read;
  store.rates->bytes_written += session.rates->bytes_written;
}

}  // namespace

TopSample TopSampler::look() {
  TopSample sample;
  std::map<std::string, std::size_t> places;
  for (auto& store : client::list_stores(connection_)) {
    places.emplace(store.name, sample.stores.size());
    sample.stores.emplace_back().listed = std::move(store);
  }
  auto reports = client::list_sessions(connection_, {});
  const auto now = std::chrono::steady_clock::now();
  const double seconds = looked_at_ ? std::chrono::duration<double>(now - *looked_at_).count() : 0;
  if (looked_at_) sample.since = std::chrono::duration_cast<std::chrono::milliseconds>(now - *looked_at_);
  std::map<std::uint64_t, Counts> counts;
  sample.connections = reports.size();
  for (auto& report : reports) {
    if (!has_session(report)) continue;
    TopSession session;
    counts[report.session_id] = {report.requests, report.bytes_read, report.bytes_written};
    if (seconds > 0) {
      const auto found = before_.find(report.session_id);
      // All of what a new one did it did since then.
      const Counts earlier = found == before_.end() ? Counts{} : found->second;
      session.rates = Rates{per_second(earlier.requests, report.requests, seconds),
                            per_second(earlier.bytes_read, report.bytes_read, seconds),
                            per_second(earlier.bytes_written, report.bytes_written, seconds)};
    }
    session.report = std::move(report);
    if (const auto place = places.find(session.report.store); place != places.end())
      count_session(sample.stores[place->second], session);
    sample.sessions.push_back(std::move(session));
  }
  if (looked_at_)
    for (TopStore& store : sample.stores)
      if (!store.rates) store.rates.emplace();
  before_ = std::move(counts);
  looked_at_ = now;
  return sample;
}

}  // namespace pageserver::pagectl
