// A connection's life and its turns: where it runs, what wakes it, how it ends. What it does in between is the
// coroutine of connection_loop.cpp.
#include "server/connection/connection.hpp"

#include <unistd.h>

#include "base/clock.hpp"
#include "server/connection/connection_io.hpp"

namespace pageserver::server {

Connection::Connection(ServerContext& server, UniqueFd socket, std::string address, std::shared_ptr<Peer> peer,
                       std::uint64_t id)
    : server_(server),
      address_(std::move(address)),
      peer_(std::move(peer)),
      counted_(peer_, peer_->connections),
      id_(id),
      record_(std::make_shared<ConnectionRecord>(id_, address_, peer_process(socket.get()), base::monotonic_ms())),
      is_tcp_(!is_unix_socket(socket.get())),
      socket_(std::move(socket)),
      wait_for_calls_(1),
      buffers_(server.buffers, peer_, id_),
      host_watch_(is_tcp_ ? server.config.limits.keepalive : std::chrono::milliseconds{}),
      pending_(record_->pending),
      poll_budget_(server.poll_bound) {
  stream_.attach(socket_.get());
}

Connection::~Connection() = default;

void Connection::start(std::optional<proto::Fault> refusal, const std::shared_ptr<const tls::Context>& tls,
                       const std::shared_ptr<Worker>& handshakes) {
  server_.log.debug("connection open", {{"connection", id_}, {"address", address_}});
  set_deadline(Deadline::Kind::hello, server_.config.limits.hello_timeout);
  try {
    if (refusal) refusal_ = std::make_unique<const proto::Fault>(*std::move(refusal));
    if (tls != nullptr) stream_.secure(tls);
  } catch (const std::bad_alloc&) {
    stream_.fail();
  }
  // From here on others find it.
  turn_.enter(Sign::begin);
  worker_.set(tls == nullptr ? server_.front : handshakes);
  if (tls == nullptr) return use_turn(Sign::begin);
  signs_to_go_on_ = Sign::begin;
  turn_.step_out();
  go_on_with_turn();
}

bool Connection::gives_up_handshake() {
  if (!stream_.is_broken() && !orders_.kicked() && !orders_.dropped() && !server_.stopping &&
      !deadline_.passed(Deadline::Kind::hello))
    return false;
  if (orders_.dropped()) {
    // An alert is not for that: without TLS nothing is sent any more.
    stream_.fail();
    leave_dropped();
    return true;
  }
  if (deadline_.passed(Deadline::Kind::hello)) {
    reason_ =
        "no TLS handshake within limits.hello_timeout=" + std::to_string(server_.config.limits.hello_timeout.count()) +
        " ms";
    log_refusal(server_.figures.auth_failed_tls, proto::Operation::hello, {}, reason_);
  }
  // Nothing can be said to who has not come so far.
  stream_.fail();
  if (orders_.kicked()) leave_kicked();
  return true;
}

// It can be found before what is in force is looked at: who changes that meanwhile verifies it.
void Connection::note_certificate() {
  const std::shared_ptr<tls::PeerChain> chain = stream_.tls()->peer_chain();
  if (chain == nullptr) return;
  peer_chain_.set(chain);
  const auto in_force = server_.tls->get();
  if (in_force == stream_.tls()->context()) return;
  if (const std::string why = chain->fault(*in_force); !why.empty()) certificate_failed(why);
}

void Connection::certificate_failed(const std::string& why) {
  orders_.distrust();
  kick(
      "TLS: " + why, [] {}, proto::Status::permission_denied);
}

void Connection::handshake_failed() {
  const tls::Stream& tls = *stream_.tls();
  const std::string fault = tls.fault();
  const bool plain = !tls.peer_speaks_tls();
  reason_ = "TLS: " + fault;
  log_refusal(server_.figures.auth_failed_tls, proto::Operation::hello, {}, reason_);
  // What the peer still sends is read away, or the alert that says why might not reach it.
  stream_.drop_tls();
  if (plain) return say_goodbye(proto::Status::protocol_error, "this port speaks TLS; use pageservers://, with an s");
  leaving_ = true;
}

void Connection::loop_ended(const std::exception_ptr& error) {
  if (error) {
    move_to_.reset();
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& problem) {
      try {
        server_.lines.warn(peer_, "connection failed",
                           {{"connection", id_}, {"address", address_}, {"error", problem.what()}});
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
  worker_.set(std::move(move_to_));
  // Whatever comes meanwhile is left for the worker that it goes to: this thread may be the front one, which no disk
  // may hold up.
  moves_ = true;
}

std::string_view Connection::end_reason() const noexcept {
  if (orders_.aborted() && orders_.has_successor()) return "the store goes to another daemon, and so does the session";
  if (orders_.aborted()) return "the grace period is over";
  if (orders_.lost()) return "the daemon is out of memory";
  if (reason_.empty() && stream_.is_broken()) return "the connection was lost";
  if (reason_.empty() && stream_.is_at_end() && !stream_.input().empty())
    return "the peer closed the connection in the middle of a frame";
  return reason_;
}

void Connection::finish() {
  ended_ = true;
  buffers_.give_back();
  tls_memory_ = {};
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
  orders_.tell_released();
  orders_.tell_gone();
}

bool Connection::on_front() const { return worker() == server_.front; }

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
  record_->waits_for_turn = true;
  if (server_.catalog.loops().wait_for_calls(calls, wait_for_calls_)) return true;
  record_->waits_for_turn = false;
  waiting.object.reset();
  turn_.come_back();
  return false;
}

void Connection::go_on_with_turn() noexcept {
  worker()->post_in(going_on_, shared_from_this(), [](void* object) {
    auto& connection = *static_cast<Connection*>(object);
    connection.record_->waits_for_turn = false;
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
  if (orders_.has_successor()) {
    if (hold_.restart != nullptr && hold_.session != nullptr)
      orders_.abort();
    else
      orders_.stay();
    if (!orders_.aborted()) orders_.tell_gone();
  }
  if (orders_.ends_at_once()) stream_.fail();
  wake();
}

void Connection::stop() noexcept { nudge(); }

void Connection::policy_changed() noexcept {
  orders_.look_at_policy();
  nudge();
}

void Connection::kick(const std::string& reason, std::function<void()> released, proto::Status status) {
  const bool is_first = orders_.kick(proto::Fault{status, reason}, std::move(released));
  if (is_first && record_->has_lease()) ++server_.figures.leases_kicked;
  record_->kicked = true;
  try {
    record_->revoke(reason);
  } catch (const std::bad_alloc&) {
    // Then its own end does it.
  }
  nudge();
  if (ended_) orders_.tell_released();
}

// Whatever is under way is not waited for: its completion finds nobody. The peer's last bytes are.
void Connection::leave_kicked() {
  const proto::Fault why = orders_.kicked_for();
  if (!std::exchange(kick_taken_, true)) {
    reason_ = why.message;
    if (orders_.distrusted()) log_refusal(server_.figures.auth_failed_tls, proto::Operation::hello, {}, reason_);
    if (!stream_.is_broken()) finish_drip();
    end_session();
    kick_.reset();
    pending_open_.reset();
    close_request_id_.reset();
    // On whatever worker: the hold is all that is left of the store.
    hold_.use.reset();
    move_to_.reset();
    stream_.input().release();
    recheck_input_ = false;
    hold_.lease_notice_due = false;  // goodbye says it
    clear_deadline();
    if (!leaving_ && !stream_.is_broken()) say_goodbye(why.status, why.message);
  }
  orders_.tell_released();
}

void Connection::drop_stranger() noexcept {
  orders_.drop_stranger();
  nudge();
}

void Connection::leave_dropped() {
  if (!std::exchange(leaving_, true)) {
    reason_ = "others came, and this connection had not said hello; " + server_.strangers_bound +
              ", limits.connections=" + std::to_string(server_.config.limits.connections);
    answers().notice(proto::Operation::goodbye, proto::Status::limit_exceeded, reason_);
    ++server_.figures.refused_strangers;
    server_.lines.info(peer_, "connection refused", {{"connection", id_}, {"address", address_}, {"reason", reason_}});
  }
  send_output();
  stream_.fail();
}

void Connection::go_to_successor(std::function<void()> gone) {
  orders_.go_to_successor(std::move(gone));
  nudge();
  if (ended_) orders_.tell_gone();
}

void Connection::abort() noexcept {
  orders_.abort();
  nudge();
}

void Connection::lose() noexcept {
  orders_.lose();
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
