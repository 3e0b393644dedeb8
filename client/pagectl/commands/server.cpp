// list, ping, create, remove: what needs a daemon, or a folder, but no session.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>
#include <pageserver/file_provider.hpp>

#include "base/text.hpp"
#include "client/open_uri.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/commands/describe.hpp"
#include "client/pagectl/commands/server_uri.hpp"
#include "client/pagectl/images/files.hpp"
#include "client/pagectl/images/remote.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/session/session_opening.hpp"
#include "client/wire/administration.hpp"
#include "client/wire/store_list.hpp"

namespace pageserver::pagectl {
namespace {

using namespace std::chrono_literals;

std::string padded(const std::string& text, std::size_t width) {
  return text.size() >= width ? text : text + std::string(width - text.size(), ' ');
}

std::string pinged_text(const std::string& server, const std::string& name, double milliseconds) {
  char text[64];
  std::snprintf(text, sizeof text, "%.3f ms", milliseconds);
  return server + ": " + name + " answered in " + text;
}

void create_file(const std::string& path, std::uint64_t pages) {
  ReplacementFile file("create", path, false);
  FileProvider provider(file.path());
  provider.grow(pages);
  provider.flush();
  file.replace_target();
}

void remove_file(const std::string& path) {
  const auto siblings = check_place("remove", path);
  if (!exists(path)) throw MemoryError(Errc::not_found, "remove " + storage::quoted(path) + ": there is no such file");
  if (!siblings.log.empty()) {
    throw MemoryError(Errc::provider_error,
                      "remove " + storage::quoted(path) + ": the log " + storage::quoted(siblings.log.front()) +
                          " beside it belongs to it; run `pagectl recover` first, or remove both by hand");
  }
  // Opened as an image for writing: a file in use, and one that is no image, is refused with the reason.
  const FileProvider provider(path);
  const std::string real = resolved(path);
  const auto folder = storage::Folder::open(storage::all_file_systems(), storage::parent_folder(real));
  storage::remove_scratch_files(folder, storage::file_name(real));
  storage::remove_file(storage::all_file_systems(), path);
  storage::sync_parent_folder(storage::all_file_systems(), path);
}

[[noreturn]] void refuse(const std::string& action, const std::string& uri) {
  throw MemoryError(Errc::invalid_argument,
                    action + " " + uri + ": expected a store of a daemon" + (action == "ping" ? "" : " or a file"));
}

}  // namespace

bool is_uri(const std::string& text) {
  return text.starts_with("pageserver:") || text.find("://") != std::string::npos ||
         text.starts_with("pageserver+unix:");
}

client::Uri parse_server(const std::string& text) {
  return client::parse_uri(is_uri(text) ? text : "pageserver://" + text, Access::read, client::UriTarget::server);
}

int run_list(Context& context, const ListOptions& options) {
  const auto uri = parse_server(options.server);
  const auto connection = dial(uri);
  const auto stores = client::list_stores(*connection);
  if (context.json) {
    auto list = nlohmann::ordered_json::array();
    for (const auto& store : stores) {
      nlohmann::ordered_json recovery;
      if (store.recovery) {
        recovery = recovery_json(*store.recovery);
        recovery["warned"] = store.recovery_warned;
      }
      list.push_back({{"store", store.name},
                      {"pages", store.pages},
                      {"size_bytes", store.pages * page_size},
                      {"read_only", store.read_only},
                      {"open", store.open},
                      {"recovery", std::move(recovery)}});
    }
    context.out.json({{"server", uri.endpoint.uri()}, {"stores", std::move(list)}});
    return exit_done;
  }
  std::size_t width = 5;
  for (const auto& store : stores) width = std::max(width, base::visible(store.name).size());
  const auto row = [&](const std::string& name, const std::string& pages, const std::string& size,
                       const std::string& state) {
    std::string line = padded(name, width) + "  " + padded(pages, 12) + "  " + padded(size, 10) + "  " + state;
    line.erase(line.find_last_not_of(' ') + 1);
    context.result(line);
  };
  if (!stores.empty() && !context.quiet) row("STORE", "PAGES", "SIZE", "STATE");
  for (const auto& store : stores) {
    std::string state = store.open ? "open" : "";
    if (store.read_only) state += state.empty() ? "read-only" : ", read-only";
    if (store.recovery) state += (state.empty() ? "recovered " : ", recovered ") + recovery_text(*store.recovery);
    if (store.recovery_warned) state += " (see `pagectl info`)";
    row(base::visible(store.name), pages_text(store.pages), bytes_text(store.pages * page_size), state);
  }
  if (stores.empty()) context.note("no stores");
  return exit_done;
}

bool names_store(const std::string& text) {
  // Keys may have paths.
  const std::string place = text.substr(0, text.find('?'));
  const std::size_t scheme = place.find("://");
  const std::size_t path = place.find('/', scheme == std::string::npos ? 0 : scheme + 3);
  return path != std::string::npos && path + 1 < place.size();
}

namespace {

std::string session_text(const SessionReport& report) {
  return "session " + std::to_string(report.session_id) + " (" + base::visible(report.session_name) + " at " +
         base::visible(report.address) + ") has waited for " + to_string(report.waits_for) + " for " +
         elapsed_text(report.request_ms);
}

/// What is known of a store that does not answer, from threads that none of its calls holds up.
std::string what_hangs(client::Uri uri) {
  constexpr std::chrono::milliseconds most{2000};
  constexpr std::size_t sessions_max = 3;
  uri.connect_timeout = std::min(uri.connect_timeout, most);
  uri.request_timeout = most;
  std::string store;
  std::swap(store, uri.store);
  const auto connection = dial(uri);
  if ((connection->server().features & proto::feature_sessions) == 0) return {};
  const Load load = client::ask_load(*connection, store);
  std::string text = stuck_text(load);
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  if (load.disk_calls_waiting != 0 && load.disk_calls_running >= load.disk_threads_max)
    add("all " + std::to_string(load.disk_threads_max) + " disk threads of the daemon are at work");
  std::size_t named = 0;
  for (const auto& report : client::list_sessions(*connection, store)) {
    if (report.requests_in_flight == 0 || report.waits_for == WaitsFor::nothing ||
        report.waits_for == WaitsFor::lease || report.request_ms < 100)
      continue;
    if (++named <= sessions_max) add(session_text(report));
  }
  if (named > sessions_max) add("so have " + std::to_string(named - sessions_max) + " more");
  return text;
}

/// Through the store's threads and, where a page is not in memory, its disk.
std::optional<Load> ask_store(client::Connection& connection, const client::Uri& uri) {
  const auto opened = client::open_session_on(connection, client::remote_options(uri));
  std::byte first{};
  if (opened.pages != 0) {
    bool read = false;
    std::optional<MemoryError> error;
    connection.submit_read(0, std::span(&first, 1), [&](const auto& outcome) {
      read = true;
      if (!outcome.ok()) error = *outcome.error();
    });
    connection.run_until([&] { return read; });
    if (error) throw MemoryError{*error};
  }
  std::optional<Load> load;
  connection.call(proto::StatRequest{}, [&load](const proto::StatAnswer& answer) { load = answer.load; });
  return load;
}

struct PingedStore {
  nlohmann::ordered_json report;
  std::string text;
};

PingedStore ping_store(client::Uri uri, std::chrono::milliseconds timeout) {
  uri.access = Access::read;
  uri.connect_timeout = std::min(uri.connect_timeout, timeout);
  uri.request_timeout = timeout;
  const std::string shown = uri.endpoint.uri(uri.store);
  const auto refuse = [&](const std::string& what, const std::string& why) {
    throw MemoryError(Errc::timed_out, "ping " + shown + ": " + what + (why.empty() ? "" : ": " + why));
  };
  const auto start = client::Clock::now();
  std::unique_ptr<client::Connection> connection;
  std::optional<Load> load;
  bool answers = false;
  try {
    connection = dial(uri);
    load = ask_store(*connection, uri);
    answers = true;
  } catch (const MemoryError& error) {
    if (error.errc() != Errc::timed_out || connection == nullptr) throw;
  }
  if (!answers)
    refuse("the daemon is there, and the store did not answer within " +
               elapsed_text(static_cast<std::uint64_t>(timeout.count())),
           what_hangs(uri));
  const auto took = std::chrono::duration<double, std::milli>(client::Clock::now() - start).count();
  if (load && load->store_calls_stuck != 0 && load->stuck_ms >= static_cast<std::uint64_t>(timeout.count()))
    refuse("the store answers, and not all of it", what_hangs(uri));
  return {{{"server", uri.endpoint.uri()},
           {"store", uri.store},
           {"server_name", connection->server().name},
           {"protocol_version", connection->server().version},
           {"round_trip_ms", took},
           {"load", load ? load_json(*load) : nlohmann::ordered_json(nullptr)}},
          pinged_text(shown, connection->server().name, took)};
}

/// Each of several stores, whatever becomes of the others.
void ping_stores(Context& context, client::Uri uri, const PingOptions& options) {
  std::vector<std::string> names = options.stores;
  if (options.all)
    for (const auto& store : client::list_stores(*dial(uri)))
      if (store.open) names.push_back(store.name);
  auto reports = nlohmann::ordered_json::array();
  std::vector<std::string> texts, faults;
  for (const std::string& name : names) {
    uri.store = name;
    try {
      PingedStore pinged = ping_store(uri, options.timeout);
      reports.push_back(std::move(pinged.report));
      texts.push_back(std::move(pinged.text));
    } catch (const MemoryError& error) {
      if (error.errc() == Errc::connection_lost) throw;  // it is the daemon that is not there
      faults.emplace_back(error.what());
    }
  }
  if (!faults.empty()) {
    std::string text = "ping " + uri.endpoint.uri() + ": " + std::to_string(faults.size()) + " of " +
                       std::to_string(names.size()) + " stores failed";
    for (const std::string& fault : faults) text += "; " + fault;
    throw MemoryError(Errc::timed_out, text);
  }
  if (context.json) context.out.json({{"server", uri.endpoint.uri()}, {"stores", std::move(reports)}});
  for (const std::string& text : texts) context.note(text);
  if (names.empty()) context.note(uri.endpoint.uri() + ": no store is open");
}

/// Calls `attempt` until it throws nothing, or `until` has passed.
template <class Attempt>
int try_until(client::Clock::time_point until, const Attempt& attempt) {
  for (;;) {
    try {
      attempt();
      return exit_done;
    } catch (const MemoryError& error) {
      const bool passing = error.errc() == Errc::connection_lost || error.errc() == Errc::timed_out ||
                           error.errc() == Errc::limit_exceeded;
      if (!passing || client::Clock::now() >= until) throw;
    }
    std::this_thread::sleep_for(std::min<client::Clock::duration>(50ms, until - client::Clock::now()));
  }
}

}  // namespace

int run_ping(Context& context, const PingOptions& options) {
  context.try_again_status = exit_failed;  // "no answer" is the answer
  if (names_store(options.server)) {
    const auto stored =
        client::parse_uri(is_uri(options.server) ? options.server : "pageserver://" + options.server, Access::read);
    if (!stored.is_remote()) refuse("ping", options.server);
    if (options.all || !options.stores.empty())
      throw MemoryError(Errc::invalid_argument,
                        "ping " + options.server + ": --store and --all go with a daemon, and this names a store");
    const auto until = client::deadline_after(client::Clock::now(), options.wait);
    return try_until(until, [&] {
      const PingedStore pinged = ping_store(stored, options.timeout);
      if (context.json) context.out.json(pinged.report);
      context.note(pinged.text);
    });
  }
  auto uri = parse_server(options.server);
  const auto until = client::deadline_after(client::Clock::now(), options.wait);
  if (options.all || !options.stores.empty()) return try_until(until, [&] { ping_stores(context, uri, options); });
  // A daemon that is being started may not answer: one attempt must not use up all the time. And one that stands still
  // takes no more than was asked for.
  const auto attempt_ms = [&](std::chrono::milliseconds given) {
    constexpr std::chrono::milliseconds most{5000}, least{10};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - client::Clock::now());
    return std::min(given, options.wait.count() == 0 ? most : std::clamp(left, least, most));
  };
  const auto connect_timeout = uri.connect_timeout, request_timeout = uri.request_timeout;
  return try_until(until, [&] {
    uri.connect_timeout = attempt_ms(connect_timeout);
    uri.request_timeout = attempt_ms(request_timeout);
    const auto connection = dial(uri);
    const auto start = client::Clock::now();
    connection->call(proto::PingRequest{}, [](const proto::PingAnswer&) {});
    const auto took = std::chrono::duration<double, std::milli>(client::Clock::now() - start).count();
    if (context.json) {
      context.out.json({{"server", uri.endpoint.uri()},
                        {"server_name", connection->server().name},
                        {"protocol_version", connection->server().version},
                        {"round_trip_ms", took}});
    }
    context.note(pinged_text(uri.endpoint.uri(), connection->server().name, took));
  });
}

int run_create(Context& context, const CreateOptions& options) {
  const auto uri = client::parse_uri(options.uri, Access::write);
  if (uri.is_remote()) {
    const auto connection = dial(uri);
    connection->name_store(uri.store);
    connection->call(proto::CreateRequest{uri.store, options.pages}, [](const proto::CreateAnswer&) {});
  } else if (uri.scheme == client::Scheme::file) {
    create_file(uri.path, options.pages);
  } else {
    refuse("create", options.uri);
  }
  if (context.json) {
    context.out.json({{"created", options.uri}, {"pages", options.pages}, {"size_bytes", options.pages * page_size}});
  }
  context.note("created " + options.uri + " with " + pages_text(options.pages));
  return exit_done;
}

int run_remove(Context& context, const RemoveOptions& options) {
  const auto uri = client::parse_uri(options.uri, Access::write);
  if (uri.is_remote()) {
    const auto connection = dial(uri);
    connection->name_store(uri.store);
    connection->call(proto::RemoveRequest{uri.store}, [](const proto::RemoveAnswer&) {});
  } else if (uri.scheme == client::Scheme::file) {
    remove_file(uri.path);
  } else {
    refuse("remove", options.uri);
  }
  if (context.json) context.out.json({{"removed", options.uri}});
  context.note("removed " + options.uri);
  return exit_done;
}

}  // namespace pageserver::pagectl
