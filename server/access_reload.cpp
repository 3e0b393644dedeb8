#include "server/access_reload.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"

namespace pageserver::server {

namespace {

constexpr std::chrono::seconds policy_interval{10};

}  // namespace

AccessReload::AccessReload(const Config& config, Log& log, Figures& figures, const Connections& connections,
                           BlockingPool& disk, Worker& front, const std::atomic<bool>& stopping)
    : log_(log),
      figures_(figures),
      connections_(connections),
      stopping_(stopping),
      next_(front),
      rules_(config),
      certificate_(config),
      strand_(disk) {}

void AccessReload::load() {
  PolicyReload::Found found = rules_.look(true);
  if (!found.faults.empty()) throw std::runtime_error(found.faults.front());
  policy_.set(std::move(found.policy));
  std::shared_ptr<const tls::Context> tls;
  if (const auto faults = certificate_.look(true, tls); !faults.empty()) throw std::runtime_error(faults.front());
  take_tls(std::move(tls));
}

void AccessReload::take_tls(std::shared_ptr<const tls::Context> tls) noexcept {
  if (tls != nullptr) figures_.certificate_not_after = tls->not_after();
  tls_.set(std::move(tls));
}

void AccessReload::look(bool asked) {
  if (stopping_) return;
  strand_.submit([this, asked] {
    try {
      read(asked);
    } catch (const std::exception& error) {
      log_.warn("rules not read", {{"error", error.what()}});
    }
  });
}

void AccessReload::read(bool asked) {
  read_tls(asked);
  PolicyReload::Found found = rules_.look(asked);
  if (!found.faults.empty()) {
    ++figures_.rules_failed;
    figures_.rules_not_taken = true;
  }
  for (const std::string& fault : found.faults)
    log_.warn("rules not read", {{"error", fault}, {"remedy", "mend it; it is looked at every 10 s, and on SIGHUP"}});
  if (found.policy == nullptr) return;
  policy_.set(std::move(found.policy));
  ++figures_.rules_taken;
  figures_.rules_not_taken = false;
  connections_.for_each([](Connection& connection) { connection.policy_changed(); });
  // Who reads this finds each connection under the new rules.
  log_.info("rules read", {{"reason", asked ? "SIGHUP" : "a file has changed"}});
}

void AccessReload::read_tls(bool asked) {
  std::shared_ptr<const tls::Context> tls;
  const std::vector<std::string> faults = certificate_.look(asked, tls);
  if (!faults.empty()) {
    ++figures_.certificates_failed;
    figures_.certificate_not_taken = true;
  }
  for (const std::string& fault : faults)
    log_.warn("certificate not read",
              {{"error", fault}, {"remedy", "mend it; it is looked at every 10 s, and on SIGHUP"}});
  if (tls != nullptr) {
    take_tls(std::move(tls));
    peers_unverified_ = true;
    ++figures_.certificates_taken;
    figures_.certificate_not_taken = false;
    log_.info("certificate read", {{"reason", asked ? "SIGHUP" : "a file has changed"}});
  }
  verify_peers();
}

// All clients that have shown a certificate, after a change; else those of whose certificates one has come to its end.
// Not on the loops: of many clients it takes a while. What fails for want of memory is done at the next look.
void AccessReload::verify_peers() {
  const std::shared_ptr<const tls::Context> tls = tls_.get();
  if (tls == nullptr) return;
  const std::int64_t now = base::unix_ms() / 1000;
  const auto shown = connections_.those([&](const Connection& connection) {
    const auto chain = connection.peer_chain();
    return chain != nullptr && (peers_unverified_ || chain->not_after() < now);
  });
  for (const auto& connection : shown)
    if (const std::string why = connection->peer_chain()->fault(*tls); !why.empty())
      connection->certificate_failed(why);
  peers_unverified_ = false;
}

void AccessReload::begin() {
  if (stopping_ || !(rules_.has_files() || certificate_.has_files())) return;
  next_.begin(policy_interval, [this] {
    if (stopping_) return;
    if (strand_.waiting() == 0) look(false);
    begin();
  });
}

}  // namespace pageserver::server
