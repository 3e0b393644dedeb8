#include "server/server.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <cstdlib>

#include "base/clock.hpp"
#include "server/runtime/version.hpp"
#include "server/stores/log_write_faults.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"
#include "storage/file/processors.hpp"
#include "storage/image/image_file.hpp"
#include "storage/image/image_lifecycle.hpp"

namespace pageserver::server {

namespace {

constexpr std::chrono::seconds policy_interval{10};

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ",") + part;
  return text;
}

std::size_t readers_max(const Config& config) {
  return config.threads != 0 ? config.threads : storage::usable_processors();
}

template <auto task>
void call(void* server) {
  task(*static_cast<Server*>(server));
}

}  // namespace

struct Server::Io {
  explicit Io(asio::io_context& context) : grace(context), looks(context), policy(context) {}
  asio::steady_timer grace;
  asio::steady_timer looks;  ///< after the stores
  bool looks_later = false;
  asio::steady_timer policy;  ///< until the next look at rules and tokens
  bool policy_later = false;
};

Server::Server(Config config, Log& log, storage::FileSystem& file_system)
    : config_(std::move(config)),
      log_(log),
      file_system_(file_system),
      log_write_faults_(config_.allow_faults ? std::make_unique<LogWriteFaults>(
                                                   file_system,
                                                   [this](const std::string& order, const std::string& store) {
                                                     kill_by_fault(log_, fault_plans_, order, store);
                                                   })
                                             : nullptr),
      port_file_(config_.port_file),
      front_(std::make_shared<Worker>("front", log)),
      threads_(readers_max(config_), pool_options(storage::usable_processors(), config_.limits.disk_threads), log,
               storage::usable_processors() == 1),
      strangers_([this] {
        front_->post_in(fewer_strangers_, not_owned(this), call<[](Server& self) { self.accept_more(); }>);
      }),
      lines_(log, config_.log_peer_lines),
      memory_(config_.limits),
      buffers_(memory_.buffers, config_.limits.peer_percent,
               config_.limits.request_bytes + proto::payload_overhead_bytes,
               [this](std::uint64_t id) {
                 if (const auto connection = find(id)) connection->room_in_buffers();
               }),
      tls_memory_(memory_.tls, config_.limits.peer_percent),
      catalog_(config_, log_write_faults_ ? *log_write_faults_ : file_system, log, threads_, &figures_, &memory_),
      policy_reload_(config_),
      tls_files_(config_),
      policy_strand_(threads_.disk),
      context_{config_,
               log,
               lines_,
               catalog_,
               figures_,
               front_,
               base::poll_bound(config_.poll_us, storage::usable_processors()),
               {},
               {},
               {},
               {},
               {},
               {},
               {},
               buffers_,
               {},
               &policy_,
               &tls_,
               &strangers_,
               &tls_memory_,
               {},
               &resume_tokens_,
               config_.allow_faults ? &fault_plans_ : nullptr,
               log_write_faults_.get()},
      io_(std::make_unique<Io>(front_->context())) {
  context_.next_session_id = 1;
  context_.closed_sessions = &closed_sessions_;
  context_.ended = [this](std::uint64_t id) { connection_ended(id); };
  context_.find = [this](std::uint64_t id) { return find(id); };
  context_.records = [this](std::uint64_t after, std::size_t count) { return records(after, count); };
  context_.find_session = [this](std::uint64_t id) { return find_session(id); };
  context_.connections = [this] {
    const Lock lock{mutex_};
    return connections_.size();
  };
  context_.relieve_buffers = [this](const Peer& wanting) { relieve_buffers(wanting); };
  catalog_.on_give_up([this](const std::string& store) { let_writers_go(store); });
}

Server::~Server() {
  // From here on a signal finds nothing to stop in order.
  const Lock lock{signal_mutex_};
  stop_requested_ = true;
}

void Server::start() {
  try {
    start_all();
  } catch (...) {
    undo_start();
    throw;
  }
}

void Server::tell(Notifier notifier) {
  if (!notifier.is_on()) return;
  service_.emplace(
      std::move(notifier), log_, catalog_, [this] { return phase(); }, context_.connections);
}

Phase Server::phase() const noexcept {
  if (stop_requested_ || context_.stopping) return Phase::stopping;
  return serves_ ? Phase::serving : Phase::starting;
}

ReportSources Server::report_sources() {
  return {
      log_, catalog_, figures_, [this] { return phase(); }, context_.connections, context_.records, closed_sessions_};
}

void Server::start_all() {
  if (config_.allow_faults)
    log_.warn("faults can be ordered",
              {{"remedy", "leave out --allow-faults, and allow_faults of the configuration, but for tests"}});
  port_file_.take_place();
  load_policy();
  if (config_.metrics) {
    metrics_.emplace(*config_.metrics, report_sources(), log_);
    metrics_->start();
    // Before the stores, which may have to be recovered: who asks meanwhile is told so.
    log_.info("metrics", {{"listener", metrics_->name()}});
  }
  missing_at_start_ = missing_images();
  catalog_.start();
  for (const ListenAddress& address : config_.listen) {
    listeners_.push_back(Listener::tcp(address, config_.limits.keepalive));
  }
  for (const UnixListen& address : config_.unix_sockets) listeners_.push_back(Listener::local(address));
  if (speaks_tls()) handshakes_.start(storage::usable_processors(), log_);
  budget_open_files();
  budget_strangers();
  for (const auto& listener : listeners_) {
    listener->start(*front_, log_, [this](UniqueFd socket, Listener::Origin origin) {
      return accepted(std::move(socket), std::move(origin));
    });
  }
  serves_ = true;
  // Who waits for the file finds everything said to be ready.
  port_file_.write(tcp_addresses());
  log_start();
  if (service_) service_->phase_changed();
}

void Server::load_policy() {
  PolicyReload::Found found = policy_reload_.look(true);
  if (!found.faults.empty()) throw std::runtime_error(found.faults.front());
  policy_.set(std::move(found.policy));
  std::shared_ptr<const tls::Context> tls;
  if (const auto faults = tls_files_.look(true, tls); !faults.empty()) throw std::runtime_error(faults.front());
  take_tls(std::move(tls));
}

void Server::take_tls(std::shared_ptr<const tls::Context> tls) noexcept {
  if (tls != nullptr) figures_.certificate_not_after = tls->not_after();
  tls_.set(std::move(tls));
}

// On a thread for disks: the files may be on one that hangs.
void Server::look_at_policy(bool asked) {
  if (context_.stopping) return;
  policy_strand_.submit([this, asked] {
    try {
      read_policy(asked);
    } catch (const std::exception& error) {
      log_.warn("rules not read", {{"error", error.what()}});
    }
  });
}

void Server::read_policy(bool asked) {
  read_tls(asked);
  PolicyReload::Found found = policy_reload_.look(asked);
  if (!found.faults.empty()) {
    ++figures_.rules_failed;
    figures_.rules_not_taken = true;
  }
  for (const std::string& fault : found.faults)
    log_.warn("rules not read", {{"error", fault}, {"remedy", "mend it; it is looked at every 10 s, and on SIGHUP"}});
  if (found.policy == nullptr) return;
  policy_.set(std::move(found.policy));
  ++figures_.rules_taken;
  figures_.rules_not_taken = false;
  {
    const Lock lock{mutex_};
    for (const auto& [id, connection] : connections_) connection->policy_changed();
  }
  // Who reads this finds each connection under the new rules.
  log_.info("rules read", {{"reason", asked ? "SIGHUP" : "a file has changed"}});
}

void Server::read_tls(bool asked) {
  std::shared_ptr<const tls::Context> tls;
  const std::vector<std::string> faults = tls_files_.look(asked, tls);
  if (!faults.empty()) {
    ++figures_.certificates_failed;
    figures_.certificate_not_taken = true;
  }
  for (const std::string& fault : faults)
    log_.warn("certificate not read",
              {{"error", fault}, {"remedy", "mend it; it is looked at every 10 s, and on SIGHUP"}});
  if (tls != nullptr) {
    take_tls(std::move(tls));
    peers_unverified_ = true;
    ++figures_.certificates_taken;
    figures_.certificate_not_taken = false;
    log_.info("certificate read", {{"reason", asked ? "SIGHUP" : "a file has changed"}});
  }
  verify_peers();
}

// All clients that have shown a certificate, after a change; else those of whose certificates one has come to its end.
// Not on the loops: of many clients it takes a while. What fails for want of memory is done at the next look.
void Server::verify_peers() {
  const std::shared_ptr<const tls::Context> tls = tls_.get();
  if (tls == nullptr) return;
  const std::int64_t now = base::unix_ms() / 1000;
  std::vector<std::shared_ptr<Connection>> shown;
  {
    const Lock lock{mutex_};
    for (const auto& [id, connection] : connections_)
      if (const auto chain = connection->peer_chain();
          chain != nullptr && (peers_unverified_ || chain->not_after() < now))
        shown.push_back(connection);
  }
  for (const auto& connection : shown)
    if (const std::string why = connection->peer_chain()->fault(*tls); !why.empty())
      connection->certificate_failed(why);
  peers_unverified_ = false;
}

void Server::look_at_policy_later() {
  if (io_->policy_later || !(policy_reload_.has_files() || tls_files_.has_files())) return;
  io_->policy.expires_after(policy_interval);
  io_->policy.async_wait([this](const std::error_code& error) {
    io_->policy_later = false;
    if (error || context_.stopping) return;
    if (policy_strand_.waiting() == 0) look_at_policy(false);
    look_at_policy_later();
  });
  io_->policy_later = true;
}

std::vector<const StoreConfig*> Server::missing_images() const {
  std::vector<const StoreConfig*> missing;
  std::string resolved;
  for (const StoreConfig& store : config_.stores)
    if (file_system_.real_path(store.path, resolved).error == ENOENT) missing.push_back(&store);
  return missing;
}

// Nothing serves yet. The stores end as by a kill, which leaves them as they are.
void Server::undo_start() noexcept {
  metrics_.reset();
  service_.reset();
  listeners_.clear();
  port_file_.remove();
  for (const StoreConfig* const store : missing_at_start_) {
    try {
      remove_new_image(*store);
    } catch (const std::exception& error) {
      log_.warn("new image not removed", {{"store", store->name}, {"path", store->path}, {"error", error.what()}});
    }
  }
}

// Who has it open, and thereby locked, made it.
void Server::remove_new_image(const StoreConfig& store) {
  const auto use = catalog_.find(store.name);
  if (use == nullptr || !use->host().is_open()) return;
  use->host().close();
  const std::string path = storage::resolved_image_path(file_system_, store.path);
  const auto folder = storage::Folder::open(file_system_, storage::parent_folder(path));
  storage::FileStatus status;
  const std::string name = storage::file_name(path);
  if (!folder.has(name, status) || !S_ISREG(status.mode) || status.size_bytes != 0) return;
  static_cast<void>(storage::remove_image(folder, name, store.path));
}

std::vector<std::string> Server::tcp_addresses() const {
  std::vector<std::string> addresses;
  for (const auto& listener : listeners_) {
    if (listener->is_tcp()) addresses.push_back(listener->name());
  }
  return addresses;
}

void Server::log_start() const {
  // A line that people read, also where there are thousands.
  constexpr std::size_t named_max = 20;
  std::vector<std::string> stores;
  std::size_t more = 0;
  for (const ListedStore& store : catalog_.configured()) {
    if (stores.size() == named_max)
      ++more;
    else
      stores.push_back(store.name + ":" + std::to_string(store.pages) + "pages");
  }
  if (more != 0) stores.push_back("and " + std::to_string(more) + " more");
  std::vector<std::string> listeners;
  for (const auto& listener : listeners_) listeners.push_back(listener->name());
  log_.info("start", {{"version", version},
                      {"pid", ::getpid()},
                      {"stores", joined(stores)},
                      {"directory", config_.directory ? config_.directory->path : std::string()},
                      {"listeners", joined(listeners)}});
}

std::shared_ptr<Connection> Server::find(std::uint64_t id) {
  const Lock lock{mutex_};
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<const ConnectionRecord>> Server::records(std::uint64_t after, std::size_t count) {
  std::vector<std::shared_ptr<const ConnectionRecord>> found;
  const Lock lock{mutex_};
  found.reserve(std::min(count, connections_.size()));
  for (auto one = connections_.upper_bound(after); one != connections_.end() && found.size() < count; ++one)
    found.push_back(one->second->record());
  return found;
}

std::shared_ptr<Connection> Server::find_session(std::uint64_t session_id) {
  if (session_id == 0) return nullptr;
  const Lock lock{mutex_};
  for (const auto& [id, connection] : connections_) {
    if (connection->record()->session_id == session_id) return connection;
  }
  return nullptr;
}

// From any thread. What was found here before is dropped by whoever found it.
void Server::connection_ended(std::uint64_t id) noexcept {
  bool last = false;
  {
    const Lock lock{mutex_};
    connections_.erase(id);
    last = connections_.empty();
  }
  strangers_.remove(id);
  if (last && context_.stopping)
    front_->post_in(last_ended_, not_owned(this), call<[](Server& self) { self.close_stores(); }>);
}

void Server::handle_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  // A file that grows past `ulimit -f` is an error of the request that asked for it.
  ::signal(SIGXFSZ, SIG_IGN);
  // After the grace period the front worker gives up. It may not get there: out of memory, or in a start that hangs.
  constexpr std::chrono::milliseconds more{500};
  signal_watch_.emplace([this](int number) { signalled(number); }, config_.grace + more, [this] { overdue(); });
}

void Server::overdue() {
  if (!stopped_) give_up("the grace period is over, and the daemon did not come to its end");
  // Every store is closed. What hangs is a call about the directory, for which nobody waits any more.
  log_.warn("ended without a call to the directory's disk, which does not come back", {{"status", status_.load()}});
  exit_at_once();
}

void Server::exit_at_once() {
  log_.drain(std::chrono::milliseconds(200));
  std::_Exit(status_);
}

// On the watch's thread: the others may be recovering a store or stand still.
void Server::signalled(int number) {
  if (number == SIGHUP) {
    if (!stop_requested_)
      front_->post_in(reload_posted_, not_owned(this), call<[](Server& self) { self.look_at_policy(true); }>);
    return;
  }
  const Lock lock{signal_mutex_};
  if (stopped_) exit_at_once();  // only the process's own memory is left to be taken down
  if (stop_requested_.exchange(true)) give_up("a second signal");
  catalog_.abandon_openings();
  signal_number_ = number;
  front_->post_in(signal_posted_, not_owned(this),
                  call<[](Server& self) { self.begin_stop(self.signal_number_ == SIGINT ? "SIGINT" : "SIGTERM"); }>);
}

// Any thread. The peers that have most go first, and of each who stands still for longest: as many as keep an eighth of
// what there is for all.
void Server::relieve_buffers(const Peer& wanting) {
  constexpr std::int64_t interval_ms = 200, patience_ms = 2000;
  const std::int64_t now = base::monotonic_ms();
  std::int64_t last = last_relief_ms_;
  if (now - last < interval_ms || !last_relief_ms_.compare_exchange_strong(last, now)) return;
  struct Candidate {
    std::uint64_t of_peer;
    BufferAccount::Idle idle;
    std::shared_ptr<Connection> connection;
  };
  std::vector<Candidate> candidates;
  const bool by_itself = wanting.buffered_bytes > memory_.buffers.bytes_max() / 2;
  {
    const Lock lock{mutex_};
    for (const auto& [id, connection] : connections_) {
      const BufferAccount::Idle idle = connection->idle_buffers();
      if (idle.bytes == 0 || now - idle.since_ms < patience_ms) continue;
      if (by_itself && &connection->peer() != &wanting) continue;
      candidates.push_back({connection->peer().buffered_bytes, idle, connection});
    }
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& one, const Candidate& other) {
    if (one.of_peer != other.of_peer) return one.of_peer > other.of_peer;
    return one.idle.since_ms < other.idle.since_ms;
  });
  std::uint64_t freed = 0;
  for (const Candidate& candidate : candidates) {
    if (freed >= memory_.buffers.bytes_max() / 8) return;
    candidate.connection->give_way();
    freed += candidate.idle.bytes;
  }
}

// In a job of the store. One whose thread is stuck is not waited for: it finds that its lease is lost.
void Server::let_writers_go(const std::string& store) {
  constexpr std::chrono::milliseconds patience{500};
  struct Waiting {
    Mutex mutex;
    CondVar changed;
    std::size_t left PAGESERVER_GUARDED_BY(mutex) = 0;
  };
  std::vector<std::shared_ptr<Connection>> on_it;
  {
    const Lock lock{mutex_};
    for (const auto& [id, connection] : connections_)
      if (connection->record()->is_on(store)) on_it.push_back(connection);
  }
  const auto waiting = std::make_shared<Waiting>();
  {
    const Lock lock{waiting->mutex};
    waiting->left = on_it.size();
  }
  for (const auto& connection : on_it)
    connection->go_to_successor([waiting] {
      const Lock lock{waiting->mutex};
      --waiting->left;
      waiting->changed.notify_all();
    });
  Lock lock{waiting->mutex};
  waiting->changed.wait_for(lock, patience, [&]() PAGESERVER_REQUIRES(waiting->mutex) { return waiting->left == 0; });
}

// What peers had in memory and gave back lies among what is still used: the system gets it back when there was much.
void Server::trim_if_due() {
  const std::uint64_t used =
      memory_.buffers.used() + memory_.private_bytes.used() + memory_.index.used() + memory_.tls.used();
  const bool much = used > memory_.bytes / 8;
  if ((much || much_before_) && !trims_.exchange(true)) {
    catalog_.lists().submit([this] {
      trim_memory(memory_.bytes);
      trims_ = false;
    });
  }
  much_before_ = much;
}

void Server::look_after_stores() {
  if (io_->looks_later) return;
  io_->looks.expires_after(catalog_.look_interval());
  io_->looks.async_wait([this](const std::error_code& error) {
    io_->looks_later = false;
    if (error) return;
    catalog_.look_after_stores();
    lines_.say_left_out();
    trim_if_due();
    look_after_stores();
  });
  io_->looks_later = true;
}

int Server::run() {
  front_->after_trouble([this] { continue_stop(); });
  front_->after_trouble([this] { look_after_stores(); });
  front_->after_trouble([this] { look_at_policy_later(); });
  look_after_stores();
  look_at_policy_later();
  front_->run();
  // What is left in one queue may post to the other, and that back, but no further.
  handshakes_.end();
  front_->drain();
  handshakes_.drain();
  front_->drain();
  return status_;
}

void Server::stop() {
  front_->post([this] { begin_stop("stop"); });
}

void Server::begin_stop(std::string_view why) {
  if (context_.stopping) return;
  context_.stopping = true;
  if (service_) service_->phase_changed();
  std::size_t open = 0;
  {
    const Lock lock{mutex_};
    open = connections_.size();
  }
  log_.info("stopping", {{"reason", why}, {"connections", open}});
  continue_stop();
}

// Whatever a step throws, all of it is gone through once more: what is done already is not done again.
void Server::continue_stop() {
  if (!context_.stopping) return;
  for (const auto& listener : listeners_) listener->close();
  port_file_.remove();
  if (!grace_armed_) {
    // Half of the grace is for the clients, the rest for the disk.
    io_->grace.expires_after(grace_half_over_ ? config_.grace - config_.grace / 2 : config_.grace / 2);
    io_->grace.async_wait([this](const std::error_code& error) {
      if (!error) out_of_grace();
    });
    grace_armed_ = true;
  }
  bool none = false;
  {
    const Lock lock{mutex_};
    none = connections_.empty();
    for (const auto& [id, connection] : connections_) grace_half_over_ ? connection->abort() : connection->stop();
  }
  if (none) close_stores();
}

void Server::out_of_grace() {
  if (grace_half_over_)
    give_up("the grace period is over and a store is not closed; its log is replayed at the next start");
  grace_half_over_ = true;
  grace_armed_ = false;
  continue_stop();
}

void Server::close_stores() {
  if (closing_stores_) return;
  catalog_.close_all([this](std::vector<std::string> failures) {
    {
      const Lock lock{mutex_};
      close_failures_ = std::move(failures);
    }
    front_->post_in(closed_, not_owned(this), call<[](Server& self) { self.stores_closed(); }>);
  });
  closing_stores_ = true;
}

void Server::stores_closed() {
  {
    const Lock lock{mutex_};
    for (const std::string& failure : close_failures_) log_.error("store not closed cleanly", {{"error", failure}});
    status_ = close_failures_.empty() ? 0 : 1;
  }
  lines_.say_left_out(true);
  fault_plans_.tell(log_);
  {
    const Lock lock{signal_mutex_};
    log_.info("stop", {{"status", status_.load()}});
    stopped_ = true;
  }
  io_->grace.cancel();
  io_->looks.cancel();
  io_->policy.cancel();
  front_->stop();
}

// Ends as a kill would, which loses nothing that was promised.
void Server::give_up(std::string_view why) {
  log_.error("stopped at once", {{"reason", why}});
  log_.drain(std::chrono::milliseconds(200));
  std::_Exit(1);
}

}  // namespace pageserver::server
