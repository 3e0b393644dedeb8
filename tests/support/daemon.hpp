// A real pageserverd beside the test, on loopback ports that the kernel chooses.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

namespace pageserver::test {

/// The programs of this build, or those in the folder PAGESERVER_PROGRAMS. Each throws where there is none.
std::string pageserverd_path();
std::string pagectl_path();

/// Starts with `--listen 127.0.0.1:0 --unix DIR/d.sock --port-file DIR/port` before `flags` and returns once it
/// serves. DIR is `shared_dir`, or a directory of its own. Where a flag names a file, `{dir}` stands for DIR. In a mode
/// (test_mode.hpp) it gets that mode's configuration too, and the URIs of its stores that mode's keys.
///
/// The destructor stops it and fails the test for every WARN or ERROR in its log that was not announced by
/// expect_complaint().
class Daemon {
public:
  explicit Daemon(std::vector<std::string> flags = {}, TempDir* shared_dir = nullptr);
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon();

  std::uint16_t port() const noexcept { return port_; }
  std::string socket_path() const;
  /// Every line of the port file.
  const std::vector<std::string>& listeners() const noexcept { return listeners_; }
  const std::filesystem::path& dir() const noexcept { return dir_->path(); }
  std::string file(const std::string& name) const { return dir_->file(name); }
  pid_t pid() const noexcept { return process_->pid(); }
  Process& process() noexcept { return *process_; }

  /// `query` comes without its question mark: "access=read&view=pinned".
  std::string tcp_uri(std::string_view store, std::string_view query = {}) const;
  std::string unix_uri(std::string_view store, std::string_view query = {}) const;
  /// "pageserver://127.0.0.1:PORT"
  std::string server_uri() const;

  /// Everything that it logged since it started, across restarts.
  std::string log() const;
  void wait_for_log(std::string_view text) const { process_->wait_for_err(text); }
  /// A WARN or ERROR line that contains `text` is expected.
  void expect_complaint(std::string text);
  /// Lines of WARN and ERROR in the log, without those that were announced.
  std::vector<std::string> unexpected_complaints() const;

  /// SIGTERM, then the exit status.
  int stop();
  /// SIGKILL.
  void kill_hard();
  /// With the same flags, in the same directory, on a new port.
  void start_again();

private:
  void start();
  void add_mode(std::vector<std::string>& argv);

  std::optional<TempDir> own_dir_;
  std::optional<TempDir> mode_dir_;
  TempDir* dir_;
  std::vector<std::string> flags_;
  std::unique_ptr<Process> process_;
  std::string earlier_log_;
  std::vector<std::string> expected_;
  std::vector<std::string> listeners_;
  std::uint16_t port_ = 0;
};

}  // namespace pageserver::test
