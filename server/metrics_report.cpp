#include "server/metrics_report.hpp"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/clock.hpp"
#include "proto/codec.hpp"
#include "server/runtime/version.hpp"
#include "storage/file/open_files.hpp"

namespace pageserver::server {

namespace {

std::string operation_name(std::size_t number) {
  return number == 0 ? "unknown" : proto::to_string(static_cast<proto::Operation>(number));
}

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

/// Of one store, or the sum of several.
struct StoreLine {
  std::string name;
  std::uint64_t size = 0, size_limit = 0, log = 0, checkpoint_lag = 0, held = 0, fork = 0, writers_waiting = 0;
  std::uint64_t leases = 0, sync_failed = 0;
  std::uint64_t lease_idle_ms = 0;            ///< of a sum: the longest
  std::uint64_t disk_available = UINT64_MAX;  ///< of a sum: the least

  void add(const Stat& stat, std::uint64_t available) {
    if (available != 0) disk_available = std::min(disk_available, available);
    size += stat.pages * page_size;
    size_limit += stat.size_bytes_max;
    log += stat.log_bytes;
    checkpoint_lag += stat.checkpoint_lag_bytes;
    held += stat.held_bytes;
    fork += stat.fork_bytes;
    writers_waiting += stat.writers_waiting;
    leases += stat.writer ? 1u : 0u;
    sync_failed += stat.last_sync_error.empty() ? 0u : 1u;
    if (stat.writer) lease_idle_ms = std::max(lease_idle_ms, stat.writer->idle_ms);
  }
};

/// "18446744073709551615 (pageserverd) S ...": the fields from the third on, or nothing.
std::vector<std::uint64_t> process_stat() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t close = text.rfind(')');
  std::vector<std::uint64_t> fields;
  if (close == std::string::npos || close + 3 >= text.size()) return fields;
  std::istringstream rest(text.substr(close + 3));
  // Some are negative, which is none of those that are told.
  for (std::int64_t value = 0; rest >> value;) fields.push_back(static_cast<std::uint64_t>(value));
  return fields;
}

std::uint64_t boot_time_seconds() {
  std::ifstream file("/proc/stat");
  std::string word;
  std::uint64_t value = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    if (fields >> word >> value && word == "btime") return value;
  }
  return 0;
}

}  // namespace

std::string MetricsReport::text(const HttpFigures& http) {
  MetricsText text;
  text.family(families::build_info);
  text.sample(1u, version);
  text.family(families::ready);
  text.sample(sources_.phase() == Phase::serving ? 1u : 0u);
  tell_requests(text);
  tell_connections(text);
  tell_storage(text);
  tell_stores(text);
  tell_process(text, http);
  return text.take();
}

void MetricsReport::tell_requests(MetricsText& text) {
  const auto sums = std::make_unique<RequestSums>();
  RequestFigures::sum_up(*sums);
  text.family(families::requests);
  for (std::size_t i = 0; i < operations_counted; ++i) {
    const std::string operation = operation_name(i);
    const std::uint64_t failed = sums->failed(i);
    const std::uint64_t all = sums->durations[i].count();
    told_ok_[i] = std::max(told_ok_[i], all - std::min(all, failed));
    text.sample(told_ok_[i], operation, proto::to_string(proto::Status::ok));
    for (std::size_t status = 1; status < statuses_counted; ++status)
      if (const std::uint64_t count = sums->failures[i][status]; count != 0)
        text.sample(count, operation, proto::to_string(static_cast<proto::Status>(status)));
  }
  text.family(families::request_duration);
  for (std::size_t i = 0; i < operations_counted; ++i) text.durations(sums->durations[i], operation_name(i));
}

void MetricsReport::tell_connections(MetricsText& text) const {
  const Figures& figures = sources_.figures;
  text.family(families::connections);
  text.sample(sources_.connections());
  text.family(families::connections_accepted);
  text.sample(figures.connections_accepted.load());
  text.family(families::connections_refused);
  text.sample(figures.refused_for_limit.load(), "limit");
  text.sample(figures.refused_timed_out.load(), "timed_out");
  text.sample(figures.refused_unread.load(), "unread");
  text.sample(figures.refused_protocol.load(), "protocol");
  text.sample(figures.refused_permission.load(), "permission");
  text.sample(figures.refused_strangers.load(), "stranger");
  text.family(families::auth_failures);
  text.sample(figures.auth_failed_right.load(), "right");
  text.sample(figures.auth_failed_tls.load(), "tls");
  text.sample(figures.auth_failed_token.load(), "token");
  text.family(families::reloads);
  text.sample(figures.rules_taken.load(), "rules", "taken");
  text.sample(figures.rules_failed.load(), "rules", "failed");
  text.sample(figures.certificates_taken.load(), "certificates", "taken");
  text.sample(figures.certificates_failed.load(), "certificates", "failed");
  text.family(families::rules_not_taken);
  text.sample(figures.rules_not_taken ? 1u : 0u);
  text.family(families::certificate_not_taken);
  text.sample(figures.certificate_not_taken ? 1u : 0u);
  text.family(families::certificate_not_after);
  if (const std::int64_t end = figures.certificate_not_after; end != INT64_MAX) text.sample(static_cast<double>(end));
  std::array<std::uint64_t, 3> sessions{};
  std::uint64_t detached = 0;
  constexpr std::size_t at_once = 1024;
  for (std::uint64_t after = 0;;) {
    const auto records = sources_.records(after, at_once);
    for (const auto& record : records) {
      if (const auto access = record->session_access()) ++sessions[static_cast<std::size_t>(*access)];
      if (record->is_detached()) ++detached;
    }
    if (records.size() < at_once) break;
    after = records.back()->connection_id();
  }
  text.family(families::sessions);
  text.sample(sessions[static_cast<std::size_t>(Access::read)], "read");
  text.sample(sessions[static_cast<std::size_t>(Access::write)], "write");
  text.sample(sessions[static_cast<std::size_t>(Access::fork)], "fork");
  text.family(families::sessions_detached);
  text.sample(detached);
  text.family(families::resumes);
  text.sample(figures.sessions_detached.load(), "detached");
  text.sample(figures.sessions_resumed.load(), "resumed");
  text.sample(figures.sessions_expired.load(), "expired");
  text.sample(figures.resumes_refused.load(), "refused");
  text.family(families::leases_lost);
  text.sample(figures.leases_broken.load(), "broken");
  text.sample(figures.leases_idle.load(), "idle");
  text.sample(figures.leases_kicked.load(), "kicked");
  text.family(families::snapshots_given_up);
  text.sample(figures.snapshots_given_up.load());
}

void MetricsReport::tell_storage(MetricsText& text) const {
  const Figures& figures = sources_.figures;
  const auto durations = [&text](const Family& family, const DurationCounter& counter) {
    text.family(family);
    text.durations(counter.durations());
  };
  const auto counter = [&text](const Family& family, const Figures::Counter& count) {
    text.family(family);
    text.sample(count.load());
  };
  durations(families::log_sync_duration, figures.log_syncs);
  durations(families::commit_duration, figures.commits);
  durations(families::checkpoint_duration, figures.checkpoints);
  counter(families::checkpoint_failures, figures.checkpoint_failures);
  counter(families::sync_failures, figures.sync_failures);
  counter(families::recoveries, figures.recoveries);
  counter(families::recovery_records, figures.recovery_records);
  counter(families::recovery_bytes, figures.recovery_bytes);
}

void MetricsReport::tell_stores(MetricsText& text) const {
  const auto stores = sources_.catalog.figures();
  std::vector<StoreLine> lines;
  StoreLine others;
  bool any_others = false;
  for (const auto& [name, stat, available] : stores) {
    const bool told = lines.size() < stores_told_max && name != other_stores;
    if (told) lines.push_back({.name = name});
    (told ? lines.back() : others).add(stat, available);
    any_others = any_others || !told;
  }
  if (any_others) {
    others.name = other_stores;
    lines.push_back(std::move(others));
  }
  text.family(families::stores_open);
  text.sample(stores.size());
  const auto each = [&](const Family& family, auto value) {
    text.family(family);
    for (const StoreLine& line : lines) text.sample(value(line), line.name);
  };
  each(families::store_size, [](const StoreLine& line) { return line.size; });
  each(families::store_size_limit, [](const StoreLine& line) { return line.size_limit; });
  each(families::store_log, [](const StoreLine& line) { return line.log; });
  each(families::store_checkpoint_lag, [](const StoreLine& line) { return line.checkpoint_lag; });
  each(families::store_held, [](const StoreLine& line) { return line.held; });
  each(families::store_fork, [](const StoreLine& line) { return line.fork; });
  each(families::store_writers_waiting, [](const StoreLine& line) { return line.writers_waiting; });
  each(families::store_lease_held, [](const StoreLine& line) { return line.leases; });
  each(families::store_lease_idle, [](const StoreLine& line) { return static_cast<double>(line.lease_idle_ms) / 1e3; });
  text.family(families::store_disk_available);
  for (const StoreLine& line : lines)
    if (line.disk_available != UINT64_MAX) text.sample(line.disk_available, line.name);
  each(families::store_sync_failed, [](const StoreLine& line) { return line.sync_failed; });

  const Load load = sources_.catalog.load(nullptr);
  text.family(families::disk_calls_running);
  text.sample(load.disk_calls_running);
  text.family(families::disk_calls_waiting);
  text.sample(load.disk_calls_waiting);
  text.family(families::disk_calls_stuck);
  text.sample(load.store_calls_stuck);
}

void MetricsReport::tell_process(MetricsText& text, const HttpFigures& http) const {
  text.family(families::log_lines);
  text.sample(sources_.log.lines(LogLevel::debug), "debug");
  text.sample(sources_.log.lines(LogLevel::info), "info");
  text.sample(sources_.log.lines(LogLevel::warn), "warn");
  text.sample(sources_.log.lines(LogLevel::error), "error");
  text.family(families::log_lines_dropped);
  text.sample(sources_.log.lines_dropped());
  text.family(families::http_requests);
  for (const auto& [code, count] : http.answers) text.sample(count, std::to_string(code));
  text.family(families::http_refused);
  text.sample(http.refused);

  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  text.family(families::process_cpu);
  text.sample(seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
  // proc(5): number 20 is the threads, 22 the start in ticks since the boot, 23 addresses in bytes, 24 resident pages.
  constexpr std::size_t first = 4, threads = 20, start = 22, addresses = 23, resident = 24;
  const std::vector<std::uint64_t> stat = process_stat();
  if (stat.size() > resident - first) {
    text.family(families::process_resident);
    text.sample(stat[resident - first] * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
    text.family(families::process_virtual);
    text.sample(stat[addresses - first]);
    text.family(families::process_threads);
    text.sample(stat[threads - first]);
    static const std::uint64_t boot = boot_time_seconds();
    text.family(families::process_start);
    text.sample(static_cast<double>(boot) +
                static_cast<double>(stat[start - first]) / static_cast<double>(::sysconf(_SC_CLK_TCK)));
  }
  text.family(families::process_open_files);
  text.sample(storage::open_files_now());
  text.family(families::process_open_files_max);
  text.sample(storage::open_files_limit());
}

}  // namespace pageserver::server
