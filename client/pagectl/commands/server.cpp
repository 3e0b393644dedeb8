// list, ping, create, remove: what needs a daemon, or a folder, but no session.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>
#include <pageserver/file_provider.hpp>

#include "base/text.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/images/files.hpp"
#include "client/pagectl/images/remote.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/wire/store_list.hpp"

namespace pageserver::pagectl {
namespace {

using namespace std::chrono_literals;

/// A daemon's address: a URI, or HOST[:PORT] as people type it.
client::Uri parse_server(const std::string& text) {
  const bool is_uri =
      text.starts_with("pageserver:") || text.find("://") != std::string::npos || text.starts_with("pageserver+unix:");
  return client::parse_uri(is_uri ? text : "pageserver://" + text, Access::read, client::UriTarget::server);
}

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
  file.commit();
}

void remove_file(const std::string& path) {
  const auto beside = check_place("remove", path);
  if (!exists(path)) throw MemoryError(Errc::not_found, "remove " + storage::quoted(path) + ": there is no such file");
  if (!beside.log.empty()) {
    throw MemoryError(Errc::busy, "remove " + storage::quoted(path) + ": the log " +
                                      storage::quoted(beside.log.front()) +
                                      " beside it belongs to it; run `pagectl recover` first, or remove both by hand");
  }
  // Opened as an image for writing: a file in use, and one that is no image, is refused with the reason.
  const FileProvider provider(path);
  const std::string real = resolved(path);
  const auto folder = storage::Folder::open(storage::posix_file_system(), storage::parent_folder(real));
  storage::remove_scratch_files(folder, storage::file_name(real));
  storage::remove_file(storage::posix_file_system(), path);
  storage::sync_parent_folder(storage::posix_file_system(), path);
}

[[noreturn]] void refuse(const std::string& action, const std::string& uri) {
  throw MemoryError(Errc::invalid_argument, action + " " + uri + ": expected a store of a daemon or a file");
}

}  // namespace

int run_list(Context& context, const ListOptions& options) {
  const auto uri = parse_server(options.server);
  const auto connection = dial(uri);
  const auto stores = client::list_stores(*connection);
  if (context.json) {
    auto list = nlohmann::ordered_json::array();
    for (const auto& store : stores) {
      list.push_back({{"store", store.name},
                      {"pages", store.pages},
                      {"size_bytes", store.pages * page_size},
                      {"read_only", store.read_only},
                      {"open", store.open}});
    }
    context.out.json({{"server", uri.endpoint.uri()}, {"stores", std::move(list)}});
    return exit_done;
  }
  std::size_t width = 5;
  for (const auto& store : stores) width = std::max(width, store.name.size());
  for (const auto& store : stores) {
    std::string line = padded(store.name, width) + "  " + padded(pages_text(store.pages), 12) + "  " +
                       padded(bytes_text(store.pages * page_size), 10);
    if (store.open) line += "  open";
    if (store.read_only) line += "  read-only";
    line.erase(line.find_last_not_of(' ') + 1);
    context.result(base::visible(line));
  }
  return exit_done;
}

int run_ping(Context& context, const PingOptions& options) {
  auto uri = parse_server(options.server);
  const auto until = client::deadline_after(client::Clock::now(), options.wait);
  // A daemon that is being started may not answer: one attempt must not use up all the time. And one that stands still
  // takes no more than was asked for.
  const auto attempt_ms = [&](std::chrono::milliseconds given) {
    constexpr std::chrono::milliseconds most{5000}, least{10};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - client::Clock::now());
    return std::min(given, options.wait.count() == 0 ? most : std::clamp(left, least, most));
  };
  const auto connect_timeout = uri.connect_timeout, request_timeout = uri.request_timeout;
  for (;;) {
    try {
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
      return exit_done;
    } catch (const MemoryError& error) {
      const bool passing = error.errc() == Errc::connection_lost || error.errc() == Errc::timed_out ||
                           error.errc() == Errc::limit_exceeded;
      if (!passing || client::Clock::now() >= until) throw;
    }
    std::this_thread::sleep_for(std::min<client::Clock::duration>(50ms, until - client::Clock::now()));
  }
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
