// A connection whose session can be resumed: PROTOCOL.md, "Resuming a session".
//
// Each request keeps its frame until it is answered, and its header says which requests before it are not: that is
// written when it goes out, which may be more than once. When the connection is lost, Reconnecting makes another one on
// a thread of its own; who waits for answers waits for that. Then take_over() has its socket, and what the daemon has
// not carried out goes out again. The caller's buffers live until a request is done, so that they can be sent again and
// be received into again.
//
// A writer's session can also be there again after the daemon was started anew, with what it had published and nothing
// else. So of a session that publishes on flush all that it changed since its last flush is kept here, answered or not,
// and sent again (kept_bytes_max). And no change goes out while a request has no answer that would see it: that one may
// have to be carried out again, behind the change.
#include <poll.h>
#include <sys/epoll.h>
#include <algorithm>
#include <cerrno>
#include <deque>
#include <system_error>
#include <utility>

#include "base/text.hpp"
#include "client/wire/error_text.hpp"
#include "client/wire/reconnecting.hpp"
#include "proto/byte_order.hpp"

namespace pageserver::client {
namespace {

constexpr std::size_t unanswered_at = 22;  // in a request's header

// Of what a session changed and did not flush: with more, it is over when the daemon is.
constexpr std::size_t kept_bytes_max = 64u << 20;

bool is_change(proto::Operation operation) {
  return operation == proto::Operation::write || operation == proto::Operation::zero ||
         operation == proto::Operation::grow;
}

bool ends_transaction(proto::Operation operation) {
  return operation == proto::Operation::flush || operation == proto::Operation::commit;
}

/// Its answer does not depend on what the image holds.
bool sees_nothing(proto::Operation operation) {
  return is_change(operation) || ends_transaction(operation) || operation == proto::Operation::ping ||
         operation == proto::Operation::close || operation == proto::Operation::discard;
}

std::uint64_t number_at(const PendingRequest& request, std::size_t at) {
  return proto::load<std::uint64_t>(request.frame.data() + proto::frame_header_bytes + at);
}

struct Place {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// What a write, zero or read is about; in a grow `length` alone says something.
Place place_of(const PendingRequest& request) {
  constexpr std::size_t number_bytes = sizeof(std::uint64_t);
  switch (request.operation) {
    case proto::Operation::write:
      return {number_at(request, 0),
              request.frame.size() - proto::frame_header_bytes - number_bytes + request.by_reference.size()};
    case proto::Operation::zero: return {number_at(request, 0), number_at(request, number_bytes)};
    case proto::Operation::read: return {number_at(request, 0), request.into.size()};
    default: return {0, number_at(request, 0)};
  }
}

bool overlap(const Place& one, const Place& other) {
  return one.offset < other.offset ? other.offset - one.offset < one.length : one.offset - other.offset < other.length;
}

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

  // For a restart of the daemon:
  struct Kept {
    std::uint64_t id = 0;
    std::vector<std::byte> frame;
  };
  std::deque<Kept> kept;  ///< changes that are answered and not flushed, where a flush publishes them
  std::size_t kept_bytes = 0;
  bool kept_too_many = false;
  bool is_private = false;       ///< there is something to flush
  std::uint64_t published = 0;   ///< up to this request all was answered that the daemon must have published
  bool change_failed = false;    ///< since the last flush: the daemon would refuse a commit
  bool commit_in_doubt = false;  ///< and has forgotten it
  std::size_t seeing = 0;        ///< in flight, and a change may change their answers
  bool replaying = false;
  std::size_t replay_next = 0;         ///< of `kept`
  std::deque<std::uint64_t> replayed;  ///< sent, and not answered
  std::size_t replayed_bytes = 0;

  void forget_kept() {
    kept.clear();
    kept_bytes = 0;
    kept_too_many = is_private = change_failed = commit_in_doubt = false;
  }
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
      if (hosts_.size() > 1) return connect_to_one(at_, deadline_after(Clock::now(), options.connect_timeout));
      Connection fresh{endpoint(), options};
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

void Connection::connect_to_next(Deadline deadline) {
  say_end();
  connect_to_one((at_ + 1) % hosts_.size(), deadline);
}

proto::ResumeTicket Connection::resume(const ResumableSession& session, std::uint64_t mark, proto::Status& refusal) {
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
  proto::ResumeTicket ticket;
  refusal_ = &refusal;
  call(
      message,
      [&](const proto::OpenAnswer& answer) {
        if (!answer.resume || answer.resume->token != session.token)
          throw MemoryError{Errc::protocol_error,
                            error_text(context_, "open", "the answer is about another session than was asked for")};
        ticket = *answer.resume;
        keeps_rest_ = true;
      },
      options_.connect_timeout);
  refusal_ = nullptr;
  return ticket;
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
    auto reconnecting = std::make_unique<Reconnecting>(hosts_, at_, resumable.options, resumable.session,
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
  at_ = outcome->host;
  name_store(store_);
  ++resumptions_;
  watch();
  const std::uint64_t executed = outcome->executed;
  const bool rebuilt = outcome->rebuilt && resumable.session.restarts;
  if ((executed + 1 < requests_.first_id() && !rebuilt) || executed >= requests_.admitted_end())
    return end_protocol("open answer of a resumed session has executed=" + std::to_string(executed) +
                        ", expected one of " + std::to_string(requests_.first_id() - 1) + " to " +
                        std::to_string(requests_.admitted_end() - 1));
  resumable.executed = executed;
  requests_.restart_clock();
  if (rebuilt) {
    const std::string lost = begin_replay(executed);
    if (!lost.empty()) return end_resumable(lost, false);
    // Nothing of it is answered by itself.
    for (std::uint64_t id = requests_.first_id(); id < requests_.admitted_end(); ++id)
      requests_.at(id).end_position = ~std::uint64_t{0};
    send_replays();
  } else {
    for (std::uint64_t id = requests_.first_id(); id < requests_.admitted_end(); ++id) {
      if (requests_.at(id).done) continue;
      if (id <= executed) {
        requests_.at(id).end_position = 0;  // its answer comes
      } else {
        send_frame(id);
      }
    }
    admit();
  }
  send_some();
  return handle_frames();
}

std::string Connection::begin_replay(std::uint64_t executed) {
  Resumable& resumable = *resumable_;
  if (executed < resumable.published)
    return "the daemon was started again and has what requests up to " + std::to_string(executed) +
           " changed, although those up to " + std::to_string(resumable.published) +
           " were answered: it lost what was not flushed, as by a loss of power";
  while (!resumable.kept.empty() && resumable.kept.front().id <= executed) {
    resumable.kept_bytes -= resumable.kept.front().frame.size();
    resumable.kept.pop_front();
  }
  if (resumable.kept_too_many)
    return "the daemon was started again, and more than " + std::to_string(kept_bytes_max) +
           " bytes were not flushed, of which no copy was kept; flush more often, or use publish=on_write";
  resumable.commit_in_doubt = resumable.change_failed;
  resumable.replay_next = 0;
  resumable.replayed.clear();
  resumable.replayed_bytes = 0;
  resumable.replaying = true;
  return {};
}

void Connection::send_replays() {
  Resumable& resumable = *resumable_;
  const auto most = limits();
  while (resumable.replay_next < resumable.kept.size()) {
    const Resumable::Kept& next = resumable.kept[resumable.replay_next];
    const bool fits = resumable.replayed.size() < std::min<std::size_t>(most.requests, proto::resume_window_max) &&
                      resumable.replayed_bytes + next.frame.size() <= most.bytes;
    if (!resumable.replayed.empty() && !fits) return;
    auto& out = send_.tail();
    out.insert(out.end(), next.frame.begin(), next.frame.end());
    resumable.replayed.push_back(next.id);
    resumable.replayed_bytes += next.frame.size();
    ++resumable.replay_next;
    send_.set_limit(send_.seal());
  }
  if (!resumable.replayed.empty()) return;
  resumable.replaying = false;
  send_admitted();
}

void Connection::send_admitted() {
  for (std::uint64_t id = requests_.first_id(); id < requests_.admitted_end(); ++id)
    if (!requests_.at(id).done) send_frame(id);
  admit();
}

bool Connection::is_replay(std::uint64_t id) const noexcept {
  return resumable_ && !resumable_->replayed.empty() && resumable_->replayed.front() == id;
}

std::size_t Connection::handle_replayed(const proto::FrameHeader& header, std::span<const std::byte> payload) {
  Resumable& resumable = *resumable_;
  if (header.status != proto::Status::ok) {
    proto::ErrorText text;
    if (const auto fault = proto::decode(payload, text)) return end_protocol(fault->message);
    return end_resumable("the daemon was started again, and a " + proto::to_string(header.operation) +
                             " that was not flushed could not be repeated: " + base::visible(text.message),
                         false);
  }
  const std::size_t at = resumable.replay_next - resumable.replayed.size();
  resumable.replayed_bytes -= resumable.kept[at].frame.size();
  resumable.replayed.pop_front();
  requests_.restart_clock();
  send_replays();
  send_some();
  return 0;
}

bool Connection::outlives_stop(proto::Status status) const noexcept {
  return resumable_ && resumable_->session.restarts && status == proto::Status::stopping;
}

void Connection::note_answered(std::uint64_t id, bool ok) {
  Resumable& resumable = *resumable_;
  if (!resumable.session.restarts) return;
  const PendingRequest& request = requests_.at(id);
  if (!sees_nothing(request.operation)) --resumable.seeing;
  const bool keeps = resumable.session.publish == proto::Publish::on_flush;
  if (is_change(request.operation)) {
    if (!ok) {
      resumable.change_failed = true;
      return;
    }
    if (place_of(request).length == 0) return;
    if (!keeps) {
      resumable.published = id;
      return;
    }
    resumable.is_private = true;
    const std::size_t bytes = request.frame.size() + request.by_reference.size();
    if (resumable.kept_too_many || resumable.kept_bytes + bytes > kept_bytes_max) {
      resumable.kept.clear();
      resumable.kept_bytes = 0;
      resumable.kept_too_many = true;
      return;
    }
    Resumable::Kept& kept = resumable.kept.emplace_back();
    kept.id = id;
    kept.frame.reserve(bytes);
    kept.frame.insert(kept.frame.end(), request.frame.begin(), request.frame.end());
    kept.frame.insert(kept.frame.end(), request.by_reference.begin(), request.by_reference.end());
    resumable.kept_bytes += bytes;
    return;
  }
  if (!ok) return;
  if (ends_transaction(request.operation)) {
    if (resumable.is_private) resumable.published = id;
    resumable.forget_kept();
  } else if (request.operation == proto::Operation::discard) {
    resumable.forget_kept();
  }
}

bool Connection::next_must_wait() const {
  const PendingRequest* const next = requests_.next_to_admit();
  if (next == nullptr || resumable_->seeing == 0) return false;
  const bool moves = next->operation == proto::Operation::grow || next->operation == proto::Operation::discard;
  if (!moves && !is_change(next->operation)) return false;
  const Place changed = place_of(*next);
  for (std::uint64_t id = requests_.first_id(); id < requests_.admitted_end(); ++id) {
    const PendingRequest& before = requests_.at(id);
    if (before.done || sees_nothing(before.operation)) continue;
    if (moves || before.operation != proto::Operation::read || overlap(place_of(before), changed)) return true;
  }
  return false;
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
  Resumable& resumable = *resumable_;
  if (is_reconnecting() || resumable.replaying) return;
  auto most = limits();
  most.requests = std::min<std::size_t>(most.requests, proto::resume_window_max);
  const bool restarts = resumable.session.restarts;
  try {
    while (!restarts || !next_must_wait()) {
      const std::uint64_t id = requests_.admit_one(most);
      if (id == 0) break;
      const proto::Operation operation = requests_.at(id).operation;
      if (restarts && !sees_nothing(operation)) ++resumable.seeing;
      if (resumable.commit_in_doubt && operation == proto::Operation::commit)
        return end(Errc::connection_lost, "commit",
                   "a change was refused before the daemon was started again, which knows nothing of it and would "
                   "commit the others: nothing of this transaction is published");
      send_frame(id);
    }
  } catch (const std::exception&) {
    end_out_of_memory();
  }
}

void Connection::admit_added() {
  // Where others wait before it, their frames come first.
  if (requests_.admitted_end() + 1 != requests_.next_id()) send_.unseal();
  admit_resumable();
  send_.unseal();
}

void Connection::send_frame(std::uint64_t id) {
  PendingRequest& request = requests_.at(id);
  auto& out = send_.tail();
  // admit_added() left it where it was made.
  if (send_.unsealed_bytes() == 0) out.insert(out.end(), request.frame.begin(), request.frame.end());
  const std::size_t start = out.size() - request.frame.size();
  proto::store(out.data() + start + unanswered_at, static_cast<std::uint16_t>(id - requests_.first_id()));
  request.end_position = send_.seal(request.by_reference);
  send_.set_limit(request.end_position);
}

}  // namespace pageserver::client
