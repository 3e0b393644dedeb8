#include "server/readiness.hpp"

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include "base/clock.hpp"

namespace pageserver::server {

namespace {

constexpr std::chrono::milliseconds ask_interval{5};

}  // namespace

struct Readiness::Asking {
  explicit Asking(asio::io_context& context) : timer(context) {}
  asio::steady_timer timer;
  std::int64_t began_ms = base::monotonic_ms();
  std::vector<std::shared_ptr<StoreHost>> hosts;
  std::function<void(const Report& report)> told;
};

std::string Readiness::Report::text(bool verbose) const {
  std::string text;
  if (!fault.empty()) text += "not ready: " + fault + "\n";
  for (const StoreState& store : stores) {
    if (!store.fault.empty()) {
      text += (verbose ? "[-] store " : "not ready: store ") + store.name + ": " + store.fault + "\n";
    } else if (verbose) {
      text += "[+] store " + store.name + "\n";
    }
  }
  return ready ? text + "ok\n" : text;
}

Readiness::Report Readiness::report_now(const Asking* asking) const {
  Report report;
  const Phase phase = phase_();
  if (phase == Phase::starting) report.fault = "the daemon is starting";
  if (phase == Phase::stopping) report.fault = "the daemon is stopping";
  report.ready = phase == Phase::serving;
  for (const auto& host : asking != nullptr ? asking->hosts : catalog_.configured_hosts()) {
    StoreState state{host->name(), {}};
    if (!host->is_open() && host->settings().standby && host->is_elsewhere()) {
      state.name += " (standing by)";
    } else if (!host->is_open()) {
      state.fault = host->opening();
    } else if (asking != nullptr && host->answered_ms() < asking->began_ms) {
      state.fault = "no answer for " + std::to_string(base::monotonic_ms() - asking->began_ms) + " ms";
    } else if (const auto hangs = host->stuck_calls().oldest; hangs >= patience) {
      state.fault = "a call to its disk has hung for " + std::to_string(hangs.count()) + " ms";
    }
    report.ready = report.ready && state.fault.empty();
    report.stores.push_back(std::move(state));
  }
  return report;
}

void Readiness::ask(std::function<void(const Report& report)> told) {
  if (phase_() != Phase::serving) return told(report_now(nullptr));
  const auto asking = std::make_shared<Asking>(worker_.context());
  asking->hosts = catalog_.configured_hosts();
  asking->told = std::move(told);
  for (const auto& host : asking->hosts) host->probe();
  look(asking);
}

void Readiness::look(const std::shared_ptr<Asking>& asking) {
  const bool all = std::all_of(asking->hosts.begin(), asking->hosts.end(),
                               [&](const auto& host) { return host->answered_ms() >= asking->began_ms; });
  if (all || base::monotonic_ms() - asking->began_ms >= patience.count()) return asking->told(report_now(asking.get()));
  asking->timer.expires_after(ask_interval);
  asking->timer.async_wait([this, asking](const std::error_code& error) {
    if (!error) look(asking);
  });
}

}  // namespace pageserver::server
