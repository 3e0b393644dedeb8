#include "tests/support/daemon.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include "tests/support/catch.hpp"

#include "tests/support/test_mode.hpp"

namespace pageserver::test {

namespace {

std::string program(const std::string& name, const std::string& of_this_build) {
  const char* folder = std::getenv("PAGESERVER_PROGRAMS");
  if (folder != nullptr && *folder != '\0') return std::string(folder) + "/" + name;
  if (of_this_build.empty()) throw std::runtime_error("this build has no " + name);
  return of_this_build;
}

// Returns once `path` is there, or throws when the process ends first. The daemon renames the file into place when it
// serves, so a whole file is what appears.
void wait_for_file(const std::filesystem::path& path, const Process& process, int inotify) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!std::filesystem::exists(path)) {
    std::array<pollfd, 2> fds{{{inotify, POLLIN, 0}, {process.pidfd(), POLLIN, 0}}};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) throw std::runtime_error("pageserverd did not serve in time:\n" + process.err_so_far());
    ::poll(fds.data(), fds.size(), static_cast<int>(left.count()));
    if (fds[1].revents != 0 && !std::filesystem::exists(path)) return;
    std::array<char, 4096> events{};
    if (fds[0].revents != 0 && ::read(inotify, events.data(), events.size()) < 0) continue;
  }
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) {
    text.replace(at, what.size(), by);
  }
  return text;
}

bool is_complaint(const std::string& line) {
  for (const char* mark :
       {" WARN ", " ERROR ", "\"level\":\"warn\"", "\"level\":\"error\"", "Sanitizer", "runtime error:"}) {
    if (line.find(mark) != std::string::npos) return true;
  }
  return false;
}

std::string encoded(std::string_view text) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
                       c == '.' || c == '-' || c == '_';
    const auto value = static_cast<unsigned char>(c);
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += digits[value >> 4];
      out += digits[value & 15];
    }
  }
  return out;
}

}  // namespace

std::string pageserverd_path() {
#ifdef PAGESERVERD_PATH
  return program("pageserverd", PAGESERVERD_PATH);
#else
  return program("pageserverd", "");
#endif
}

std::string pagectl_path() {
#ifdef PAGECTL_PATH
  return program("pagectl", PAGECTL_PATH);
#else
  return program("pagectl", "");
#endif
}

Daemon::Daemon(std::vector<std::string> flags, TempDir* shared_dir) : dir_(shared_dir), flags_(std::move(flags)) {
  if (dir_ == nullptr) dir_ = &own_dir_.emplace();
  start();
}

Daemon::~Daemon() {
  try {
    if (process_->running()) {
      process_->signal(SIGTERM);
      process_->wait(patience);
    }
    for (const std::string& line : unexpected_complaints()) FAIL_CHECK("pageserverd logged: " << line);
  } catch (const std::exception& error) {
    FAIL_CHECK("stopping pageserverd: " << error.what());
  }
}

void Daemon::start() {
  const std::filesystem::path port_file = dir() / "port";
  std::filesystem::remove(port_file);
  const int inotify = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (inotify < 0 || ::inotify_add_watch(inotify, dir().c_str(), IN_MOVED_TO) < 0) {
    throw std::runtime_error("inotify is not available");
  }
  std::vector<std::string> argv{pageserverd_path(), "--listen",    "127.0.0.1:0",     "--unix",
                                socket_path(),      "--port-file", port_file.string()};
  for (const std::string& flag : flags_) argv.push_back(replaced(flag, "{dir}", dir().string()));
  add_mode(argv);
  process_ = std::make_unique<Process>(std::move(argv));
  try {
    wait_for_file(port_file, *process_, inotify);
  } catch (...) {
    ::close(inotify);
    throw;
  }
  ::close(inotify);
  if (!std::filesystem::exists(port_file)) {
    const int status = process_->wait();
    throw std::runtime_error("pageserverd ended with status " + std::to_string(status) + ":\n" +
                             process_->err_so_far());
  }
  listeners_ = lines_of(port_file);
  const std::string& first = listeners_.at(0);
  port_ = static_cast<std::uint16_t>(std::stoul(first.substr(first.rfind(':') + 1)));
}

// A flag wins over the configuration, so that `--poll-us` of a test's own needs no look.
void Daemon::add_mode(std::vector<std::string>& argv) {
  const TestMode mode = TestMode::from_environment();
  if (!mode.changes_daemon()) return;
  if (!mode_dir_) mode_dir_.emplace();  // not in `dir()`, which a test may count
  const std::string file = mode_dir_->file("mode.json");
  const auto flag = std::find(argv.begin(), argv.end(), "--config");
  const bool given = flag != argv.end() && flag + 1 != argv.end();
  std::ostringstream config;
  if (given) config << std::ifstream(flag[1]).rdbuf();
  std::ofstream(file) << mode.config_with(config.str());
  if (given)
    flag[1] = file;
  else
    argv.insert(argv.end(), {"--config", file});
}

std::string Daemon::socket_path() const { return (dir() / "d.sock").string(); }

std::string Daemon::server_uri() const { return "pageserver://127.0.0.1:" + std::to_string(port_); }

std::string Daemon::tcp_uri(std::string_view store, std::string_view query) const {
  std::string uri = server_uri() + "/" + std::string(store);
  if (const std::string all = TestMode::from_environment().query_with(query); !all.empty()) uri += "?" + all;
  return uri;
}

std::string Daemon::unix_uri(std::string_view store, std::string_view query) const {
  std::string uri = "pageserver+unix:///" + std::string(store) + "?socket=" + encoded(socket_path());
  if (const std::string all = TestMode::from_environment().query_with(query); !all.empty()) uri += "&" + all;
  return uri;
}

std::string Daemon::log() const { return earlier_log_ + process_->err_so_far(); }

void Daemon::expect_complaint(std::string text) { expected_.push_back(std::move(text)); }

std::vector<std::string> Daemon::unexpected_complaints() const {
  std::vector<std::string> found;
  std::istringstream lines(log());
  for (std::string line; std::getline(lines, line);) {
    bool expected = !is_complaint(line);
    for (const std::string& text : expected_) expected = expected || line.find(text) != std::string::npos;
    if (!expected) found.push_back(line);
  }
  return found;
}

int Daemon::stop() {
  if (process_->running()) process_->signal(SIGTERM);
  return process_->wait(patience);
}

void Daemon::kill_hard() {
  if (process_->running()) process_->signal(SIGKILL);
  process_->wait(patience);
}

void Daemon::start_again() {
  if (process_->running()) stop();
  earlier_log_ = log();
  start();
}

}  // namespace pageserver::test
