#include "tests/soak/daemon_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

#include "tests/soak/store_model.hpp"

namespace pageserver::test::soak {

namespace {

using namespace std::chrono_literals;

/// What is certain to come on a machine that has other things to do.
constexpr std::chrono::seconds patience{60};

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

std::string program(const std::string& name, const char* of_this_build) {
  const char* folder = std::getenv("PAGESERVER_PROGRAMS");
  return folder == nullptr || *folder == '\0' ? of_this_build : std::string(folder) + "/" + name;
}

void limit(int what, std::uint64_t value) {
  if (value == 0) return;
  const rlimit one{value, value};
  ::setrlimit(static_cast<decltype(RLIMIT_NOFILE)>(what), &one);
}

}  // namespace

std::string pageserverd_path() { return program("pageserverd", PAGESERVERD_PATH); }
std::string pagectl_path() { return program("pagectl", PAGECTL_PATH); }

DaemonProcess::DaemonProcess(Options options) : options_{std::move(options)} {
  std::filesystem::remove(options_.port_file);
  std::vector<char*> arguments;
  for (const std::string& text : options_.argv) arguments.push_back(const_cast<char*>(text.c_str()));
  arguments.push_back(nullptr);
  const int file = ::open(options_.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) fail("open of the log");
  int out = file;
  std::array<int, 2> pipe{-1, -1};
  if (options_.streams == Streams::stalled) {
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) fail("pipe2");
    ::fcntl(pipe[1], F_SETPIPE_SZ, 4096);
    out = pipe[1];
  }
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) fail("fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(::open("/dev/null", O_RDONLY), 0);
    ::dup2(out, 1);
    ::dup2(out, 2);
    if (options_.streams == Streams::closed)
      for (int stream = 0; stream < 3; ++stream) ::close(stream);
    limit(RLIMIT_NOFILE, options_.open_files);
    limit(RLIMIT_FSIZE, options_.file_size_bytes);
    ::signal(SIGPIPE, SIG_DFL);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(file);
  if (pipe[1] >= 0) ::close(pipe[1]);
  unread_ = pipe[0];
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  if (pidfd_ < 0) fail("pidfd_open");
}

DaemonProcess::~DaemonProcess() {
  if (!waited_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  if (unread_ >= 0) ::close(unread_);
  ::close(pidfd_);
}

bool DaemonProcess::ended_within(std::chrono::milliseconds most) const {
  pollfd fd{pidfd_, POLLIN, 0};
  return ::poll(&fd, 1, static_cast<int>(most.count())) > 0;
}

bool DaemonProcess::running() const { return !waited_ && !ended_within(0ms); }

bool DaemonProcess::wait_until_serving() {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!std::filesystem::exists(options_.port_file)) {
    if (ended_within(1ms)) return std::filesystem::exists(options_.port_file);
    if (std::chrono::steady_clock::now() > deadline) throw Violation("the daemon neither serves nor ends:\n" + log());
  }
  return true;
}

std::uint16_t DaemonProcess::port_of_line(unsigned number) const {
  std::string line;
  std::ifstream file(options_.port_file);
  for (unsigned at = 0; at <= number; ++at) std::getline(file, line);
  return static_cast<std::uint16_t>(std::stoul(line.substr(line.rfind(':') + 1)));
}

void DaemonProcess::signal(int number) const { ::kill(pid_, number); }

int DaemonProcess::wait() {
  if (waited_) return status_;
  if (!ended_within(patience)) throw Violation("the daemon does not end:\n" + log());
  int raw = 0;
  while (::waitpid(pid_, &raw, 0) < 0 && errno == EINTR) {
  }
  waited_ = true;
  status_ = WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw);
  drain();
  return status_;
}

void DaemonProcess::drain() {
  if (unread_ < 0) return;
  std::ofstream out(options_.log, std::ios::app);
  std::array<char, 4096> bytes{};
  for (ssize_t got = 0; (got = ::read(unread_, bytes.data(), bytes.size())) > 0;) out.write(bytes.data(), got);
}

std::string DaemonProcess::log() const {
  std::ifstream file(options_.log);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::uint64_t DaemonProcess::limit_open_files(std::uint64_t most) const {
  rlimit was{};
  ::prlimit(pid_, RLIMIT_NOFILE, nullptr, &was);
  const rlimit is{most, was.rlim_max};
  ::prlimit(pid_, RLIMIT_NOFILE, &is, nullptr);
  return was.rlim_cur;
}

std::uint64_t DaemonProcess::open_files() const {
  std::uint64_t count = 0;
  std::error_code gone;
  for (auto at = std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/fd", gone);
       !gone && at != std::filesystem::directory_iterator(); at.increment(gone))
    ++count;
  return count;
}

}  // namespace pageserver::test::soak
