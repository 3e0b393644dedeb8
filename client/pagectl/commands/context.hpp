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

#include "client/pagectl/terminal/progress.hpp"

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

class Image;

/// Waits until `file` has one of `events`, and moves what is in flight on `image` meanwhile: a daemon gives up a
/// session that takes no answers, or stops in the middle of a request.
void wait_beside(Image& image, int file, short events);

/// Standard output, buffered. Throws BrokenPipe, or MemoryError where it can't be written.
class Output {
public:
  void bytes(std::span<const std::byte> data);
  void text(std::string_view text);
  /// `text` and a newline.
  void line(std::string_view text);
  void json(const nlohmann::ordered_json& document);
  void flush();
  /// While standard output blocks, `image` is driven, until the next call; null: none. It must live so long.
  void drive(Image* image) { image_ = image; }
  /// Whether anything was written, flushed or not.
  bool used() const { return used_; }

private:
  void write_all(std::span<const std::byte> data);

  std::vector<std::byte> buffer_;
  Image* image_ = nullptr;
  bool used_ = false;
};

struct Context {
  bool json = false;
  bool quiet = false;
  Output out;

  /// What the user asked for.
  void result(std::string_view text) { out.line(shown(text)); }
  /// A word on what was done; not with --quiet or --json.
  void note(std::string_view text) {
    if (!quiet && !json) out.line(shown(text));
  }
  bool wants_progress() const { return !quiet; }
};

}  // namespace pageserver::pagectl
