// A second process from the same program, for what one process can't show: locks, other users, limits.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <stdexcept>
#include <string>

namespace pageserver::test {

/// A child that runs `body(report, wait_for_parent)`: `report(text)` sends a line to the parent; `wait_for_parent()`
/// returns when the parent lets go. Ends with the object. The child leaves by _exit: no test runs twice.
class Forked {
public:
  template <class Body>
  explicit Forked(Body&& body) {
    std::array<int, 2> to_parent{}, to_child{};
    if (::pipe(to_parent.data()) != 0 || ::pipe(to_child.data()) != 0) throw std::runtime_error{"pipe failed"};
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error{"fork failed"};
    if (pid_ == 0) {
      ::close(to_parent[0]);
      ::close(to_child[1]);
      run_child(body, to_parent[1], to_child[0]);
    }
    ::close(to_parent[1]);
    ::close(to_child[0]);
    from_child_ = to_parent[0];
    to_child_ = to_child[1];
  }
  Forked(const Forked&) = delete;
  Forked& operator=(const Forked&) = delete;
  ~Forked() {
    let_go();
    wait();
    ::close(from_child_);
  }

  pid_t pid() const noexcept { return pid_; }

  /// The next line that the child reported; empty when it ended without one.
  std::string line() {
    std::string text;
    for (;;) {
      pollfd waiting{from_child_, POLLIN, 0};
      const int ready = ::poll(&waiting, 1, 30'000);
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) throw std::runtime_error{"the child said nothing for 30 s"};
      char byte = 0;
      const auto got = ::read(from_child_, &byte, 1);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0 || byte == '\n') return text;
      text.push_back(byte);
    }
  }

  void let_go() {
    if (to_child_ >= 0) ::close(to_child_);
    to_child_ = -1;
  }

  /// Ends the child as nothing can refuse, and waits until it is gone.
  void kill() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    wait();
  }

  void wait() {
    if (pid_ <= 0) return;
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }

private:
  template <class Body>
  [[noreturn]] static void run_child(Body& body, int out, int in) {
    const auto report = [out](std::string text) {
      for (auto& byte : text) byte = byte == '\n' ? ' ' : byte;
      text.push_back('\n');
      [[maybe_unused]] const auto sent = ::write(out, text.data(), text.size());
    };
    const auto wait_for_parent = [in] {
      char byte = 0;
      while (::read(in, &byte, 1) < 0 && errno == EINTR) {
      }
    };
    try {
      body(report, wait_for_parent);
    } catch (const std::exception& error) {
      report(error.what());
    }
    ::_exit(0);
  }

  pid_t pid_ = -1;
  int from_child_ = -1;
  int to_child_ = -1;
};

}  // namespace pageserver::test
