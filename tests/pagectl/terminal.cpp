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

TerminalResult run_on_terminal(std::vector<std::string> argv, Output output) {
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

}  // namespace pageserver::test
