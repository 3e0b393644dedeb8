// Standard error: complaints, and on a terminal one line that says how far long work is, with rate and time left.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "base/mutex.hpp"

namespace pageserver::pagectl {

class Progress {
public:
  enum class Unit { bytes, count };

  /// Shows nothing unless `wanted` and standard error is a terminal. `total` may be 0: unknown.
  Progress(bool wanted, std::string title, std::uint64_t total, Unit unit = Unit::bytes);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Erases the line.
  ~Progress();

  void update(std::uint64_t done);

private:
  std::string line(std::uint64_t done, double seconds) const;

  bool shown_;
  std::string title_;
  std::uint64_t total_;
  Unit unit_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
};

/// The same for work whose end can't be told: how long it goes on, for as long as the object lives.
class Waiting {
public:
  Waiting(bool wanted, std::string title);
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  /// Erases the line.
  ~Waiting();

private:
  void show();

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
