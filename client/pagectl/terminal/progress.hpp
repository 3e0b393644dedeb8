// Standard error: complaints, and how far long work is, with rate and time left: on a terminal one line that is written
// over again, or for scripts a JSON object a line.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "base/mutex.hpp"

namespace pageserver::pagectl {

enum class ProgressKind : std::uint8_t {
  nothing,
  line,  ///< where standard error is a terminal
  json   ///< a line a second, and one at the end; one that nobody takes is left out, since no work waits for it
};

class Progress {
public:
  enum class Unit { bytes, count };

  /// `total` may be 0: unknown.
  Progress(ProgressKind kind, std::string title, std::uint64_t total, Unit unit = Unit::bytes);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Erases the line on a terminal. The last JSON object says that it is over.
  ~Progress();

  void update(std::uint64_t done);
  /// All is done, and it was so much: the total was a guess.
  void finish(std::uint64_t done);

private:
  void show(std::uint64_t done, double seconds, bool over);
  std::string line(std::uint64_t done, double seconds) const;
  std::string json_line(std::uint64_t done, double seconds, bool over) const;

  const ProgressKind kind_;
  std::string title_;
  std::uint64_t total_;
  Unit unit_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
  std::uint64_t done_ = 0;
};

/// The same for work whose end can't be told: how long it goes on, for as long as the object lives.
class Waiting {
public:
  Waiting(ProgressKind kind, std::string title);
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  /// As that of Progress.
  ~Waiting();

private:
  void show();
  std::string json_line(double seconds, bool over) const;

  const ProgressKind kind_;
  const std::string title_;
  const std::chrono::steady_clock::time_point start_;
  Mutex mutex_;
  CondVar changed_;
  bool over_ PAGESERVER_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // none where nothing is shown
};

/// Puts what follows on a line of its own, where a progress line is on the screen. Async-signal-safe.
void end_progress_line() noexcept;

/// `said` as it may go to a terminal: base::visible(), with the line ends that are our own, and without secrets that
/// were given as names.
std::string shown(std::string_view said);

/// A line on standard error: "pagectl: TEXT".
void complain(std::string_view text);

}  // namespace pageserver::pagectl
