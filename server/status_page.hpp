// The page for people at `/` of the metrics listener: one file that needs nothing else. Its numbers are there without
// JavaScript; with it they are asked for again every two seconds.
#pragma once

#include <string>
#include <string_view>

#include "server/metrics_report.hpp"

namespace pageserver::server {

/// `text` as it may stand in HTML, between tags or in quotes.
std::string html_escaped(std::string_view text);

struct StatusPage {
  std::string html;
  std::string fields;  ///< of the answer's head: what the page may do
};

/// At most so many stores and sessions are shown; the rest is counted.
inline constexpr std::size_t shown_stores_max = 100;
inline constexpr std::size_t shown_sessions_max = 200;

/// On the metrics listener's thread; asks no disk.
StatusPage status_page(const ReportSources& sources);

}  // namespace pageserver::server
