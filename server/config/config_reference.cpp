#include "server/config/config_reference.hpp"

#include <array>
#include <sstream>

#include "base/units.hpp"

namespace pageserver::server {

namespace {

constexpr std::string_view heading = R"(# The configuration file

<!-- `pageserverd --print-config-reference` prints this page, from server/config/config_keys.hpp: change that. -->

)";
constexpr std::string_view introduction =
    R"(A file of JSON, given as `--config FILE`. A key that is not there has its default, an unknown one is an error that names
the nearest known one. Flags win over the file: each list that a flag begins replaces the file's, stores replace by
name. `pageserverd --config FILE --check-config` says `ok`, or all that is wrong.
)";
constexpr std::string_view place_of_example =
    R"([docker/pageserverd.json](../docker/pageserverd.json) is an example with every key.
)";
constexpr std::string_view forms = R"(
Sizes are numbers of bytes, or texts such as `"64MiB"` (B, KiB, MiB, GiB, TiB, PiB). Durations are numbers of
milliseconds, or texts such as `"30s"` (ms, s, m, h), up to 366 days. Modes are octal texts such as `"0640"`. `[]` in a
key stands for each element of a list.
)";

struct Part {
  std::string_view prefix;
  std::string_view title;
};

constexpr std::array parts{
    Part{"listen", "Where to listen"},
    Part{"tls", {}},
    Part{"unix", {}},
    Part{"stores", "What to serve"},
    Part{"directory", {}},
    Part{"tokens_file", "Who may do what"},
    Part{"rules", {}},
    Part{"limits", "Limits"},
    Part{"metrics", "Metrics and health"},
    Part{"", "The daemon"},
};

std::string_view part_of(const ConfigKey& key) {
  for (const Part& part : parts) {
    if (!part.prefix.empty() && key.path.starts_with(part.prefix)) return part.prefix;
  }
  return {};
}

// The largest unit that leaves a whole number.
template <std::size_t count>
std::string with_unit(std::uint64_t value, const std::array<base::Unit, count>& units) {
  for (const base::Unit& unit : units) {
    if (value != 0 && value % unit.factor == 0) return std::to_string(value / unit.factor) + std::string(unit.name);
  }
  return std::to_string(value);
}

std::string size_text(std::uint64_t value) {
  constexpr std::array<base::Unit, 5> units{
      {{"PiB", 1ull << 50}, {"TiB", 1ull << 40}, {"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}}};
  return with_unit(value, units);
}

std::string duration_text(std::uint64_t value) {
  constexpr std::array<base::Unit, 2> units{{{"s", 1000}, {"ms", 1}}};
  return with_unit(value, units);
}

std::string mode_text(std::uint64_t value) {
  std::ostringstream text;
  text << '0' << std::oct << value;
  return text.str();
}

std::string quoted(const std::string& text) { return '"' + text + '"'; }

std::string word(std::string_view words, std::uint64_t index) {
  std::istringstream in{std::string(words)};
  std::string found;
  for (std::uint64_t i = 0; i <= index; ++i) in >> found;
  return found;
}

std::string values_of(const ConfigKey& key) {
  switch (key.form) {
    case Form::text: return "a text";
    case Form::flag: return "`true` or `false`";
    case Form::addresses:
      return "a list of numeric addresses with ports, each a text or `{\"address\": TEXT, \"tls\": true}`";
    case Form::poll: return "`\"auto\"`, or " + std::to_string(key.min) + " to " + std::to_string(key.max);
    case Form::whole: return std::to_string(key.min) + " to " + std::to_string(key.max);
    case Form::size: return size_text(key.min) + " to " + size_text(key.max);
    case Form::mode: return mode_text(key.min).substr(1) + " to " + mode_text(key.max);
    case Form::duration: return key.min == 0 ? "a duration" : "a duration, at least " + duration_text(key.min);
    case Form::word_list:
    case Form::words: {
      std::istringstream words{std::string(key.words)};
      std::string text;
      for (std::string each; words >> each;) text += (text.empty() ? "`\"" : ", `\"") + each + "\"`";
      return key.form == Form::word_list ? "a list of " + text : text;
    }
  }
  return {};
}

}  // namespace

std::string default_json(const ConfigKey& key) {
  switch (key.form) {
    case Form::flag: return key.flag() ? "true" : "false";
    case Form::size: return quoted(size_text(key.value));
    case Form::duration: return key.value == 0 ? "0" : quoted(duration_text(key.value));
    case Form::mode: return quoted(mode_text(key.value));
    case Form::words: return quoted(word(key.words, key.value));
    case Form::whole:
    case Form::poll:
    case Form::text:
    case Form::word_list:
    case Form::addresses: break;
  }
  return std::to_string(key.value);
}

std::vector<KeyPage> key_pages() {
  std::vector<KeyPage> pages;
  std::string_view title;
  for (const Part& part : parts) {
    if (!part.title.empty()) title = part.title;
    for (const ConfigKey* key : keys::all) {
      if (part_of(*key) != part.prefix) continue;
      const std::string by_default = !key->unset.empty() ? std::string(key->unset) : "`" + default_json(*key) + "`";
      const std::string automatic = "`\"auto\"`: " + default_json(*key) + ", or 0 where there is one processor";
      pages.push_back({title, std::string(key->path), values_of(*key), key->form == Form::poll ? automatic : by_default,
                       std::string(key->meaning)});
    }
  }
  return pages;
}

std::string_view config_introduction() {
  static const std::string text = std::string(introduction) + std::string(forms);
  return text;
}

std::string config_reference() {
  std::string page =
      std::string(heading) + std::string(introduction) + std::string(place_of_example) + std::string(forms);
  std::string_view part;
  for (const KeyPage& key : key_pages()) {
    if (key.part != part) {
      part = key.part;
      page += "\n## " + std::string(part) + "\n\n| key | values | default | meaning |\n|---|---|---|---|\n";
    }
    page += "| `" + key.path + "` | " + key.values + " | " + key.by_default + " | " + key.meaning + " |\n";
  }
  return page;
}

}  // namespace pageserver::server
