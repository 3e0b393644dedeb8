// Tells a service manager how the daemon is: ready once it serves, alive while its stores answer, and for how long it
// goes on starting or stopping. On a thread of its own, only where there is a manager that listens.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "server/readiness.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/worker.hpp"
#include "server/service/notifier.hpp"
#include "server/stores/catalog.hpp"

namespace pageserver::server {

class ServiceWatch {
public:
  /// While a start or a stop makes progress the manager is asked to wait for so long from then on.
  static constexpr std::chrono::seconds extension{30};

  /// `log` and `catalog` outlive it; `phase` and `connections` may be asked from any thread. Begins at once. Throws
  /// std::system_error when no thread can be had.
  ServiceWatch(Notifier notifier, Log& log, Catalog& catalog, std::function<Phase()> phase,
               std::function<std::size_t()> connections);
  ServiceWatch(const ServiceWatch&) = delete;
  ServiceWatch& operator=(const ServiceWatch&) = delete;
  /// Stops and joins.
  ~ServiceWatch();

  /// Any thread: the daemon serves; or a stop has begun.
  void phase_changed();

private:
  struct Io;

  void look();
  void look_later();
  void tell_phase(Phase phase);
  void tell_progress();
  void feed_watchdog();

  const Notifier notifier_;
  Catalog& catalog_;
  const std::function<Phase()> phase_;
  const std::function<std::size_t()> connections_;
  Worker worker_;
  Readiness readiness_;
  std::unique_ptr<Io> io_;
  Phase told_ = Phase::starting;
  std::string progress_;
  bool asking_ = false;
};

}  // namespace pageserver::server
