#include "server/config/config_json.hpp"

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/nearest.hpp"
#include "proto/codec.hpp"
#include "server/config/config_keys.hpp"
#include "server/config/config_values.hpp"

namespace pageserver::server {

namespace {

using nlohmann::json;

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

/// The key of a list, without the `[]` of its elements.
std::string_view list_name(const ConfigKey& key) { return key.name().substr(0, key.name().size() - 2); }

// One object of the file. Each get() takes a key; what nobody took is unknown.
class Section {
public:
  Section(const json& object, std::string path, std::vector<std::string>& faults)
      : object_(object), path_(std::move(path)), faults_(faults) {
    if (!object_.is_object()) wrong(path_.empty() ? "configuration" : path_, "an object", object_);
  }
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;
  ~Section() {
    if (!object_.is_object()) return;
    for (const auto& [key, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      std::string fault = path_of(key) + ": unknown key";
      if (const auto meant = base::nearest(key, known_)) fault += "; did you mean \"" + *meant + "\"?";
      faults_.push_back(std::move(fault));
    }
  }

  std::string path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }
  std::string path_of(const ConfigKey& key) const { return path_of(key.name()); }
  const json* find(const ConfigKey& key) { return find(key.name()); }
  const json* find(std::string_view key) {
    known_.push_back(key);
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }
  void fault(std::string_view key, const std::string& what) { faults_.push_back(path_of(key) + ": " + what); }
  void wrong(const std::string& path, std::string_view expected, const json& got) {
    faults_.push_back(path + ": expected " + std::string(expected) + ", got " + shown(got));
  }

  void get(const ConfigKey& key, std::string& out) {
    const json* const value = find(key);
    if (value == nullptr) return;
    if (!value->is_string() || value->get_ref<const std::string&>().empty()) {
      return wrong(path_of(key), "a text that is not empty", *value);
    }
    out = value->get<std::string>();
    if (out.find('\0') != std::string::npos) wrong(path_of(key), "a text without zero bytes", *value);
  }
  void get(const ConfigKey& key, bool& out) {
    const json* const value = find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) return wrong(path_of(key), "true or false", *value);
    out = value->get<bool>();
  }
  void get(const ConfigKey& key, std::uint32_t& out) {
    const json* const value = find(key);
    if (value == nullptr) return;
    if (!value->is_number_unsigned() || !within(value->get<std::uint64_t>(), key)) {
      return wrong(path_of(key), "a whole number from " + range_of(key), *value);
    }
    out = value->get<std::uint32_t>();
  }
  template <class Number>
  void get_size(const ConfigKey& key, Number& out) {
    const json* const value = find(key);
    if (value == nullptr) return;
    std::optional<std::uint64_t> size;
    if (value->is_number_unsigned()) size = value->get<std::uint64_t>();
    if (value->is_string()) size = parse_size(value->get_ref<const std::string&>());
    if (!size) return wrong(path_of(key), size_form, *value);
    if (!within(*size, key)) return wrong(path_of(key), "a size from " + range_of(key), *value);
    out = static_cast<Number>(*size);
  }
  void get(const ConfigKey& key, std::chrono::milliseconds& out) {
    const json* const value = find(key);
    if (value == nullptr) return;
    std::optional<std::chrono::milliseconds> duration;
    if (value->is_number_unsigned()) duration = parse_duration(std::to_string(value->get<std::uint64_t>()));
    if (value->is_string()) duration = parse_duration(value->get_ref<const std::string&>());
    if (!duration) return wrong(path_of(key), duration_form, *value);
    if (static_cast<std::uint64_t>(duration->count()) < key.min) {
      return wrong(path_of(key), "at least " + std::to_string(key.min) + " ms", *value);
    }
    out = *duration;
  }
  bool get_mode(const ConfigKey& key, std::uint32_t& out) {
    const json* const value = find(key);
    if (value == nullptr) return false;
    const auto mode = value->is_string() ? parse_mode(value->get_ref<const std::string&>()) : std::nullopt;
    if (!mode) {
      wrong(path_of(key), mode_form, *value);
      return false;
    }
    out = *mode;
    return true;
  }
  template <class Enum>
  void get_choice(const ConfigKey& key, Enum& out, std::initializer_list<Enum> choices) {
    const json* const value = find(key);
    if (value == nullptr) return;
    std::string expected;
    std::istringstream words{std::string(key.words)};
    std::string word;
    for (const Enum choice : choices) {
      words >> word;
      if (value->is_string() && value->get_ref<const std::string&>() == word) {
        out = choice;
        return;
      }
      expected += (expected.empty() ? "\"" : " or \"") + word + "\"";
    }
    wrong(path_of(key), expected, *value);
  }
  /// A list of some of the key's words; `take(index)` is called for each.
  template <class Take>
  void get_words(const ConfigKey& key, Take take) {
    get_list(list_name(key), [&](const json& value, const std::string& path) {
      std::istringstream words{std::string(key.words)};
      std::size_t index = 0;
      for (std::string word; words >> word; ++index)
        if (value.is_string() && value.get_ref<const std::string&>() == word) return take(index);
      wrong(path, "one of " + std::string(key.words), value);
    });
  }
  // Calls `each(element, path)`.
  template <class Each>
  void get_list(std::string_view key, Each each) {
    const json* const value = find(key);
    if (value == nullptr) return;
    if (!value->is_array()) return wrong(path_of(key), "a list", *value);
    for (std::size_t i = 0; i < value->size(); ++i) each((*value)[i], path_of(key) + "[" + std::to_string(i) + "]");
  }

private:
  static bool within(std::uint64_t value, const ConfigKey& key) { return value >= key.min && value <= key.max; }
  static std::string range_of(const ConfigKey& key) {
    return std::to_string(key.min) + " to " + std::to_string(key.max);
  }

  const json& object_;
  const std::string path_;
  std::vector<std::string>& faults_;
  std::vector<std::string_view> known_;
};

void require(Section& section, const ConfigKey& key, const std::string& value, const json& object) {
  if (value.empty() && object.is_object() && !object.contains(key.name())) section.fault(key.name(), "is missing");
}

void read_listen_object(const json& value, const std::string& path, Config& config, std::vector<std::string>& faults) {
  Section section(value, path, faults);
  std::string text;
  bool tls = false;
  section.get(keys::listen_address, text);
  section.get(keys::listen_tls, tls);
  require(section, keys::listen_address, text, value);
  if (text.empty()) return;
  auto address = parse_listen(text, tls);
  if (!address)
    return section.wrong(section.path_of(keys::listen_address), listen_form, value[keys::listen_address.name()]);
  config.listen.push_back(*address);
}

void read_tls(Section& root, TlsConfig& files, std::vector<std::string>& faults) {
  const json* const value = root.find("tls");
  if (value == nullptr) return;
  Section section(*value, "tls", faults);
  section.get(keys::tls_certificate, files.certificate);
  section.get(keys::tls_key, files.key);
  section.get(keys::tls_client_ca, files.client_ca);
  section.get_choice(keys::tls_identity, files.identity,
                     {tls::NameField::uri, tls::NameField::dns, tls::NameField::email, tls::NameField::common_name});
}

void read_listen(Section& root, Config& config, std::vector<std::string>& faults) {
  root.get_list("listen", [&](const json& value, const std::string& path) {
    if (value.is_object()) return read_listen_object(value, path, config, faults);
    const auto address = value.is_string() ? parse_listen(value.get_ref<const std::string&>()) : std::nullopt;
    if (address) return config.listen.push_back(*address);
    faults.push_back(path + ": expected " + std::string(listen_form) + ", got " + shown(value));
  });
  root.get_list("unix", [&](const json& value, const std::string& path) {
    UnixListen address;
    Section section(value, path, faults);
    section.get(keys::unix_path, address.path);
    section.get_mode(keys::unix_mode, address.mode);
    require(section, keys::unix_path, address.path, value);
    config.unix_sockets.push_back(address);
  });
}

void read_stores(Section& root, Config& config, std::vector<std::string>& faults) {
  root.get_list("stores", [&](const json& value, const std::string& path) {
    StoreConfig store;
    store.origin = path;
    Section section(value, path, faults);
    section.get(keys::store_name, store.name);
    section.get(keys::store_path, store.path);
    section.get(keys::store_read_only, store.read_only);
    section.get(keys::store_create, store.create);
    std::uint32_t mode = 0;
    if (section.get_mode(keys::store_mode, mode)) store.mode = mode;
    std::uint64_t size_bytes_max = 0;
    section.get_size(keys::store_size_bytes_max, size_bytes_max);
    if (size_bytes_max != 0) store.size_bytes_max = size_bytes_max;
    section.get(keys::store_standby, store.standby);
    require(section, keys::store_name, store.name, value);
    require(section, keys::store_path, store.path, value);
    if (!store.name.empty() && !proto::is_store_name(store.name)) {
      section.wrong(section.path_of(keys::store_name), store_name_form, value[keys::store_name.name()]);
    }
    // A store that is wrong in itself would only cause more faults when compared with others.
    if (!store.name.empty() && !store.path.empty()) config.stores.push_back(store);
  });
  if (const json* const value = root.find("directory")) {
    DirectoryConfig directory;
    Section section(*value, "directory", faults);
    section.get(keys::directory_path, directory.path);
    section.get(keys::directory_create, directory.create);
    section.get(keys::directory_remove, directory.remove);
    section.get(keys::directory_read_only, directory.read_only);
    section.get_mode(keys::directory_mode, directory.mode);
    section.get(keys::directory_linger, directory.linger);
    require(section, keys::directory_path, directory.path, *value);
    config.directory = directory;
  }
}

bool is_store_pattern(std::string_view text) {
  return !text.empty() && text.size() <= proto::store_name_bytes_max &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                  c == '-' || c == '*';
         });
}

void read_access(Section& root, PolicySource& access, std::vector<std::string>& faults) {
  root.get(keys::tokens_file, access.tokens_file);
  // Also an empty list: nobody may do anything then.
  if (root.find("rules") != nullptr) access.rules.emplace();
  root.get_list("rules", [&](const json& value, const std::string& path) {
    Rule rule;
    rule.origin = path;
    Section section(value, path, faults);
    section.get(keys::rule_who, rule.who);
    section.get(keys::rule_stores, rule.stores);
    section.get_words(keys::rule_may, [&](std::size_t index) { rule.may |= bit(rights_by_name[index].right); });
    require(section, keys::rule_who, rule.who, value);
    require(section, keys::rule_stores, rule.stores, value);
    if (value.is_object() && !value.contains(list_name(keys::rule_may)))
      section.fault(list_name(keys::rule_may), "is missing");
    if (!rule.who.empty() && !is_identity(rule.who, true))
      section.wrong(section.path_of(keys::rule_who), "token:NAME, uid:NUMBER, cert:NAME, * in them, or anyone",
                    value[keys::rule_who.name()]);
    if (!rule.stores.empty() && !is_store_pattern(rule.stores))
      section.wrong(section.path_of(keys::rule_stores), "a store's name, * in it for any characters",
                    value[keys::rule_stores.name()]);
    access.rules->push_back(rule);
  });
}

void read_limits(Section& root, Limits& limits, std::vector<std::string>& faults) {
  const json* const value = root.find("limits");
  if (value == nullptr) return;
  Section section(*value, "limits", faults);
  section.get(keys::connections, limits.connections);
  section.get(keys::peer_percent, limits.peer_percent);
  section.get(keys::strangers, limits.strangers);
  section.get(keys::lease_line, limits.lease_line);
  section.get(keys::stores, limits.stores);
  section.get(keys::disk_threads, limits.disk_threads);
  section.get_size(keys::size_bytes_max, limits.size_bytes_max);
  section.get_size(keys::request_bytes, limits.request_bytes);
  section.get(keys::requests_in_flight, limits.requests_in_flight);
  section.get_size(keys::buffered_bytes, limits.buffered_bytes);
  section.get_size(keys::memory_bytes, limits.memory_bytes);
  section.get(keys::hello_timeout, limits.hello_timeout);
  section.get(keys::stall_timeout, limits.stall_timeout);
  section.get(keys::lease_idle_max, limits.lease_idle_max);
  section.get(keys::keepalive, limits.keepalive);
  section.get_size(keys::log_bytes, limits.engine.log_bytes);
  section.get(keys::checkpoint_pace, limits.engine.checkpoint_pace);
  section.get_size(keys::held_bytes, limits.engine.held_bytes);
  section.get_size(keys::private_memory_bytes, limits.engine.private_memory_bytes);
  section.get_size(keys::transaction_bytes, limits.engine.transaction_bytes);
  section.get(keys::private_ranges, limits.engine.private_ranges);
  section.get_size(keys::fork_bytes, limits.engine.fork_bytes);
  section.get_size(keys::forks_bytes, limits.engine.forks_bytes);
}

void read_log(Section& root, Config& config, std::vector<std::string>& faults) {
  const json* const value = root.find("log");
  if (value == nullptr) return;
  Section section(*value, "log", faults);
  section.get_choice(keys::log_format, config.log_format, {LogFormat::text, LogFormat::json});
  section.get(keys::log_peer_lines, config.log_peer_lines);
  section.get_choice(keys::log_level, config.log_level,
                     {LogLevel::debug, LogLevel::info, LogLevel::warn, LogLevel::error});
}

void read_metrics(Section& root, Config& config, std::vector<std::string>& faults) {
  const json* const value = root.find("metrics");
  if (value == nullptr) return;
  MetricsConfig metrics;
  Section section(*value, "metrics", faults);
  std::string listen;
  section.get(keys::metrics_listen, listen);
  require(section, keys::metrics_listen, listen, *value);
  if (const auto address = parse_metrics(listen)) {
    metrics.listen = *address;
  } else if (!listen.empty()) {
    section.wrong(section.path_of(keys::metrics_listen), metrics_form, (*value)[keys::metrics_listen.name()]);
  }
  section.get_list("hosts", [&](const json& host, const std::string& path) {
    const std::string text = host.is_string() ? host.get<std::string>() : std::string();
    if (is_host_name(text)) return metrics.hosts.push_back(text);
    faults.push_back(path + ": expected " + std::string(host_name_form) + ", got " + shown(host));
  });
  config.metrics = std::move(metrics);
}

void read_poll(Section& root, Config& config) {
  const json* const value = root.find(keys::poll_us);
  if (value == nullptr) return;
  if (value->is_string() && value->get_ref<const std::string&>() == "auto") return config.poll_us.reset();
  const auto us = value->is_number_unsigned() ? std::optional{value->get<std::uint64_t>()} : std::nullopt;
  if (!us || *us > keys::poll_us.max) return root.wrong(root.path_of(keys::poll_us), poll_form, *value);
  config.poll_us = static_cast<std::uint32_t>(*us);
}

// The library keeps the last of two equal keys and says nothing.
json parse_json(std::string_view text, std::vector<std::string>& faults) {
  std::vector<std::set<std::string>> open_objects;
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event == json::parse_event_t::key && !open_objects.back().insert(parsed.get<std::string>()).second) {
      faults.push_back(parsed.get<std::string>() + ": this key is there twice in one object");
    }
    return true;
  };
  return json::parse(text, watch, true, true);
}

}  // namespace

std::vector<std::string> read_config(std::string_view text, Config& config) {
  std::vector<std::string> faults;
  json document;
  try {
    document = parse_json(text, faults);
  } catch (const json::exception& error) {
    // The library's own prefix says nothing to a user: "[json.exception.parse_error.101] parse error at line 3 ...".
    const std::string what = error.what();
    const std::size_t prefix = what.find("] ");
    faults.push_back("not JSON: " + (prefix == std::string::npos ? what : what.substr(prefix + 2)));
    return faults;
  }
  {
    Section root(document, "", faults);  // names unknown keys when it goes
    read_listen(root, config, faults);
    read_tls(root, config.tls, faults);
    read_stores(root, config, faults);
    read_access(root, config.access, faults);
    read_limits(root, config.limits, faults);
    read_log(root, config, faults);
    read_metrics(root, config, faults);
    root.get(keys::grace, config.grace);
    root.get(keys::resume_linger, config.resume_linger);
    root.get(keys::home_timeout, config.home_timeout);
    root.get(keys::allow_faults, config.allow_faults);
    root.get(keys::threads, config.threads);
    read_poll(root, config);
    root.get(keys::port_file, config.port_file);
  }
  return faults;
}

}  // namespace pageserver::server
