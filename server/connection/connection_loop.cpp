// The coroutine that drives a connection. Coroutines are named functions that take their parameters by value: gcc 12
// destroys a capturing lambda twice when it stands inside a co_await expression.
#include <sys/socket.h>

#include <algorithm>
#include <asio/post.hpp>

#include "server/connection/connection_io.hpp"

namespace pageserver::server {

namespace {

// So many batches in a row, then the worker's other connections have a turn.
constexpr int batches_in_a_row = 8;
// After goodbye the peer's bytes are dropped for so long: closing with unread input would reset the connection, and
// the reset could overtake the goodbye.
constexpr std::chrono::milliseconds peer_close_time{1000};
// So many of them at most: who goes on sending has not waited for what it is told.
constexpr std::uint64_t peer_close_bytes_max = 1u << 20;

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

}  // namespace

struct ConnectionLoop {
  enum class Until : std::uint8_t { readable, writable, room_in_ring, woken, detached, next_turn };

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
    bool await_ready() const {
      if (until == Until::next_turn) return false;
      return connection.io_->woken ||
             !connection.stream_.begin_wait(until == Until::readable       ? ring::sleeps_for_bytes
                                            : until == Until::room_in_ring ? ring::sleeps_for_room
                                                                           : 0);
    }
    void await_suspend(std::coroutine_handle<> innermost) {
      const auto begin = [this](Loop::Handler handler) { begin_wait(*connection.io_, until, std::move(handler)); };
      connection.io_->loop.wait(begin).await_suspend(innermost);
    }
    void await_resume() const noexcept {
      connection.turn_time_.begin();
      if (until == Until::next_turn) return;
      connection.io_->woken = false;
      connection.stream_.end_wait();
    }
    Connection& connection;
    Until until;
  };

  static void begin_wait(Connection::Io& io, Until until, Loop::Handler handler) {
    switch (until) {
      case Until::readable:
      case Until::room_in_ring:  // the peer rings when there is some
        return io.descriptor.async_wait(asio::posix::descriptor_base::wait_read, std::move(handler));
      case Until::writable:
        return io.descriptor.async_wait(asio::posix::descriptor_base::wait_write, std::move(handler));
      case Until::woken:
        io.sleeper.expires_after(std::chrono::seconds(1));
        return io.sleeper.async_wait(std::move(handler));
      case Until::detached:
        io.sleeper.expires_after(std::chrono::hours(24));
        return io.sleeper.async_wait(std::move(handler));
      // Not deferred: that would wait for the end of what the thread does now, which may get stuck in a disk.
      case Until::next_turn: return asio::post(io.worker.context(), std::move(handler));
    }
  }

  static Wait wait(const std::shared_ptr<Connection>& self, Until until) {
    arm(self);
    arm_look_at_peer(self);
    self->settle_buffers();
    return {*self, until};
  }
  /// Lets the worker's other connections have a turn.
  static Wait next_turn(const std::shared_ptr<Connection>& self) {
    self->settle_buffers();
    return {*self, Until::next_turn};
  }

  /// What brings the next bytes.
  static Until for_input(const std::shared_ptr<Connection>& self) {
    return self->stream_.receive_wants_room() ? Until::writable : Until::readable;
  }

  /// What brings room for more output.
  static Until for_output(const std::shared_ptr<Connection>& self) {
    return self->stream_.has_ring() ? Until::room_in_ring : Until::writable;
  }

  // On a worker for handshakes, and before anything else is kept for the connection.
  static Coroutine shake_hands(std::shared_ptr<Connection> self) {
    for (;;) {
      if (self->gives_up_handshake()) co_return;
      const auto result = self->stream_.tls()->handshake();
      if (result == tls::Stream::Result::done) {
        self->note_certificate();
        co_return;
      }
      if (result != tls::Stream::Result::wants_read && result != tls::Stream::Result::wants_write) {
        self->handshake_failed();
        co_return;
      }
      co_await wait(self, result == tls::Stream::Result::wants_read ? Until::readable : Until::writable);
    }
  }

  // Says what is to be waited for, if anything.
  static std::optional<Until> look_at_pending(const std::shared_ptr<Connection>& self) {
    if (self->pending_.is_done()) return {};
    if (self->go_on_with_fault()) return {};
    if (self->pending_.what() == Pending::What::acknowledgement && self->is_acknowledged()) {
      self->pending_.complete_if(Pending::What::acknowledgement);
      return {};
    }
    const bool in_line = self->is_in_line();
    if (in_line && (self->server_.stopping || self->deadline_.passed(Deadline::Kind::lease_wait))) {
      self->give_up_place();
    }
    // Who showed a wrong token is told so later, and its bytes stay where they are.
    if (self->unwelcome_) {
      if (self->server_.stopping || self->deadline_.passed(Deadline::Kind::hello)) {
        self->pending_.clear();
        self->say_goodbye(proto::Status::permission_denied, "hello: the token was not accepted");
        return {};
      }
      self->look_for_hang_up();
      if (!self->stream_.is_broken()) return Until::woken;
      return {};
    }
    if (self->is_home_late()) {
      self->answer_home_late();
      return {};
    }
    if (self->kick_ && self->deadline_.kind() == Deadline::Kind::none)
      self->set_deadline(Deadline::Kind::kick, KickUnderWay::wait);
    if (self->deadline_.passed(Deadline::Kind::kick)) {
      self->answer_kick(false);
      return {};
    }
    if (in_line && self->stream_.is_at_end()) {
      self->stream_.fail();
      self->reason_ = "left the line";
      return {};
    }
    if (self->stream_.is_at_end() || self->stream_.input().size() >= self->read_ahead_max()) {
      self->look_for_hang_up();
      if (self->stream_.is_broken() || (in_line && self->stream_.is_at_end())) return {};
      if (in_line) self->probe_peer_in_line();
      return Until::woken;
    }
    if (self->receive_ahead() == Connection::Received::nothing) return for_input(self);
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

  // The connection is lost, and the session is not: until somebody comes back for it, or nobody does.
  static Coroutine stay_detached(std::shared_ptr<Connection> self) {
    self->detach();
    while (self->detached_ && !self->ends_detached()) {
      self->complete_detached();
      if (self->detached_) co_await wait(self, Until::detached);
    }
  }

  static Coroutine serve(std::shared_ptr<Connection> self) {
    int in_a_row = 0;
    self->stream_.forget_drained();
    if (self->on_front()) {
      self->back_on_front();
    } else if (!self->poll_budget_.is_on() && !self->is_tcp_) {
      // Linux reports room on a Unix socket whenever the peer takes bytes out of it, and a descriptor that was waited
      // for once stays registered for it. So this thread and its processor are woken while the peer still makes its
      // next request, and not only by it; a receive that blocks gets the same unasked.
      self->io_->descriptor.async_wait(asio::posix::descriptor_base::wait_write, [self](const std::error_code&) {});
    }
    if (self->stream_.tls() != nullptr && !self->stream_.tls()->is_established()) {
      Coroutine shaking = shake_hands(self);
      co_await shaking;
      // What is said to who failed is said from here, and so are the last words.
      if (!self->leaving_) self->move_to_ = self->server_.front;
      if (self->stream_.is_broken() || self->move_to_) co_return;
    }
    if (self->refusal_ && !self->leaving_) self->say_goodbye(self->refusal_->status, self->refusal_->message);
    if (self->pending_open_ && self->hold_.use && !self->orders_.kicked()) self->begin_open();
    for (;;) {
      if (std::exchange(self->to_be_detached_, false)) {
        Coroutine staying = stay_detached(self);
        co_await staying;
        if (self->detached_ || self->hold_.resume == nullptr) break;
        in_a_row = 0;
      }
      if (self->resumed_by_) self->answer_resumed();
      if (self->orders_.take_policy_change()) self->apply_policy();
      if (self->orders_.kicked()) self->leave_kicked();
      if (self->orders_.dropped() && !self->greeting_.done) self->leave_dropped();
      if (self->buffers_.take_ask()) self->make_way();
      self->advance();
      self->gather_answers();
      self->send_output();
      if (self->stream_.is_broken()) {
        if (self->is_over()) break;
        continue;
      }
      if (!self->stream_.output().empty()) {
        if (self->deadline_.passed(Deadline::Kind::output)) {
          if (self->leaving_ || self->server_.stopping || self->owes_beyond_limit()) {
            self->deadline_missed();
            if (self->is_over()) break;
            continue;
          }
          if (self->stream_.is_broken()) continue;
          self->set_deadline(Deadline::Kind::output, self->server_.config.limits.stall_timeout);
        }
        co_await wait(self, for_output(self));
        continue;
      }
      if (self->leaving_ || self->move_to_) {
        if (self->is_over()) break;
        continue;
      }
      if (self->is_repeating()) {
        co_await next_turn(self);
        continue;
      }
      if (self->pending_.is_any()) {
        if (const auto until = look_at_pending(self)) {
          self->note_waiting();
          co_await wait(self, *until);
        }
        continue;
      }
      if (self->buffers_.waits()) {
        if (self->server_.stopping) {
          self->say_goodbye(proto::Status::stopping, "the server is stopping");
        } else {
          self->wait_for_buffers();
          if (!self->stream_.is_broken()) co_await wait(self, Until::woken);
        }
        self->buffers_.end_wait();
        continue;
      }
      const bool more_in_hand = self->recheck_input_ && !self->stream_.input().empty();
      if (!more_in_hand) {
        if (self->stream_.is_at_end()) {
          if (self->is_over()) break;
          continue;
        }
        if (self->server_.stopping) {
          self->receive_before_stop();
          continue;
        }
        if (self->deadline_.passed(Deadline::Kind::hello) || self->deadline_.passed(Deadline::Kind::input)) {
          self->deadline_missed();
          continue;
        }
        if (self->stream_.is_drained() || self->receive() == Connection::Received::nothing) {
          if (self->buffers_.waits()) continue;
          in_a_row = 0;
          self->watch_input_progress();
          if (self->hold_.session == nullptr || !self->poll_budget_.is_on()) {
            co_await wait(self, for_input(self));
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
          if (found == Connection::Received::nothing) co_await wait(self, for_input(self));
          self->poll_budget_.record(std::chrono::steady_clock::now() - began);
          continue;
        }
      }
      if (++in_a_row >= batches_in_a_row || self->turn_time_.is_over()) {
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
      Coroutine closing = await_peer_close(self);
      co_await closing;
    } else {
      self->move_to_ = self->server_.front;
    }
  }

  static Coroutine await_peer_close(std::shared_ptr<Connection> self) {
    if (self->stream_.tls() != nullptr) self->stream_.tls()->close();
    ::shutdown(self->io_->descriptor.native_handle(), SHUT_WR);
    self->set_deadline(Deadline::Kind::peer_close, peer_close_time);
    const std::uint64_t received_max = self->stream_.received_bytes() + peer_close_bytes_max;
    while (!self->stream_.is_broken() && !self->stream_.is_at_end() && self->stream_.received_bytes() < received_max &&
           !self->orders_.dropped() && !self->deadline_.passed(Deadline::Kind::peer_close)) {
      self->stream_.input().release();
      if (self->receive_ahead() == Connection::Received::nothing)
        co_await wait(self, for_input(self));
      else if (self->turn_time_.ends(Connection::Clock::now()))
        co_await next_turn(self);
    }
  }
};

void Connection::begin() {
  try {
    io_ = std::make_unique<Io>(*this, *worker(), socket_.get());
    [[maybe_unused]] const int now_of_io = socket_.release();
    io_->loop.begin(ConnectionLoop::run(shared_from_this()), [&](Loop::Handler handler) {
      ConnectionLoop::begin_wait(*io_, ConnectionLoop::Until::next_turn, std::move(handler));
    });
  } catch (const std::exception& error) {
    server_.lines.warn(peer_, "connection failed",
                       {{"connection", id_}, {"address", address_}, {"error", error.what()}});
    finish();
  }
}

}  // namespace pageserver::server
