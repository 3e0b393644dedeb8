// A client in a process of its own, so that it can be stopped and continued like any program.
#pragma once

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <string>

namespace pageserver::test {

/// Runs `body(report)` in a forked child, where `report(line)` sends a line to the parent. The parent forks before it
/// has opened a session of its own that the child could inherit by mistake.
class Child {
public:
  template <class Body>
  explicit Child(Body body) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error{"pipe failed"};
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error{"fork failed"};
    if (pid_ == 0) {
      ::close(ends[0]);
      const auto report = [out = ends[1]](const std::string& line) {
        const std::string text = line + "\n";
        if (::write(out, text.data(), text.size()) < 0) ::_exit(3);
      };
      try {
        body(report);
      } catch (const std::exception& error) {
        report(std::string{"threw "} + error.what());
      }
      ::_exit(0);
    }
    ::close(ends[1]);
    lines_ = ends[0];
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(lines_);
  }

  void signal(int number) const { ::kill(pid_, number); }

  /// Stops the child and returns once it stands still.
  void stop() const {
    signal(SIGSTOP);
    int status = 0;
    if (::waitpid(pid_, &status, WUNTRACED) != pid_ || !WIFSTOPPED(status))
      throw std::runtime_error{"the child did not stop"};
  }

  /// The next line that the child reported; empty at its end.
  std::string next_line() {
    std::string line;
    for (char c = 0; ::read(lines_, &c, 1) == 1;) {
      if (c == '\n') return line;
      line += c;
    }
    return line;
  }

private:
  pid_t pid_ = -1;
  int lines_ = -1;
};

}  // namespace pageserver::test
