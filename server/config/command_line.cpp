#include "server/config/command_line.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <iostream>
#include <sstream>
#include <system_error>

#include "base/home_paths.hpp"
#include "base/nearest.hpp"
#include "base/secrets.hpp"
#include "proto/codec.hpp"
#include "server/config/config_json.hpp"
#include "server/config/config_reference.hpp"
#include "server/config/config_text.hpp"
#include "server/config/config_values.hpp"
#include "server/config/tls_files.hpp"
#include "server/metrics/metrics_text.hpp"
#include "server/runtime/version.hpp"

namespace pageserver::server {

namespace {

constexpr const char* description =
    "Serves memory images, flat files of 64 KiB pages, over TCP and Unix sockets.\n"
    "Without rules in its configuration it serves everybody on this machine, and no other.";

constexpr const char* notes =
    "Without --listen, --unix, sockets of a service manager or a configuration that says so it listens on\n"
    "127.0.0.1:6553.\n"
    "Flags win over the configuration file: each list that a flag begins replaces the file's, stores replace by name.\n"
    "SIGTERM and SIGINT stop in an orderly way, a second one at once.";
constexpr const char* status =
    "Exit status: 0 stopped in order, 1 could not start or could not close a store, 2 usage.";
constexpr const char* example =
    "  pageserverd --store demo=/var/lib/demo.img --listen 127.0.0.1:6553 --unix /run/pageserver.sock";

struct Flags {
  std::string config_path;
  std::vector<std::string> listen;
  std::vector<std::string> listen_tls;
  std::string tls_certificate;
  std::string tls_key;
  std::string tls_client_ca;
  std::vector<std::string> unix_paths;
  std::vector<std::string> stores;
  std::string directory;
  bool standby = false;
  bool allow_create = false;
  bool allow_remove = false;
  bool insecure = false;
  bool allow_faults = false;
  std::vector<std::string> explain;
  std::string poll;
  std::string port_file;
  std::string metrics;
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

std::optional<ListenAddress> parse_listen_tls(std::string_view text) { return parse_listen(text, true); }
std::optional<ListenAddress> parse_listen_plain(std::string_view text) { return parse_listen(text); }

// The option's type name lists the words already: the validator adds nothing to it.
CLI::Validator one_of(std::vector<std::string> words) { return CLI::IsMember(std::move(words)).description(""); }

// An unset variable of a script makes one: what it was meant to name must not be left out in silence.
CLI::Validator not_empty() {
  return CLI::Validator([](std::string& text) { return text.empty() ? "expected a path, got \"\"" : std::string(); },
                        "");
}

void add_flags(CLI::App& app, Flags& flags, bool& check_only, bool& print_reference, bool& print_metrics) {
  app.add_option("--config", flags.config_path, "Configuration file (JSON; --print-config-reference shows every key)")
      ->type_name("FILE")
      ->check(not_empty());
  app.add_option("--listen", flags.listen, "TCP address to listen on, such as 127.0.0.1:6553, [::1]:6553, 0.0.0.0:0")
      ->type_name("HOST:PORT")
      ->check(form<parse_listen_plain>(listen_form))
      ->expected(1)
      ->allow_extra_args(false)  // else it takes all words that follow
      ->take_all();
  app.add_option("--listen-tls", flags.listen_tls, "The same, with TLS")
      ->type_name("HOST:PORT")
      ->check(form<parse_listen_tls>(listen_form))
      ->expected(1)
      ->allow_extra_args(false)  // else it takes all words that follow
      ->take_all();
  app.add_option("--tls-certificate", flags.tls_certificate, "PEM file with the certificate for TLS, and its chain")
      ->type_name("FILE")
      ->check(not_empty());
  app.add_option("--tls-key", flags.tls_key, "PEM file with its private key")->type_name("FILE")->check(not_empty());
  app.add_option("--tls-client-ca", flags.tls_client_ca,
                 "PEM file with authorities: with TLS, clients must have a certificate by one of them")
      ->type_name("FILE")
      ->check(not_empty());
  app.add_option("--unix", flags.unix_paths, "Unix socket to listen on")
      ->type_name("PATH")
      ->check(not_empty())
      ->expected(1)
      ->allow_extra_args(false)  // else it takes all words that follow
      ->take_all();
  app.add_option("--store", flags.stores, "Store to serve; the image is made when it is missing")
      ->type_name("NAME=PATH")
      ->check(form<parse_store>("NAME=PATH with a name of the form [A-Za-z0-9][A-Za-z0-9._-]{0,63}"))
      ->expected(1)
      ->allow_extra_args(false)  // else it takes all words that follow
      ->take_all();
  app.add_flag("--standby", flags.standby,
               "Where another daemon has a store that lies in a Ceph pool: wait, and take it over once it is free");
  app.add_option("--directory", flags.directory, "Folder of which each NAME.img is served as store NAME")
      ->type_name("DIR")
      ->check(not_empty());
  app.add_flag("--allow-create", flags.allow_create, "Clients may create stores in the directory");
  app.add_flag("--allow-remove", flags.allow_remove, "Clients may remove stores from the directory");
  app.add_flag("--insecure", flags.insecure,
               "Without rules: serve everybody who has a way to the daemon, whoever that is");
  app.add_flag("--allow-faults", flags.allow_faults,
               "For tests: clients may order faults, such as errors, delays and cut connections");
  app.add_option("--poll-us", flags.poll,
                 "Microseconds to poll for a session's next request before sleeping, while that pays; 0: never")
      ->type_name("auto|N")
      ->check(form<parse_poll>(poll_form));
  app.add_option("--port-file", flags.port_file, "File to write ADDRESS:PORT of each TCP listener to, once all serve")
      ->type_name("FILE")
      ->check(not_empty());
  app.add_option("--metrics", flags.metrics,
                 "Where to tell metrics and health by HTTP; a port alone is one of this machine's loopback")
      ->type_name("HOST:PORT|PORT|unix:PATH")
      ->check(form<parse_metrics>(metrics_form));
  app.add_option("--log-format", flags.log_format, "Log lines on standard error as text or as JSON")
      ->type_name("text|json")
      ->check(one_of({"text", "json"}));
  app.add_option("--log-level", flags.log_level, "Least level that is logged")
      ->type_name("debug|info|warn|error")
      ->check(one_of({"debug", "info", "warn", "error"}));
  app.add_flag("--check-config", check_only, "Say `ok`, or all that is wrong with the configuration, and end");
  app.add_option("--explain", flags.explain, "With --check-config: say what WHO may do with STORE, and why")
      ->type_name("WHO STORE")
      ->expected(2)
      ->type_size(1);
  app.add_flag("--print-config-reference", print_reference,
               "Print every key of the configuration file, with values, default and meaning, and end");
  app.add_flag("--print-metrics-reference", print_metrics, "Print every metric with its labels and meaning, and end");
  app.set_version_flag("--version", std::string(server_name));
}

/// What is wrong, and which flag was probably meant.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  std::string text = error.what();
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) names.push_back("--" + option->get_single_name());
  const std::vector<std::string_view> known(names.begin(), names.end());
  for (const std::string& word : app.remaining()) {
    if (!word.starts_with("-")) continue;
    const std::string flag = word.substr(0, word.find('='));
    if (const auto meant = base::nearest(flag, known)) text += "; did you mean " + *meant + "?";
    break;
  }
  return text;
}

void read_file(const std::string& path, CommandLine& result) {
  std::string text;
  if (const std::string why = read_text(path, text); !why.empty()) {
    result.faults.push_back(path + ": " + why);
    return;
  }
  for (const std::string& fault : read_config(text, result.config)) result.faults.push_back(path + ": " + fault);
}

void apply_stores(const Flags& flags, Config& config, std::vector<std::string>& faults) {
  for (const std::string& text : flags.stores) {
    StoreConfig store = *parse_store(text);
    store.origin = "--store " + text;
    // A flag replaces the store of that name in the file, but not that of another flag: that is a mistake to report.
    std::erase_if(config.stores, [&](const StoreConfig& other) {
      return other.name == store.name && !other.origin.starts_with("--store");
    });
    config.stores.push_back(std::move(store));
  }
  if (!flags.standby) return;
  const bool any = std::any_of(config.stores.begin(), config.stores.end(),
                               [](const StoreConfig& store) { return base::is_home_path(store.path); });
  if (!any)
    faults.push_back(
        "--standby: no store lies in a Ceph pool; name one with --store NAME=ceph:POOL/NAME, or leave it out");
  for (StoreConfig& store : config.stores) store.standby |= base::is_home_path(store.path);
}

void apply_passed(const PassedSockets& passed, Config& config, std::vector<std::string>& faults) {
  faults.insert(faults.end(), passed.faults.begin(), passed.faults.end());
  for (std::string& fault : add_passed(passed.sockets, config)) faults.push_back(std::move(fault));
  // One that is passed for metrics alone leaves the daemon where it is without any.
  if (config.listen.empty() && config.unix_sockets.empty()) config.listen.push_back({"127.0.0.1", proto::default_port});
}

void apply(const Flags& flags, Config& config, std::vector<std::string>& faults) {
  if (!flags.listen.empty() || !flags.listen_tls.empty()) config.listen.clear();
  if (!flags.unix_paths.empty()) config.unix_sockets.clear();
  for (const std::string& text : flags.listen) config.listen.push_back(*parse_listen(text));
  for (const std::string& text : flags.listen_tls) config.listen.push_back(*parse_listen_tls(text));
  for (const std::string& path : flags.unix_paths) config.unix_sockets.push_back({path, UnixListen().mode});
  apply_stores(flags, config, faults);
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
  config.access.insecure = flags.insecure;
  config.allow_faults |= flags.allow_faults;
  if (!flags.tls_certificate.empty()) config.tls.certificate = flags.tls_certificate;
  if (!flags.tls_key.empty()) config.tls.key = flags.tls_key;
  if (!flags.tls_client_ca.empty()) config.tls.client_ca = flags.tls_client_ca;
  config.access.certificates = !config.tls.client_ca.empty();
  if (!flags.poll.empty()) config.poll_us = *parse_poll(flags.poll);
  if (!flags.port_file.empty()) config.port_file = flags.port_file;
  if (!flags.metrics.empty()) {
    if (!config.metrics) config.metrics.emplace();
    config.metrics->listen = *parse_metrics(flags.metrics);
  }
  if (!flags.log_format.empty()) config.log_format = flags.log_format == "json" ? LogFormat::json : LogFormat::text;
  if (!flags.log_level.empty()) {
    config.log_level = flags.log_level == "debug"   ? LogLevel::debug
                       : flags.log_level == "warn"  ? LogLevel::warn
                       : flags.log_level == "error" ? LogLevel::error
                                                    : LogLevel::info;
  }
}

/// --check-config and --explain: the tokens file too.
void check_access(const Flags& flags, CommandLine& result) {
  std::shared_ptr<const AccessPolicy> policy;
  result.faults = load_policy(result.config.access, policy);
  std::shared_ptr<const tls::Context> tls;
  for (std::string& fault : TlsFiles(result.config).look(true, tls)) result.faults.push_back(std::move(fault));
  if (!result.faults.empty() || flags.explain.empty()) return;
  const Granted granted = policy->explain(Identity(flags.explain[0]), flags.explain[1]);
  result.exit_status = print_out(flags.explain[0] + " may do " + text_of(granted.rights) + " with " + flags.explain[1] +
                                 "\n" + granted.why + "\n");
}

std::string fault_in_explain(const Flags& flags, bool check_only) {
  if (flags.explain.empty()) return {};
  if (!check_only) return "--explain goes with --check-config";
  if (!is_identity(flags.explain[0], false))
    return "--explain: expected token:NAME, uid:NUMBER, cert:NAME or anyone, got \"" + flags.explain[0] + "\"";
  if (!proto::is_store_name(flags.explain[1]))
    return "--explain: expected a store's name, got \"" + flags.explain[1] + "\"";
  return {};
}

}  // namespace

ProgramPage program_page() {
  ProgramPage page{description, notes, status, example, {}};
  Flags flags;
  bool check_only = false;
  bool print_reference = false;
  bool print_metrics = false;
  CLI::App app;
  add_flags(app, flags, check_only, print_reference, print_metrics);
  for (const CLI::Option* option : app.get_options()) {
    std::string names = "--" + option->get_lnames().front();
    if (!option->get_snames().empty()) names = "-" + option->get_snames().front() + ", " + names;
    if (option->get_items_expected_max() != 0) names += " " + option->get_type_name();
    page.flags.push_back({names, option->get_description()});
  }
  return page;
}

int print_out(std::string_view text) {
  while (!text.empty()) {
    const auto written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      std::cerr << "pageserverd: write to standard output: " << std::generic_category().message(errno) << '\n';
      return 1;
    }
  }
  return 0;
}

CommandLine read_command_line(int argc, char** argv, const PassedSockets& passed) {
  CommandLine result;
  Flags flags;
  CLI::App app(description, "pageserverd");
  app.footer(std::string(notes) + "\n" + status + "\n\nExample:\n" + example);
  bool print_reference = false;
  bool print_metrics = false;
  add_flags(app, flags, result.check_only, print_reference, print_metrics);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    std::ostringstream out;
    app.exit(done, out, out);
    result.exit_status = print_out(out.str());
    return result;
  } catch (const CLI::ParseError& error) {
    std::cerr << "pageserverd: " << base::without_secrets(usage_error(app, error))
              << "\nRun with --help for more information.\n";
    result.exit_status = 2;
    return result;
  }
  if (const std::string fault = fault_in_explain(flags, result.check_only); !fault.empty()) {
    std::cerr << "pageserverd: " << base::without_secrets(fault) << "\nRun with --help for more information.\n";
    result.exit_status = 2;
    return result;
  }
  if (print_reference) {
    result.exit_status = print_out(config_reference());
    return result;
  }
  if (print_metrics) {
    result.exit_status = print_out(metrics_reference());
    return result;
  }
  result.config.file = flags.config_path;
  if (!flags.config_path.empty()) read_file(flags.config_path, result);
  const bool file_is_good = result.faults.empty();
  apply(flags, result.config, result.faults);
  apply_passed(passed, result.config, result.faults);
  // With half a file read, what it lacks would be reported as missing; stores that exclude each other do so anyway.
  for (std::string& fault : file_is_good ? check_config(result.config) : check_stores(result.config)) {
    result.faults.push_back(std::move(fault));
  }
  if (result.faults.empty() && (result.check_only || !flags.explain.empty())) check_access(flags, result);
  return result;
}

}  // namespace pageserver::server
