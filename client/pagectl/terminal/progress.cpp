#include "client/pagectl/terminal/progress.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/secrets.hpp"
#include "base/text.hpp"
#include "client/pagectl/terminal/colours.hpp"
#include "client/pagectl/terminal/numbers.hpp"

namespace pageserver::pagectl {
namespace {

using namespace std::chrono_literals;

std::atomic<bool> line_on_screen{false};

void put(const std::string& text) noexcept {
  // Best effort: a terminal that is gone must not end the work.
  static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
}

/// A line for a program, which may be slow to read: one for which there is no room is left out.
void put_if_taken(const std::string& text) noexcept {
  pollfd polled{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&polled, 1, 0) == 1 && (polled.revents & POLLOUT) != 0) put(text);
}

/// What may be shown of `kind` where standard error is what it is.
ProgressKind possible(ProgressKind kind) noexcept {
  return kind == ProgressKind::line && ::isatty(STDERR_FILENO) != 1 ? ProgressKind::nothing : kind;
}

/// To milliseconds, which are enough to read.
double rounded(double seconds) { return std::round(seconds * 1000) / 1000; }

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

constexpr auto json_interval = 1s;

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

/// A second; 0 where it is too soon to say.
double rate_of(std::uint64_t done, double seconds) { return seconds > 0.05 ? static_cast<double>(done) / seconds : 0; }

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

Waiting::Waiting(ProgressKind kind, std::string title)
    : kind_(possible(kind)), title_(std::move(title)), start_(std::chrono::steady_clock::now()) {
  if (kind_ == ProgressKind::nothing) return;
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
  if (kind_ == ProgressKind::json) put_if_taken(json_line(seconds_since(start_), true));
  if (line_on_screen.exchange(false)) put("\r\033[K");
}

void Waiting::show() {
  Lock lock(mutex_);
  // What is over soon is not worth a word.
  const auto interval = kind_ == ProgressKind::json ? json_interval : 500ms;
  while (!changed_.wait_for(lock, interval, [this]() PAGESERVER_REQUIRES(mutex_) { return over_; })) {
    const double gone = seconds_since(start_);
    if (kind_ == ProgressKind::json) {
      put_if_taken(json_line(gone, false));
      continue;
    }
    line_on_screen = true;
    put("\r" + title_ + ", for " + clock_text(gone) + "\033[K");
  }
}

std::string Waiting::json_line(double seconds, bool over) const {
  const nlohmann::ordered_json object{{"progress", title_}, {"seconds", rounded(seconds)}, {"over", over}};
  return object.dump() + "\n";
}

Progress::Progress(ProgressKind kind, std::string title, std::uint64_t total, Unit unit)
    : kind_(possible(kind)),
      title_(std::move(title)),
      total_(total),
      unit_(unit),
      start_(std::chrono::steady_clock::now()),
      last_(start_ - 1h) {
  update(0);
}

Progress::~Progress() {
  if (kind_ == ProgressKind::json) {
    try {
      show(done_, seconds_since(start_), true);
    } catch (const std::exception&) {
      // Without the last line: the work itself is what counts.
    }
  }
  if (kind_ == ProgressKind::line && line_on_screen.exchange(false)) put("\r\033[K");
}

void Progress::update(std::uint64_t done) {
  if (kind_ == ProgressKind::nothing) return;
  done_ = done;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < (kind_ == ProgressKind::json ? json_interval : 100ms)) return;
  last_ = now;
  show(done, std::chrono::duration<double>(now - start_).count(), false);
}

void Progress::finish(std::uint64_t done) {
  if (total_ > 0) total_ = done;
  update(done);
}

void Progress::show(std::uint64_t done, double seconds, bool over) {
  if (kind_ == ProgressKind::json) return put_if_taken(json_line(done, seconds, over));
  line_on_screen = true;
  const std::size_t columns = std::max<std::size_t>(terminal_columns(), 2);
  std::string text = line(done, seconds).substr(0, columns - 1);
  // Coloured after it was cut: a colour takes no column.
  const std::size_t open = text.find('['), close = text.find(']');
  if (open < close && close != std::string::npos && takes_colours(STDERR_FILENO)) {
    text.insert(close + 1, colour_end);
    text.insert(open, green);
  }
  put("\r" + text + "\033[K");
}

std::string Progress::json_line(std::uint64_t done, double seconds, bool over) const {
  nlohmann::ordered_json object{{"progress", title_},
                                {"unit", unit_ == Unit::bytes ? "bytes" : "count"},
                                {"done", done},
                                {"total", nullptr},
                                {"seconds", rounded(seconds)},
                                {"per_second", nullptr},
                                {"seconds_left", nullptr},
                                {"over", over}};
  if (total_ > 0) object["total"] = total_;
  if (const double rate = rate_of(done, seconds); rate > 0) {
    object["per_second"] = static_cast<std::uint64_t>(rate);
    if (total_ > 0 && done <= total_) object["seconds_left"] = rounded(static_cast<double>(total_ - done) / rate);
  }
  if (over) object["seconds_left"] = 0;
  return object.dump() + "\n";
}

std::string Progress::line(std::uint64_t done, double seconds) const {
  const bool bytes = unit_ == Unit::bytes;
  const double rate = rate_of(done, seconds);
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
  const bool coloured = takes_colours(STDERR_FILENO);
  std::string all = coloured ? red : "";
  all += "pagectl:";
  if (coloured) all += colour_end;
  all += ' ';
  all += shown(text);
  all += '\n';
  static_cast<void>(!::write(STDERR_FILENO, all.data(), all.size()));
}

}  // namespace pageserver::pagectl
