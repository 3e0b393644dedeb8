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

/// Exit statuses, as the help says them.
inline constexpr int exit_done = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_usage = 2;
inline constexpr int exit_try_again = 75;  ///< EX_TEMPFAIL of sysexits.h: the same may go well later

/// Nobody reads standard output any more. Ends the program as a failure without a message.
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

/// A part of a document that is written as it comes: on one line, fit for a terminal.
std::string json_text(const nlohmann::ordered_json& value);

struct Context {
  bool json = false;
  bool quiet = false;
  ProgressKind progress = ProgressKind::line;
  Output out;
  /// The status of a failure that lasts. Of a command that answers "no" with 1 it is another.
  int failed_status = exit_failed;
  /// The status of one that may pass.
  int try_again_status = exit_try_again;

  /// What the user asked for.
  void result(std::string_view text) { out.line(shown(text)); }
  /// A word on what was done; not with --quiet or --json.
  void note(std::string_view text) {
    if (!quiet && !json) out.line(shown(text));
  }
  /// How long work is shown. What was asked for by name is shown with --quiet as well.
  ProgressKind progress_kind() const {
    return quiet && progress == ProgressKind::line ? ProgressKind::nothing : progress;
  }
};

}  // namespace pageserver::pagectl
