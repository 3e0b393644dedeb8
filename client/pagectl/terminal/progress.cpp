#include "client/pagectl/terminal/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/secrets.hpp"
#include "base/text.hpp"
#include "client/pagectl/terminal/numbers.hpp"

namespace pageserver::pagectl {
namespace {

using namespace std::chrono_literals;

std::atomic<bool> line_on_screen{false};

void put(const std::string& text) noexcept {
  // Best effort: a terminal that is gone must not end the work.
  static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
}

std::size_t terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string bar(double share, std::size_t width) {
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(width));
  std::string out = "[" + std::string(filled, '=');
  if (filled < width) out += ">" + std::string(width - filled - 1, ' ');
  return out + "]";
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::min(seconds, 359'999.0));
  char text[32];
  if (whole >= 3600) {
    std::snprintf(text, sizeof text, "%d:%02d:%02d", static_cast<int>(whole / 3600), static_cast<int>(whole / 60 % 60),
                  static_cast<int>(whole % 60));
  } else {
    std::snprintf(text, sizeof text, "%d:%02d", static_cast<int>(whole / 60), static_cast<int>(whole % 60));
  }
  return text;
}

}  // namespace

Waiting::Waiting(bool wanted, std::string title) : title_(std::move(title)), start_(std::chrono::steady_clock::now()) {
  if (!wanted || ::isatty(STDERR_FILENO) != 1) return;
  try {
    thread_ = std::thread([this] { show(); });
  } catch (const std::system_error&) {
    // Without a thread to spare the work goes on in silence.
  }
}

Waiting::~Waiting() {
  if (!thread_.joinable()) return;
  {
    const Lock lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (line_on_screen.exchange(false)) put("\r\033[K");
}

void Waiting::show() {
  Lock lock(mutex_);
  // What is over soon is not worth a word.
  while (!changed_.wait_for(lock, 500ms, [this]() PAGESERVER_REQUIRES(mutex_) { return over_; })) {
    const std::chrono::duration<double> gone = std::chrono::steady_clock::now() - start_;
    line_on_screen = true;
    put("\r" + title_ + ", for " + clock_text(gone.count()) + "\033[K");
  }
}

Progress::Progress(bool wanted, std::string title, std::uint64_t total, Unit unit)
    : shown_(wanted && ::isatty(STDERR_FILENO) == 1),
      title_(std::move(title)),
      total_(total),
      unit_(unit),
      start_(std::chrono::steady_clock::now()),
      last_(start_ - 1h) {
  update(0);
}

Progress::~Progress() {
  if (!shown_ || !line_on_screen.exchange(false)) return;
  put("\r\033[K");
}

void Progress::update(std::uint64_t done) {
  if (!shown_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < 100ms) return;
  last_ = now;
  line_on_screen = true;
  const std::size_t columns = std::max<std::size_t>(terminal_columns(), 2);
  put("\r" + line(done, std::chrono::duration<double>(now - start_).count()).substr(0, columns - 1) + "\033[K");
}

std::string Progress::line(std::uint64_t done, double seconds) const {
  const bool bytes = unit_ == Unit::bytes;
  const double rate = seconds > 0.05 ? static_cast<double>(done) / seconds : 0;
  const auto whole_rate = static_cast<std::uint64_t>(rate);
  std::string out = title_ + " " + (bytes ? bytes_text(done) : std::to_string(done));
  if (total_ > 0) {
    const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total_));
    out += " of " + (bytes ? bytes_text(total_) : std::to_string(total_)) + " " + bar(share, 20) + " " +
           std::to_string(static_cast<int>(share * 100)) + "%";
  }
  out += "  " + (bytes ? bytes_text(whole_rate) : std::to_string(whole_rate)) + "/s";
  if (total_ > 0 && rate > 0 && done <= total_) {
    out += "  " + clock_text(static_cast<double>(total_ - done) / rate) + " left";
  }
  return out;
}

void end_progress_line() noexcept {
  if (line_on_screen.exchange(false)) static_cast<void>(!::write(STDERR_FILENO, "\n", 1));
}

std::string shown(std::string_view said) {
  const std::string harmless = base::without_secrets(said);
  std::string_view text = harmless;
  std::string out;
  for (;;) {
    const auto end = text.find('\n');
    out += base::visible(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    out += '\n';
    text.remove_prefix(end + 1);
  }
}

void complain(std::string_view text) {
  end_progress_line();
  std::string all = "pagectl: ";
  all += shown(text);
  all += '\n';
  static_cast<void>(!::write(STDERR_FILENO, all.data(), all.size()));
}

}  // namespace pageserver::pagectl
