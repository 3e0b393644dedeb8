// A connection whose session can be resumed: PROTOCOL.md, "Resuming a session".
//
// Each request keeps its frame until it is answered, and its header says which requests before it are not: that is
// written when it goes out, which may be more than once. When the connection is lost, Reconnecting makes another one on
// a thread of its own; who waits for answers waits for that. Then take_over() has its socket, and what the daemon has
// not carried out goes out again. The caller's buffers live until a request is done, so that they can be sent again and
// be received into again.
#include <poll.h>
#include <sys/epoll.h>
#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/text.hpp"
#include "client/wire/error_text.hpp"
#include "client/wire/reconnecting.hpp"
#include "proto/byte_order.hpp"

namespace pageserver::client {
namespace {

constexpr std::size_t unanswered_at = 22;  // in a request's header

}  // namespace

struct Connection::Resumable {
  ResumableSession session;
  ConnectionOptions options;
  UniqueFd poll_set;  ///< polls readable when the socket does, whichever that is
  int watched = -1;
  std::uint32_t watched_events = 0;
  std::unique_ptr<Reconnecting> reconnecting;
  std::string operation;  ///< what the connection was lost with
  std::string text;
  Deadline deadline{};
  std::uint64_t answers_at_loss = 0;
  std::uint64_t executed = 0;      ///< up to here requests are known to be done
  std::uint64_t timed_out_id = 0;  ///< for this request the connection was given up once
};

void Connection::DeleteResumable::operator()(Resumable* resumable) const noexcept { delete resumable; }

int Connection::poll_set() const noexcept { return resumable_->poll_set.get(); }

// A descriptor that is closed has left the set by itself.
void Connection::watch() const noexcept {
  Resumable& resumable = *resumable_;
  const int fd = reconnecting_ ? resumable.reconnecting->fd() : socket_.get();
  std::uint32_t events = EPOLLIN;
  if (!reconnecting_ && (arm_events() & POLLOUT) != 0) events |= EPOLLOUT;
  if (fd < 0 || (fd == resumable.watched && events == resumable.watched_events)) return;
  epoll_event event{};
  event.events = events;
  if (::epoll_ctl(resumable.poll_set.get(), EPOLL_CTL_MOD, fd, &event) != 0)
    (void)::epoll_ctl(resumable.poll_set.get(), EPOLL_CTL_ADD, fd, &event);
  resumable.watched = fd;
  resumable.watched_events = events;
}

void Connection::begin_resumable(ResumableSession session) {
  std::unique_ptr<Resumable, DeleteResumable> resumable{new Resumable};
  resumable->session = std::move(session);
  resumable->options = options_;
  resumable->poll_set.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!resumable->poll_set.is_open())
    throw MemoryError{Errc::provider_error, error_text(context_, "open",
                                                       "epoll_create1 failed: " + system_text(errno) +
                                                           "; see the limit of open files (ulimit -n)")};
  resumable->executed = requests_.next_id() - 1;
  resumable_ = std::move(resumable);
  watch();
}

void Connection::take_over(Connection& fresh) {
  socket_ = std::move(fresh.socket_);
  tls_ = std::move(fresh.tls_);
  ring_ = std::move(fresh.ring_);
  receive_ = std::move(fresh.receive_);
  server_ = fresh.server_;
  send_ = SendQueue{};
  direct_.clear();
}

void Connection::connect_again(Deadline deadline) {
  resumable_.reset();
  reconnecting_ = false;
  for (auto pause = std::chrono::milliseconds{20};; pause = std::min(2 * pause, std::chrono::milliseconds{1000})) {
    ConnectionOptions options = options_;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    options.connect_timeout = std::max(std::min(left, options.connect_timeout), std::chrono::milliseconds{1});
    try {
      Connection fresh{endpoint_, options};
      fresh.end_.throw_if_ended();
      take_over(fresh);
      end_ = ConnectionEnd{};
      name_store(store_);
      return;
    } catch (const MemoryError& error) {
      const bool again = error.errc() == Errc::connection_lost || error.errc() == Errc::timed_out;
      const auto next = Clock::now() + pause;
      if (!again || next >= deadline) throw;
      (void)::poll(nullptr, 0, static_cast<int>(pause.count()));
    }
  }
}

std::uint64_t Connection::resume(const ResumableSession& session, std::uint64_t mark, proto::Status& refusal) {
  if ((server_.features & proto::feature_resume) == 0)
    throw MemoryError{Errc::connection_lost,
                      error_text(context_, "open", "the daemon keeps no sessions any more (resume_linger=0)")};
  proto::OpenRequest message;
  message.access = session.access;
  message.view = session.view;
  message.publish = session.publish;
  message.resume_token = session.token;
  message.last_request_id = mark;
  message.store = session.store;
  std::uint64_t executed = 0;
  refusal_ = &refusal;
  call(
      message,
      [&](const proto::OpenAnswer& answer) {
        if (!answer.resume || answer.resume->token != session.token)
          throw MemoryError{Errc::protocol_error,
                            error_text(context_, "open", "the answer is about another session than was asked for")};
        executed = answer.resume->executed;
        keeps_rest_ = true;
      },
      options_.connect_timeout);
  refusal_ = nullptr;
  return executed;
}

bool Connection::come_back(const std::string& operation, const std::string& text, bool timed_out) {
  if (!resumable_ || is_forked() || is_reconnecting() || is_closed_) return false;
  Resumable& resumable = *resumable_;
  if (timed_out) {
    const std::uint64_t id = requests_.first_id();
    if (resumable.timed_out_id == id) return false;
    resumable.timed_out_id = id;
  }
  // What brings no answer between two losses is no progress.
  const bool progress = counters_.answers != resumable.answers_at_loss || resumable.deadline == Deadline{};
  resumable.answers_at_loss = counters_.answers;
  const auto now = Clock::now();
  if (progress) resumable.deadline = deadline_after(now, resumable.session.patience);
  if (now >= resumable.deadline) return false;
  try {
    resumable.operation = operation;
    resumable.text = text;
    auto reconnecting = std::make_unique<Reconnecting>(endpoint_, resumable.options, resumable.session,
                                                       requests_.first_id() - 1, resumable.deadline);
    say_end();
    socket_.reset();
    tls_.reset();
    ring_.reset();
    receive_ = ReceiveBuffer{};
    send_ = SendQueue{};
    direct_.clear();
    resumable.watched = -1;
    resumable.reconnecting = std::move(reconnecting);
    reconnecting_ = true;
    watch();
  } catch (const std::exception&) {
    return false;
  }
  return true;
}

std::size_t Connection::take_reconnected() {
  Resumable& resumable = *resumable_;
  auto outcome = resumable.reconnecting->take();
  if (!outcome) return 0;
  resumable.watched = -1;
  resumable.reconnecting.reset();
  reconnecting_ = false;
  if (!outcome->connection) return end_resumable(outcome->failure, outcome->session_is_over);
  take_over(*outcome->connection);
  ++resumptions_;
  watch();
  const std::uint64_t executed = outcome->executed;
  if (executed + 1 < requests_.first_id() || executed >= requests_.admitted_end())
    return end_protocol("open answer of a resumed session has executed=" + std::to_string(executed) +
                        ", expected one of " + std::to_string(requests_.first_id() - 1) + " to " +
                        std::to_string(requests_.admitted_end() - 1));
  resumable.executed = executed;
  requests_.restart_clock();
  for (std::uint64_t id = requests_.first_id(); id < requests_.admitted_end(); ++id) {
    if (requests_.at(id).done) continue;
    if (id <= executed) {
      requests_.at(id).end_position = 0;  // its answer comes
    } else {
      send_frame(id);
    }
  }
  admit();
  send_some();
  return handle_frames();
}

// A close asks for nothing but that the session is over, which it is.
std::size_t Connection::end_resumable(const std::string& failure, bool session_is_over) {
  Resumable& resumable = *resumable_;
  if (session_is_over && requests_.outstanding() == 1 && !requests_.is_empty() &&
      requests_.oldest().operation == proto::Operation::close) {
    const std::uint64_t id = requests_.first_id();
    const std::size_t completed = complete(id, {nullptr, {}});
    end(Errc::connection_lost, "close", "the session is over");
    return completed;
  }
  const std::uint64_t first = requests_.first_id();
  std::string text =
      resumable.text + "; resume=" +
      std::to_string(std::chrono::duration_cast<std::chrono::seconds>(resumable.session.patience).count()) +
      "s did not help: ";
  text += failure.empty() ? "no memory to connect again" : failure;
  if (requests_.outstanding() > 0) {
    text += ". Without an answer are requests " + std::to_string(first) + " to " +
            std::to_string(requests_.next_id() - 1) + ": ";
    text += resumable.executed >= first ? "those up to " + std::to_string(resumable.executed) + " are done, "
                                        : std::string{"none is known to be done, "};
    text += requests_.admitted_end() == requests_.next_id()
                ? std::string{"the others may be"}
                : "those from " + std::to_string(requests_.admitted_end()) + " on are not, the others may be";
  }
  end(Errc::connection_lost, resumable.operation, text);
  return deliver_end();
}

void Connection::leave() noexcept {
  if (!resumable_ || is_forked() || is_reconnecting() || is_closed_ || ended() != nullptr) return;
  try {
    // The buffers of what has not gone out may be gone.
    if (send_.sendable() > 0 || requests_.admitted_end() != requests_.next_id()) return;
    submit(proto::CloseRequest{}, [](const auto&) {});
    send_some();
  } catch (const std::exception&) {
    // Then the daemon keeps the session for its time.
  }
}

void Connection::admit_resumable() {
  if (is_reconnecting()) return;
  auto most = limits();
  most.requests = std::min<std::size_t>(most.requests, proto::resume_window_max);
  try {
    while (const std::uint64_t id = requests_.admit_one(most)) send_frame(id);
  } catch (const std::exception&) {
    end_out_of_memory();
  }
}

void Connection::send_frame(std::uint64_t id) {
  PendingRequest& request = requests_.at(id);
  auto& out = send_.tail();
  const std::size_t start = out.size();
  out.insert(out.end(), request.frame.begin(), request.frame.end());
  proto::store(out.data() + start + unanswered_at, static_cast<std::uint16_t>(id - requests_.first_id()));
  request.end_position = send_.seal(request.by_reference);
  send_.set_limit(request.end_position);
}

}  // namespace pageserver::client
