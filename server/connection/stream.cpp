// A connection's bytes: received, cut into frames, handed on; answers gathered and sent. Nothing here waits.
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

#include "server/connection/connection.hpp"
#include "server/runtime/thread_room.hpp"

namespace pageserver::server {

namespace {

constexpr std::size_t receive_bytes = 128u << 10;
// One send carries at most about so much, so that a client that reads while it sends gets answers early.
constexpr std::size_t batch_bytes_max = 128u << 10;
// A peer that trickles bytes makes no progress: only so many, or a whole frame, move its deadline.
constexpr std::size_t progress_bytes = 64u << 10;

// So many looks in a row, spread over limits.keepalive, find that the peer's host answers nothing.
constexpr int looks_until_gone = 4;

/// What the kernel still has to send, or to see acknowledged.
int unsent_bytes(int socket) {
  int bytes = 0;
  return ::ioctl(socket, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

// At a stop, what has arrived is still carried out, within reason.
constexpr int last_looks_max = 64;

}  // namespace

// Each worker has one connection's batch in hand at a time, so connections need no buffers of their own for it. To come
// upon them allocates nothing: what is shared can be emptied whatever failed.
struct ThreadRoom {
  std::unique_ptr<std::byte[]> input = std::make_unique_for_overwrite<std::byte[]>(receive_bytes);
  Answers answers;
};

namespace {
thread_local ThreadRoom* room_of_this_thread = nullptr;
}

void DeleteThreadRoom::operator()(ThreadRoom* room) const noexcept { delete room; }

ThreadRoomPtr make_thread_room() { return ThreadRoomPtr(new ThreadRoom); }

UsedThreadRoom::UsedThreadRoom(ThreadRoom& room) noexcept : before_(std::exchange(room_of_this_thread, &room)) {}

UsedThreadRoom::~UsedThreadRoom() { room_of_this_thread = before_; }

Answers& Connection::answers() const { return room_of_this_thread->answers; }

void Connection::forget_batch() noexcept {
  forget_group();
  room_of_this_thread->answers.forget();
}

// A step of everything that needs no more bytes: completions, notices, frames that are here.
void Connection::advance() {
  if (pending_.done) {
    const std::function<void()> task = std::move(pending_.finish);
    pending_ = {};
    set_deadline(Deadline::none, {});
    task();
    if (session_) session_->note_request(monotonic_ms());  // it was not idle while it waited
    recheck_input_ = true;
  }
  if (lease_notice_) {
    answers().notice(proto::Operation::lease_lost, proto::Status::lease_lost, *lease_notice_);
    lease_notice_.reset();
  }
  if (!recheck_input_ || !output_.empty()) return;
  recheck_input_ = false;
  if (input_.empty()) return;
  input_.consume(process(input_.bytes()));
  if (input_.empty()) input_.release();
}

// The rest of a frame is on its way: perhaps it is here by now, and its answer goes out together with those before it.
void Connection::gather_answers() {
  constexpr int looks_max = 4;
  // What carries data is sent while the next is put together.
  constexpr std::size_t answers_bytes_max = 1024;
  for (int looks = 0; looks < looks_max; ++looks) {
    const bool may_wait = session_ && pending_.what == Waiting::nothing && !leaving_ && !end_of_input_ && !broken_;
    const bool more_comes = !input_.empty() && !recheck_input_ && output_.empty();
    const std::size_t bytes = answers().size();
    if (!may_wait || !more_comes || bytes == 0 || bytes > answers_bytes_max) return;
    if (receive() != Received::something) return;
    advance();
  }
}

bool Connection::output_full() const {
  const Limits& limits = server_.config.limits;
  return answers().size() >= std::min<std::size_t>(limits.buffered_bytes, batch_bytes_max) ||
         answers().count() >= limits.requests_in_flight;
}

// Returns how many bytes were dealt with. Sets recheck_input_ when it stopped although there may be more to do.
std::size_t Connection::process(std::span<const std::byte> bytes) {
  /// The group points into `bytes`, which end with this call, whatever ends it.
  struct EmptyGroup {
    EmptyGroup() { forget_group(); }
    EmptyGroup(const EmptyGroup&) = delete;
    EmptyGroup& operator=(const EmptyGroup&) = delete;
    ~EmptyGroup() { forget_group(); }
  };
  const EmptyGroup empty_before_and_after;
  std::size_t taken = 0;
  std::size_t ahead = 0;  // bytes behind `taken` that are in the group of writes
  answers().start_batch();
  if (session_) session_->note_request(monotonic_ms());
  while (taken + ahead < bytes.size()) {
    if (pending_.what != Waiting::nothing || leaving_ || move_to_ || output_full()) {
      recheck_input_ = true;
      break;
    }
    const std::uint32_t payload_bytes_max =
        greeted_ ? server_.config.limits.request_bytes + proto::payload_overhead_bytes : proto::hello_payload_bytes_max;
    const proto::Scan scan = proto::scan_frame(bytes.subspan(taken + ahead), payload_bytes_max);
    if (scan.kind == proto::Scan::Kind::incomplete) {
      input_needed_ = scan.bytes_needed;
      break;
    }
    if (scan.kind != proto::Scan::Kind::broken && take_into_group(scan)) {
      ahead += scan.frame_bytes;
      continue;
    }
    if (ahead != 0) {
      taken += publish_group();
      ahead = 0;
      continue;  // the frame behind the group is looked at again: it may have to wait
    }
    if (scan.kind == proto::Scan::Kind::broken) {
      say_goodbye(scan.fault.status, scan.fault.message);
      break;
    }
    const Step step = take_frame(scan);
    if (step == Step::not_taken) {
      recheck_input_ = true;
      break;
    }
    taken += scan.frame_bytes;
    set_deadline(Deadline::none, {});
  }
  if (ahead != 0) taken += publish_group();
  return leaving_ ? bytes.size() : taken;
}

Connection::Step Connection::take_frame(const proto::Scan& scan) {
  if (!greeted_) return take_hello(scan.header, scan.payload);
  if (const std::optional<proto::Fault> fault = proto::check_request_header(scan.header)) {
    answers().error(scan.header, *fault);
    if (session_) note_answer(scan.header, fault->status, failed_change_);
    return Step::taken;
  }
  return session_ ? take_session(scan.header, scan.payload) : take_front(scan.header, scan.payload);
}

Connection::Received Connection::received(ssize_t count) {
  ++receives_;
  if (count > 0) {
    input_since_deadline_ += static_cast<std::size_t>(count);
    return Received::something;
  }
  if (count == 0) {
    end_of_input_ = true;
    return Received::end;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) return Received::nothing;
  if (errno == EINTR) return Received::something;
  broken_ = true;
  reason_ = "the connection was lost";
  return Received::end;
}

Connection::Received Connection::receive() {
  if (!input_.empty()) {
    // The frame's own buffer, as long as the frame, which is within the limit. Memory that is never written to is
    // never resident, so a length without bytes costs nothing.
    input_.reserve(input_needed_ - std::min(input_needed_, input_.size()) + receive_bytes / 4);
    return receive_into_input(receive_bytes);
  }
  std::byte* const data = room_of_this_thread->input.get();
  const ssize_t count = ::recv(socket(), data, receive_bytes, MSG_DONTWAIT);
  const Received result = received(count);
  if (count > 0) {
    const std::span<const std::byte> bytes(data, static_cast<std::size_t>(count));
    drained_ = bytes.size() < receive_bytes;
    input_.append(bytes.subspan(process(bytes)));
  }
  return result;
}

Connection::Received Connection::poll_socket(int tries) {
  for (; tries > 0; --tries) {
    const Received result = receive();
    if (result != Received::nothing) return result;
    --receives_;
    ++polls_;
  }
  return Received::nothing;
}

Connection::Received Connection::receive_into_input(std::size_t bytes_max) {
  const std::size_t room = std::max<std::size_t>(std::min(bytes_max, input_.room()), 4096);
  const std::span<std::byte> space = input_.extend(room);
  const ssize_t count = ::recv(socket(), space.data(), space.size(), MSG_DONTWAIT);
  const Received result = received(count);  // before anything else changes errno
  input_.shorten(room - static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  drained_ = count >= 0 && static_cast<std::size_t>(count) < room;
  recheck_input_ = recheck_input_ || count > 0;
  return result;
}

// While something is pending: to notice the end, and to let the peer go on sending within its bound.
Connection::Received Connection::receive_ahead() {
  const bool drained = drained_;
  const Received result = receive_into_input(64u << 10);
  drained_ = drained;
  if (input_.empty()) input_.release();
  return result;
}

void Connection::look_a_last_time() {
  const bool all_seen = receive() == Received::nothing || ++last_looks_ > last_looks_max;
  if (all_seen && !broken_) say_goodbye(proto::Status::stopping, "the server is stopping");
}

void Connection::look_for_hang_up() {
  pollfd look{socket(), POLLRDHUP, 0};
  if (::poll(&look, 1, 0) <= 0) return;
  if ((look.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
    broken_ = true;
    reason_ = "the connection was lost";
  } else if (pending_.what == Waiting::for_session && wish_->request.wait_in_line) {
    end_of_input_ = true;
  }
}

// True when the peer's host owes an acknowledgement for longer than the time between two looks. A closed window is none
// of this function's business: whoever closes it answers each probe.
bool Connection::host_is_gone() {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(socket(), IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return false;
  if (info.tcpi_unacked == 0 && info.tcpi_probes == 0 && unsent_bytes(socket()) == 0) {
    looks_unanswered_ = 0;
    return false;
  }
  sent_since_look_ = true;  // so it is looked at again
  const bool asked = info.tcpi_probes != 0 || info.tcpi_last_data_sent < info.tcpi_last_ack_recv;
  const auto silent = std::chrono::milliseconds(info.tcpi_last_ack_recv);
  const bool unanswered = asked && silent >= server_.config.limits.keepalive / looks_until_gone;
  looks_unanswered_ = unanswered ? looks_unanswered_ + 1 : 0;
  return looks_unanswered_ >= looks_until_gone;
}

void Connection::look_at_peer() {
  if (!host_is_gone()) return;
  broken_ = true;
  reason_ = "the peer's host acknowledges nothing";
}

// What the peer has asked for and not been sent, as far as it is known here.
std::uint64_t Connection::owed_bytes() const {
  std::uint64_t owed = output_.size();
  std::span<const std::byte> rest = input_.bytes();
  for (;;) {
    const proto::Scan scan =
        proto::scan_frame(rest, server_.config.limits.request_bytes + proto::payload_overhead_bytes);
    if (scan.kind != proto::Scan::Kind::frame) return owed;
    owed += proto::frame_header_bytes;
    proto::ReadRequest read;
    if (scan.header.operation == proto::Operation::read && !proto::decode(scan.payload, read))
      owed += std::min(read.length, request_bytes_max_);
    rest = rest.subspan(scan.frame_bytes);
  }
}

// A peer that keeps to what hello announced may pause for as long as it likes: what is held for it is bounded. To know
// whether it does, requests that have arrived behind its unsent answers are looked at.
bool Connection::owes_beyond_limit() {
  const std::uint64_t limit = buffered_bytes_max(server_.config.limits);
  while (owed_bytes() <= limit) {
    if (end_of_input_ || broken_ || input_.size() >= limit) return false;
    if (receive_ahead() != Received::something) return false;
  }
  return true;
}

void Connection::send_output() {
  ByteBuffer& fresh = answers().out();
  if (!output_.empty()) {
    output_.append(fresh.bytes());
    fresh.clear();
  }
  ByteBuffer& from = output_.empty() ? fresh : output_;
  while (!from.empty() && !broken_) {
    const ssize_t count = ::send(socket(), from.bytes().data(), from.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ++sends_;
    if (count > 0) {
      from.consume(static_cast<std::size_t>(count));
      sent_since_look_ = true;
      if (deadline_kind_ == Deadline::output) deadline_kind_ = Deadline::none;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) {
      broken_ = true;
      reason_ = "the connection was lost";
    }
  }
  if (broken_) {
    fresh.clear();
    return;
  }
  if (&from == &fresh) {
    output_.append(fresh.bytes());
    fresh.clear();
  }
  if (output_.empty()) {
    output_.release();
  } else if (deadline_kind_ != Deadline::output) {
    set_deadline(Deadline::output, server_.config.limits.stall_timeout);
  }
}

// Called when there is nothing to read. In the middle of a frame the peer has a deadline for going on.
void Connection::watch_input_progress() {
  if (!greeted_) return;
  if (input_.empty()) return set_deadline(Deadline::none, {});
  if (deadline_kind_ == Deadline::input && input_since_deadline_ < progress_bytes) return;
  set_deadline(Deadline::input, server_.config.limits.stall_timeout);
}

void Connection::set_deadline(Deadline kind, std::chrono::milliseconds from_now) {
  if (kind == Deadline::none) {
    // The one that only hello ends.
    if (deadline_kind_ != Deadline::hello || greeted_) deadline_kind_ = kind;
    return;
  }
  deadline_kind_ = kind;
  deadline_ = std::chrono::steady_clock::now() + from_now;
  input_since_deadline_ = 0;
}

bool Connection::deadline_passed(Deadline kind) const {
  return deadline_kind_ == kind && std::chrono::steady_clock::now() >= deadline_;
}

void Connection::deadline_missed() {
  const Limits& limits = server_.config.limits;
  switch (deadline_kind_) {
    case Deadline::hello:
      return say_goodbye(proto::Status::timed_out, "no hello within limits.hello_timeout=" +
                                                       std::to_string(limits.hello_timeout.count()) + " ms");
    case Deadline::input:
      return say_goodbye(proto::Status::timed_out,
                         "the middle of a frame and no progress within limits.stall_timeout=" +
                             std::to_string(limits.stall_timeout.count()) + " ms");
    case Deadline::output:
      reason_ = "the peer reads no answers";
      server_.log.info("connection refused", {{"connection", id_},
                                              {"address", address_},
                                              {"reason", reason_},
                                              {"stall_timeout_ms", limits.stall_timeout.count()},
                                              {"unsent_bytes", output_.size()}});
      return;
    case Deadline::none:
    case Deadline::line:
    case Deadline::linger: return;
  }
}

void Connection::say_goodbye(proto::Status status, const std::string& message) {
  answers().notice(proto::Operation::goodbye, status, message);
  leaving_ = true;
  reason_ = message;
  if (status != proto::Status::stopping) {
    server_.log.info(
        "connection refused",
        {{"connection", id_}, {"address", address_}, {"status", proto::to_string(status)}, {"reason", message}});
  }
}

}  // namespace pageserver::server
