// run: a command with a private daemon, and what goes wrong on order beside it.
//
// The daemon serves a copy of the image on a Unix socket in a folder of its own, which goes at the end. Orders are for
// its store, so that the command need not know of them. What the daemon can't be asked any more, since an order ended
// it, it has said in its log.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "base/small_file.hpp"
#include "base/text.hpp"
#include "base/units.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/commands/faults.hpp"
#include "client/pagectl/terminal/progress.hpp"
#include "client/pagectl/terminal/signals.hpp"
#include "client/uri/endpoint.hpp"
#include "proto/fault_order.hpp"

namespace pageserver::pagectl {
namespace {

namespace fs = std::filesystem;

constexpr const char* run_store = "image";
constexpr std::chrono::seconds start_time{30};
constexpr std::chrono::seconds stop_time{60};
constexpr std::chrono::seconds answer_time{10};
constexpr std::chrono::milliseconds look_pause{5};

[[noreturn]] void run_failed(Errc code, const std::string& text) { throw MemoryError(code, "run: " + text); }

std::string error_of(int number) { return std::generic_category().message(number); }

/// Removed with all that is in it.
class WorkFolder {
public:
  WorkFolder() {
    const char* const place = std::getenv("TMPDIR");
    std::string path = std::string(place == nullptr || *place == 0 ? "/tmp" : place) + "/pagectl-run-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr)
      run_failed(Errc::provider_error, base::quoted(path) + ": " + error_of(errno));
    path_ = path;
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  ~WorkFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  std::string file(const char* name) const { return (path_ / name).string(); }

private:
  fs::path path_;
};

/// This process's, without what a service manager has given it: the daemon is none of its services.
std::vector<char*> environment_of_a_daemon() {
  constexpr std::array managers{
      "NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID=", "LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES="};
  std::vector<char*> kept;
  for (char** one = environ; *one != nullptr; ++one) {
    const std::string_view text = *one;
    if (std::none_of(managers.begin(), managers.end(), [&](const char* name) { return text.starts_with(name); }))
      kept.push_back(*one);
  }
  kept.push_back(nullptr);
  return kept;
}

/// A process of ours.
class Child {
public:
  enum class Kind : std::uint8_t {
    command,  ///< as pagectl itself: terminal, signals, descriptors
    daemon,   ///< ends with pagectl, hears no Ctrl-C, and says what it says to a file
  };

  Child(Kind kind, const std::vector<std::string>& words, const std::string& log = {}) {
    std::vector<std::string> copies = words;
    std::vector<char*> argv;
    argv.reserve(copies.size() + 1);
    for (std::string& word : copies) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::vector<char*> environment;
    if (kind == Kind::daemon) environment = environment_of_a_daemon();
    char* const* const variables = kind == Kind::daemon ? environment.data() : environ;
    int report[2];
    if (::pipe2(report, O_CLOEXEC) != 0) run_failed(Errc::provider_error, "a pipe: " + error_of(errno));
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
      // Nothing here may take memory: another thread may have held the lock of that.
      sigset_t none;
      ::sigemptyset(&none);
      ::sigprocmask(SIG_SETMASK, &none, nullptr);
      ::signal(SIGPIPE, SIG_DFL);
      ::signal(SIGXFSZ, SIG_DFL);
      if (kind == Kind::daemon) {
        ::setsid();
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (::getppid() != parent) ::_exit(1);
        const int file = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
        const int nothing = ::open("/dev/null", O_RDWR);
        if (file >= 0) ::dup2(file, STDERR_FILENO);
        if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
        if (nothing >= 0) ::dup2(nothing, STDOUT_FILENO);
      }
      ::execvpe(argv[0], argv.data(), variables);
      const int error = errno;
      [[maybe_unused]] const ssize_t put = ::write(report[1], &error, sizeof error);
      ::_exit(127);
    }
    const int fork_error = errno;
    ::close(report[1]);
    ssize_t got = 0;
    if (pid_ > 0) {
      do got = ::read(report[0], &exec_error_, sizeof exec_error_);
      while (got < 0 && errno == EINTR);
    }
    ::close(report[0]);
    if (pid_ < 0)
      run_failed(Errc::provider_error, "a process for " + base::quoted(words[0]) + ": " + error_of(fork_error));
    if (got == static_cast<ssize_t>(sizeof exec_error_)) wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (status_) return;
    ::kill(pid_, SIGKILL);
    wait();
  }

  /// errno of what kept it from beginning, or 0.
  int exec_error() const noexcept { return exec_error_; }
  pid_t pid() const noexcept { return pid_; }
  bool has_ended() { return status_ || collect(WNOHANG); }
  /// 128 + signal when a signal ended it.
  int wait() {
    while (!status_ && !collect(0)) continue;
    return *status_;
  }
  /// SIGTERM, then SIGKILL when it takes too long.
  int stop() {
    if (!has_ended()) ::kill(pid_, SIGTERM);
    return end_by_itself();
  }
  /// SIGKILL when that takes too long.
  int end_by_itself() {
    const auto until = std::chrono::steady_clock::now() + stop_time;
    while (!has_ended() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(look_pause);
    if (!has_ended()) ::kill(pid_, SIGKILL);
    return wait();
  }

private:
  bool collect(int flags) {
    int status = 0;
    pid_t found = 0;
    do found = ::waitpid(pid_, &status, flags);
    while (found < 0 && errno == EINTR);
    if (found != pid_) return false;
    status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return true;
  }

  pid_t pid_ = -1;
  int exec_error_ = 0;
  std::optional<int> status_;
};

std::string daemon_path(const RunOptions& options) {
  if (!options.daemon.empty()) return options.daemon;
  if (const char* const named = std::getenv("PAGESERVERD"); named != nullptr && *named != 0) return named;
  std::error_code error;
  const fs::path beside = fs::read_symlink("/proc/self/exe", error).parent_path() / "pageserverd";
  if (!error && ::access(beside.c_str(), X_OK) == 0) return beside.string();
  return "pageserverd";
}

std::string read_orders(const std::string& path) {
  const base::SmallFile file(path);
  std::string text;
  const int error = file.error() != 0 ? file.error() : file.read(text, proto::fault_orders_bytes_max);
  if (error == EFBIG)
    run_failed(Errc::invalid_argument, base::quoted(path) + " has more than " +
                                           std::to_string(proto::fault_orders_bytes_max) + " bytes of orders");
  if (error != 0)
    run_failed(error == ENOENT ? Errc::not_found : Errc::provider_error, base::quoted(path) + ": " + error_of(error));
  return text;
}

std::string last_lines(const std::string& log, std::streamoff bytes_max = 2000) {
  std::ifstream file(log, std::ios::binary | std::ios::ate);
  const std::streamoff bytes = file ? static_cast<std::streamoff>(file.tellg()) : 0;
  std::string text(static_cast<std::size_t>(std::clamp<std::streamoff>(bytes, 0, bytes_max)), '\0');
  file.seekg(bytes - static_cast<std::streamoff>(text.size()));
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

RemoteOptions options_for(const std::string& socket) {
  RemoteOptions remote;
  remote.socket_path = socket;
  remote.store = run_store;
  remote.access = Access::read;
  remote.name = "pagectl run";
  remote.request_timeout = answer_time;
  return remote;
}

/// What a daemon has said of its orders at its end. An order's text has nothing that the log would escape.
struct LastWords {
  std::string ended_by;  ///< empty: none of the orders
  std::vector<OrderedFault> counted;
};

LastWords last_words(const std::string& log) {
  constexpr std::streamoff words_bytes_max = 64 * 1024;
  LastWords words;
  std::istringstream lines(last_lines(log, words_bytes_max));
  for (std::string line; std::getline(lines, line);) {
    const auto value = [&](std::string_view key) {
      const auto at = line.find(key);
      if (at == std::string::npos) return std::string();
      const std::string rest = line.substr(at + key.size());
      return rest.starts_with('"') ? rest.substr(1, rest.find('"', 1) - 1) : rest.substr(0, rest.find(' '));
    };
    if (line.find(" WARN fault on order ends the daemon ") != std::string::npos) words.ended_by = value(" order=");
    if (line.find(" WARN fault on order seen=") == std::string::npos) continue;
    words.counted.push_back({value(" order="), base::parse_number(value(" seen=")).value_or(0),
                             base::parse_number(value(" struck=")).value_or(0)});
  }
  return words;
}

/// Once it serves; throws with what it said when it does not.
std::unique_ptr<RemoteProvider> connect_to(Child& daemon, const std::string& socket, const std::string& log) {
  const auto until = std::chrono::steady_clock::now() + start_time;
  for (;;) {
    try {
      return std::make_unique<RemoteProvider>(options_for(socket));
    } catch (const MemoryError& error) {
      const bool is_late = std::chrono::steady_clock::now() >= until;
      if (error.errc() != Errc::connection_lost || is_late || daemon.has_ended())
        run_failed(Errc::provider_error,
                   "the daemon does not serve: " + std::string(error.what()) + "\n" + last_lines(log));
    }
    std::this_thread::sleep_for(look_pause);
  }
}

/// What has come of an order. No count: the daemon was ended by something else before it could say.
struct Outcome {
  std::string order;
  std::optional<OrderedFault> counted;
  bool ended_the_daemon = false;

  bool struck() const { return ended_the_daemon || (counted && counted->struck > 0); }
};

std::vector<Outcome> outcomes_of(const std::vector<proto::FaultOrder>& orders, const std::vector<OrderedFault>& counted,
                                 const std::string& ended_by) {
  std::vector<Outcome> outcomes;
  for (std::size_t i = 0; i < orders.size(); ++i) {
    Outcome outcome{orders[i].text, {}, false};
    if (i < counted.size()) outcome.counted = counted[i];
    // Of a kill inside of a record nobody counts: it has not struck before.
    const bool is_counted = orders[i].action != proto::FaultAction::kill_inside;
    outcome.ended_the_daemon = proto::strikes_the_daemon(orders[i].action) && outcome.order == ended_by &&
                               (!is_counted || (outcome.counted && outcome.counted->struck > 0));
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

nlohmann::ordered_json json_of(const Outcome& outcome) {
  return {
      {"order", outcome.order},
      {"seen", outcome.counted ? nlohmann::ordered_json(outcome.counted->seen) : nlohmann::ordered_json(nullptr)},
      {"struck", outcome.counted ? nlohmann::ordered_json(outcome.counted->struck) : nlohmann::ordered_json(nullptr)},
      {"ended_the_daemon", outcome.ended_the_daemon}};
}

std::string outcome_text(const Outcome& outcome) {
  if (outcome.ended_the_daemon) return base::visible(outcome.order) + ": struck, and the daemon ended by it";
  if (outcome.counted) return fault_text(*outcome.counted);
  return base::visible(outcome.order) + ": not known, since the daemon had ended";
}

void copy_image(const std::string& source, const std::string& destination) {
  Context copying;
  copying.quiet = true;
  CopyOptions copy;
  copy.source = source;
  copy.destination = destination;
  run_copy(copying, copy);
  copying.out.flush();
}

}  // namespace

int run_run(Context& context, const RunOptions& options) {
  context.failed_status = context.try_again_status = exit_run_failed;
  const std::string orders_text = options.faults.empty() ? std::string() : read_orders(options.faults);
  std::vector<proto::FaultOrder> orders;
  if (const auto error = proto::parse_fault_orders(orders_text, orders))
    run_failed(Errc::invalid_argument, base::quoted(options.faults) + " " + error->message);
  const WorkFolder folder;
  const std::string image = folder.file("image.img"), socket = folder.file("d.sock"), log = folder.file("log");
  if (socket.size() >= sizeof(sockaddr_un::sun_path))
    run_failed(Errc::invalid_argument, "the path of the daemon's socket, " + base::quoted(socket) + ", would have " +
                                           std::to_string(socket.size()) + " bytes, and at most " +
                                           std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                                           " are possible; set TMPDIR to a shorter folder");
  if (!options.image.empty()) copy_image(options.image, image);
  Child daemon(Child::Kind::daemon,
               {daemon_path(options), "--allow-faults", "--unix", socket, "--store",
                std::string(run_store) + "=" + image, "--log-level", "warn"},
               log);
  if (daemon.exec_error() != 0)
    run_failed(Errc::not_found, base::quoted(daemon_path(options)) + ": " + error_of(daemon.exec_error()) +
                                    "; say where it is by --daemon, or the environment's PAGESERVERD");
  {
    const auto session = connect_to(daemon, socket, log);
    if (!orders.empty()) session->order_faults(orders_text, FaultScope::store);
  }
  // The command's: nothing that is said here is of this process.
  client::Endpoint endpoint;
  endpoint.socket_path = socket;
  ::setenv("PAGESERVER_URI", endpoint.uri(run_store).c_str(), 1);
  ::unsetenv("PAGESERVER_TOKEN");
  Child command(Child::Kind::command, options.command);
  handle_signal([pid = command.pid()] { ::kill(pid, SIGTERM); });
  if (command.exec_error() != 0) {
    complain("run: " + base::quoted(options.command[0]) + ": " + error_of(command.exec_error()));
    daemon.stop();
    return command.exec_error() == ENOENT ? 127 : 126;
  }
  const int status = command.wait();
  handle_signal([pid = daemon.pid()] { ::kill(pid, SIGKILL); });
  // Its last words have the counts. One that ends already, on order, is not hurried: a second signal is another end.
  std::string silence;
  bool ends = daemon.has_ended();
  if (!ends) {
    try {
      static_cast<void>(RemoteProvider(options_for(socket)).faults(FaultScope::store));
      ends = !last_words(log).ended_by.empty();
    } catch (const MemoryError& error) {
      ends = true;
      if (error.errc() == Errc::timed_out) silence = error.what();
    }
  }
  if (!silence.empty()) ::kill(daemon.pid(), SIGKILL);
  const int daemon_status = ends ? daemon.end_by_itself() : daemon.stop();
  if (!silence.empty()) run_failed(Errc::provider_error, "the daemon does not answer, and was killed: " + silence);
  const LastWords words = last_words(log);
  const auto outcomes = outcomes_of(orders, words.counted, words.ended_by);
  const bool all_struck = std::all_of(outcomes.begin(), outcomes.end(), [](const Outcome& o) { return o.struck(); });
  if (context.json) {
    auto faults = nlohmann::ordered_json::array();
    for (const Outcome& outcome : outcomes) faults.push_back(json_of(outcome));
    context.out.json({{"command_status", status},
                      {"daemon_status", daemon_status},
                      {"all_struck", all_struck},
                      {"faults", std::move(faults)}});
  } else {
    // Standard output is the command's.
    for (const Outcome& outcome : outcomes)
      if (!context.quiet || !outcome.struck()) complain(outcome_text(outcome));
  }
  if (daemon_status != 0 && words.ended_by.empty())
    run_failed(Errc::provider_error,
               "the daemon ended with status " + std::to_string(daemon_status) + "\n" + last_lines(log));
  if (status != 0) return status;
  return all_struck ? exit_done : exit_never_struck;
}

}  // namespace pageserver::pagectl
