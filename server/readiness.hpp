// Whether the daemon is ready: each configured store answers through its own threads, in time. On the metrics
// listener's loop, which asks and waits for nobody.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/runtime/worker.hpp"
#include "server/stores/catalog.hpp"

namespace pageserver::server {

enum class Phase : std::uint8_t { starting, serving, stopping };

class Readiness {
public:
  /// A store that takes longer is not ready, and neither is one with a call to its disk that has hung for so long.
  static constexpr std::chrono::milliseconds patience{1000};

  struct StoreState {
    std::string name;
    std::string fault;  ///< empty: it answers
  };
  struct Report {
    bool ready = false;
    std::string fault;  ///< of the daemon as a whole, or empty
    std::vector<StoreState> stores;

    /// Lines for people: what is wrong, and with `verbose` each store.
    std::string text(bool verbose) const;
  };

  /// `worker` and `catalog` outlive it; `phase` may be asked on the worker.
  Readiness(Worker& worker, Catalog& catalog, std::function<Phase()> phase)
      : worker_(worker), catalog_(catalog), phase_(std::move(phase)) {}

  /// On the worker; `told` runs there, now or within little more than `patience`.
  void ask(std::function<void(const Report& report)> told);

private:
  struct Asking;

  Report report_now(const Asking* asking) const;
  void look(const std::shared_ptr<Asking>& asking);

  Worker& worker_;
  Catalog& catalog_;
  const std::function<Phase()> phase_;
};

}  // namespace pageserver::server
