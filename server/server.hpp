// The daemon without its command line: listeners, connections, stores, and an orderly stop.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "server/config/config.hpp"
#include "server/config/tls_files.hpp"
#include "server/connection/connection.hpp"
#include "server/listener.hpp"
#include "server/metrics_endpoint.hpp"
#include "server/policy_reload.hpp"
#include "server/port_file.hpp"
#include "server/runtime/blocking_pool.hpp"
#include "server/runtime/buffer_room.hpp"
#include "server/runtime/handshakes.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/loops.hpp"
#include "server/runtime/open_files_budget.hpp"
#include "server/runtime/signal_watch.hpp"
#include "server/runtime/strangers.hpp"
#include "server/runtime/tls_memory.hpp"
#include "server/service_watch.hpp"
#include "server/stores/catalog.hpp"
#include "server/stores/memory_shares.hpp"
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
  bool stop_requested() const noexcept { return stop_requested_; }
  /// Serves on the calling thread until stop(). Returns the process's exit status: 1 when a store could not be closed.
  int run();
  /// From any thread.
  void stop();

private:
  struct Io;
  void start_all();
  void load_policy();
  void look_at_policy(bool asked);
  void read_policy(bool asked);
  void read_tls(bool asked);
  void verify_peers();
  void take_tls(std::shared_ptr<const tls::Context> tls) noexcept;
  void look_at_policy_later();
  void undo_start() noexcept;
  ReportSources report_sources();
  Phase phase() const noexcept;
  std::vector<const StoreConfig*> missing_images() const;
  void remove_new_image(const StoreConfig& store);
  void log_start() const;
  void budget_open_files();
  bool speaks_tls() const;
  void budget_strangers();
  /// Why there may be no further connection beside `count`, or empty.
  std::string too_many_connections(std::size_t count);
  std::uint64_t connections_of_peer_max() const noexcept;
  /// Without the sessions whose clients have lost theirs.
  std::size_t connections_with_sockets();
  /// There may be so many as descriptors and limits.connections allow.
  std::uint64_t connections_max() const noexcept;
  /// For one more stranger, by those of whom others go.
  void make_room(const Peer& peer);
  /// The same of one peer, which has so many.
  std::string too_many_of_peer(const Peer& peer, std::uint64_t count) const;
  /// False: strangers that go have to have gone before more come, see accept_more().
  bool accepted(UniqueFd socket, Listener::Origin origin);
  void accept_more();
  void connection_ended(std::uint64_t id) noexcept;
  std::shared_ptr<Connection> find(std::uint64_t id);
  std::vector<std::shared_ptr<const ConnectionRecord>> records(std::uint64_t after, std::size_t count);
  std::shared_ptr<Connection> find_session(std::uint64_t session_id);
  void look_after_stores();
  void relieve_buffers(const Peer& wanting);
  void let_writers_go(const std::string& store);
  void trim_if_due();
  void signalled(int number);
  void overdue();
  /// Of a stop that came to its end.
  [[noreturn]] void exit_at_once();
  void begin_stop(std::string_view why);
  void continue_stop();
  void close_stores();
  void stores_closed();
  void out_of_grace();
  void give_up(std::string_view why);

  const Config config_;
  Log& log_;
  // The last to go: a signal ends the process while the rest is taken down, too.
  Mutex signal_mutex_;
  std::atomic<bool> stop_requested_{false};
  std::atomic<bool> serves_{false};
  std::atomic<bool> stopped_{false};  ///< in order, as the line `stop` says
  std::atomic<int> status_{0};
  std::optional<SignalWatch> signal_watch_;
  storage::FileSystem& file_system_;
  StorePlans fault_plans_;
  std::unique_ptr<LogWriteFaults> log_write_faults_;  ///< null but with --allow-faults; the stores use it
  PortFile port_file_;
  std::shared_ptr<Worker> front_;
  Handshakes handshakes_;
  SharedThreads threads_;
  Figures figures_;
  ClosedSessions closed_sessions_;
  Peers peers_;
  Strangers strangers_;
  ResumeTokens resume_tokens_;
  LogLines lines_;
  MemoryShares memory_;
  BufferRoom buffers_;
  TlsMemory tls_memory_;
  std::atomic<bool> trims_{false};  ///< a task of the catalog does
  Catalog catalog_;
  PolicyInForce policy_;
  PolicyReload policy_reload_;  ///< in policy_strand_, once it runs
  TlsFiles tls_files_;          ///< as well
  TlsInForce tls_;
  bool peers_unverified_ = false;  ///< since tls_ is another one; in policy_strand_
  Strand policy_strand_;
  ServerContext context_;
  std::unique_ptr<Io> io_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<const StoreConfig*> missing_at_start_;  ///< stores whose image was not there
  Mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<Connection>> connections_ PAGESERVER_GUARDED_BY(mutex_);
  std::uint64_t next_connection_ = 1;
  OpenFilesBudget open_files_;
  std::size_t refused_at_once_max_ = 0;
  std::chrono::steady_clock::time_point last_files_warning_;
  std::atomic<std::int64_t> last_relief_ms_{0};
  bool much_before_ = false;
  // What must be said even without memory.
  PostRoom signal_posted_;
  PostRoom reload_posted_;
  PostRoom last_ended_;
  PostRoom fewer_strangers_;
  PostRoom closed_;
  std::atomic<int> signal_number_{0};
  bool grace_armed_ = false;
  bool grace_half_over_ = false;
  bool closing_stores_ = false;
  std::vector<std::string> close_failures_ PAGESERVER_GUARDED_BY(mutex_);
  // These go first: they ask all others.
  std::optional<MetricsEndpoint> metrics_;
  std::optional<ServiceWatch> service_;
};

}  // namespace pageserver::server
