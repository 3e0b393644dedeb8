// What every command gets: the common options and the one way to standard output.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace pageserver::pagectl {

/// Exit statuses.
inline constexpr int exit_done = 0;
inline constexpr int exit_failed = 1;  ///< also: diff found a difference
inline constexpr int exit_usage = 2;

/// Nobody reads standard output any more. Ends the program with exit_failed and no message.
class BrokenPipe : public std::exception {
public:
  const char* what() const noexcept override { return "standard output was closed"; }
};

/// Standard output, buffered. Throws BrokenPipe, or MemoryError where it can't be written.
class Output {
public:
  void bytes(std::span<const std::byte> data);
  void text(std::string_view text);
  /// `text` and a newline.
  void line(std::string_view text);
  void json(const nlohmann::ordered_json& document);
  void flush();
  /// Whether anything was written, flushed or not.
  bool used() const { return used_; }

private:
  std::vector<std::byte> buffer_;
  bool used_ = false;
};

struct Context {
  bool json = false;
  bool quiet = false;
  Output out;

  /// What the user asked for.
  void result(std::string_view text) { out.line(text); }
  /// A word on what was done; not with --quiet or --json.
  void note(std::string_view text) {
    if (!quiet && !json) out.line(text);
  }
  bool wants_progress() const { return !quiet; }
};

/// A line on standard error: "pagectl: TEXT".
void complain(std::string_view text);

}  // namespace pageserver::pagectl
