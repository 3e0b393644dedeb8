// top: what stores and sessions of a daemon do, live.
#include <algorithm>
#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/commands/server_uri.hpp"
#include "client/pagectl/commands/session_report.hpp"
#include "client/pagectl/commands/top_sample.hpp"
#include "client/pagectl/commands/top_view.hpp"
#include "client/pagectl/images/remote.hpp"
#include "client/pagectl/terminal/screen.hpp"

namespace pageserver::pagectl {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

void add_rates(Json& json, const std::optional<Rates>& rates) {
  json["requests_per_second"] = rates ? Json(rates->requests) : Json(nullptr);
  json["bytes_read_per_second"] = rates ? Json(rates->bytes_read) : Json(nullptr);
  json["bytes_written_per_second"] = rates ? Json(rates->bytes_written) : Json(nullptr);
}

Json sample_json(const TopSample& sample, const std::string& server) {
  auto stores = Json::array();
  for (const TopStore& store : sample.stores) {
    Json json = {{"store", store.listed.name}, {"size_bytes", store.listed.pages * page_size},
                 {"open", store.listed.open},  {"read_only", store.listed.read_only},
                 {"readers", store.readers},   {"writers", store.writers},
                 {"forks", store.forks}};
    add_rates(json, store.rates);
    stores.push_back(std::move(json));
  }
  auto sessions = Json::array();
  for (const TopSession& session : sample.sessions) {
    Json json = session_json(session.report);
    add_rates(json, session.rates);
    sessions.push_back(std::move(json));
  }
  return {{"server", server},
          {"interval_ms", sample.since.count()},
          {"connections", sample.connections},
          {"stores", std::move(stores)},
          {"sessions", std::move(sessions)}};
}

/// Blocks of lines, or one document. Rates need two looks, so that the first one is for itself.
int run_plain(Context& context, const TopOptions& options, TopSampler& sampler, const std::string& server) {
  const std::uint64_t count = context.json && options.count == 0 ? 1 : options.count;
  sampler.look();
  auto next = Clock::now();
  for (std::uint64_t i = 0; count == 0 || i < count; ++i) {
    next = std::max(next + options.interval, Clock::now());
    std::this_thread::sleep_until(next);
    TopSample sample = sampler.look();
    TopView view;
    sort(sample, view);
    if (context.json) {
      context.out.json(sample_json(sample, server));
    } else {
      for (const Screen::Line& line : top_lines(sample, server, view, no_screen)) context.result(line.text);
    }
    context.out.flush();
  }
  return exit_done;
}

/// False: it ends.
bool obey(const Key& key, TopView& view, std::size_t rows) {
  const auto back = [&](std::size_t by) { view.scrolled -= std::min(view.scrolled, by); };
  switch (key.what) {
    case Key::What::up: back(1); break;
    case Key::What::down: ++view.scrolled; break;
    case Key::What::page_up: back(rows / 2); break;
    case Key::What::page_down: view.scrolled += rows / 2; break;
    case Key::What::home: view.scrolled = 0; break;
    case Key::What::end_of_list: view.scrolled = no_screen.rows; break;
    case Key::What::resized: break;
    case Key::What::end: return false;
    case Key::What::text:
      if (key.text == 'q' || key.text == 'Q') return false;
      if (key.text == 'k') back(1);
      if (key.text == 'j') ++view.scrolled;
      choose_order(view, key.text);
      break;
  }
  return true;
}

int run_live(const TopOptions& options, TopSampler& sampler, const std::string& server) {
  Screen screen;
  TopView view;
  for (std::uint64_t i = 0; options.count == 0 || i < options.count; ++i) {
    TopSample sample = sampler.look();
    const auto until = Clock::now() + options.interval;
    for (;;) {
      sort(sample, view);
      screen.draw(top_lines(sample, server, view, Screen::size()));
      const auto key = screen.next_key(until);
      if (!key || (key->what == Key::What::text && key->text == ' ')) break;
      if (!obey(*key, view, Screen::size().rows)) return exit_done;
    }
  }
  return exit_done;
}

}  // namespace

int run_top(Context& context, const TopOptions& options) {
  constexpr std::chrono::milliseconds least{100};
  if (options.interval < least)
    throw MemoryError(Errc::invalid_argument, "top: --interval is " + std::to_string(options.interval.count()) +
                                                  " ms, and at least 100 ms; a number alone is milliseconds, write "
                                                  "such as 2s");
  if (context.json && options.count > 1)
    throw MemoryError(Errc::invalid_argument, "top: with --json there is one document, and --count is " +
                                                  std::to_string(options.count) + "; leave one of them out");
  const auto uri = parse_server(options.server);
  const auto connection = dial(uri);
  TopSampler sampler(*connection);
  const std::string server = uri.endpoint.uri();
  if (!context.json && Screen::is_there()) return run_live(options, sampler, server);
  return run_plain(context, options, sampler, server);
}

}  // namespace pageserver::pagectl
