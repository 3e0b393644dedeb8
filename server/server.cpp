#include "server/server.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/clock.hpp"
#include "server/runtime/version.hpp"
#include "server/stores/log_write_faults.hpp"
#include "storage/file/processors.hpp"

namespace pageserver::server {

namespace {

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

Server::Server(Config config, Log& log, storage::FileSystem& file_system)
    : config_(std::move(config)),
      log_(log),
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
      admission_(config_, log, catalog_, connections_, resume_tokens_,
                 [this] {
                   front_->post_in(fewer_strangers_, not_owned(this), call<[](Server& self) { self.accept_more(); }>);
                 }),
      lines_(log, config_.log_peer_lines),
      memory_(config_.limits),
      buffers_(memory_.buffers, config_.limits.peer_percent,
               config_.limits.request_bytes + proto::payload_overhead_bytes,
               [this](std::uint64_t id) {
                 if (const auto connection = connections_.find(id)) connection->room_in_buffers();
               }),
      tls_memory_(memory_.tls, config_.limits.peer_percent),
      catalog_(config_, log_write_faults_ ? *log_write_faults_ : file_system, log, threads_, &figures_, &memory_),
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
               nullptr,
               nullptr,
               &admission_.strangers(),
               &tls_memory_,
               {},
               &resume_tokens_,
               config_.allow_faults ? &fault_plans_ : nullptr,
               log_write_faults_.get()},
      access_(config_, log, figures_, connections_, threads_.disk, *front_, context_.stopping),
      upkeep_(*front_, catalog_, lines_, memory_),
      new_images_(config_, file_system),
      stop_(config_.grace, log, *front_, catalog_, connections_, context_.stopping,
            {[this] {
               if (service_) service_->phase_changed();
             },
             [this] {
               for (const auto& listener : listeners_) listener->close();
               port_file_.remove();
             },
             [this] { stopped(); }, [this](std::string_view why) { give_up(why); }}) {
  context_.policy = &access_.policy();
  context_.tls = &access_.tls();
  context_.next_session_id = 1;
  context_.closed_sessions = &closed_sessions_;
  context_.ended = [this](std::uint64_t id) { connection_ended(id); };
  context_.find = [this](std::uint64_t id) { return connections_.find(id); };
  context_.records = [this](std::uint64_t after, std::size_t count) { return connections_.records(after, count); };
  context_.find_session = [this](std::uint64_t id) { return connections_.find_session(id); };
  context_.connections = [this] { return connections_.count(); };
  context_.relieve_buffers = [this](const Peer& wanting) { relieve_buffers(wanting); };
  // In a job of the store.
  catalog_.on_give_up([this](const std::string& store) { connections_.let_writers_go(store); });
}

Server::~Server() { stop_request_.leave(); }

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
  if (stop_request_.asked() || context_.stopping) return Phase::stopping;
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
  access_.load();
  if (config_.metrics) {
    metrics_.emplace(*config_.metrics, report_sources(), log_);
    metrics_->start();
    // Before the stores, which may have to be recovered: who asks meanwhile is told so.
    log_.info("metrics", {{"listener", metrics_->name()}});
  }
  new_images_.note_missing();
  catalog_.start();
  for (const ListenAddress& address : config_.listen) {
    listeners_.push_back(Listener::tcp(address, config_.limits.keepalive));
  }
  for (const UnixListen& address : config_.unix_sockets) listeners_.push_back(Listener::local(address));
  if (speaks_tls()) handshakes_.start(storage::usable_processors(), log_);
  // Of lists, size probes and the like, and of the metrics listener.
  admission_.budget_open_files(8 + (metrics_ ? MetricsEndpoint::connections_max : 0));
  context_.strangers_bound = admission_.budget_strangers(memory_, speaks_tls());
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

// Nothing serves yet. The stores end as by a kill, which leaves them as they are.
void Server::undo_start() noexcept {
  metrics_.reset();
  service_.reset();
  listeners_.clear();
  port_file_.remove();
  new_images_.remove(catalog_, log_);
}

bool Server::speaks_tls() const {
  return std::any_of(config_.listen.begin(), config_.listen.end(),
                     [](const ListenAddress& address) { return address.tls; });
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

// From any thread. What was found here before is dropped by whoever found it.
void Server::connection_ended(std::uint64_t id) noexcept {
  const bool last = connections_.remove(id);
  admission_.strangers().remove(id);
  if (last && context_.stopping) stop_.none_left();
}

// The connection is made whole before it can be found, and owns the socket from the beginning.
bool Server::accepted(UniqueFd socket, Listener::Origin origin) {
  const std::shared_ptr<Peer> peer = admission_.peer(origin.peer);
  const std::uint64_t count_of_peer = Admission::connections_of(*peer);
  const std::uint64_t id = connections_.next_id();
  ++figures_.connections_accepted;
  const auto connection =
      std::make_shared<Connection>(context_, std::move(socket), std::move(origin.address), peer, id);
  Admission::Verdict verdict = admission_.judge(*peer, count_of_peer);
  if (verdict.is_dropped) {
    ++figures_.refused_for_limit;
    return true;
  }
  admission_.enter(connection, peer);
  if (origin.tls)
    connection->start(std::move(verdict.refusal), access_.tls().get(), handshakes_.next());
  else
    connection->start(std::move(verdict.refusal));
  return admission_.may_go_on(origin.tls);
}

void Server::accept_more() {
  for (const auto& listener : listeners_) listener->accept_more();
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
  if (!stop_request_.ended()) give_up("the grace period is over, and the daemon did not come to its end");
  // Every store is closed. What hangs is a call about the directory, for which nobody waits any more.
  log_.warn("ended without a call to the directory's disk, which does not come back", {{"status", stop_.status()}});
  exit_at_once();
}

void Server::exit_at_once() {
  log_.drain(std::chrono::milliseconds(200));
  std::_Exit(stop_.status());
}

// On the watch's thread: the others may be recovering a store or stand still.
void Server::signalled(int number) {
  if (number == SIGHUP) {
    if (!stop_request_.asked())
      front_->post_in(reload_posted_, not_owned(this), call<[](Server& self) { self.access_.look(true); }>);
    return;
  }
  stop_request_.hear(number, [this](StopRequest::Heard heard) {
    switch (heard) {
      case StopRequest::Heard::ended: exit_at_once();  // only the process's own memory is left to be taken down
      case StopRequest::Heard::again: give_up("a second signal");
      case StopRequest::Heard::first: break;
    }
    catalog_.abandon_openings();
    front_->post_in(
        signal_posted_, not_owned(this),
        call<[](Server& self) { self.stop_.begin(self.stop_request_.number() == SIGINT ? "SIGINT" : "SIGTERM"); }>);
  });
}

// Any thread. Where one peer has most of it, it is helped by its own connections alone.
void Server::relieve_buffers(const Peer& wanting) {
  const std::int64_t now = base::monotonic_ms();
  if (!relief_.is_due(now)) return;
  const std::uint64_t bytes_max = memory_.buffers.bytes_max();
  const bool by_itself = wanting.buffered_bytes > bytes_max / 2;
  std::vector<BufferRelief::Candidate> candidates;
  connections_.for_each([&](const Connection& connection) {
    const BufferAccount::Idle idle = connection.idle_buffers();
    if (!BufferRelief::stands_still(idle, now) || (by_itself && &connection.peer() != &wanting)) return;
    candidates.push_back({connection.peer().buffered_bytes, idle, connection.id()});
  });
  for (const BufferRelief::Candidate& candidate : BufferRelief::chosen(std::move(candidates), bytes_max))
    if (const auto connection = connections_.find(candidate.connection_id)) connection->give_way();
}

int Server::run() {
  front_->after_trouble([this] { stop_.go_on(); });
  front_->after_trouble([this] { upkeep_.begin(); });
  front_->after_trouble([this] { access_.begin(); });
  upkeep_.begin();
  access_.begin();
  front_->run();
  // What is left in one queue may post to the other, and that back, but no further.
  handshakes_.end();
  front_->drain();
  handshakes_.drain();
  front_->drain();
  return stop_.status();
}

void Server::stop() {
  front_->post([this] { stop_.begin("stop"); });
}

void Server::stopped() {
  lines_.say_left_out(true);
  fault_plans_.tell(log_);
  stop_request_.end([this] { log_.info("stop", {{"status", stop_.status()}}); });
  upkeep_.end();
  access_.end();
  front_->stop();
}

// Ends as a kill would, which loses nothing that was promised.
void Server::give_up(std::string_view why) {
  log_.error("stopped at once", {{"reason", why}});
  log_.drain(std::chrono::milliseconds(200));
  std::_Exit(1);
}

}  // namespace pageserver::server
