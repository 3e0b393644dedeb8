#include "server/status_page.hpp"

#include <array>
#include <charconv>
#include <iomanip>
#include <sstream>
#include <vector>

#include "base/access.hpp"
#include "base/clock.hpp"
#include "base/random.hpp"
#include "base/text.hpp"
#include "base/units.hpp"
#include "proto/codec.hpp"
#include "server/runtime/version.hpp"

namespace pageserver::server {

namespace {

constexpr std::string_view style = R"(
:root{color-scheme:light dark;font:15px/1.45 system-ui,sans-serif}
body{margin:1rem auto;max-width:76rem;padding:0 1rem}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin:1.4rem 0 .4rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .7rem .25rem 0;border-bottom:1px solid color-mix(in srgb,currentColor 20%,transparent);white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.bad{font-weight:600}button{font:inherit;padding:.2rem .8rem}
)";

// The answer is parsed and never run: what comes into the page are elements with text.
constexpr std::string_view script = R"(
'use strict';
const main=document.querySelector('main'),button=document.querySelector('button'),state=document.querySelector('#state');
let live=true;
button.hidden=false;
button.addEventListener('click',()=>{live=!live;button.textContent=live?'Pause':'Go on';});
async function look(){
  if(!live||document.hidden)return;
  try{
    const answer=await fetch('/',{cache:'no-store'});
    const page=new DOMParser().parseFromString(await answer.text(),'text/html');
    main.replaceChildren(...page.querySelector('main').childNodes);
    state.textContent='';
  }catch(error){state.textContent='The daemon does not answer.';}
}
setInterval(look,2000);
)";

std::string time_text(std::uint64_t ms) {
  if (ms < 10'000) return std::to_string(ms) + " ms";
  if (ms < 600'000) return std::to_string(ms / 1000) + " s";
  if (ms < 36'000'000) return std::to_string(ms / 60'000) + " min";
  return std::to_string(ms / 3'600'000) + " h";
}

std::string duration_text(double seconds) {
  std::ostringstream text;
  text << std::setprecision(3);
  if (seconds < 1e-3) {
    text << seconds * 1e6 << " µs";
  } else if (seconds < 1) {
    text << seconds * 1e3 << " ms";
  } else {
    text << seconds << " s";
  }
  return text.str();
}

/// So much was not exceeded by that share: the bound of the bucket.
std::string quantile(const Durations& durations, double share) {
  const auto rank = static_cast<std::uint64_t>(share * static_cast<double>(durations.count()));
  std::uint64_t so_far = 0;
  for (std::size_t i = 0; i + 1 < duration_buckets; ++i) {
    so_far += durations.counts[i];
    if (so_far > rank) return "≤ " + duration_text(duration_bound_seconds(i));
  }
  return "> " + duration_text(duration_bound_seconds(duration_buckets - 2));
}

class Table {
public:
  Table(std::string& html, std::string_view caption, std::initializer_list<std::string_view> columns) : html_(html) {
    html_ += "<h2>" + html_escaped(caption) + "</h2><div class=wide tabindex=0><table><thead><tr>";
    for (const std::string_view column : columns) {
      // A column of numbers begins with #.
      const bool number = column.starts_with('#');
      html_ += number ? "<th scope=col class=n>" : "<th scope=col>";
      html_ += html_escaped(column.substr(number ? 1 : 0)) + "</th>";
    }
    html_ += "</tr></thead><tbody>";
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  ~Table() { html_ += "</tbody></table></div>"; }

  Table& row() {
    html_ += "<tr>";
    return *this;
  }
  Table& text(std::string_view value) {
    html_ += "<td>" + html_escaped(base::visible(value)) + "</td>";
    return *this;
  }
  Table& bad(std::string_view value) {
    html_ += "<td class=bad>" + html_escaped(base::visible(value)) + "</td>";
    return *this;
  }
  Table& number(std::string_view value) {
    html_ += "<td class=n>" + html_escaped(value) + "</td>";
    return *this;
  }

private:
  std::string& html_;
};

void tell_rest(std::string& html, std::size_t all, std::size_t shown) {
  if (all > shown) html += "<p>and " + std::to_string(all - shown) + " more</p>";
}

void tell_stores(std::string& html, const ReportSources& sources) {
  const auto stores = sources.catalog.figures();
  {
    Table table(html, "Open stores: " + std::to_string(stores.size()),
                {"store", "#size", "#log", "#not in the image", "#held", "#forks", "writer", "#idle", "#in line",
                 "#sessions", "state"});
    for (std::size_t i = 0; i < std::min(stores.size(), shown_stores_max); ++i) {
      const auto& [name, stat, available] = stores[i];
      table.row()
          .text(name)
          .number(base::bytes_text(stat.pages * page_size))
          .number(base::bytes_text(stat.log_bytes))
          .number(base::bytes_text(stat.checkpoint_lag_bytes))
          .number(base::bytes_text(stat.held_bytes))
          .number(base::bytes_text(stat.fork_bytes))
          .text(stat.writer ? stat.writer->name + " at " + stat.writer->address : std::string())
          .number(stat.writer ? time_text(stat.writer->idle_ms) : std::string())
          .number(std::to_string(stat.writers_waiting))
          .number(std::to_string(stat.sessions_live + stat.sessions_pinned + stat.sessions_write + stat.sessions_fork));
      if (stat.last_sync_error.empty()) {
        table.text("well");
      } else {
        table.bad(stat.last_sync_error);
      }
    }
  }
  tell_rest(html, stores.size(), shown_stores_max);
}

void tell_sessions(std::string& html, const ReportSources& sources) {
  const std::size_t all = sources.connections();
  {
    Table table(html, "Connections: " + std::to_string(all),
                {"#connection", "store", "who", "address", "access", "view", "#requests", "#read", "#written",
                 "#last request", "waits for"});
    const std::int64_t now_ms = base::monotonic_ms();
    for (const auto& record : sources.records(0, shown_sessions_max)) {
      DescribedConnection described = record->describe(now_ms);
      const proto::SessionEntry& entry = described.finished();
      const bool session = entry.session_id != 0;
      table.row()
          .number(std::to_string(entry.connection_id))
          .text(entry.store)
          .text(entry.session_name.empty() ? entry.client_name : entry.session_name)
          .text(entry.address)
          .text(session ? base::name_of(entry.access) : "")
          .text(!session                   ? ""
                : entry.view == View::live ? "live"
                                           : "pinned")
          .number(std::to_string(entry.requests))
          .number(base::bytes_text(entry.bytes_read))
          .number(base::bytes_text(entry.bytes_written))
          .number(entry.requests_in_flight != 0 ? "now" : time_text(entry.idle_ms))
          .text(entry.waits_for == WaitsFor::nothing ? std::string_view{} : base::name_of(entry.waits_for));
    }
  }
  tell_rest(html, all, shown_sessions_max);
}

void tell_requests(std::string& html) {
  const auto sums = std::make_unique<RequestSums>();
  RequestFigures::sum_up(*sums);
  Table table(html, "Requests since the start", {"operation", "#answered", "#failed", "#half within", "#99 % within"});
  for (std::size_t i = 1; i < operations_counted; ++i) {
    const Durations& durations = sums->durations[i];
    const std::uint64_t count = durations.count();
    if (count == 0) continue;
    table.row()
        .text(proto::to_string(static_cast<proto::Operation>(i)))
        .number(std::to_string(count))
        .number(std::to_string(sums->failed(i)))
        .number(quantile(durations, 0.5))
        .number(quantile(durations, 0.99));
  }
}

std::string hex(std::uint64_t number) {
  std::array<char, 16> digits;
  return {digits.data(),
          static_cast<std::size_t>(std::to_chars(digits.data(), digits.data() + digits.size(), number, 16).ptr -
                                   digits.data())};
}

std::string_view phase_text(Phase phase) {
  switch (phase) {
    case Phase::starting: return "It is starting: /readyz?verbose says what it waits for.";
    case Phase::serving: return "It serves.";
    case Phase::stopping: return "It is stopping.";
  }
  return {};
}

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string html;
  for (const char c : text) {
    switch (c) {
      case '&': html += "&amp;"; break;
      case '<': html += "&lt;"; break;
      case '>': html += "&gt;"; break;
      case '"': html += "&quot;"; break;
      case '\'': html += "&#39;"; break;
      default: html += c;
    }
  }
  return html;
}

StatusPage status_page(const ReportSources& sources) {
  const std::string nonce = hex(base::random_number()) + hex(base::random_number());
  StatusPage page;
  page.fields = "Content-Security-Policy: default-src 'none'; img-src data:; connect-src 'self'; style-src 'nonce-" +
                nonce + "'; script-src 'nonce-" + nonce +
                "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n";
  std::string& html = page.html;
  html =
      "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">"
      "<title>pageserver</title><link rel=icon href=\"data:,\"><style nonce=" +
      nonce + ">" + std::string(style) + "</style></head><body><h1>" + html_escaped(server_name) +
      "</h1><p><button hidden>Pause</button> <span id=state role=status></span></p><main><p>";
  html += phase_text(sources.phase());
  html += "</p>";
  tell_stores(html, sources);
  tell_sessions(html, sources);
  tell_requests(html);
  html += "</main><script nonce=" + nonce + ">" + std::string(script) + "</script></body></html>\n";
  return page;
}

}  // namespace pageserver::server
