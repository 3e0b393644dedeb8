// A connection's bytes: received, cut into frames, handed on; answers gathered and sent. Nothing here waits.
#include <poll.h>

#include "base/clock.hpp"
#include "server/connection/connection.hpp"
#include "server/runtime/thread_room.hpp"

namespace pageserver::server {

namespace {

constexpr std::size_t receive_bytes = 128u << 10;
// One send carries at most about so much, so that a client that reads while it sends gets answers early.
constexpr std::size_t batch_bytes_max = 128u << 10;
// A peer that trickles bytes makes no progress: only so many, or a whole frame, move its deadline.
constexpr std::size_t progress_bytes = 64u << 10;
// So long at a time a connection has the loop for itself, whatever it asks for.
constexpr std::chrono::microseconds turn_max{200};

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
  if (pending_.is_done()) {
    const std::function<void()> task = pending_.take();
    clear_deadline();
    if (task) task();
    if (hold_.session) hold_.session->note_request(base::monotonic_ms());  // it was not idle while it waited
    recheck_input_ = true;
  }
  if (hold_.lease_notice) {
    answers().notice(proto::Operation::lease_lost, proto::Status::lease_lost, *hold_.lease_notice);
    hold_.lease_notice.reset();
  }
  if (!recheck_input_ || !stream_.output().empty()) return;
  recheck_input_ = false;
  if (stream_.input().empty()) return;
  stream_.input().consume(process(stream_.input().bytes()));
  if (stream_.input().empty()) stream_.input().release();
}

void Connection::begin_turn() noexcept {
  turn_ends_ = {};
  turn_is_over_ = false;
}

bool Connection::turn_ends() noexcept {
  now_ = Clock::now();
  if (turn_ends_ == Clock::time_point{}) turn_ends_ = now_ + turn_max;
  turn_is_over_ = now_ >= turn_ends_;
  return turn_is_over_;
}

// The rest of a frame is on its way: perhaps it is here by now, and its answer goes out together with those before it.
void Connection::gather_answers() {
  constexpr int looks_max = 4;
  // What carries data is sent while the next is put together.
  constexpr std::size_t answers_bytes_max = 1024;
  for (int looks = 0; looks < looks_max; ++looks) {
    const bool may_wait =
        hold_.session && !pending_.is_any() && !leaving_ && !stream_.is_at_end() && !stream_.is_broken();
    const bool more_comes = !stream_.input().empty() && !recheck_input_ && stream_.output().empty();
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
  if (hold_.session) hold_.session->note_request(base::monotonic_ms());
  while (taken + ahead < bytes.size()) {
    if (pending_.is_any() || leaving_ || move_to_ || output_full() || (ahead == 0 && turn_ends())) {
      recheck_input_ = true;
      break;
    }
    const std::uint32_t payload_bytes_max = greeting_.done
                                                ? server_.config.limits.request_bytes + proto::payload_overhead_bytes
                                                : proto::hello_payload_bytes_max;
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
    clear_deadline();
  }
  if (ahead != 0) taken += publish_group();
  return leaving_ ? bytes.size() : taken;
}

Connection::Step Connection::take_frame(const proto::Scan& scan) {
  if (!greeting_.done) return take_hello(scan.header, scan.payload);
  if (const std::optional<proto::Fault> fault = proto::check_request_header(scan.header)) {
    answers().error(scan.header, *fault);
    if (hold_.session) note_answer(scan.header, fault->status, hold_.failed_change);
    return Step::taken;
  }
  return hold_.session ? take_session(scan.header, scan.payload) : take_front(scan.header, scan.payload);
}

Connection::Received Connection::receive() {
  if (!stream_.input().empty()) {
    // The frame's own buffer, as long as the frame, which is within the limit. Memory that is never written to is
    // never resident, so a length without bytes costs nothing.
    stream_.input().reserve(input_needed_ - std::min(input_needed_, stream_.input().size()) + receive_bytes / 4);
    return receive_into_input(receive_bytes);
  }
  const std::span<std::byte> space(room_of_this_thread->input.get(), receive_bytes);
  std::size_t count = 0;
  const Received result = stream_.receive(space, count);
  if (count > 0) {
    const std::span<const std::byte> bytes = space.first(count);
    stream_.input().append(bytes.subspan(process(bytes)));
  }
  return result;
}

Connection::Received Connection::poll_socket(int tries) {
  for (; tries > 0; --tries) {
    const Received result = receive();
    if (result != Received::nothing) return result;
    stream_.note_poll();
  }
  return Received::nothing;
}

Connection::Received Connection::receive_into_input(std::size_t bytes_max) {
  const Received result = stream_.receive_into_input(bytes_max);
  recheck_input_ = recheck_input_ || result == Received::something;
  return result;
}

// While something is pending: to notice the end, and to let the peer go on sending within its bound.
Connection::Received Connection::receive_ahead() {
  const Received result = stream_.receive_ahead(64u << 10);
  recheck_input_ = recheck_input_ || result == Received::something;
  return result;
}

void Connection::look_a_last_time() {
  const bool all_seen = receive() == Received::nothing || ++last_looks_ > last_looks_max;
  if (all_seen && !stream_.is_broken()) say_goodbye(proto::Status::stopping, "the server is stopping");
}

void Connection::look_for_hang_up() {
  pollfd look{socket(), POLLRDHUP, 0};
  if (::poll(&look, 1, 0) <= 0) return;
  if ((look.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
    stream_.fail();
  } else if (pending_.what() == Pending::What::session && wish_->request.wait_in_line) {
    stream_.note_end();
  }
}

void Connection::look_at_peer() {
  if (!host_watch_.is_gone(socket())) return;
  stream_.fail();
  reason_ = "the peer's host acknowledges nothing";
}

// What the peer has asked for and not been sent, as far as it is known here.
std::uint64_t Connection::owed_bytes() const {
  std::uint64_t owed = stream_.output().size();
  std::span<const std::byte> rest = stream_.input().bytes();
  for (;;) {
    const proto::Scan scan =
        proto::scan_frame(rest, server_.config.limits.request_bytes + proto::payload_overhead_bytes);
    if (scan.kind != proto::Scan::Kind::frame) return owed;
    owed += proto::frame_header_bytes;
    proto::ReadRequest read;
    if (scan.header.operation == proto::Operation::read && !proto::decode(scan.payload, read))
      owed += std::min(read.length, greeting_.request_bytes_max);
    rest = rest.subspan(scan.frame_bytes);
  }
}

// A peer that keeps to what hello announced may pause for as long as it likes: what is held for it is bounded. To know
// whether it does, requests that have arrived behind its unsent answers are looked at.
bool Connection::owes_beyond_limit() {
  const std::uint64_t limit = buffered_bytes_max(server_.config.limits);
  while (owed_bytes() <= limit) {
    if (stream_.is_at_end() || stream_.is_broken() || stream_.input().size() >= limit) return false;
    if (receive_ahead() != Received::something) return false;
  }
  return true;
}

void Connection::send_output() {
  const std::size_t sent = stream_.send(answers().out());
  if (sent > 0) {
    host_watch_.note_sent();
    deadline_.clear_if(Deadline::Kind::output);
  }
  if (!stream_.is_broken() && !stream_.output().empty() && deadline_.kind() != Deadline::Kind::output)
    set_deadline(Deadline::Kind::output, server_.config.limits.stall_timeout);
}

// Called when there is nothing to read. In the middle of a frame the peer has a deadline for going on.
void Connection::watch_input_progress() {
  if (!greeting_.done) return;
  if (stream_.input().empty()) return clear_deadline();
  if (deadline_.kind() == Deadline::Kind::input && deadline_.progress(stream_.received_bytes()) < progress_bytes)
    return;
  set_deadline(Deadline::Kind::input, server_.config.limits.stall_timeout);
}

void Connection::set_deadline(Deadline::Kind kind, std::chrono::milliseconds from_now) {
  deadline_.set(kind, from_now, stream_.received_bytes());
}

void Connection::deadline_missed() {
  const Limits& limits = server_.config.limits;
  switch (deadline_.kind()) {
    case Deadline::Kind::hello:
      return say_goodbye(proto::Status::timed_out, "no hello within limits.hello_timeout=" +
                                                       std::to_string(limits.hello_timeout.count()) + " ms");
    case Deadline::Kind::input:
      return say_goodbye(proto::Status::timed_out,
                         "the middle of a frame and no progress within limits.stall_timeout=" +
                             std::to_string(limits.stall_timeout.count()) + " ms");
    case Deadline::Kind::output:
      reason_ = "the peer reads no answers";
      server_.log.info("connection refused", {{"connection", id_},
                                              {"address", address_},
                                              {"reason", reason_},
                                              {"stall_timeout_ms", limits.stall_timeout.count()},
                                              {"unsent_bytes", stream_.output().size()}});
      return;
    case Deadline::Kind::none:
    case Deadline::Kind::line:
    case Deadline::Kind::linger: return;
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
