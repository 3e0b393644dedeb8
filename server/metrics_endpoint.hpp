// The metrics listener: HTTP for people, monitoring and orchestrators, on a thread of its own, so that neither a store
// nor a client has any part in it.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "server/config/config.hpp"
#include "server/http/exchange.hpp"
#include "server/listener.hpp"
#include "server/metrics_report.hpp"
#include "server/page_maps.hpp"
#include "server/readiness.hpp"
#include "server/recent_figures.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/worker.hpp"

namespace pageserver::server {

class MetricsEndpoint {
public:
  /// So many connections at a time. One more takes the place of the one that has waited longest without a request.
  static constexpr std::size_t connections_max = 16;

  /// Binds, or throws std::runtime_error naming the address and what is in the way. `log` outlives it.
  MetricsEndpoint(const MetricsConfig& config, const ReportSources& sources, Log& log);
  MetricsEndpoint(const MetricsEndpoint&) = delete;
  MetricsEndpoint& operator=(const MetricsEndpoint&) = delete;
  /// Stops and joins.
  ~MetricsEndpoint();

  /// As the log names it, with the real port.
  const std::string& name() const noexcept { return listener_->name(); }
  /// Answers from now on. Throws std::system_error when no thread can be had.
  void start();

private:
  using Answer = http::Exchange::Answer;

  void accepted(UniqueFd socket);
  void make_room();
  bool is_asked_for(std::string_view host) const;
  void handle(const http::Request& request, const Answer& answer);

  Log& log_;
  const std::vector<std::string> hosts_;
  const ReportSources sources_;
  MetricsReport report_;
  HttpFigures figures_;
  Worker worker_;  // its loop outlives what is on it
  Readiness readiness_;
  RecentFigures recent_;
  PageMaps page_maps_;
  std::list<std::shared_ptr<http::Exchange>> exchanges_;  ///< the oldest first
  std::unique_ptr<Listener> listener_;
};

}  // namespace pageserver::server
