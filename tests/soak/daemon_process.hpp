// pageserverd as a process that is limited, stopped, killed and read by the soak.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace pageserver::test::soak {

/// The programs of this build, or those in the folder PAGESERVER_PROGRAMS.
std::string pageserverd_path();
std::string pagectl_path();

/// Where standard error of the daemon goes.
enum class Streams : std::uint8_t {
  file,     ///< to the log's file
  stalled,  ///< to a pipe of few bytes that nobody reads until the daemon has ended
  closed,   ///< descriptors 0, 1 and 2 are closed at the start
};

class DaemonProcess {
public:
  struct Options {
    std::vector<std::string> argv;
    std::filesystem::path log;  // made anew
    std::filesystem::path port_file;
    Streams streams = Streams::file;
    std::uint64_t open_files = 0;       // RLIMIT_NOFILE, soft and hard; 0: as here
    std::uint64_t file_size_bytes = 0;  // RLIMIT_FSIZE
  };
  /// Forks and executes; the process dies with this one. No other thread may be about.
  explicit DaemonProcess(Options options);
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;
  ~DaemonProcess();

  pid_t pid() const { return pid_; }
  bool running() const;
  /// False when it ended instead. Throws Violation when it does neither.
  bool wait_until_serving();
  std::uint16_t port() const { return port_of_line(0); }
  std::uint16_t tls_port() const { return port_of_line(1); }
  void signal(int number) const;
  /// 128 + the signal's number, where one ended it. Throws Violation when it does not end in time.
  int wait();
  /// Everything that it logged; whole only after wait().
  std::string log() const;
  /// The soft limit of open files, from now on; returns what it was.
  std::uint64_t limit_open_files(std::uint64_t most) const;
  std::uint64_t open_files() const;

private:
  bool ended_within(std::chrono::milliseconds limit) const;
  void drain();
  /// Of the port file.
  std::uint16_t port_of_line(unsigned number) const;

  Options options_;
  pid_t pid_ = -1;
  int pidfd_ = -1;
  int unread_ = -1;
  bool waited_ = false;
  int status_ = 0;
};

}  // namespace pageserver::test::soak
