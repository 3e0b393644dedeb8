// One line for each event, as text or as JSON. The only door to spdlog, so that one file pays for compiling it.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

namespace pageserver::server {

enum class LogLevel : std::uint8_t { debug, info, warn, error };
enum class LogFormat : std::uint8_t { text, json };

/// A named value of an event. Numbers stay numbers in JSON.
struct LogField {
  LogField(std::string_view name, std::string_view value) : key(name), text(value) {}
  LogField(std::string_view name, const std::string& value) : key(name), text(value) {}
  LogField(std::string_view name, const char* value) : key(name), text(value) {}
  template <std::integral Number>
  LogField(std::string_view name, Number value) : key(name), text(std::to_string(value)), is_number(true) {}

  std::string_view key;
  std::string text;
  bool is_number = false;
};

/// `session open store=demo pages=19`, or `"event":"session open","store":"demo","pages":19`. Pure, for tests: in text,
/// values with anything but plain characters are quoted and escaped, so that no peer can forge a line.
std::string format_event(LogFormat format, LogLevel level, std::string_view event,
                         std::initializer_list<LogField> fields);

/// Writes to standard error. Thread-safe. No call waits for whoever reads standard error: lines go through a bounded
/// queue, and a line says how many were dropped. The destructor waits for what is queued, for at most a second.
class Log {
public:
  explicit Log(LogFormat format = LogFormat::text, LogLevel level = LogLevel::info);
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log();

  bool enabled(LogLevel level) const noexcept { return level >= level_; }
  void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});
  /// Returns once what was logged is written, or `limit` is over.
  void drain(std::chrono::milliseconds limit) noexcept;
  void debug(std::string_view event, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::debug, event, fields);
  }
  void info(std::string_view event, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::info, event, fields);
  }
  void warn(std::string_view event, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::warn, event, fields);
  }
  void error(std::string_view event, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::error, event, fields);
  }

private:
  struct Sink;
  LogFormat format_;
  LogLevel level_;
  std::unique_ptr<Sink> sink_;
};

}  // namespace pageserver::server
