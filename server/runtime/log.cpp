#include "server/runtime/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "base/secrets.hpp"
#include "base/text.hpp"
#include "server/runtime/log_line_queue.hpp"

namespace pageserver::server {

namespace {

constexpr std::string_view text_levels[] = {"DEBUG", "INFO", "WARN", "ERROR"};
constexpr std::string_view json_levels[] = {"debug", "info", "warn", "error"};

std::string_view name_of(LogFormat format, LogLevel level) {
  const auto index = static_cast<std::size_t>(level);
  return format == LogFormat::json ? json_levels[index] : text_levels[index];
}

void append_hex(std::string& out, std::uint32_t value, int digits) {
  static constexpr char letters[] = "0123456789abcdef";
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += letters[value >> shift & 15u];
}

/// As JSON has it, for either format. What could end a line or turn its direction does not get through.
void append_escaped(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const auto next = base::first_character(text);
    const auto part = text.substr(0, std::max<std::size_t>(next.bytes, 1));
    text.remove_prefix(part.size());
    if (next.bytes == 0) {
      // A path may be any bytes; JSON is UTF-8.
      out += "\\ufffd";
    } else if (next.code == '"' || next.code == '\\') {
      out += '\\';
      out += part;
    } else if (next.code == '\n') {
      out += "\\n";
    } else if (base::is_unsafe(next.code)) {
      out += "\\u";
      append_hex(out, next.code, 4);
    } else {
      out += part;
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
      append_quoted(line, field.key());
      line += ':';
    } else {
      line += ' ';
      line += field.key();
      line += '=';
    }
    // A peer's words may be a secret that is not meant for here, as may what stands wrong in a file.
    std::string memory;
    const std::string_view text = base::harmless(field.text(), memory);
    if (field.is_number() || (format == LogFormat::text && is_plain(text))) {
      line += text;
    } else {
      append_quoted(line, text);
    }
  }
  return line;
}

namespace {

// What waits for a reader of standard error that stalls: some ten thousand lines.
constexpr std::size_t queued_bytes_max = 1u << 20;

std::unique_ptr<spdlog::pattern_formatter> line_formatter(LogFormat format) {
  const char* pattern =
      format == LogFormat::json ? "{\"time\":\"%Y-%m-%dT%H:%M:%S.%eZ\",%v}" : "%Y-%m-%dT%H:%M:%S.%eZ %v";
  return std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc, "\n");
}

std::string formatted(spdlog::formatter& formatter, const spdlog::details::log_msg& message) {
  spdlog::memory_buf_t text;
  formatter.format(message, text);
  return {text.data(), text.size()};
}

/// Stamps lines when they are written, and hands them to the queue.
class QueueSink final : public spdlog::sinks::base_sink<std::mutex> {
public:
  explicit QueueSink(LogFormat format)
      : spdlog::sinks::base_sink<std::mutex>(line_formatter(format)),
        queue_(STDERR_FILENO, queued_bytes_max,
               [format, formatter = std::shared_ptr(line_formatter(format))](std::uint64_t dropped) {
                 const std::string line = format_event(format, LogLevel::warn, "log lines dropped",
                                                       {{"lines", dropped},
                                                        {"reason",
                                                         "standard error does not take them: whoever reads it "
                                                         "stalls or is gone, or its disk is full"}});
                 return formatted(*formatter, {"pageserverd", spdlog::level::info, line});
               }) {}

  LogLineQueue& queue() noexcept { return queue_; }

protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    // spdlog would write what is thrown here to standard error itself, and wait for it.
    try {
      queue_.push(formatted(*formatter_, message));
    } catch (const std::exception&) {
      queue_.drop();
    }
  }
  void flush_() override {}

private:
  LogLineQueue queue_;
};

}  // namespace

struct Log::Sink {
  explicit Sink(LogFormat format) : queued(std::make_shared<QueueSink>(format)), logger("pageserverd", queued) {
    logger.set_level(spdlog::level::trace);
  }
  std::shared_ptr<QueueSink> queued;
  spdlog::logger logger;
};

Log::Log(LogFormat format, LogLevel level) : format_(format), level_(level), sink_(std::make_unique<Sink>(format)) {}

Log::~Log() = default;

void Log::write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) noexcept {
  if (!enabled(level)) return;
  lines_[static_cast<std::size_t>(level)].fetch_add(1, std::memory_order_relaxed);
  std::uint64_t lost = lines_lost_.exchange(0);
  try {
    if (lost != 0) put(LogLevel::warn, "log lines lost", {{"lines", lost}, {"error", "out of memory"}});
    lost = 0;
    put(level, event, fields);
  } catch (const std::exception&) {
    lines_lost_ += lost + 1;
    ++lines_lost_ever_;
  }
}

void Log::put(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  const std::string line = format_event(format_, level, event, fields);
  sink_->logger.log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

std::uint64_t Log::lines_dropped() const noexcept { return lines_lost_ever_ + sink_->queued->queue().dropped(); }

void Log::drain(std::chrono::milliseconds limit) noexcept { sink_->queued->queue().drain(limit); }

}  // namespace pageserver::server
