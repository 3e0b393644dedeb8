// The daemon without its command line: listeners, connections, stores, and an orderly stop.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/access_reload.hpp"
#include "server/admission.hpp"
#include "server/config/config.hpp"
#include "server/connection/buffer_relief.hpp"
#include "server/connection/connection.hpp"
#include "server/connection/connections.hpp"
#include "server/listener.hpp"
#include "server/metrics_endpoint.hpp"
#include "server/new_images.hpp"
#include "server/orderly_stop.hpp"
#include "server/port_file.hpp"
#include "server/runtime/buffer_room.hpp"
#include "server/runtime/handshakes.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/loops.hpp"
#include "server/runtime/signal_watch.hpp"
#include "server/runtime/tls_memory.hpp"
#include "server/service_watch.hpp"
#include "server/stop_request.hpp"
#include "server/stores/catalog.hpp"
#include "server/stores/memory_shares.hpp"
#include "server/upkeep.hpp"
#include "storage/file/file_system.hpp"

namespace pageserver::server {

class LogWriteFaults;

class Server {
public:
  /// `log` and `file_system` outlive the server.
  Server(Config config, Log& log, storage::FileSystem& file_system);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  /// Opens the stores, binds the listeners, writes the port file. Throws a std::exception whose text is the one line
  /// that says why not. What was made until then is gone again: sockets, the port file, images that were not there
  /// before.
  void start();
  /// The listeners as the port file and the log name them, with real ports.
  std::vector<std::string> tcp_addresses() const;
  /// SIGTERM and SIGINT stop the server, or end a start() between two steps of a recovery; a second one ends the
  /// process at once with status 1, and so does the end of the grace period, whatever the stop hangs in. Needs
  /// SignalWatch::block().
  void handle_signals();
  /// Before start(): the service manager behind `notifier` is told how the daemon is.
  void tell(Notifier notifier);
  /// A signal asked for the stop.
  bool stop_requested() const noexcept { return stop_request_.asked(); }
  /// Serves on the calling thread until stop(). Returns the process's exit status: 1 when a store could not be closed.
  int run();
  /// From any thread.
  void stop();

private:
  void start_all();
  void undo_start() noexcept;
  ReportSources report_sources();
  Phase phase() const noexcept;
  void log_start() const;
  bool speaks_tls() const;
  /// False: no more come before accept_more().
  bool accepted(UniqueFd socket, Listener::Origin origin);
  void accept_more();
  void connection_ended(std::uint64_t id) noexcept;
  void relieve_buffers(const Peer& wanting);
  void signalled(int number);
  void overdue();
  void stopped();
  /// Of a stop that came to its end.
  [[noreturn]] void exit_at_once();
  [[noreturn]] void give_up(std::string_view why);

  const Config config_;
  Log& log_;
  // The last to go: a signal ends the process while the rest is taken down, too.
  StopRequest stop_request_;
  std::atomic<bool> serves_{false};
  std::optional<SignalWatch> signal_watch_;
  StorePlans fault_plans_;
  std::unique_ptr<LogWriteFaults> log_write_faults_;  ///< null but with --allow-faults; the stores use it
  PortFile port_file_;
  std::shared_ptr<Worker> front_;
  Handshakes handshakes_;
  SharedThreads threads_;
  Figures figures_;
  ClosedSessions closed_sessions_;
  ResumeTokens resume_tokens_;
  Admission admission_;
  LogLines lines_;
  MemoryShares memory_;
  BufferRoom buffers_;
  BufferRelief relief_;
  TlsMemory tls_memory_;
  Catalog catalog_;
  ServerContext context_;
  Connections connections_;
  AccessReload access_;
  Upkeep upkeep_;
  NewImages new_images_;
  OrderlyStop stop_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  // What must be said even without memory.
  PostRoom signal_posted_;
  PostRoom reload_posted_;
  PostRoom fewer_strangers_;
  // These go first: they ask all others.
  std::optional<MetricsEndpoint> metrics_;
  std::optional<ServiceWatch> service_;
};

}  // namespace pageserver::server
