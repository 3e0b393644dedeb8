// One line for each event, as text or as JSON. The only door to spdlog, so that one file pays for compiling it.
#pragma once

#include <array>
#include <atomic>
#include <charconv>
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

/// A named value of an event, for the call that it stands in: it owns no text and so needs no memory. Numbers stay
/// numbers in JSON.
class LogField {
public:
  LogField(std::string_view name, std::string_view value) noexcept : key_(name), text_(value) {}
  LogField(std::string_view name, const std::string& value) noexcept : key_(name), text_(value) {}
  LogField(std::string_view name, const char* value) noexcept : key_(name), text_(value) {}
  template <std::integral Number>
  LogField(std::string_view name, Number value) noexcept : key_(name), is_number_(true) {
    if constexpr (std::same_as<Number, bool>) {
      digits_[0] = value ? '1' : '0';
      length_ = 1;
    } else {
      length_ = static_cast<std::size_t>(std::to_chars(digits_, digits_ + sizeof digits_, value).ptr - digits_);
    }
  }
  LogField(const LogField&) = delete;
  LogField& operator=(const LogField&) = delete;

  std::string_view key() const noexcept { return key_; }
  std::string_view text() const noexcept { return is_number_ ? std::string_view(digits_, length_) : text_; }
  bool is_number() const noexcept { return is_number_; }

private:
  std::string_view key_;
  std::string_view text_;
  char digits_[24]{};
  std::size_t length_ = 0;
  bool is_number_ = false;
};

/// `session open store=demo pages=19`, or `"event":"session open","store":"demo","pages":19`. Pure, for tests: in text,
/// values with anything but plain characters are quoted and escaped, so that no peer can forge a line.
std::string format_event(LogFormat format, LogLevel level, std::string_view event,
                         std::initializer_list<LogField> fields);

/// Writes to standard error. Thread-safe. No call waits for whoever reads standard error: lines go through a bounded
/// queue, and a line says how many were dropped. The destructor waits for what is queued, for at most a second. A line
/// that there is no memory for is dropped and counted too: what is told of must not fail because of the telling.
class Log {
public:
  explicit Log(LogFormat format = LogFormat::text, LogLevel level = LogLevel::info);
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log();

  bool enabled(LogLevel level) const noexcept { return level >= level_; }
  void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {}) noexcept;
  /// Any thread: lines of that level so far, also those that were dropped.
  std::uint64_t lines(LogLevel level) const noexcept { return lines_[static_cast<std::size_t>(level)]; }
  /// Any thread: lines that nobody took, or for which there was no memory.
  std::uint64_t lines_dropped() const noexcept;
  /// Returns once what was logged is written, or `limit` is over.
  void drain(std::chrono::milliseconds limit) noexcept;
  void debug(std::string_view event, std::initializer_list<LogField> fields = {}) noexcept {
    write(LogLevel::debug, event, fields);
  }
  void info(std::string_view event, std::initializer_list<LogField> fields = {}) noexcept {
    write(LogLevel::info, event, fields);
  }
  void warn(std::string_view event, std::initializer_list<LogField> fields = {}) noexcept {
    write(LogLevel::warn, event, fields);
  }
  void error(std::string_view event, std::initializer_list<LogField> fields = {}) noexcept {
    write(LogLevel::error, event, fields);
  }

private:
  struct Sink;
  void put(LogLevel level, std::string_view event, std::initializer_list<LogField> fields);
  std::atomic<std::uint64_t> lines_lost_{0};
  std::atomic<std::uint64_t> lines_lost_ever_{0};
  std::array<std::atomic<std::uint64_t>, 4> lines_{};
  LogFormat format_;
  LogLevel level_;
  std::unique_ptr<Sink> sink_;
};

}  // namespace pageserver::server
