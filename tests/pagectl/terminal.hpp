// A child whose standard error is a terminal.
#pragma once

#include <sys/types.h>
#include <termios.h>

#include <string>
#include <string_view>
#include <vector>

namespace pageserver::test {

struct TerminalResult {
  int status = 0;      ///< 128 + signal when a signal ended it
  std::string screen;  ///< what came on standard error
};

/// Where standard output goes.
enum class Output { nowhere, terminal };

/// Runs a program to its end with standard error on a new pseudo-terminal, standard output to /dev/null or there as
/// well. Killed after `patience`. Without colours, unless `variables` of its environment say otherwise.
TerminalResult run_on_terminal(std::vector<std::string> argv, Output output = Output::nowhere,
                               const std::vector<std::string>& variables = {"NO_COLOR=1"});

/// A program on a terminal of its own, which the test types on. Killed by the destructor. Without colours, unless it
/// begins with `env -u NO_COLOR`.
class TypedTerminal {
public:
  TypedTerminal(std::vector<std::string> argv, unsigned short columns, unsigned short rows);
  TypedTerminal(const TypedTerminal&) = delete;
  TypedTerminal& operator=(const TypedTerminal&) = delete;
  ~TypedTerminal();

  void type(std::string_view keys) const;
  /// The program's own SIGWINCH comes with it.
  void resize(unsigned short columns, unsigned short rows) const;
  void signal(int number) const;
  /// What came since the last call, up to the first `text` in it. Throws when it does not come.
  std::string wait_for(std::string_view text);
  /// To the end: the status, 128 + signal when one ended it. All that came is in screen().
  int wait();
  /// Returns once it stands still by a signal.
  void wait_until_stopped() const;
  const std::string& screen() const noexcept { return screen_; }
  /// As the terminal is set now.
  termios settings() const;

private:
  bool read_some();

  int master_ = -1;
  int kept_ = -1;  // the other side, so that the terminal is there after its program
  pid_t pid_ = -1;
  std::size_t seen_ = 0;
  std::string screen_;
};

}  // namespace pageserver::test
