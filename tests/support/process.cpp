#include "tests/support/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace pageserver::test {

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

struct Pipe {
  int read = -1;
  int write = -1;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail("pipe2");
  return {ends[0], ends[1]};
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left) + 1;
}

struct Child {
  pid_t pid;
  int in;  // -1 where the child reads /dev/null
  int out;
  int err;
};

Child start(const std::vector<std::string>& argv, bool with_stdin) {
  std::vector<char*> arguments;
  for (const std::string& text : argv) arguments.push_back(const_cast<char*>(text.c_str()));
  arguments.push_back(nullptr);
  Pipe in;
  if (with_stdin) in = make_pipe();
  const Pipe out = make_pipe();
  const Pipe err = make_pipe();
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    // Only calls that are safe after fork in a process with threads.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    const int input = with_stdin ? in.read : ::open("/dev/null", O_RDONLY);
    ::dup2(input, 0);
    ::dup2(out.write, 1);
    ::dup2(err.write, 2);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::execvp(arguments[0], arguments.data());
    static constexpr char text[] = "exec failed\n";
    [[maybe_unused]] const ssize_t written = ::write(2, text, sizeof text - 1);
    ::_exit(127);
  }
  if (with_stdin) ::close(in.read);
  ::close(out.write);
  ::close(err.write);
  return {pid, with_stdin ? in.write : -1, out.read, err.read};
}

int open_pidfd(pid_t pid) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) fail("pidfd_open");
  return fd;
}

int status_of(int raw) { return WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw); }

int reap(pid_t pid) {
  int raw = 0;
  while (::waitpid(pid, &raw, 0) < 0 && errno == EINTR) {
  }
  return status_of(raw);
}

// False at the end of the stream.
bool take(int fd, std::string& into) {
  std::array<char, 65536> buffer{};
  const ssize_t got = ::read(fd, buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  into.append(buffer.data(), static_cast<std::size_t>(got));
  return got != 0;
}

void close_and_forget(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

// A child that does not read all of its input is not an error of the test.
void feed(int& fd, std::string_view& left) {
  const ssize_t put = ::write(fd, left.data(), left.size());
  if (put > 0) left.remove_prefix(static_cast<std::size_t>(put));
  if ((put < 0 && errno != EINTR && errno != EAGAIN) || left.empty()) close_and_forget(fd);
}

}  // namespace

RunResult run(std::vector<std::string> argv, std::string stdin_data, std::chrono::seconds limit) {
  ::signal(SIGPIPE, SIG_IGN);
  Child child = start(argv, true);
  std::string_view input = stdin_data;
  ::fcntl(child.in, F_SETFL, O_NONBLOCK);
  if (input.empty()) close_and_forget(child.in);
  RunResult result;
  const Clock::time_point deadline = Clock::now() + limit;
  bool killed = false;
  while (child.out >= 0 || child.err >= 0) {
    std::array<pollfd, 3> fds{{{child.in, POLLOUT, 0}, {child.out, POLLIN, 0}, {child.err, POLLIN, 0}}};
    const int ready = ::poll(fds.data(), fds.size(), killed ? 1000 : milliseconds_until(deadline));
    if (ready < 0 && errno != EINTR) fail("poll");
    if (ready == 0 && killed) break;  // a grandchild holds the pipes
    if (ready == 0) {
      ::kill(child.pid, SIGKILL);
      killed = true;
    }
    if (ready <= 0) continue;
    if (fds[0].revents != 0) feed(child.in, input);
    if (fds[1].revents != 0 && !take(child.out, result.out)) close_and_forget(child.out);
    if (fds[2].revents != 0 && !take(child.err, result.err)) close_and_forget(child.err);
  }
  close_and_forget(child.in);
  close_and_forget(child.out);
  close_and_forget(child.err);
  result.status = reap(child.pid);
  if (killed) result.err += "\n[killed by the test after " + std::to_string(limit.count()) + " s]\n";
  return result;
}

Process::Process(std::vector<std::string> argv, Input input) {
  const Child child = start(argv, input == Input::lines);
  pid_ = child.pid;
  in_ = child.in;
  pidfd_ = open_pidfd(pid_);
  collector_ = std::thread(&Process::collect, this, child.out, child.err);
}

Process::~Process() {
  close_and_forget(in_);
  if (!waited_) {
    ::kill(pid_, SIGKILL);
    reap(pid_);
  }
  collector_.join();
  ::close(pidfd_);
}

void Process::collect(int out, int err) {
  while (out >= 0 || err >= 0) {
    std::array<pollfd, 3> fds{{{out, POLLIN, 0}, {err, POLLIN, 0}, {pidfd_, POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    // After the end only what is already in the pipes: a grandchild may hold them open.
    if (fds[2].revents != 0 && fds[0].revents == 0 && fds[1].revents == 0) break;
    std::string more_out;
    std::string more_err;
    const bool out_open = fds[0].revents == 0 || take(out, more_out);
    const bool err_open = fds[1].revents == 0 || take(err, more_err);
    {
      const std::lock_guard lock(mutex_);
      out_ += more_out;
      err_ += more_err;
    }
    more_.notify_all();
    if (!out_open) close_and_forget(out);
    if (!err_open) close_and_forget(err);
  }
  close_and_forget(out);
  close_and_forget(err);
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  more_.notify_all();
}

void Process::signal(int number) const {
  if (waited_ || ::kill(pid_, number) != 0) throw std::runtime_error("the process has ended already");
}

void Process::pause() const {
  signal(SIGSTOP);
  siginfo_t stopped{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &stopped, WSTOPPED) != 0)
    if (errno != EINTR) throw std::runtime_error("the process did not stop");
}

bool Process::running() const {
  pollfd fd{pidfd_, POLLIN, 0};
  return !waited_ && ::poll(&fd, 1, 0) == 0;
}

int Process::wait(std::chrono::seconds limit) {
  if (waited_) return status_;
  const Clock::time_point deadline = Clock::now() + limit;
  pollfd fd{pidfd_, POLLIN, 0};
  int ready = 0;
  while ((ready = ::poll(&fd, 1, milliseconds_until(deadline))) < 0) {
  }
  if (ready == 0) throw std::runtime_error("the process did not end in time; standard error so far:\n" + err_so_far());
  status_ = reap(pid_);
  waited_ = true;
  // What it said last must be seen by whoever asks now.
  std::unique_lock lock(mutex_);
  more_.wait_for(lock, patience, [this] { return ended_; });
  return status_;
}

void Process::write_line(std::string_view line) {
  ::signal(SIGPIPE, SIG_IGN);
  const std::string text = std::string(line) + "\n";
  std::string_view left = text;
  while (!left.empty()) {
    const ssize_t put = ::write(in_, left.data(), left.size());
    if (put < 0 && errno != EINTR) throw std::runtime_error("the process does not read: " + err_so_far());
    if (put > 0) left.remove_prefix(static_cast<std::size_t>(put));
  }
}

void Process::close_input() { close_and_forget(in_); }

std::string Process::err_so_far() const {
  const std::lock_guard lock(mutex_);
  return err_;
}

std::string Process::out_so_far() const {
  const std::lock_guard lock(mutex_);
  return out_;
}

void Process::wait_for_err(std::string_view text, std::size_t from) const {
  std::unique_lock lock(mutex_);
  const auto found = [&] { return err_.size() >= from && err_.find(text, from) != std::string::npos; };
  more_.wait_for(lock, patience, [&] { return found() || ended_; });
  if (found()) return;
  throw std::runtime_error("\"" + std::string(text) + "\" did not appear on standard error:\n" + err_);
}

std::string Process::next_line(std::chrono::seconds limit) {
  std::unique_lock lock(mutex_);
  std::size_t end = std::string::npos;
  const auto found = [&] { return (end = out_.find('\n', line_at_)) != std::string::npos; };
  more_.wait_for(lock, limit, [&] { return found() || ended_; });
  if (!found()) {
    const char* what = ended_ ? "the process ended without a line: " : "the process wrote no line in time: ";
    throw std::runtime_error(what + err_);
  }
  std::string line = out_.substr(line_at_, end - line_at_);
  line_at_ = end + 1;
  return line;
}

}  // namespace pageserver::test
