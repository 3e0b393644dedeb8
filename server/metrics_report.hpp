// What /metrics answers: all that was counted, and how things are, as text. On the metrics listener's thread; it asks
// no disk and waits for no store.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/config/config.hpp"
#include "server/connection/closed_sessions.hpp"
#include "server/connection/record.hpp"
#include "server/metrics/figures.hpp"
#include "server/metrics/metrics_text.hpp"
#include "server/metrics/request_figures.hpp"
#include "server/readiness.hpp"
#include "server/runtime/log.hpp"
#include "server/stores/catalog.hpp"

namespace pageserver::server {

/// Where the report finds what it tells. All of it may be asked from any thread, and outlives the report.
struct ReportSources {
  const Log& log;
  Catalog& catalog;
  const Figures& figures;
  std::function<Phase()> phase;
  std::function<std::size_t()> connections;
  std::function<std::vector<std::shared_ptr<const ConnectionRecord>>(std::uint64_t after, std::size_t count)> records;
  const ClosedSessions& closed_sessions;
};

/// Of the metrics listener itself.
struct HttpFigures {
  std::map<unsigned, std::uint64_t> answers;  ///< by code
  std::uint64_t refused = 0;
};

class MetricsReport {
public:
  explicit MetricsReport(ReportSources sources) : sources_(std::move(sources)) {}

  std::string text(const HttpFigures& http);

private:
  void tell_requests(MetricsText& text);
  void tell_connections(MetricsText& text) const;
  void tell_storage(MetricsText& text) const;
  void tell_stores(MetricsText& text) const;
  void tell_process(MetricsText& text, const HttpFigures& http) const;

  ReportSources sources_;
  /// What was told last: a request's failure is seen before the request, and no counter may go back.
  std::array<std::uint64_t, operations_counted> told_ok_{};
};

}  // namespace pageserver::server
