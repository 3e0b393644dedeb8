#include "client/pagectl/terminal/screen.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include <pageserver/error.hpp>

#include "base/text.hpp"
#include "client/pagectl/terminal/colours.hpp"
#include "client/pagectl/terminal/signals.hpp"

namespace pageserver::pagectl {
namespace {

// Another page, no cursor, and no line that runs on into the next one.
constexpr std::string_view enter_text = "\033[?1049h\033[?25l\033[?7l";
constexpr std::string_view leave_text = "\033[?7h\033[?25h\033[?1049l";
constexpr std::array crashes{SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

// Of the process's one terminal, for handlers of signals.
termios as_it_was{};
termios as_we_want_it{};
std::atomic<bool> is_ours{false};
std::atomic<int> wake_descriptor{-1};
int wake_pipe[2] = {-1, -1};

void put_all(std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t put = ::write(STDOUT_FILENO, text.data(), text.size());
    if (put < 0 && errno != EINTR) return;  // a terminal that is gone
    if (put > 0) text.remove_prefix(static_cast<std::size_t>(put));
  }
}

// Only what a handler of a signal may call, here and below.
void give_back() noexcept {
  if (!is_ours.exchange(false)) return;
  ::tcflow(STDOUT_FILENO, TCOON);  // somebody may have stopped the output by Ctrl-S
  put_all(leave_text);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &as_it_was);
}

void take_over() noexcept {
  ::tcsetattr(STDIN_FILENO, TCSANOW, &as_we_want_it);
  put_all(enter_text);
  is_ours = true;
}

void wake() noexcept {
  const char one = 1;
  static_cast<void>(!::write(wake_descriptor, &one, 1));
}

void on_resize(int) {
  const int before = errno;
  wake();
  errno = before;
}

void on_suspend(int) {
  const int before = errno;
  give_back();
  ::raise(SIGSTOP);
  take_over();
  wake();
  errno = before;
}

void on_crash(int number) {
  give_back();
  ::raise(number);  // SA_RESETHAND: what it would have done
}

void handle(int number, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(number, &action, nullptr);
}

struct NamedKey {
  std::string_view bytes;
  Key::What what;
};
constexpr std::array named_keys{NamedKey{"\033[A", Key::What::up},       NamedKey{"\033OA", Key::What::up},
                                NamedKey{"\033[B", Key::What::down},     NamedKey{"\033OB", Key::What::down},
                                NamedKey{"\033[5~", Key::What::page_up}, NamedKey{"\033[6~", Key::What::page_down},
                                NamedKey{"\033[H", Key::What::home},     NamedKey{"\033[F", Key::What::end_of_list},
                                NamedKey{"\033[1~", Key::What::home},    NamedKey{"\033[4~", Key::What::end_of_list}};

}  // namespace

bool Screen::is_there() noexcept { return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1; }

Screen::Screen() {
  if (::tcgetattr(STDIN_FILENO, &as_it_was) != 0)
    throw MemoryError(Errc::provider_error, std::string("the terminal can't be had: ") + std::strerror(errno));
  if (wake_pipe[0] < 0 && ::pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
    throw MemoryError(Errc::provider_error, std::string("no pipe for the terminal: ") + std::strerror(errno));
  wake_descriptor = wake_pipe[1];
  as_we_want_it = as_it_was;
  // Ctrl-C, Ctrl-\ and Ctrl-Z stay what they are.
  as_we_want_it.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  as_we_want_it.c_cc[VMIN] = 0;
  as_we_want_it.c_cc[VTIME] = 0;
  take_over();
  before_signal_ends(give_back);
  handle(SIGWINCH, on_resize, SA_RESTART);
  handle(SIGTSTP, on_suspend, SA_RESTART);
  for (const int number : crashes) handle(number, on_crash, static_cast<int>(SA_RESETHAND));
}

Screen::~Screen() {
  give_back();
  before_signal_ends(nullptr);
  for (const int number : {SIGWINCH, SIGTSTP}) handle(number, SIG_DFL, 0);
  for (const int number : crashes) handle(number, SIG_DFL, 0);
}

Screen::Size Screen::size() noexcept {
  winsize found{};
  Size size;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &found) != 0) return size;
  if (found.ws_col != 0) size.columns = found.ws_col;
  if (found.ws_row != 0) size.rows = found.ws_row;
  return size;
}

void Screen::draw(const std::vector<Line>& lines) {
  const Size room = size();
  const bool colours = takes_colours(STDOUT_FILENO);
  std::string all = "\033[H";
  for (std::size_t i = 0; i < std::min(lines.size(), room.rows); ++i) {
    if (i != 0) all += "\r\n";
    const std::string text = cut_to(base::visible(lines[i].text), room.columns);
    const bool coloured = lines[i].is_warning && colours;
    if (lines[i].is_heading) all += "\033[7m";
    if (coloured) all += yellow;
    all += text;
    if (coloured) all += colour_end;
    if (lines[i].is_heading) {
      all.append(room.columns - std::min(room.columns, columns_of(text)), ' ');
      all += "\033[0m";
    }
    all += "\033[K";
  }
  all += "\033[J";
  if (is_ours) put_all(all);
}

std::optional<Key> Screen::take_key() {
  if (typed_.empty()) return {};
  for (const NamedKey& key : named_keys)
    if (typed_.starts_with(key.bytes)) {
      typed_.erase(0, key.bytes.size());
      return Key{key.what, '\0'};
    }
  // What else begins with an escape is a key that is none here: all of it.
  if (typed_.front() == '\033') {
    typed_.clear();
    return {};
  }
  const char text = typed_.front();
  typed_.erase(0, 1);
  return Key{Key::What::text, text};
}

std::optional<Key> Screen::next_key(std::chrono::steady_clock::time_point until) {
  for (;;) {
    if (const auto key = take_key()) return key;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    std::array<pollfd, 2> ready{{{STDIN_FILENO, POLLIN, 0}, {wake_pipe[0], POLLIN, 0}}};
    const int count = ::poll(ready.data(), ready.size(), static_cast<int>(std::clamp<long long>(left, 0, 60'000)));
    if (count == 0 && left <= 0) return {};
    if (count <= 0) continue;
    std::array<char, 256> bytes{};
    if (ready[1].revents != 0) {
      while (::read(wake_pipe[0], bytes.data(), bytes.size()) > 0) {
      }
      return Key{Key::What::resized, '\0'};
    }
    const ssize_t got = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    if (got > 0) typed_.append(bytes.data(), static_cast<std::size_t>(got));
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) return Key{Key::What::end, '\0'};
  }
}

std::string cut_to(std::string_view text, std::size_t columns) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < columns && bytes < text.size(); ++i)
    bytes += std::max<std::size_t>(base::first_character(text.substr(bytes)).bytes, 1);
  return std::string(text.substr(0, bytes));
}

std::size_t columns_of(std::string_view text) noexcept {
  std::size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(std::max<std::size_t>(base::first_character(text).bytes, 1));
  return count;
}

}  // namespace pageserver::pagectl
