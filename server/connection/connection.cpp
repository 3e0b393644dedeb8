// The coroutine that drives a connection. Coroutines are named functions that take their parameters by value: gcc 12
// destroys a capturing lambda twice when it stands inside a co_await expression.
#include "server/connection/connection.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include "server/runtime/coroutine.hpp"

namespace pageserver::server {

namespace {

// So many batches in a row, then the worker's other connections have a turn.
constexpr int batches_in_a_row = 8;
// After goodbye the peer's bytes are dropped for so long: closing with unread input would reset the connection, and
// the reset could overtake the goodbye.
constexpr std::chrono::milliseconds linger_time{1000};

/// Counts the connections of this loop that poll: the more they are, the sooner each of them gives way.
class Polling {
public:
  explicit Polling(Worker& worker) : count_(worker.polling()) { ++count_; }
  Polling(const Polling&) = delete;
  Polling& operator=(const Polling&) = delete;
  ~Polling() { --count_; }

  /// How often to look before giving way: some microseconds for all together.
  int tries() const { return std::max(1, 8 / std::max(1, count_.load())); }

private:
  std::atomic<int>& count_;
};

bool is_unix_socket(int socket) {
  int domain = 0;
  socklen_t length = sizeof domain;
  return ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

}  // namespace

struct Connection::Io {
  Io(Connection& owner, Worker& on, int socket)
      : worker(on),
        timer(on.context()),
        peer_timer(on.context()),
        sleeper(on.context()),
        loop(&owner, [](void* connection) { static_cast<Connection*>(connection)->take_turn(Sign::resume); }),
        descriptor(on.context(), socket) {}

  Worker& worker;
  asio::steady_timer timer;  // for the deadline; late by one round at most, see arm()
  std::optional<std::chrono::steady_clock::time_point> armed_for;
  asio::steady_timer peer_timer;  // for the next look at whether the peer's host is there
  bool peer_timer_runs = false;
  asio::steady_timer sleeper;
  bool woken = false;
  Loop loop;
  asio::posix::stream_descriptor descriptor;  // last: once it has the socket nothing else can fail
};

struct ConnectionLoop {
  enum class Until : std::uint8_t { readable, writable, woken, next_turn };

  // A timer that is armed for an earlier moment is left alone: it wakes the loop, which then arms it anew. So the
  // deadlines of busy connections, which move with each frame, cost no timer operations.
  static void arm(const std::shared_ptr<Connection>& self) {
    Connection::Io& io = *self->io_;
    if (self->deadline_.kind() == Deadline::Kind::none) return;
    if (io.armed_for && *io.armed_for <= self->deadline_.moment()) return;
    io.armed_for = self->deadline_.moment();
    io.timer.expires_at(self->deadline_.moment());
    io.timer.async_wait([self](const std::error_code& error) {
      if (!error) self->take_turn(Connection::Sign::deadline);
    });
  }

  // At most one look in host_watch_.interval(), and none at a connection that is sent nothing.
  static void arm_look_at_peer(const std::shared_ptr<Connection>& self) {
    Connection::Io& io = *self->io_;
    if (!self->host_watch_.wants_look() || io.peer_timer_runs) return;
    io.peer_timer.expires_after(self->host_watch_.interval());
    io.peer_timer.async_wait([self](const std::error_code& error) {
      if (!error) self->take_turn(Connection::Sign::peer);
    });
    io.peer_timer_runs = true;
  }

  /// What a loop awaits. Nothing in it needs to be destroyed, which gcc 12 does twice inside a co_await expression.
  struct Wait {
    bool await_ready() const { return connection.io_->woken && until != Until::next_turn; }
    void await_suspend(std::coroutine_handle<> innermost) {
      const auto begin = [this](Loop::Handler handler) { begin_wait(*connection.io_, until, std::move(handler)); };
      connection.io_->loop.wait(begin).await_suspend(innermost);
    }
    void await_resume() const noexcept {
      connection.begin_turn();
      if (until == Until::next_turn) return;
      connection.io_->woken = false;
      connection.stream_.forget_drained();
    }
    Connection& connection;
    Until until;
  };

  static void begin_wait(Connection::Io& io, Until until, Loop::Handler handler) {
    switch (until) {
      case Until::readable:
        return io.descriptor.async_wait(asio::posix::descriptor_base::wait_read, std::move(handler));
      case Until::writable:
        return io.descriptor.async_wait(asio::posix::descriptor_base::wait_write, std::move(handler));
      case Until::woken:
        io.sleeper.expires_after(std::chrono::seconds(1));
        return io.sleeper.async_wait(std::move(handler));
      case Until::next_turn: return asio::post(io.descriptor.get_executor(), std::move(handler));
    }
  }

  static Wait wait(const std::shared_ptr<Connection>& self, Until until) {
    arm(self);
    arm_look_at_peer(self);
    return {*self, until};
  }
  /// Lets the worker's other connections have a turn.
  static Wait next_turn(const std::shared_ptr<Connection>& self) { return {*self, Until::next_turn}; }

  // Says what is to be waited for, if anything.
  static std::optional<Until> look_at_pending(const std::shared_ptr<Connection>& self) {
    if (self->pending_.is_done()) return {};
    const bool in_line = self->pending_.what() == Pending::What::session && self->wish_->request.wait_in_line;
    if (in_line && (self->server_.stopping || self->deadline_.passed(Deadline::Kind::line))) {
      self->give_up_place();
    }
    if (in_line && self->stream_.is_at_end()) {
      self->stream_.fail();
      self->reason_ = "left the line";
      return {};
    }
    if (self->stream_.is_at_end() || self->stream_.input().size() >= self->server_.config.limits.buffered_bytes) {
      self->look_for_hang_up();
      if (!self->stream_.is_broken() && !(in_line && self->stream_.is_at_end())) return Until::woken;
      return {};
    }
    if (self->receive_ahead() == Connection::Received::nothing) return Until::readable;
    return {};
  }

  // Whatever ends a batch half-way, the worker's next connection finds nothing of it. The end is told from in here.
  static LoopCoroutine run(std::shared_ptr<Connection> self) {
    std::exception_ptr problem;
    try {
      Coroutine served = serve(self);
      co_await served;
    } catch (...) {
      Connection::forget_batch();
      problem = std::current_exception();
    }
    self->loop_ended(problem);
  }

  static Coroutine serve(std::shared_ptr<Connection> self) {
    int in_a_row = 0;
    self->stream_.forget_drained();
    if (self->on_front()) {
      self->back_on_front();
    } else if (!self->poll_budget_.is_on() && is_unix_socket(self->socket())) {
      // Linux reports room on a Unix socket whenever the peer takes bytes out of it, and a descriptor that was waited
      // for once stays registered for it. So this thread and its processor are woken while the peer still makes its
      // next request, and not only by it; a receive that blocks gets the same unasked.
      self->io_->descriptor.async_wait(asio::posix::descriptor_base::wait_write, [self](const std::error_code&) {});
    }
    if (self->refusal_) self->say_goodbye(self->refusal_->status, self->refusal_->message);
    if (self->wish_ && self->hold_.use) self->begin_open();
    for (;;) {
      self->advance();
      self->gather_answers();
      self->send_output();
      if (self->stream_.is_broken()) break;
      if (!self->stream_.output().empty()) {
        if (self->deadline_.passed(Deadline::Kind::output)) {
          if (self->leaving_ || self->server_.stopping || self->owes_beyond_limit()) {
            self->deadline_missed();
            break;
          }
          if (self->stream_.is_broken()) break;
          self->set_deadline(Deadline::Kind::output, self->server_.config.limits.stall_timeout);
        }
        co_await wait(self, Until::writable);
        continue;
      }
      if (self->leaving_ || self->move_to_) break;
      if (self->pending_.is_any()) {
        if (const auto until = look_at_pending(self)) co_await wait(self, *until);
        continue;
      }
      const bool more_in_hand = self->recheck_input_ && !self->stream_.input().empty();
      if (!more_in_hand) {
        if (self->stream_.is_at_end()) break;
        if (self->server_.stopping) {
          self->look_a_last_time();
          continue;
        }
        if (self->deadline_.passed(Deadline::Kind::hello) || self->deadline_.passed(Deadline::Kind::input)) {
          self->deadline_missed();
          continue;
        }
        if (self->stream_.is_drained() || self->receive() == Connection::Received::nothing) {
          in_a_row = 0;
          self->watch_input_progress();
          if (self->hold_.session == nullptr || !self->poll_budget_.is_on()) {
            co_await wait(self, Until::readable);
            continue;
          }
          const auto began = std::chrono::steady_clock::now();
          const auto poll_until = began + self->poll_budget_.window();
          auto found = Connection::Received::nothing;
          {
            const Polling one_more(self->io_->worker);
            while (found == Connection::Received::nothing && !self->io_->woken &&
                   std::chrono::steady_clock::now() < poll_until) {
              found = self->poll_socket(one_more.tries());
              // Between two looks the worker's other connections have a turn.
              if (found == Connection::Received::nothing) co_await next_turn(self);
            }
          }
          if (found == Connection::Received::nothing) co_await wait(self, Until::readable);
          self->poll_budget_.record(std::chrono::steady_clock::now() - began);
          continue;
        }
      }
      if (++in_a_row >= batches_in_a_row || self->turn_is_over_) {
        in_a_row = 0;
        // What was gathered lies where the worker's other connections gather theirs.
        self->send_output();
        co_await next_turn(self);
      }
    }
    if (self->move_to_ && !self->stream_.is_broken()) co_return;
    self->end_session();
    if (!self->leaving_ || self->stream_.is_broken()) co_return;
    // Not on the store's worker, which may go with the last hold on the store.
    if (self->on_front()) {
      Coroutine lingering = linger(self);
      co_await lingering;
    } else {
      self->move_to_ = self->server_.front;
    }
  }

  static Coroutine linger(std::shared_ptr<Connection> self) {
    ::shutdown(self->io_->descriptor.native_handle(), SHUT_WR);
    self->set_deadline(Deadline::Kind::linger, linger_time);
    while (!self->stream_.is_broken() && !self->stream_.is_at_end() &&
           !self->deadline_.passed(Deadline::Kind::linger)) {
      self->stream_.input().release();
      if (self->receive_ahead() == Connection::Received::nothing) co_await wait(self, Until::readable);
    }
  }
};

Connection::Connection(ServerContext& server, UniqueFd socket, std::string address, std::uint64_t id)
    : server_(server),
      address_(std::move(address)),
      id_(id),
      socket_(std::move(socket)),
      wait_for_calls_(1),
      host_watch_(is_unix_socket(socket_.get()) ? std::chrono::milliseconds{} : server.config.limits.keepalive),
      poll_budget_(server.poll_bound) {
  stream_.attach(socket_.get());
}

Connection::~Connection() = default;

void Connection::start(std::optional<proto::Fault> refusal) {
  server_.log.debug("connection open", {{"connection", id_}, {"address", address_}});
  set_deadline(Deadline::Kind::hello, server_.config.limits.hello_timeout);
  refusal_ = std::move(refusal);
  {
    const Lock lock{worker_mutex_};
    worker_ = server_.front;
  }
  take_turn(Sign::begin);
}

void Connection::begin() {
  try {
    io_ = std::make_unique<Io>(*this, *worker(), socket_.get());
    [[maybe_unused]] const int now_of_io = socket_.release();
    io_->loop.begin(ConnectionLoop::run(shared_from_this()), [&](Loop::Handler handler) {
      ConnectionLoop::begin_wait(*io_, ConnectionLoop::Until::next_turn, std::move(handler));
    });
  } catch (const std::exception& error) {
    server_.log.warn("connection failed", {{"connection", id_}, {"address", address_}, {"error", error.what()}});
    finish();
  }
}

void Connection::loop_ended(const std::exception_ptr& error) {
  if (error) {
    move_to_.reset();
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& problem) {
      try {
        server_.log.warn("connection failed", {{"connection", id_}, {"address", address_}, {"error", problem.what()}});
      } catch (const std::bad_alloc&) {
        // The line is lost. The connection still has to end: its session may hold the lease.
      }
    }
  }
  if (move_to_ == nullptr || stream_.is_broken()) return finish();
  // Timers that have expired already may have handlers in the queue; behind them is the moment to leave.
  io_->timer.cancel();
  io_->peer_timer.cancel();
  io_->sleeper.cancel();
  try {
    worker()->post([self = shared_from_this()] { self->take_turn(Sign::leave); });
  } catch (const std::exception&) {
    finish();
  }
}

void Connection::move_on() {
  socket_.reset(io_->descriptor.release());
  io_.reset();
  const std::shared_ptr<Worker> target = std::move(move_to_);
  {
    const Lock lock{worker_mutex_};
    worker_ = target;
  }
  // Whatever comes meanwhile is left for the worker that it goes to: this thread may be the front one, which no disk
  // may hold up.
  moves_ = true;
}

std::string_view Connection::end_reason() const noexcept {
  if (aborted_) return "the grace period is over";
  if (lost_) return "the daemon is out of memory";
  if (reason_.empty() && stream_.is_broken()) return "the connection was lost";
  return reason_;
}

void Connection::finish() {
  ended_ = true;
  pending_.clear();
  end_session();
  hold_.use.reset();
  socket_.reset();
  if (io_ != nullptr) {
    io_->timer.cancel();
    io_->peer_timer.cancel();
    io_->sleeper.cancel();
    std::error_code ignored;
    io_->descriptor.close(ignored);
  }
  try {
    server_.log.debug("connection close", {{"connection", id_}, {"address", address_}, {"reason", end_reason()}});
  } catch (const std::bad_alloc&) {
    // The line is lost; the connection has to be counted out all the same.
  }
  server_.ended(id_);
}

bool Connection::on_front() const { return worker() == server_.front; }

std::shared_ptr<Worker> Connection::worker() const {
  const Lock lock{worker_mutex_};
  return worker_;
}

void Connection::take_turn(unsigned signs) {
  const std::shared_ptr<Connection> self = shared_from_this();
  if (turn_.enter(signs)) use_turn(signs);
}

bool Connection::waits_for_calls(unsigned signs) noexcept {
  if (hold_.use == nullptr || io_ == nullptr) return false;
  StuckCalls& calls = hold_.use->host().calls();
  if (calls.count() == 0) return false;
  Loops::Waiting& waiting = wait_for_calls_.front();
  waiting.object = shared_from_this();
  waiting.begin = [](Loops::Wait node) {
    const std::shared_ptr<void> object = std::move(node.front().object);
    auto& connection = *static_cast<Connection*>(object.get());
    connection.wait_for_calls_.swap(node);
    connection.go_on_with_turn();
  };
  signs_to_go_on_ = signs;
  turn_.step_out();
  if (server_.catalog.loops().wait_for_calls(calls, wait_for_calls_)) return true;
  waiting.object.reset();
  turn_.come_back();
  return false;
}

void Connection::go_on_with_turn() noexcept {
  worker()->post_in(going_on_, shared_from_this(), [](void* object) {
    auto& connection = *static_cast<Connection*>(object);
    connection.turn_.come_back();
    connection.use_turn(connection.signs_to_go_on_);
  });
}

bool Connection::is_on_its_worker() const { return worker()->is_here(); }

void Connection::use_turn(unsigned signs) {
  if (waits_for_calls(signs)) return;
  const Worker::Busy busy(hold_.use == nullptr ? nullptr : &hold_.use->host().calls());
  std::exception_ptr problem;
  const auto attempt = [&problem](const auto& step) {
    try {
      step();
    } catch (...) {
      problem = std::current_exception();
    }
  };
  do {
    if ((signs & Turn::tasks) != 0)
      for (const auto& task : turn_.take_tasks()) attempt(task);
    attempt([&] { act(signs); });
    if (std::exchange(moves_, false)) {
      signs_to_go_on_ = Sign::begin;
      turn_.step_out();
      go_on_with_turn();
      break;
    }
    signs = turn_.next();
  } while (signs != 0);
  if (problem) std::rethrow_exception(problem);
}

void Connection::act(unsigned signs) {
  if ((signs & Sign::deadline) != 0) deadline_passed();
  if ((signs & Sign::peer) != 0) peer_look_due();
  if ((signs & Sign::nudge) != 0) nudged();
  if ((signs & Sign::resume) != 0) io_->loop.resume();
  if ((signs & Sign::leave) != 0) move_on();
  if ((signs & Sign::begin) != 0) begin();
}

void Connection::deadline_passed() noexcept {
  if (io_ == nullptr) return;
  io_->armed_for.reset();
  wake();
}

void Connection::peer_look_due() noexcept {
  if (io_ == nullptr) return;
  io_->peer_timer_runs = false;
  look_at_peer();
  if (host_watch_.wants_look() || stream_.is_broken()) wake();
}

void Connection::post(std::function<void(Connection&)> task) {
  const std::shared_ptr<Worker> target = worker();
  if (target == nullptr) return;
  // Moved on: a copy might fail where nobody is left to be told.
  target->post([self = shared_from_this(), task = std::move(task)]() mutable {
    if (!self->is_on_its_worker()) return self->post_again(std::move(task));
    self->take_turn_with([connection = self.get(), task = std::move(task)]() mutable {
      if (connection->ended_) return;
      // On its way to another worker: behind its beginning there.
      if (connection->io_ == nullptr) return connection->post_again(std::move(task));
      task(*connection);
    });
  });
}

// Who posted it first is not there any more to be told.
void Connection::post_again(std::function<void(Connection&)> task) noexcept {
  try {
    post(std::move(task));
  } catch (const std::bad_alloc&) {
    lose();
  }
}

void Connection::nudge() noexcept {
  const std::shared_ptr<Worker> target = worker();
  if (target == nullptr) return;
  target->post_in(nudging_, shared_from_this(), [](void* object) {
    auto& connection = *static_cast<Connection*>(object);
    if (!connection.is_on_its_worker()) return connection.nudge();
    connection.take_turn(Sign::nudge);
  });
}

void Connection::nudged() noexcept {
  if (ended_) return;
  if (io_ == nullptr) return nudge();  // on its way: its beginning there is in the queue
  if (aborted_ || lost_) stream_.fail();
  wake();
}

void Connection::stop() noexcept { nudge(); }

void Connection::abort() noexcept {
  aborted_ = true;
  nudge();
}

void Connection::lose() noexcept {
  lost_ = true;
  nudge();
}

void Connection::wake() noexcept {
  if (io_ == nullptr) return;
  io_->woken = true;
  std::error_code ignored;
  if (io_->descriptor.is_open()) io_->descriptor.cancel(ignored);
  io_->sleeper.cancel();
}

void Connection::complete_with(std::uint64_t number, std::function<void()> finish) {
  // Inside the call that began it: no need to come back later.
  if (turn_.is_inside_here() && pending_.is_beginning()) {
    if (pending_.complete(number, std::move(finish))) wake();
    return;
  }
  // Nobody waits for it, and perhaps no worker is left that would run and so destroy what is posted.
  if (ended_) return;
  // Moved on: a copy might fail where nobody is left who could tell the client.
  post([number, task = std::move(finish)](Connection& self) mutable {
    if (self.pending_.complete(number, std::move(task))) self.wake();
  });
}

int Connection::socket() const { return io_ == nullptr ? socket_.get() : io_->descriptor.native_handle(); }

}  // namespace pageserver::server
