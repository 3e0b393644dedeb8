#include "tests/support/test_mode.hpp"

#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace pageserver::test {

namespace {

bool says(std::string_view text, std::string_view key) { return text.find(key) != std::string_view::npos; }

}  // namespace

TestMode TestMode::from_environment() {
  TestMode mode;
  const char* text = std::getenv("PAGESERVER_TEST_MODE");
  std::istringstream words(text == nullptr ? "" : text);
  for (std::string word; std::getline(words, word, ',');) {
    if (word == "threads")
      mode.threads = true;
    else if (word == "polling")
      mode.polling = true;
    else if (word == "cache")
      mode.cache = true;
    else
      throw std::runtime_error("PAGESERVER_TEST_MODE: \"" + word + "\" is none of threads, polling, cache");
  }
  return mode;
}

std::string TestMode::config_with(std::string config) const {
  if (config.empty()) config = "{}";
  std::string added;
  if (threads && !says(config, "\"threads\"")) added += "\"threads\": 3,";
  if (polling && !says(config, "\"poll_us\"")) added += "\"poll_us\": 1000,";
  if (added.empty()) return config;
  const std::size_t open = config.find('{');
  if (open == std::string::npos) return config;  // no configuration: the daemon is to say so
  const std::size_t next = config.find_first_not_of(" \t\n\r", open + 1);
  if (next != std::string::npos && config[next] == '}') added.pop_back();
  return config.insert(open + 1, added);
}

std::string TestMode::query_with(std::string_view query) const {
  std::string out(query);
  const auto add = [&out](std::string_view part) {
    if (!out.empty()) out += '&';
    out += part;
  };
  if (polling && !says(query, "poll_us=")) add("poll_us=1000");
  if (cache && !says(query, "cache_bytes=")) add("cache_bytes=1MiB");
  return out;
}

}  // namespace pageserver::test
