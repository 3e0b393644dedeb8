// A connection's bytes: received, cut into frames, handed on; answers gathered and sent. Nothing here waits.
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <array>
#include <utility>

#include "base/clock.hpp"
#include "base/io_memory.hpp"
#include "base/ring/pause.hpp"
#include "server/connection/connection.hpp"
#include "server/runtime/thread_room.hpp"

namespace pageserver::server {

namespace {

constexpr std::size_t receive_bytes = 128u << 10;
// Before there is a session frames are small, and the peer is nobody yet: so much at a time, and so much at most behind
// a request that waits, for a place in the line say.
constexpr std::size_t front_receive_bytes = 8u << 10;
// One send carries at most about so much, so that a client that reads while it sends gets answers early.
constexpr std::size_t batch_bytes_max = 128u << 10;
// Of refresh and data_ranges.
constexpr std::uint64_t ranges_answer_bytes_max = proto::ranges_max * 24 + 256;

// At a stop, what has arrived is still carried out, within reason.
constexpr int last_looks_max = 64;
// Who was kicked and does not read is not waited for.
constexpr std::chrono::milliseconds kicked_patience{1000};

bool is_tls_hello(std::span<const std::byte> bytes) {
  return bytes.size() > 1 && bytes[0] == std::byte{0x16} && bytes[1] == std::byte{3};
}

}  // namespace

// Each worker has one connection's batch in hand at a time, so connections need no buffers of their own for it. To come
// upon them allocates nothing: what is shared can be emptied whatever failed.
struct ThreadRoom {
  base::IoMemory input = base::make_io_memory(receive_bytes);
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
  if (hold_.resume != nullptr && hold_.resume->is_repeating()) [[unlikely]] {
    if (stream_.output().empty()) repeat_answers();
    if (hold_.resume->is_repeating()) return;
  }
  if (pending_.is_done()) {
    const bool is_taken = pending_.what() != Pending::What::room && pending_.what() != Pending::What::fault &&
                          pending_.what() != Pending::What::acknowledgement;
    const std::function<void()> task = pending_.take();
    clear_deadline();
    home_wait_.reset();
    record_->in_flight.set(std::uint64_t{0});
    if (task) task();
    if (is_taken && !pending_.is_any() && !move_to_ && !pending_open_) waited();
    note_private();
    if (hold_.session) hold_.session->note_request(base::monotonic_ms());  // it was not idle while it waited
    recheck_input_ = true;
  }
  if (hold_.lease_notice_due && pending_.what() != Pending::What::drip) {
    answers().notice(proto::Operation::lease_lost, proto::Status::lease_lost, *hold_.lost_lease);
    hold_.lease_notice_due = false;
  }
  if (!recheck_input_ || !stream_.output().empty()) return;
  recheck_input_ = false;
  if (stream_.input().empty()) return;
  stream_.input().consume(process(stream_.input().bytes()));
  if (stream_.input().empty()) stream_.input().release();
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
  return answers().size() >=
             std::min<std::size_t>(limits.buffered_bytes, is_tight() ? front_receive_bytes : batch_bytes_max) ||
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
  std::size_t taken = static_cast<std::size_t>(std::min<std::uint64_t>(bytes_to_drop_, bytes.size()));
  bytes_to_drop_ -= taken;
  std::size_t ahead = 0;  // bytes behind `taken` that are in the group of writes
  answers().start_batch();
  RequestRow row(answers().figures());
  turn_time_.set_now(Clock::now());
  bool is_first = true;
  const std::int64_t now_ms = base::monotonic_ms(turn_time_.now());
  record_->last_request_ms.set(now_ms);
  record_->in_hand.set(std::uint64_t{1});
  if (hold_.session) hold_.session->note_request(now_ms);
  if (hold_.session && hold_.session->wants_announcements()) announce_reads(bytes.subspan(taken));
  while (taken + ahead < bytes.size()) {
    if (pending_.is_any() || leaving_ || move_to_ || output_full() || is_repeating() ||
        (ahead == 0 && turn_time_.ends(std::exchange(is_first, false) ? turn_time_.now() : Clock::now()))) {
      recheck_input_ = true;
      break;
    }
    if (ahead == 0) row.moment(turn_time_.now());
    const std::uint32_t payload_bytes_max = greeting_.done
                                                ? server_.config.limits.request_bytes + proto::payload_overhead_bytes
                                                : proto::hello_payload_bytes_max;
    const proto::Scan scan = proto::scan_frame(bytes.subspan(taken + ahead), payload_bytes_max);
    if (is_too_large_for_front(scan)) {
      refuse_large_frame(scan);
      const std::uint64_t here = std::min<std::uint64_t>(scan.bytes_needed, bytes.size() - taken);
      taken += static_cast<std::size_t>(here);
      bytes_to_drop_ = scan.bytes_needed - here;
      clear_deadline();
      continue;
    }
    if (scan.kind == proto::Scan::Kind::incomplete) {
      input_needed_ = scan.bytes_needed;
      break;
    }
    if (scan.kind != proto::Scan::Kind::broken && take_into_group(scan)) {
      ahead += scan.frame_bytes;
      continue;
    }
    if (ahead != 0) {
      taken += publish_group(row);
      ahead = 0;
      continue;  // the frame behind the group is looked at again: it may have to wait
    }
    if (scan.kind == proto::Scan::Kind::broken) {
      say_goodbye(scan.fault.status, is_tls_hello(bytes) && !greeting_.done
                                         ? "this port speaks no TLS; use pageserver://, without the s"
                                         : scan.fault.message);
      break;
    }
    if (!may_answer(scan)) {
      recheck_input_ = true;
      break;
    }
    const Step step = take_frame(scan);
    if (step == Step::not_taken) {
      recheck_input_ = true;
      if (!waiting_) waiting_ = Waiting{scan.header.operation, turn_time_.now()};
      break;
    }
    taken += scan.frame_bytes;
    buffers_.frame_taken();
    clear_deadline();
    row.taken(scan.header.operation);
    // One that had to wait before it could be taken, which is the first one.
    if (waiting_) note_waiting_request(row);
    if (stream_.awaits_ring()) [[unlikely]] {
      taken = bytes.size();  // what comes behind over the socket only wakes
      break;
    }
  }
  if (ahead != 0) taken += publish_group(row);
  if (row.any_taken()) {
    note_waiting_request(row);
    row.moment(Clock::now());
  }
  record_->in_hand.set(std::uint64_t{0});
  record_->in_flight.set(std::uint64_t{pending_.is_any() || recheck_input_ ? 1u : 0u});
  note_private();
  return leaving_ ? bytes.size() : taken;
}

// Reads that wait for a home beyond this machine would do so one after the other. Which may not be made is decided when
// they are taken: nothing of what is fetched is told to anybody before.
void Connection::announce_reads(std::span<const std::byte> bytes) {
  constexpr std::size_t announced_max = 64;
  std::array<ByteRange, announced_max> ranges;
  std::size_t count = 0;
  while (count < announced_max) {
    const proto::Scan scan =
        proto::scan_frame(bytes, server_.config.limits.request_bytes + proto::payload_overhead_bytes);
    if (scan.kind != proto::Scan::Kind::frame || scan.header.operation != proto::Operation::read) break;
    proto::ReadRequest read;
    if (proto::decode(scan.payload, read) || read.length > greeting_.request_bytes_max) break;
    ranges[count++] = {read.offset, read.length};
    bytes = bytes.subspan(scan.frame_bytes);
  }
  if (count > 1 && gate_.may(proto::Operation::read)) hold_.session->will_read(std::span{ranges}.first(count));
}

// The last request of the row may have no answer yet, or never get one. One that waits for room is not in the row.
void Connection::note_waiting_request(RequestRow& row) noexcept {
  const bool is_answered = !pending_.is_any() && !move_to_ && greeting_.done;
  if ((is_answered && !waiting_) || pending_.what() == Pending::What::room || pending_.what() == Pending::What::fault ||
      pending_.what() == Pending::What::acknowledgement)
    return;
  const proto::Operation operation = row.forget_last();
  if (!waiting_) waiting_ = Waiting{operation, turn_time_.now()};
  if (is_answered) waited();
}

void Connection::waited() noexcept {
  if (!waiting_) return;
  answers().figures().add_one(waiting_->operation, Clock::now() - waiting_->since);
  waiting_.reset();
}

Connection::Step Connection::take_frame(const proto::Scan& scan) {
  if (!greeting_.done) return take_hello(scan.header, scan.payload);
  if (hold_.resume != nullptr) return take_resumable(scan.header, scan.payload);
  if (const std::optional<proto::Fault> fault = proto::check_request_header(scan.header)) {
    answers().error(scan.header, *fault);
    if (hold_.session) note_answer(scan.header, fault->status, hold_.failed_change);
    return Step::taken;
  }
  return hold_.session ? take_session(scan.header, scan.payload) : take_front(scan.header, scan.payload);
}

void Connection::settle_buffers() noexcept {
  BufferAccount::Kept kept;
  kept.input = stream_.input().filled();
  kept.output = stream_.output().filled() + stream_.unsent_bytes();
  kept.answers = hold_.resume == nullptr ? 0 : hold_.resume->kept_bytes();
  kept.moved_ever = stream_.received_bytes() + stream_.sent_bytes();
  buffers_.settle(kept);
}

bool Connection::may_take_in() noexcept {
  if (buffers_.is_admitted(input_needed_)) return true;
  if (!buffers_.admit(input_needed_)) return false;
  settle_buffers();
  return true;
}

bool Connection::may_answer(const proto::Scan& scan) noexcept {
  if (!is_tight()) return true;
  std::uint64_t bytes = 0;
  proto::ReadRequest read;
  switch (scan.header.operation) {
    case proto::Operation::read:
      if (!proto::decode(scan.payload, read)) bytes = std::min(read.length, greeting_.request_bytes_max);
      break;
    case proto::Operation::refresh:
    case proto::Operation::data_ranges: bytes = ranges_answer_bytes_max; break;
    default: break;
  }
  return buffers_.may_answer(answers().size() + bytes);
}

void Connection::wait_for_buffers() {
  clear_deadline();  // it is not the peer that does not go on
  look_for_hang_up();
  if (buffers_.wait_in_line()) server_.relieve_buffers(*peer_);
}

void Connection::make_way() {
  if (buffers_.bytes() == 0 || pending_.is_any() || leaving_) return;
  const base::MemoryShare& share = server_.buffers.share();
  const std::string text = "others need room for their requests, and this connection keeps " +
                           std::to_string(buffers_.bytes()) + " bytes and does not go on; the buffers of all have " +
                           share.text();
  if (hold_.resume != nullptr) {  // it comes back
    reason_ = text;
    return stream_.fail();
  }
  if (stream_.output().empty()) return say_goodbye(proto::Status::limit_exceeded, text);
  ++server_.figures.refused_unread;
  stream_.fail();
  reason_ = "the peer reads no answers, and " + text;
  server_.lines.info(peer_, "connection refused", {{"connection", id_}, {"address", address_}, {"reason", reason_}});
}

bool Connection::is_too_large_for_front(const proto::Scan& scan) const noexcept {
  return scan.kind != proto::Scan::Kind::broken && hold_.session == nullptr && greeting_.done &&
         scan.bytes_needed > proto::frame_header_bytes + proto::hello_payload_bytes_max;
}

void Connection::refuse_large_frame(const proto::Scan& scan) {
  if (const std::optional<proto::Fault> fault = proto::check_request_header(scan.header))
    return answers().error(scan.header, *fault);
  answers().error(scan.header.request_id, scan.header.operation, proto::Status::invalid_argument,
                  proto::to_string(scan.header.operation) +
                      " with payload_bytes=" + std::to_string(scan.header.payload_bytes) +
                      ": this connection has no session, and without one a payload has at most " +
                      std::to_string(proto::hello_payload_bytes_max) + " bytes; open one first");
}

std::size_t Connection::read_ahead_max() const noexcept {
  return hold_.session == nullptr || is_tight() ? front_receive_bytes : server_.config.limits.buffered_bytes;
}

Connection::Received Connection::receive() {
  const bool front = hold_.session == nullptr || (stream_.input().empty() && is_tight());
  if (!stream_.input().empty()) {
    if (!may_take_in()) return Received::nothing;
    // The frame's own buffer, as long as the frame, which is within the limit. Memory that is never written to is
    // never resident, so a length without bytes costs nothing.
    const std::size_t more = input_needed_ - std::min(input_needed_, stream_.input().size());
    stream_.input().reserve(more + (front ? 0 : receive_bytes / 4));
    return receive_into_input(front ? front_receive_bytes : receive_bytes);
  }
  const std::span<std::byte> space(room_of_this_thread->input.get(), front ? front_receive_bytes : receive_bytes);
  std::size_t count = 0;
  const Received result = stream_.receive(space, count);
  if (stream_.is_ring_broken()) [[unlikely]]
    leave_broken_ring();
  if (count > 0) {
    const std::span<const std::byte> bytes = space.first(count);
    stream_.input().append(bytes.subspan(process(bytes)));
  }
  return result;
}

// A look costs far less than one at a socket, so there are more of them.
Connection::Received Connection::poll_ring(int tries) {
  constexpr int looks_per_try = 16;
  for (int looks = tries * looks_per_try; looks > 0; --looks) {
    if (stream_.ring_has_bytes()) return receive();
    ring::pause();
  }
  return Received::nothing;
}

void Connection::leave_broken_ring() {
  const std::string text = "the ring has an index that is not possible: more bytes than it has room for";
  if (leaving_ || !hold_.session) {
    reason_ = text;
    return stream_.fail();
  }
  say_goodbye(proto::Status::protocol_error, text);
}

Connection::Received Connection::poll_socket(int tries) {
  if (stream_.has_ring()) return poll_ring(tries);
  for (; tries > 0; --tries) {
    const Received result = receive();
    if (result != Received::nothing) return result;
    stream_.note_poll();
  }
  return Received::nothing;
}

Connection::Received Connection::receive_into_input(std::size_t bytes_max) {
  const Received result = stream_.receive_into_input(bytes_max);
  if (stream_.is_ring_broken()) [[unlikely]]
    leave_broken_ring();
  recheck_input_ = recheck_input_ || result == Received::something;
  return result;
}

// While something is pending: to notice the end, and to let the peer go on sending within its bound.
Connection::Received Connection::receive_ahead() {
  const Received result = stream_.receive_ahead(64u << 10);
  if (stream_.is_ring_broken()) [[unlikely]]
    leave_broken_ring();
  recheck_input_ = recheck_input_ || result == Received::something;
  return result;
}

void Connection::receive_before_stop() {
  const bool all_seen = receive() == Received::nothing || ++last_looks_ > last_looks_max;
  if (all_seen && !stream_.is_broken()) say_goodbye(proto::Status::stopping, "the server is stopping");
}

void Connection::look_for_hang_up() {
  pollfd look{socket(), POLLRDHUP, 0};
  if (::poll(&look, 1, 0) <= 0) return;
  if ((look.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
    stream_.fail();
  } else if (is_in_line()) {
    stream_.note_end();
  }
}

// In line little is read ahead. What a TCP peer has sent beyond that fills the socket, and then the end of its stream
// stays at its host, behind what is not taken. But nobody is there to take what is sent to one that has closed: its
// host answers by a reset, now, or when it closes what it has not read. One notice under way is enough.
void Connection::probe_peer_in_line() {
  int unacknowledged = 0;
  if (!is_tcp_ || ::ioctl(socket(), SIOCOUTQ, &unacknowledged) != 0 || unacknowledged != 0) return;
  answers().notice(proto::Operation::waiting, proto::Status::busy,
                   "open store \"" + pending_open_->store + "\": waits in line for the writer lease");
  send_output();
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
  if (is_tight()) return true;
  const std::uint64_t limit = buffered_bytes_max(server_.config.limits);
  while (owed_bytes() <= limit) {
    if (stream_.is_at_end() || stream_.is_broken() || stream_.input().size() >= limit) return false;
    if (receive_ahead() != Received::something) return false;
  }
  return true;
}

void Connection::send_output() {
  const std::size_t sent = stream_.send(answers().out());
  if (stream_.is_ring_broken() && stream_.is_broken() && reason_.empty()) [[unlikely]]
    reason_ = "the ring has an index that is not possible";
  if (sent > 0) {
    host_watch_.note_sent();
    deadline_.clear_if(Deadline::Kind::output);
  }
  record_->unsent_bytes.set(stream_.output().size());
  if (!stream_.is_broken() && !stream_.output().empty() && deadline_.kind() != Deadline::Kind::output)
    set_deadline(Deadline::Kind::output, orders_.kicked() ? kicked_patience : server_.config.limits.stall_timeout);
}

// Called when there is nothing to read. In the middle of a frame the peer has a deadline for going on.
void Connection::watch_input_progress() {
  if (!greeting_.done) return;
  if (stream_.input().empty()) return clear_deadline();
  if (deadline_.kind() == Deadline::Kind::input &&
      deadline_.progress(stream_.received_bytes()) < BufferAccount::progress_bytes)
    return;  // a whole frame would move it, too
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
      reason_ = "the middle of a frame and no progress within limits.stall_timeout=" +
                std::to_string(limits.stall_timeout.count()) + " ms";
      if (hold_.resume != nullptr) return stream_.fail();  // it comes back
      return say_goodbye(proto::Status::timed_out, std::string(reason_));
    case Deadline::Kind::output:
      if (kick_taken_) return;
      ++server_.figures.refused_unread;
      reason_ = "the peer reads no answers";
      server_.lines.info(peer_, "connection refused",
                         {{"connection", id_},
                          {"address", address_},
                          {"reason", reason_},
                          {"stall_timeout_ms", limits.stall_timeout.count()},
                          {"unsent_bytes", stream_.output().size()}});
      return;
    case Deadline::Kind::none:
    case Deadline::Kind::lease_wait:
    case Deadline::Kind::kick:
    case Deadline::Kind::fault:
    case Deadline::Kind::linger:
    case Deadline::Kind::home:
    case Deadline::Kind::peer_close: return;
  }
}

void Connection::say_goodbye(proto::Status status, const std::string& message) {
  finish_drip();
  answers().notice(proto::Operation::goodbye, status, message);
  leaving_ = true;
  record_->state.set(proto::SessionState::leaving);
  reason_ = message;
  if (status != proto::Status::stopping && status != proto::Status::kicked) {
    ++(status == proto::Status::timed_out           ? server_.figures.refused_timed_out
       : status == proto::Status::limit_exceeded    ? server_.figures.refused_for_limit
       : status == proto::Status::permission_denied ? server_.figures.refused_permission
                                                    : server_.figures.refused_protocol);
    server_.lines.info(
        peer_, "connection refused",
        {{"connection", id_}, {"address", address_}, {"status", proto::to_string(status)}, {"reason", message}});
  }
}

}  // namespace pageserver::server
