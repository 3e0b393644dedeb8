#include "server/config/command_line.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <iostream>

#include "base/unique_fd.hpp"
#include "server/config/config_json.hpp"
#include "server/config/config_reference.hpp"
#include "server/config/config_values.hpp"
#include "server/runtime/version.hpp"

namespace pageserver::server {

namespace {

constexpr const char* description =
    "Serves memory images, flat files of 64 KiB pages, over TCP and Unix sockets.\n"
    "There is no authentication: whoever can connect can read and write.";

constexpr const char* footer =
    "Without --listen, --unix or a configuration that says so it listens on 127.0.0.1:6553.\n"
    "Flags win over the configuration file: each list that a flag begins replaces the file's, stores replace by name.\n"
    "SIGTERM and SIGINT stop in an orderly way, a second one at once.\n"
    "Exit status: 0 stopped in order, 1 could not start or could not close a store, 2 usage.\n\n"
    "Example:\n"
    "  pageserverd --store demo=/var/lib/demo.img --listen 127.0.0.1:6553 --unix /run/pageserver.sock";

struct Flags {
  std::string config_path;
  std::vector<std::string> listen;
  std::vector<std::string> unix_paths;
  std::vector<std::string> stores;
  std::string directory;
  bool allow_create = false;
  bool allow_remove = false;
  std::string poll;
  std::string port_file;
  std::string log_format;
  std::string log_level;
};

// Usage errors are found before anything is read: a flag that is wrong in itself.
template <auto Parse>
CLI::Validator form(std::string_view expected) {
  return CLI::Validator(
      [expected](std::string& text) {
        return Parse(text) ? std::string() : "expected " + std::string(expected) + ", got \"" + text + "\"";
      },
      "");
}

// The option's type name lists the words already: the validator adds nothing to it.
CLI::Validator one_of(std::vector<std::string> words) { return CLI::IsMember(std::move(words)).description(""); }

// An unset variable of a script makes one: what it was meant to name must not be left out in silence.
CLI::Validator not_empty() {
  return CLI::Validator([](std::string& text) { return text.empty() ? "expected a path, got \"\"" : std::string(); },
                        "");
}

void add_flags(CLI::App& app, Flags& flags, bool& check_only, bool& print_reference) {
  app.add_option("--config", flags.config_path, "Configuration file (JSON; --print-config-reference shows every key)")
      ->type_name("FILE")
      ->check(not_empty());
  app.add_option("--listen", flags.listen, "TCP address to listen on, such as 127.0.0.1:6553, [::1]:6553, 0.0.0.0:0")
      ->type_name("HOST:PORT")
      ->check(form<parse_listen>(listen_form))
      ->expected(1)
      ->take_all();
  app.add_option("--unix", flags.unix_paths, "Unix socket to listen on")
      ->type_name("PATH")
      ->check(not_empty())
      ->expected(1)
      ->take_all();
  app.add_option("--store", flags.stores, "Store to serve; the image is made when it is missing")
      ->type_name("NAME=PATH")
      ->check(form<parse_store>("NAME=PATH with a name of the form [A-Za-z0-9][A-Za-z0-9._-]{0,63}"))
      ->expected(1)
      ->take_all();
  app.add_option("--directory", flags.directory, "Folder of which each NAME.img is served as store NAME")
      ->type_name("DIR")
      ->check(not_empty());
  app.add_flag("--allow-create", flags.allow_create, "Clients may create stores in the directory");
  app.add_flag("--allow-remove", flags.allow_remove, "Clients may remove stores from the directory");
  app.add_option("--poll-us", flags.poll,
                 "Microseconds to poll for a session's next request before sleeping, while that pays; 0: never")
      ->type_name("auto|N")
      ->check(form<parse_poll>(poll_form));
  app.add_option("--port-file", flags.port_file, "File to write ADDRESS:PORT of each TCP listener to, once all serve")
      ->type_name("FILE")
      ->check(not_empty());
  app.add_option("--log-format", flags.log_format, "Log lines on standard error as text or as JSON")
      ->type_name("text|json")
      ->check(one_of({"text", "json"}));
  app.add_option("--log-level", flags.log_level, "Least level that is logged")
      ->type_name("debug|info|warn|error")
      ->check(one_of({"debug", "info", "warn", "error"}));
  app.add_flag("--check-config", check_only, "Say `ok`, or all that is wrong with the configuration, and end");
  app.add_flag("--print-config-reference", print_reference,
               "Print every key of the configuration file, with values, default and meaning, and end");
  app.set_version_flag("--version", std::string(server_name));
}

// A pipe is read as well, such as that of <(...) in a shell.
std::string read_text(const std::string& path, std::string& text) {
  constexpr std::size_t bytes_max = 16u << 20;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file.is_open()) return std::strerror(errno);
  std::vector<char> part(64u << 10);
  for (;;) {
    const ssize_t got = ::read(file.get(), part.data(), part.size());
    if (got == 0) return {};
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EISDIR ? "it is a folder; name the configuration file itself" : std::strerror(errno);
    text.append(part.data(), static_cast<std::size_t>(got));
    if (text.size() > bytes_max) return "it has more than " + std::to_string(bytes_max) + " bytes";
  }
}

void read_file(const std::string& path, CommandLine& result) {
  std::string text;
  if (const std::string why = read_text(path, text); !why.empty()) {
    result.faults.push_back(path + ": " + why);
    return;
  }
  for (const std::string& fault : read_config(text, result.config)) result.faults.push_back(path + ": " + fault);
}

void apply_stores(const Flags& flags, Config& config) {
  for (const std::string& text : flags.stores) {
    StoreConfig store = *parse_store(text);
    store.origin = "--store " + text;
    // A flag replaces the store of that name in the file, but not that of another flag: that is a mistake to report.
    std::erase_if(config.stores, [&](const StoreConfig& other) {
      return other.name == store.name && !other.origin.starts_with("--store");
    });
    config.stores.push_back(std::move(store));
  }
}

void apply(const Flags& flags, Config& config, std::vector<std::string>& faults) {
  if (!flags.listen.empty()) config.listen.clear();
  if (!flags.unix_paths.empty()) config.unix_sockets.clear();
  for (const std::string& text : flags.listen) config.listen.push_back(*parse_listen(text));
  for (const std::string& path : flags.unix_paths) config.unix_sockets.push_back({path, UnixListen().mode});
  if (config.listen.empty() && config.unix_sockets.empty()) config.listen.push_back({"127.0.0.1", proto::default_port});
  apply_stores(flags, config);
  if (!flags.directory.empty()) {
    if (!config.directory) config.directory.emplace();
    config.directory->path = flags.directory;
  }
  if (flags.allow_create || flags.allow_remove) {
    if (!config.directory) {
      faults.push_back("--allow-create and --allow-remove need --directory: that is where stores are made");
    } else {
      config.directory->create |= flags.allow_create;
      config.directory->remove |= flags.allow_remove;
    }
  }
  if (!flags.poll.empty()) config.poll_us = *parse_poll(flags.poll);
  if (!flags.port_file.empty()) config.port_file = flags.port_file;
  if (!flags.log_format.empty()) config.log_format = flags.log_format == "json" ? LogFormat::json : LogFormat::text;
  if (!flags.log_level.empty()) {
    config.log_level = flags.log_level == "debug"   ? LogLevel::debug
                       : flags.log_level == "warn"  ? LogLevel::warn
                       : flags.log_level == "error" ? LogLevel::error
                                                    : LogLevel::info;
  }
}

}  // namespace

CommandLine read_command_line(int argc, char** argv) {
  CommandLine result;
  Flags flags;
  CLI::App app(description, "pageserverd");
  app.footer(footer);
  bool print_reference = false;
  add_flags(app, flags, result.check_only, print_reference);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    result.exit_status = app.exit(done);
    return result;
  } catch (const CLI::ParseError& error) {
    std::cerr << "pageserverd: " << error.what() << "\nRun with --help for more information.\n";
    result.exit_status = 2;
    return result;
  }
  if (print_reference) {
    std::cout << config_reference();
    result.exit_status = 0;
    return result;
  }
  if (!flags.config_path.empty()) read_file(flags.config_path, result);
  const bool file_is_good = result.faults.empty();
  apply(flags, result.config, result.faults);
  // With half a file read, what it lacks would be reported as missing; stores that exclude each other do so anyway.
  for (std::string& fault : file_is_good ? check_config(result.config) : check_stores(result.config)) {
    result.faults.push_back(std::move(fault));
  }
  return result;
}

}  // namespace pageserver::server
