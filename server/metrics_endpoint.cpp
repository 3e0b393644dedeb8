#include "server/metrics_endpoint.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "server/status_page.hpp"

namespace pageserver::server {

namespace {

std::unique_ptr<Listener> listener_of(const MetricsListen& listen) {
  if (listen.tcp) return Listener::tcp(*listen.tcp, std::chrono::milliseconds(0));
  return Listener::local({listen.unix_path, keys::unix_mode.value32(), listen.unix_passed});
}

http::Response plain(unsigned code, std::string text) {
  http::Response response;
  response.code = code;
  response.body = std::move(text);
  return response;
}

/// From which connection on the page tells, of "after=N"; 0 of anything else.
std::uint64_t after_of(std::string_view query) noexcept {
  constexpr std::string_view key = "after=";
  std::uint64_t after = 0;
  if (query.starts_with(key)) std::from_chars(query.data() + key.size(), query.data() + query.size(), after);
  return after;
}

}  // namespace

MetricsEndpoint::MetricsEndpoint(const MetricsConfig& config, const ReportSources& sources, Log& log)
    : log_(log),
      hosts_(config.hosts),
      sources_(sources),
      report_(sources),
      worker_("metrics", log),
      readiness_(worker_, sources.catalog, sources.phase),
      recent_(worker_, sources),
      page_maps_(worker_, sources.catalog),
      listener_(listener_of(config.listen)) {}

MetricsEndpoint::~MetricsEndpoint() {
  worker_.stop();
  worker_.join();
  while (!exchanges_.empty()) exchanges_.front()->drop();
}

void MetricsEndpoint::start() {
  // What the handler that failed was about is dropped: it may wait for nothing any more.
  worker_.after_trouble([this] {
    while (!exchanges_.empty()) exchanges_.front()->drop();
  });
  listener_->start(worker_, log_, [this](UniqueFd socket, const Listener::Origin&) {
    accepted(std::move(socket));
    return true;
  });
  recent_.start();
  worker_.start();
}

void MetricsEndpoint::make_room() {
  if (exchanges_.size() < connections_max) return;
  const auto waiting = std::find_if(exchanges_.begin(), exchanges_.end(),
                                    [](const auto& exchange) { return exchange->awaits_request(); });
  if (waiting != exchanges_.end()) std::shared_ptr<http::Exchange>(*waiting)->drop();
}

void MetricsEndpoint::accepted(UniqueFd socket) {
  make_room();
  if (exchanges_.size() >= connections_max) {
    ++figures_.refused;
    return;
  }
  exchanges_.push_back(std::make_shared<http::Exchange>(worker_, std::move(socket), http::Exchange::Patience{}));
  http::Exchange::Calls calls;
  calls.handle = [this](const http::Request& request, const Answer& answer) { handle(request, answer); };
  calls.answered = [this](unsigned code) { ++figures_.answers[code]; };
  calls.ended = [this](http::Exchange& ended, bool in_order) {
    if (!in_order) ++figures_.refused;
    exchanges_.remove_if([&ended](const auto& exchange) { return exchange.get() == &ended; });
  };
  exchanges_.back()->start(std::move(calls));
}

// Nobody comes to a Unix socket by a name.
bool MetricsEndpoint::is_asked_for(std::string_view host) const {
  if (!listener_->is_tcp() || http::is_numeric_or_local(host)) return true;
  const std::string_view name = http::without_port(host);
  return std::any_of(hosts_.begin(), hosts_.end(),
                     [name](const std::string& known) { return http::equal_ignoring_case(known, name); });
}

void MetricsEndpoint::handle(const http::Request& request, const Answer& answer) {
  if (!is_asked_for(request.host))
    return answer(plain(421,
                        "this daemon was asked for by a name that it does not know, which a browser sends that was "
                        "tricked into asking; ask by a numeric address, or name it in metrics.hosts\n"));
  if (request.path == "/metrics") {
    http::Response response = plain(200, report_.text(figures_));
    response.content_type = metrics_content_type;
    return answer(std::move(response));
  }
  if (request.path == "/") {
    StatusPage page = status_page(sources_, recent_, after_of(request.query));
    http::Response response = plain(200, std::move(page.html));
    response.content_type = "text/html; charset=utf-8";
    response.fields = std::move(page.fields);
    return answer(std::move(response));
  }
  if (request.path == "/pages") {
    return page_maps_.ask(request.query, [answer](PageMaps::Told told) {
      http::Response response = plain(told.code, std::move(told.body));
      if (told.code == 200) response.content_type = "application/json";
      answer(std::move(response));
    });
  }
  if (request.path == "/livez") return answer(plain(200, "ok\n"));
  if (request.path == "/readyz") {
    const bool verbose = request.query == "verbose" || request.query == "verbose=true" || request.query == "verbose=1";
    return readiness_.ask([answer, verbose](const Readiness::Report& report) {
      answer(plain(report.ready ? 200 : 503, report.text(verbose)));
    });
  }
  answer(plain(404, "there is /, /metrics, /pages, /livez and /readyz here\n"));
}

}  // namespace pageserver::server
