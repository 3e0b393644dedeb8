// Programs that a test starts: to their end with run(), or as a Process beside the test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace pageserver::test {

/// How long a test waits for something that is certain to come. Generous: a loaded machine is not a failure.
inline constexpr std::chrono::seconds patience{30};

struct RunResult {
  int status = 0;  ///< exit status; 128 + signal when a signal ended it
  std::string out;
  std::string err;
};

/// Runs a program to its end. One that takes longer than `limit` is killed; `err` then says so.
RunResult run(std::vector<std::string> argv, std::string stdin_data = {},
              std::chrono::seconds limit = std::chrono::seconds(60));

/// What a Process reads: nothing, or what write_line() sends.
enum class Input : std::uint8_t { none, lines };

/// A child process whose standard output and error are collected all the time, so that it never blocks on them. The
/// child is killed when the thread that made it ends, or by the destructor.
class Process {
public:
  explicit Process(std::vector<std::string> argv, Input input = Input::none);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  pid_t pid() const noexcept { return pid_; }
  /// Readable, as poll(2) says, once the process has ended.
  int pidfd() const noexcept { return pidfd_; }
  void signal(int number) const;
  /// SIGSTOP; returns once it stands still. SIGCONT lets it go on.
  void pause() const;
  bool running() const;
  /// Waits for the end and returns the status as RunResult has it. Throws when `limit` passes.
  int wait(std::chrono::seconds limit = patience);

  /// Sends the line and its end. Throws when the process no longer reads.
  void write_line(std::string_view line);
  /// The child reads the end of its input.
  void close_input();

  std::string err_so_far() const;
  std::string out_so_far() const;
  /// Returns once `text` is in what came on standard error after byte `from`. Throws, quoting everything so far, when
  /// the process ends without it or patience runs out.
  void wait_for_err(std::string_view text, std::size_t from = 0) const;
  /// Returns the next whole line of standard output without its end. Throws, quoting standard error, when the process
  /// ends without one or `limit` passes.
  std::string next_line(std::chrono::seconds limit = patience);

private:
  void collect(int out, int err);

  pid_t pid_ = -1;
  int pidfd_ = -1;
  int in_ = -1;
  std::size_t line_at_ = 0;  // of out_: where the next line starts
  bool waited_ = false;
  int status_ = 0;
  mutable std::mutex mutex_;
  mutable std::condition_variable more_;
  std::string out_;
  std::string err_;
  bool ended_ = false;
  std::thread collector_;
};

}  // namespace pageserver::test
