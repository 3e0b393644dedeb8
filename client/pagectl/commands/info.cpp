// info and lease: who uses a store, and how.
#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "base/text.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/commands/describe.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/pagectl/terminal/numbers.hpp"

namespace pageserver::pagectl {
namespace {

using Json = nlohmann::ordered_json;

std::unique_ptr<Image> open_to_ask(const Context& context, const std::string& uri, const std::string& command) {
  OpenMode mode;
  mode.progress = context.progress_kind();
  mode.session_name = "pagectl " + command;
  return open_image(uri, mode);
}

Json sessions_json(const Stat& stat) {
  return {{"live", stat.sessions_live},
          {"pinned", stat.sessions_pinned},
          {"write", stat.sessions_write},
          {"fork", stat.sessions_fork},
          {"total", stat.sessions_live + stat.sessions_pinned + stat.sessions_write + stat.sessions_fork}};
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json found_json(const std::optional<Recovery>& recovery) {
  if (!recovery) return nullptr;
  Json json = recovery_json(*recovery);
  json["kept_files"] = recovery->kept_files;
  json["warning"] = text_or_null(recovery->warning);
  return json;
}

/// Null: an older daemon does not say.
Json home_json(const std::optional<HomeStat>& home) {
  if (!home) return nullptr;
  return {{"name", home->name},
          {"epoch", home->epoch != 0 ? Json(home->epoch) : Json(nullptr)},
          {"holder", text_or_null(home->holder)},
          {"health", text_or_null(home->health)}};
}

/// In one line, with what a home that takes over would have to bring into the image.
std::string home_text(const HomeStat& home, std::optional<std::uint64_t> lag_bytes) {
  std::string text = home.name;
  if (home.epoch != 0) text += ", epoch " + std::to_string(home.epoch);
  if (!home.holder.empty()) text += ", held by " + home.holder;
  if (text == "file") return text;
  if (lag_bytes) text += ", lag " + bytes_text(*lag_bytes);
  return text + ", " + (home.health.empty() ? "health not known yet" : home.health);
}

Json info_json(const Stat& stat) {
  return {{"store", stat.store},
          {"size_bytes", stat.pages * page_size},
          {"pages", stat.pages},
          {"version", version_json(stat.version)},
          {"read_only", stat.read_only},
          {"writer", stat.writer ? holder_json(*stat.writer) : Json(nullptr)},
          {"writers_waiting", stat.writers_waiting},
          {"sessions", sessions_json(stat)},
          {"oldest_holder", stat.oldest_holder ? holder_json(*stat.oldest_holder) : Json(nullptr)},
          {"size_bytes_max", stat.size_bytes_max},
          {"log_bytes", stat.log_bytes},
          {"checkpoint_lag_bytes", stat.checkpoint_lag_bytes},
          {"held_bytes", stat.held_bytes},
          {"fork_bytes", stat.fork_bytes},
          {"last_sync_error", text_or_null(stat.last_sync_error)},
          {"image_warning", text_or_null(stat.image_warning)},
          {"recovery", found_json(stat.recovery)},
          {"load", stat.load ? load_json(*stat.load) : Json(nullptr)},
          {"home", home_json(stat.home)}};
}

/// A plain file has no sessions: the same keys, with what can be said of it.
Json file_json(const std::string& name, std::uint64_t pages, const std::optional<HomeStat>& home) {
  return {{"store", name},     {"size_bytes", pages * page_size}, {"pages", pages},         {"version", nullptr},
          {"writer", nullptr}, {"sessions", sessions_json({})},   {"home", home_json(home)}};
}

void print_info(Context& context, const Stat& stat) {
  const auto row = [&](const std::string& key, const std::string& value) {
    context.result(key + std::string(key.size() < 12 ? 12 - key.size() : 1, ' ') + base::visible(value));
  };
  row("store", stat.store + (stat.read_only ? " (read-only)" : ""));
  row("size", bytes_text(stat.pages * page_size) + ", " + pages_text(stat.pages));
  if (stat.home) row("home", home_text(*stat.home, stat.checkpoint_lag_bytes));
  row("version", version_text(stat.version));
  row("writer", stat.writer ? holder_text(*stat.writer) : "none");
  if (stat.writers_waiting > 0) row("waiting", std::to_string(stat.writers_waiting) + " to write");
  row("sessions", std::to_string(stat.sessions_live) + " live, " + std::to_string(stat.sessions_pinned) + " pinned, " +
                      std::to_string(stat.sessions_write) + " write, " + std::to_string(stat.sessions_fork) + " fork");
  if (stat.oldest_holder) row("oldest", holder_text(*stat.oldest_holder));
  row("limit", bytes_text(stat.size_bytes_max));
  row("log", bytes_text(stat.log_bytes) + ", " + bytes_text(stat.checkpoint_lag_bytes) + " not yet in the image, " +
                 bytes_text(stat.held_bytes) + " held for pins and forks");
  row("forks", bytes_text(stat.fork_bytes));
  if (stat.load) {
    const Load& load = *stat.load;
    const std::string stuck = stuck_text(load);
    row("disk", std::to_string(load.store_calls_waiting) + " calls wait, " +
                    (stuck.empty() ? std::string("none is stuck") : stuck));
    row("daemon", std::to_string(load.connections) + " connections, " + std::to_string(load.directory_requests) +
                      " requests about the directory, " + std::to_string(load.disk_calls_running) + " of at most " +
                      std::to_string(load.disk_threads_max) + " disk threads at work, " +
                      std::to_string(load.disk_calls_waiting) + " calls wait for one");
  }
  if (!stat.last_sync_error.empty()) row("sync error", stat.last_sync_error);
  if (!stat.image_warning.empty()) row("warning", stat.image_warning);
  if (!stat.recovery) return;
  row("recovered", recovery_text(*stat.recovery));
  for (const std::string& file : stat.recovery->kept_files) row("kept", file);
  if (!stat.recovery->warning.empty() && stat.recovery->warning != stat.image_warning)
    row("warning", stat.recovery->warning);
}

Json lease_json(const Stat& stat, const std::optional<HolderStat>& broken) {
  return {{"store", stat.store},
          {"writer", stat.writer ? holder_json(*stat.writer) : Json(nullptr)},
          {"writers_waiting", stat.writers_waiting},
          {"broken", broken ? holder_json(*broken) : Json(nullptr)}};
}

}  // namespace

int run_info(Context& context, const InfoOptions& options) {
  const auto image = open_to_ask(context, options.uri, "info");
  const auto stat = image->stat();
  if (stat) {
    if (context.json) {
      context.out.json(info_json(*stat));
    } else {
      print_info(context, *stat);
    }
    return exit_done;
  }
  const auto pages = image->pages();
  const auto home = image->home();
  if (context.json) {
    context.out.json(file_json(options.uri, pages, home));
  } else {
    context.result("file        " + options.uri);
    context.result("size        " + bytes_text(pages * page_size) + ", " + pages_text(pages));
    if (home && home->name != "file") context.result("home        " + base::visible(home_text(*home, std::nullopt)));
  }
  return exit_done;
}

int run_lease(Context& context, const LeaseOptions& options) {
  const auto image = open_to_ask(context, options.uri, "lease");
  auto stat = image->stat();
  if (!stat) {
    throw MemoryError(Errc::unsupported, "lease of " + options.uri + ": only a daemon's stores have a writer lease");
  }
  std::optional<HolderStat> broken;
  if (options.break_it && stat->writer) {
    // The epoch that was seen: a writer that came meanwhile is not meant.
    broken = image->break_lease(stat->writer->epoch);
    stat = image->stat();
  }
  if (context.json) {
    context.out.json(lease_json(*stat, broken));
    return exit_done;
  }
  if (options.break_it) context.result(broken ? "broken: " + holder_text(*broken) : "nothing to break");
  context.result("writer: " + (stat->writer ? holder_text(*stat->writer) : std::string("none")));
  if (stat->writers_waiting > 0) context.result("waiting: " + std::to_string(stat->writers_waiting));
  return exit_done;
}

}  // namespace pageserver::pagectl
