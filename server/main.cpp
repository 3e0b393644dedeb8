#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <system_error>
#include <utility>

#include <pageserver/error.hpp>

#include "base/home_paths.hpp"
#include "base/secrets.hpp"
#include "base/standard_streams.hpp"
#include "server/config/command_line.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/signal_watch.hpp"
#include "server/server.hpp"
#include "server/service/passed_sockets.hpp"
#include "storage/file/mapped_file.hpp"
#include "storage/file/open_files.hpp"

namespace {

// Every connection is a descriptor, and the usual soft limit of 1024 exists for the sake of select(2).
void raise_open_files_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// A thread that takes and gives back 64 KiB at a time, as each request of that size does, would return the memory to
// the system each time by the C library's defaults, and fault it in again. At most so much stays with each thread.
void keep_some_memory() {
#ifdef __GLIBC__
  ::mallopt(M_TRIM_THRESHOLD, 1 << 20);
  ::mallopt(M_TOP_PAD, 128 << 10);
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

/// Whether the stores that are named can all be opened by this process; empty: yes. Those in a pool have no files here.
std::string warning_of_stores(const pageserver::server::Config& config) {
  constexpr std::uint64_t of_each = 2;  // the image and its folder
  constexpr std::uint64_t beside = 32;  // listeners, threads, the log
  const auto stores = static_cast<std::uint64_t>(std::count_if(
      config.stores.begin(), config.stores.end(),
      [](const pageserver::server::StoreConfig& store) { return !pageserver::base::is_home_path(store.path); }));
  const std::uint64_t limit = pageserver::storage::open_files_limit();
  if (stores * of_each + beside <= limit) return {};
  return std::to_string(stores) + " stores need " + std::to_string(stores * of_each) +
         " open files, two each, beside about " + std::to_string(beside) + " of the daemon, and here it may have " +
         std::to_string(limit) +
         ": it would not start; raise that limit (ulimit -n, LimitNOFILE=), or name fewer stores";
}

/// What was wrong, and what helps where the system says only that it has no more of something.
std::string start_failure(const std::exception& error) {
  std::string text = error.what();
  const auto* const system = dynamic_cast<const std::system_error*>(&error);
  if (system == nullptr || dynamic_cast<const pageserver::MemoryError*>(&error) != nullptr) return text;
  // By number: Asio's errors have a category of its own.
  switch (system->code().value()) {
    case EMFILE:
      text += "; this process may have " + std::to_string(pageserver::storage::open_files_limit()) +
              " open files: raise that limit (ulimit -n, LimitNOFILE=)";
      break;
    case ENFILE: text += "; raise the system's limit on open files (fs.file-max)"; break;
    case EAGAIN: text += "; raise the limit on threads and processes (ulimit -u, pids.max, TasksMax=)"; break;
    default: break;
  }
  return text;
}

int serve(const pageserver::server::Config& config) {
  using namespace pageserver::server;
  Notifier notifier = Notifier::from_environment();  // before there is another thread
  SignalWatch::block();
  Log log(config.log_format, config.log_level);
  try {
    Server server(config, log, pageserver::storage::all_file_systems());
    server.handle_signals();
    server.tell(std::move(notifier));
    try {
      server.start();
    } catch (const std::exception& error) {
      if (!server.stop_requested()) throw;
      log.info("stop", {{"status", 0}, {"reason", error.what()}});
      return 0;
    }
    return server.run();
  } catch (const std::exception& error) {
    log.error("start failed", {{"error", start_failure(error)}});
    return 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace pageserver::server;
  pageserver::base::occupy_standard_streams();
  // Before anything is opened, which would get the number of one that was closed too early.
  const CommandLine line = read_command_line(argc, argv, take_passed_sockets());
  pageserver::base::hide_secrets(argc, argv);
  if (line.exit_status) return *line.exit_status;
  if (!line.faults.empty()) {
    for (const std::string& fault : line.faults)
      std::cerr << "pageserverd: " << pageserver::base::without_secrets(fault) << '\n';
    return 1;
  }
  if (line.check_only) {
    // The limit that it would have when it serves.
    raise_open_files_limit();
    if (const std::string warning = warning_of_stores(line.config); !warning.empty())
      std::cerr << "pageserverd: warning: " << warning << '\n';
    return print_out("ok\n");
  }
  raise_open_files_limit();
  keep_some_memory();
  pageserver::storage::enable_mapped_reads();
  try {
    return serve(line.config);
  } catch (const std::exception& error) {
    // There is no log: its thread could not be had.
    std::cerr << "pageserverd: start failed: " << pageserver::base::without_secrets(start_failure(error)) << '\n';
    return 1;
  }
}
