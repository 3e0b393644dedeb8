#include "tests/pagectl/terminal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <utility>

#include "tests/support/process.hpp"

namespace pageserver::test {
namespace {

int open_terminal(std::string& name) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0) throw std::runtime_error("no pseudo-terminal");
  std::array<char, 128> path{};
  if (::ptsname_r(master, path.data(), path.size()) != 0) throw std::runtime_error("ptsname_r");
  name = path.data();
  winsize size{};
  size.ws_row = 24;
  size.ws_col = 100;
  ::ioctl(master, TIOCSWINSZ, &size);
  return master;
}

pid_t spawn(std::vector<std::string>& argv, const std::string& terminal, Output output) {
  std::vector<char*> arguments;
  for (auto& argument : argv) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  const char* const out = output == Output::terminal ? terminal.c_str() : "/dev/null";
  ::posix_spawn_file_actions_addopen(&actions, 1, out, O_RDWR | O_NOCTTY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 2, terminal.c_str(), O_RDWR | O_NOCTTY, 0);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("posix_spawnp");
  return pid;
}

}  // namespace

TerminalResult run_on_terminal(std::vector<std::string> argv, Output output,
                               const std::vector<std::string>& variables) {
  std::vector<std::string> before{"env", "-u", "NO_COLOR"};
  before.insert(before.end(), variables.begin(), variables.end());
  argv.insert(argv.begin(), before.begin(), before.end());
  std::string name;
  const int master = open_terminal(name);
  const pid_t pid = spawn(argv, name, output);
  TerminalResult result;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd waiting{master, POLLIN, 0};
    if (left <= 0 || ::poll(&waiting, 1, static_cast<int>(left)) == 0) {
      ::kill(pid, SIGKILL);
      break;
    }
    std::array<char, 4096> buffer{};
    const auto got = ::read(master, buffer.data(), buffer.size());
    if (got <= 0) break;  // EIO once nobody has the other side open
    result.screen.append(buffer.data(), static_cast<std::size_t>(got));
  }
  int raw = 0;
  while (::waitpid(pid, &raw, 0) < 0 && errno == EINTR) {
  }
  ::close(master);
  result.status = WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw);
  return result;
}

TypedTerminal::TypedTerminal(std::vector<std::string> argv, unsigned short columns, unsigned short rows) {
  std::string name;
  master_ = open_terminal(name);
  resize(columns, rows);
  kept_ = ::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  std::vector<char*> arguments;
  for (auto& argument : argv) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ < 0 || kept_ < 0) throw std::runtime_error("no program on a pseudo-terminal");
  if (pid_ != 0) return;
  ::setsid();
  const int terminal = ::open(name.c_str(), O_RDWR);
  ::ioctl(terminal, TIOCSCTTY, 0);
  for (const int stream : {0, 1, 2}) ::dup2(terminal, stream);
  if (terminal > 2) ::close(terminal);
  ::setenv("NO_COLOR", "1", 1);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

TypedTerminal::~TypedTerminal() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::close(kept_);
  ::close(master_);
}

void TypedTerminal::type(std::string_view keys) const {
  if (::write(master_, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size()))
    throw std::runtime_error("the terminal takes no keys");
}

void TypedTerminal::resize(unsigned short columns, unsigned short rows) const {
  winsize size{};
  size.ws_row = rows;
  size.ws_col = columns;
  ::ioctl(master_, TIOCSWINSZ, &size);
}

void TypedTerminal::signal(int number) const { ::kill(pid_, number); }

bool TypedTerminal::read_some() {
  pollfd waiting{master_, POLLIN, 0};
  if (::poll(&waiting, 1, 50) <= 0) return false;
  std::array<char, 4096> buffer{};
  const auto got = ::read(master_, buffer.data(), buffer.size());
  if (got > 0) screen_.append(buffer.data(), static_cast<std::size_t>(got));
  return got > 0;
}

std::string TypedTerminal::wait_for(std::string_view text) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    if (const auto at = screen_.find(text, seen_); at != std::string::npos) {
      const std::size_t from = std::exchange(seen_, at + text.size());
      return screen_.substr(from, seen_ - from);
    }
    if (std::chrono::steady_clock::now() > deadline)
      throw std::runtime_error("\"" + std::string(text) + "\" did not come; but: " + screen_.substr(seen_));
    read_some();
  }
}

int TypedTerminal::wait() {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  int raw = 0;
  while (::waitpid(pid_, &raw, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("it did not end; but: " + screen_);
    read_some();
  }
  pid_ = -1;
  while (read_some()) {
  }
  return WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw);
}

void TypedTerminal::wait_until_stopped() const {
  siginfo_t stopped{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &stopped, WSTOPPED) != 0)
    if (errno != EINTR) throw std::runtime_error("it did not stop");
}

termios TypedTerminal::settings() const {
  termios found{};
  if (::tcgetattr(kept_, &found) != 0) throw std::runtime_error("tcgetattr");
  return found;
}

}  // namespace pageserver::test
