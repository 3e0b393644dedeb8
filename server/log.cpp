#include "server/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>

#include "proto/codec.hpp"

namespace pageserver::server {

namespace {

constexpr std::string_view text_levels[] = {"DEBUG", "INFO", "WARN", "ERROR"};
constexpr std::string_view json_levels[] = {"debug", "info", "warn", "error"};

std::string_view name_of(LogFormat format, LogLevel level) {
  const auto index = static_cast<std::size_t>(level);
  return format == LogFormat::json ? json_levels[index] : text_levels[index];
}

void append_escaped(std::string& out, std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  // A path may be any bytes; JSON is UTF-8. Without valid UTF-8 every high byte is shown as a replacement.
  const bool utf8 = proto::is_utf8(text);
  for (const char c : text) {
    const auto value = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (value < 0x20 || value == 0x7f) {
      out += "\\u00";
      out += digits[value >> 4];
      out += digits[value & 15];
    } else if (value >= 0x80 && !utf8) {
      out += "\\ufffd";
    } else {
      out += c;
    }
  }
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  append_escaped(out, text);
  out += '"';
}

bool is_plain(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '='; });
}

}  // namespace

std::string format_event(LogFormat format, LogLevel level, std::string_view event,
                         std::initializer_list<LogField> fields) {
  std::string line;
  if (format == LogFormat::json) {
    line += "\"level\":\"";
    line += name_of(format, level);
    line += "\",\"event\":";
    append_quoted(line, event);
  } else {
    line += name_of(format, level);
    line += ' ';
    line += event;
  }
  for (const LogField& field : fields) {
    if (format == LogFormat::json) {
      line += ',';
      append_quoted(line, field.key);
      line += ':';
    } else {
      line += ' ';
      line += field.key;
      line += '=';
    }
    if (field.is_number || (format == LogFormat::text && is_plain(field.text))) {
      line += field.text;
    } else {
      append_quoted(line, field.text);
    }
  }
  return line;
}

struct Log::Sink {
  spdlog::logger logger{"pageserverd", std::make_shared<spdlog::sinks::stderr_sink_mt>()};
};

Log::Log(LogFormat format, LogLevel level) : format_(format), level_(level), sink_(std::make_unique<Sink>()) {
  const char* pattern =
      format == LogFormat::json ? "{\"time\":\"%Y-%m-%dT%H:%M:%S.%eZ\",%v}" : "%Y-%m-%dT%H:%M:%S.%eZ %v";
  sink_->logger.set_formatter(
      std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc, "\n"));
  sink_->logger.set_level(spdlog::level::trace);
  sink_->logger.flush_on(spdlog::level::trace);
}

Log::~Log() = default;

void Log::write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (!enabled(level)) return;
  const std::string line = format_event(format_, level, event, fields);
  sink_->logger.log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace pageserver::server
