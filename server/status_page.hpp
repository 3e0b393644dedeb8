// The page for people at `/` of the metrics listener: one file that needs nothing else. Its numbers are there without
// JavaScript; with it they are asked for again every two seconds.
#pragma once

#include <string>
#include <string_view>

#include "server/metrics_report.hpp"
#include "server/recent_figures.hpp"

namespace pageserver::server {

struct StatusPage {
  std::string html;
  std::string fields;  ///< of the answer's head: what the page may do
};

/// At most so many are shown: the rest of the stores is counted, of connections there are links to the next ones.
inline constexpr std::size_t shown_stores_max = 100;
inline constexpr std::size_t shown_sessions_max = 100;
inline constexpr std::size_t shown_closed_max = 20;

/// On the metrics listener's thread; asks no disk. Of connections those with a greater number than `after`.
StatusPage status_page(const ReportSources& sources, const RecentFigures& recent, std::uint64_t after);

}  // namespace pageserver::server
