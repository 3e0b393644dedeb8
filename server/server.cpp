#include "server/server.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <cstdlib>

#include "server/runtime/version.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"
#include "storage/file/open_files.hpp"
#include "storage/file/processors.hpp"
#include "storage/image/image_file.hpp"
#include "storage/image/whole_image.hpp"

namespace pageserver::server {

namespace {

// Connections over the limit are told why. So many at a time; the others are just closed.
constexpr std::size_t refused_at_once_max = 64;
constexpr std::chrono::seconds warning_interval{10};

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
  explicit Io(asio::io_context& context) : grace(context), looks(context) {}
  asio::steady_timer grace;
  asio::steady_timer looks;  ///< after the stores
  bool looks_later = false;
};

Server::Server(Config config, Log& log, storage::FileSystem& file_system)
    : config_(std::move(config)),
      log_(log),
      file_system_(file_system),
      port_file_(config_.port_file),
      front_(std::make_shared<Worker>("front", log)),
      threads_(readers_max(config_), pool_options(storage::usable_processors(), config_.limits.disk_threads), log),
      catalog_(config_, file_system, log, threads_),
      context_{config_, log, catalog_, front_, storage::poll_bound(config_.poll_us, storage::usable_processors()),
               {},      {},  {},       {}},
      io_(std::make_unique<Io>(front_->context())) {
  context_.next_session_id = 1;
  context_.ended = [this](std::uint64_t id) { connection_ended(id); };
  context_.find = [this](std::uint64_t id) { return find(id); };
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

void Server::start_all() {
  port_file_.take_place();
  missing_at_start_ = missing_images();
  catalog_.start();
  for (const ListenAddress& address : config_.listen) {
    listeners_.push_back(Listener::tcp(address, config_.limits.keepalive));
  }
  for (const UnixListen& address : config_.unix_sockets) listeners_.push_back(Listener::local(address));
  port_file_.write(tcp_addresses());
  budget_open_files();
  for (const auto& listener : listeners_) {
    listener->start(*front_, log_,
                    [this](UniqueFd socket, std::string address) { accepted(std::move(socket), std::move(address)); });
  }
  log_start();
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
  std::vector<std::string> stores;
  for (const ListedStore& store : catalog_.configured()) {
    stores.push_back(store.name + ":" + std::to_string(store.pages) + "pages");
  }
  std::vector<std::string> listeners;
  for (const auto& listener : listeners_) listeners.push_back(listener->name());
  log_.info("start", {{"version", version},
                      {"pid", ::getpid()},
                      {"stores", joined(stores)},
                      {"directory", config_.directory ? config_.directory->path : std::string()},
                      {"listeners", joined(listeners)}});
}

// Stores come first: a connection can wait.
void Server::budget_open_files() {
  const std::uint64_t limit = storage::open_files_limit();
  // Few of them where there are few descriptors.
  refused_at_once_max_ = static_cast<std::size_t>(std::min<std::uint64_t>(refused_at_once_max, limit / 16));
  constexpr std::uint64_t spare_files = 8;  // of lists, size probes and the like
  const std::uint64_t files_of_store = catalog_.open_files_of_a_store();
  // Stores that nobody uses may have an eighth.
  const std::uint64_t lingering =
      config_.directory ? std::min<std::uint64_t>(Catalog::lingering_default, limit / 8 / files_of_store) : 0;
  catalog_.keep_lingering(static_cast<std::size_t>(lingering));
  // What the stores have already counts twice, which is little.
  const std::uint64_t others =
      storage::open_files_now() + refused_at_once_max_ + spare_files + lingering * files_of_store;
  open_files_ = OpenFilesBudget(limit, others, files_of_store);
  const std::size_t stores = catalog_.stores_to_keep_files_for();
  const std::uint64_t reachable = open_files_.connections_max(stores);
  if (reachable >= config_.limits.connections) return;
  log_.warn("limits.connections can't be reached",
            {{"connections", config_.limits.connections},
             {"reachable", reachable},
             {"open_files", limit},
             {"kept_for_stores", open_files_.kept_for(stores)},
             {"remedy", "raise the limit of open files (ulimit -n, LimitNOFILE=), or lower limits.connections"}});
}

std::string Server::too_many_connections(std::size_t count) {
  const std::uint64_t configured = config_.limits.connections;
  if (count >= configured)
    return std::to_string(count) + " connections are open, limits.connections=" + std::to_string(configured) +
           "; try again later, or raise the limit";
  const std::size_t stores = catalog_.stores_to_keep_files_for();
  if (count < open_files_.connections_max(stores)) return {};
  const std::uint64_t kept = open_files_.kept_for(stores);
  if (const auto now = std::chrono::steady_clock::now(); now - last_files_warning_ >= warning_interval) {
    last_files_warning_ = now;
    log_.warn("connections refused for want of descriptors",
              {{"connections", count},
               {"open_files", open_files_.limit()},
               {"kept_for_stores", kept},
               {"remedy", "raise the limit of open files (ulimit -n, LimitNOFILE=), or lower limits.connections"}});
  }
  return std::to_string(count) + " connections are open, and of the " + std::to_string(open_files_.limit()) +
         " descriptors that the daemon may have (ulimit -n) " + std::to_string(kept) +
         " are kept for its stores; try again later, or raise that limit";
}

// The connection is made whole before it can be found, and owns the socket from the beginning.
void Server::accepted(UniqueFd socket, std::string address) {
  const std::uint64_t id = next_connection_++;
  const auto connection = std::make_shared<Connection>(context_, std::move(socket), std::move(address), id);
  std::size_t count = 0;
  {
    const Lock lock{mutex_};
    count = connections_.size();
  }
  std::optional<proto::Fault> refusal;
  if (std::string reason = too_many_connections(count); !reason.empty()) {
    const std::uint64_t max = open_files_.connections_max(catalog_.stores_to_keep_files_for());
    if (count >= std::min<std::uint64_t>(config_.limits.connections, max) + refused_at_once_max_) return;
    refusal = proto::Fault{proto::Status::limit_exceeded, std::move(reason)};
  }
  {
    // Only this thread adds some.
    const Lock lock{mutex_};
    connections_.emplace(id, connection);
  }
  connection->start(std::move(refusal));
}

std::shared_ptr<Connection> Server::find(std::uint64_t id) {
  const Lock lock{mutex_};
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second;
}

// From any thread. What was found here before is dropped by whoever found it.
void Server::connection_ended(std::uint64_t id) noexcept {
  bool last = false;
  {
    const Lock lock{mutex_};
    connections_.erase(id);
    last = connections_.empty();
  }
  if (last && context_.stopping)
    front_->post_in(last_ended_, not_owned(this), call<[](Server& self) { self.close_stores(); }>);
}

void Server::handle_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  // A file that grows past `ulimit -f` is an error of the request that asked for it.
  ::signal(SIGXFSZ, SIG_IGN);
  // There is nothing to read again: a changed configuration takes a restart.
  ::signal(SIGHUP, SIG_IGN);
  // After the grace period the front worker gives up. It may not get there: out of memory, or in a start that hangs.
  constexpr std::chrono::milliseconds more{500};
  signal_watch_.emplace([this](int number) { signalled(number); }, config_.grace + more, [this] { overdue(); });
}

void Server::overdue() {
  if (!stopped_) give_up("the grace period is over, and the daemon did not come to its end");
  // Every store is closed. What hangs is a call about the directory, for which nobody waits any more.
  log_.warn("ended without a call to the directory's disk, which does not come back", {{"status", status_.load()}});
  log_.drain(std::chrono::milliseconds(200));
  std::_Exit(status_);
}

// On the watch's thread: the others may be recovering a store or stand still.
void Server::signalled(int number) {
  if (stopped_) return overdue();
  const Lock lock{signal_mutex_};
  if (stop_requested_.exchange(true)) give_up("a second signal");
  catalog_.abandon_openings();
  signal_number_ = number;
  front_->post_in(signal_posted_, not_owned(this),
                  call<[](Server& self) { self.begin_stop(self.signal_number_ == SIGINT ? "SIGINT" : "SIGTERM"); }>);
}

void Server::look_after_stores() {
  if (io_->looks_later) return;
  io_->looks.expires_after(catalog_.look_interval());
  io_->looks.async_wait([this](const std::error_code& error) {
    io_->looks_later = false;
    if (error) return;
    catalog_.look_after_stores();
    look_after_stores();
  });
  io_->looks_later = true;
}

int Server::run() {
  front_->after_trouble([this] { continue_stop(); });
  front_->after_trouble([this] { look_after_stores(); });
  look_after_stores();
  front_->run();
  front_->drain();
  stopped_ = true;
  return status_;
}

void Server::stop() {
  front_->post([this] { begin_stop("stop"); });
}

void Server::begin_stop(std::string_view why) {
  if (context_.stopping) return;
  context_.stopping = true;
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
  const Lock lock{mutex_};
  for (const std::string& failure : close_failures_) log_.error("store not closed cleanly", {{"error", failure}});
  status_ = close_failures_.empty() ? 0 : 1;
  log_.info("stop", {{"status", status_.load()}});
  io_->grace.cancel();
  io_->looks.cancel();
  front_->stop();
}

// Ends as a kill would, which loses nothing that was promised.
void Server::give_up(std::string_view why) {
  log_.error("stopped at once", {{"reason", why}});
  log_.drain(std::chrono::milliseconds(200));
  std::_Exit(1);
}

}  // namespace pageserver::server
