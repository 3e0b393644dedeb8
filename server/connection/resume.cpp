// Sessions that outlive their connections: PROTOCOL.md, "Resuming a session".
//
// The session stays in the Connection object that began it, where a flush that is under way, the notice of a lost lease
// and a kick find it; what changes is the socket. When that is lost, the loop goes on without one, in
// ConnectionLoop::stay_detached(). Who comes back does so on a connection of its own, and says so on the front worker:
//
//   the new one   take_resume(): knows the token ──▶ the old one   fence_for(): nothing from the old socket any more
//   hand_over(): its socket goes ◀── agrees ─────────┘
//   and it ends              ──────────────────────▶ adopt(): has the socket; answer_resumed(), repeat_answers()
//
// Both steps are tasks, each in the turn of the one that it concerns.
#include "server/connection/resume.hpp"

#include <algorithm>
#include <limits>

#include "base/access.hpp"
#include "base/clock.hpp"
#include "proto/library_values.hpp"
#include "server/connection/connection_io.hpp"

namespace pageserver::server {

namespace {

using proto::FrameHeader;
using proto::Operation;
using proto::Status;
using Payload = std::span<const std::byte>;

/// What the session sees may be another thing after it.
bool may_change_view(Operation operation) {
  return operation != Operation::read && operation != Operation::ping && operation != Operation::close;
}

/// What of the image the request may change, as far as the session sees it.
ByteRange changed_by(Operation operation, Payload payload) {
  proto::WriteRequest write;
  proto::ZeroRequest zero;
  switch (operation) {
    case Operation::read:
    case Operation::ping:
    case Operation::close:
    case Operation::size:
    case Operation::stat:
    case Operation::data_ranges:
    case Operation::grow:
    case Operation::flush:
    case Operation::commit: return {};
    case Operation::write:
      if (!proto::decode(payload, write)) return {write.offset, write.data.size()};
      break;
    case Operation::zero:
      if (!proto::decode(payload, zero)) return {zero.offset, zero.length};
      break;
    default: break;
  }
  return {0, std::numeric_limits<std::uint64_t>::max()};
}

}  // namespace

ResumeReply::~ResumeReply() {
  if (!answered_) refuse(Status::token_expired, "the session is over");
}

void ResumeReply::agree(const std::shared_ptr<Connection>& old) noexcept {
  answered_ = true;
  asking_->complete(number_, [asking = asking_.get(), old] { asking->hand_over(old); });
}

void ResumeReply::refuse(Status status, std::string text) noexcept {
  answered_ = true;
  asking_->complete(number_,
                    [asking = asking_.get(), status, text = std::move(text)] { asking->refuse_resume(status, text); });
}

// The new connection, on the front worker.

void Connection::take_resume(const FrameHeader& header, const proto::OpenRequest& request) {
  resume_request_ = std::make_unique<ResumeRequest>(ResumeRequest{header, request.last_request_id});
  const ResumeTokens::Found found = server_.resume_tokens->find(request.resume_token);
  const bool may_be_rebuilt =
      (greeting_.features & proto::feature_restart) != 0 && request.access == proto::Access::write;
  if (!found.session && !found.ended && may_be_rebuilt) {
    resume_request_.reset();
    return go_to_open(header, request);
  }
  // Whoever has the store now may know the session, or can tell that it is over.
  if (!found.session && is_served_elsewhere(request.store))
    return refuse_resume(Status::served_elsewhere, "another daemon has store " + std::string(request.store) +
                                                       " now; go on with the session there");
  if (!found.session)
    return found.ended ? refuse_resume(Status::token_expired,
                                       "the session with this token is over: it was closed or ended, or nobody came "
                                       "back for it within resume_linger=" +
                                           std::to_string(server_.config.resume_linger.count()) + " ms")
                       : refuse_resume(Status::token_unknown,
                                       "no session has this token; those of a server that has ended are gone");
  const ResumeTokens::Session& session = *found.session;
  if (session.who != gate_.who().text())
    return refuse_resume(Status::identity_differs,
                         "the session with this token was opened by somebody else than " + gate_.who().text());
  if (session.store != request.store || session.access != request.access || session.view != request.view ||
      session.publish != request.publish)
    return refuse_resume(Status::token_foreign, "the session with this token is on store " + session.store +
                                                    " with access " + std::string(base::name_of(session.access)) +
                                                    "; open it with what it was opened with");
  const std::shared_ptr<Connection> old = server_.find(session.connection_id);
  if (old == nullptr) return refuse_resume(Status::token_expired, "the session is over");
  const auto reply = std::make_shared<ResumeReply>(shared_from_this(), pending_.begin(Pending::What::admin));
  old->post([reply, mark = request.last_request_id](Connection& self) { self.fence_for(*reply, mark); });
}

void Connection::refuse_resume(Status status, const std::string& text) {
  const std::unique_ptr<ResumeRequest> request = std::move(resume_request_);
  // Whoever starts next may know it.
  if (server_.stopping && (status == Status::token_expired || status == Status::token_unknown))
    status = Status::stopping;
  say_not_resumed(request->header, status, text);
}

void Connection::say_not_resumed(const FrameHeader& header, Status status, const std::string& text) {
  ++server_.figures.resumes_refused;
  answers().error(header.request_id, Operation::open, status, "open: " + text);
  server_.lines.info(peer_, "resumption refused",
                     {{"connection", id_},
                      {"address", address_},
                      {"who", gate_.who().text()},
                      {"status", proto::to_string(status)},
                      {"reason", text}});
}

void Connection::hand_over(const std::shared_ptr<Connection>& old) {
  auto over = std::make_shared<HandedOver>();
  over->request = *std::exchange(resume_request_, nullptr);
  over->greeting = greeting_;
  over->address = address_;
  over->connection_id = id_;
  over->is_tcp = is_tcp_;
  over->gate = gate_;
  over->peer_chain = peer_chain();
  over->socket.reset(io_->descriptor.release());
  over->stream = std::exchange(stream_, ByteStream());
  stream_.fail();
  reason_ = "its socket went to session " + std::to_string(old->record()->session_id);
  old->post([over](Connection& self) { self.adopt(*over); });
}

// The old one.

bool Connection::can_be_resumed() const noexcept {
  return hold_.session != nullptr && hold_.resume != nullptr && hold_.resume->is_confirmed() && !orders_.kicked() &&
         !close_request_id_ && !orders_.aborted() && !orders_.lost() && !server_.stopping && (!leaving_ || is_cut_);
}

void Connection::fence_for(ResumeReply& reply, std::uint64_t mark) {
  // Its first request may still be on the way over the old connection, and would keep the session for nobody.
  if (hold_.resume != nullptr) hold_.resume->confirm();
  if (!can_be_resumed()) return reply.refuse(Status::token_expired, "the session is over");
  const Resumption& resume = *hold_.resume;
  const std::uint64_t newest = hold_.restart == nullptr ? 0 : hold_.restart->replays_until;
  if (mark < resume.acknowledged() || mark > std::max(resume.executed(), newest))
    return reply.refuse(Status::protocol_error, "last_request_id=" + std::to_string(mark) + " is not one of " +
                                                    std::to_string(resume.acknowledged()) + " to " +
                                                    std::to_string(resume.executed()) +
                                                    ", which are acknowledged and carried out");
  if (!detached_) reason_ = "its client has come back over another connection";
  fence();
  reply.agree(shared_from_this());
}

// What has come and was not begun goes, and what was not sent, which is kept elsewhere. A flush that runs goes on.
void Connection::fence() noexcept {
  std::error_code ignored;
  if (io_->descriptor.is_open()) io_->descriptor.close(ignored);
  stream_ = ByteStream();
  stream_.fail();
  host_watch_ = HostWatch(std::chrono::milliseconds{});
  switch (pending_.what()) {
    case Pending::What::room:
    case Pending::What::fault:
    case Pending::What::drip:
    case Pending::What::acknowledgement: pending_.clear(); break;
    default: break;
  }
  if (hold_.faults != nullptr) hold_.faults->dripping.release();
  hold_.resume->stop_repeating();
  hold_.resume->drop_in_hand();
  resumed_by_.reset();
  waiting_.reset();
  leaving_ = is_cut_ = false;
  recheck_input_ = false;
  input_needed_ = 0;
  bytes_to_drop_ = 0;
  buffers_.begin_anew();
  if (!detached_) clear_deadline();
  settle_buffers();
  wake();
}

void Connection::detach() {
  const std::string why = std::string(end_reason().empty() ? "end of stream" : end_reason());
  fence();
  note_detached(true);
  record_->detached();
  record_->ring = false;
  set_deadline(Deadline::Kind::linger, server_.config.resume_linger);
  ++server_.figures.sessions_detached;
  server_.lines.info(peer_, "session detached",
                     {{"session", hold_.id},
                      {"store", hold_.use->host().name()},
                      {"name", hold_.name},
                      {"address", address_},
                      {"linger_ms", server_.config.resume_linger.count()},
                      {"reason", why}});
  reason_.clear();
}

void Connection::note_detached(bool detached) noexcept {
  if (std::exchange(detached_, detached) == detached) return;
  if (detached) {
    ++server_.resume_tokens->detached;
    ++peer_->detached;
  } else {
    --server_.resume_tokens->detached;
    --peer_->detached;
  }
}

// They have no socket, so that connections for their clients are let in beside them. Who comes for a session of its own
// finds room only where they leave some.
bool Connection::finds_room_beside_detached(const FrameHeader& header) {
  const Limits& limits = server_.config.limits;
  const std::uint64_t of_peer_max = share_of(limits.connections, limits.peer_percent);
  const std::uint64_t detached = server_.resume_tokens->detached;
  if (detached == 0) return true;
  const std::uint64_t all = server_.connections(), of_peer = peer_->connections;
  if (all <= limits.connections && of_peer <= of_peer_max) return true;
  answers().error(header.request_id, Operation::open, Status::limit_exceeded,
                  "open: " + std::to_string(detached) +
                      " sessions without a connection are kept for clients that may "
                      "come back, which leaves no room for another: limits.connections=" +
                      std::to_string(limits.connections) + ", limits.peer_percent=" +
                      std::to_string(limits.peer_percent) + "; try again later, or lower resume_linger");
  return false;
}

bool Connection::ends_detached() {
  if (orders_.take_policy_change()) apply_policy();
  if (orders_.kicked()) {
    leave_kicked();
    return true;
  }
  if (deadline_.passed(Deadline::Kind::linger)) {
    ++server_.figures.sessions_expired;
    reason_ =
        "nobody came back for it within resume_linger=" + std::to_string(server_.config.resume_linger.count()) + " ms";
    return true;
  }
  return orders_.ends_at_once() || server_.stopping;
}

// Whatever it answers is kept, and sent once there is somebody.
void Connection::complete_detached() {
  if (!pending_.is_done()) return;
  const std::function<void()> task = pending_.take();
  record_->in_flight.set(std::uint64_t{0});
  if (task) task();
  answers().forget();
  waited();
  note_private();
}

void Connection::adopt(HandedOver& over) {
  if (!can_be_resumed()) return;  // the socket is closed with `over`; the client asks again, and is told
  fence();
  std::error_code failed;
  io_->descriptor.assign(over.socket.get(), failed);
  if (failed) return;
  [[maybe_unused]] const int now_of_io = over.socket.release();
  stream_ = std::move(over.stream);
  greeting_ = std::move(over.greeting);
  address_ = over.address;
  is_tcp_ = over.is_tcp;
  host_watch_ = HostWatch(is_tcp_ ? server_.config.limits.keepalive : std::chrono::milliseconds{});
  peer_chain_.set(over.peer_chain);
  // What is believed may have changed while neither of the two connections had the other's token or certificate.
  gate_.shown_again(over.gate);
  orders_.look_at_policy();
  if (stream_.tls() != nullptr) note_certificate();
  hold_.resume->acknowledge(over.request.mark);
  resumed_by_ = std::make_unique<ResumeRequest>(over.request);
  note_detached(false);
  reason_.clear();
  clear_deadline();
  record_->resumed(address_, greeting_.client_name);
  record_->ring = stream_.has_ring();
  ++server_.figures.sessions_resumed;
  server_.lines.info(peer_, "session resumed",
                     {{"session", hold_.id},
                      {"store", hold_.use->host().name()},
                      {"name", hold_.name},
                      {"address", address_},
                      {"connection", id_},
                      {"by_connection", over.connection_id},
                      {"acknowledged", over.request.mark},
                      {"executed", hold_.resume->executed()}});
  wake();
}

// First of all that goes over the new socket, in the connection's own batch.
void Connection::answer_resumed() {
  const std::unique_ptr<ResumeRequest> request = std::move(resumed_by_);
  if (hold_.restart != nullptr) hold_.restart->replay_failed = false;
  proto::OpenAnswer answer;
  answer.session_id = hold_.id;
  answer.epoch = hold_.session->epoch();
  answer.version = hold_.session->opened().version;
  answer.pages = hold_.session->opened().pages;
  try {
    const storage::SessionView view = hold_.session->view();
    answer.version = view.version;
    answer.pages = view.pages;
  } catch (const MemoryError&) {
    // It has lost its lease or its version, and says so to each request.
  }
  answer.size_bytes_max = hold_.use->host().settings().size_bytes_max;
  answer.resume = ticket();
  answers().add(request->header.request_id, answer);
  hold_.lease_notice_due = hold_.lost_lease != nullptr;
  hold_.resume->begin_repeating();
}

proto::ResumeTicket Connection::ticket() const {
  proto::ResumeTicket ticket{hold_.resume->token(), hold_.resume->executed(),
                             static_cast<std::uint32_t>(server_.config.resume_linger.count()), false};
  if (hold_.restart != nullptr && hold_.restart->rebuilding) {
    ticket.rebuilt = true;
    if (hold_.restart->replays_until == 0) ticket.executed = hold_.restart->published;
  }
  return ticket;
}

void Connection::repeat_answers() {
  Resumption& resume = *hold_.resume;
  answers().start_batch();
  while (!output_full()) {
    const std::uint64_t id = resume.next_to_repeat();
    if (id == 0) break;
    repeat_answer(id);
  }
  recheck_input_ = true;
}

void Connection::repeat_answer(std::uint64_t id) {
  const KeptAnswer& kept = hold_.resume->at(id);
  if (!kept.reads_again) return answers().add_frame(kept.frame());
  FrameHeader header;
  header.operation = Operation::read;
  header.request_id = id;
  const std::span<std::byte> data = answers().payload(header, kept.length);
  try {
    hold_.session->read(kept.offset, data);
  } catch (...) {
    answers().cancel_payload(kept.length);
    answers().error(header, std::current_exception());
  }
}

// Before something changes what they would see.
void Connection::keep_read_answers() {
  if (!hold_.resume->has_reads()) return;
  hold_.resume->keep_reads([&](std::uint64_t id, KeptAnswer& kept) {
    FrameHeader header;
    header.operation = Operation::read;
    header.flags = proto::flag_answer;
    header.request_id = id;
    header.payload_bytes = kept.length;
    const std::span<std::byte> frame = kept.make_frame(proto::frame_header_bytes + kept.length);
    proto::encode_header(frame.first<proto::frame_header_bytes>(), header);
    try {
      hold_.session->read(kept.offset, frame.subspan(proto::frame_header_bytes));
    } catch (const MemoryError& error) {
      proto::Bytes refused;
      proto::encode_error(refused, id, Operation::read, proto::status_of(error.errc()), error.what());
      kept.set_frame(refused);
    }
  });
}

// Before it is written over.
void Connection::sum_written(Operation operation, Payload payload) {
  if (!hold_.resume->has_written()) return;
  const ByteRange changed = changed_by(operation, payload);
  proto::Bytes written;
  hold_.resume->sum_written(changed.offset, changed.length,
                            [&](const KeptAnswer& kept) -> std::optional<std::span<const std::byte>> {
                              const auto data = read_written(kept);
                              if (!data) return std::nullopt;
                              written.clear();
                              proto::encode(written, 0, proto::WriteRequest{kept.offset, *data});
                              return std::span<const std::byte>(written).subspan(proto::frame_header_bytes);
                            });
}

/// Nothing where the session has lost its right, or the disk fails.
std::optional<proto::Bytes> Connection::read_written(const KeptAnswer& kept) {
  proto::Bytes data(kept.length);
  try {
    hold_.session->read(kept.offset, data);
  } catch (const MemoryError&) {
    return std::nullopt;
  }
  return data;
}

/// The request that was carried out by this id.
bool Connection::is_same_request(const FrameHeader& header, Payload payload) {
  const KeptAnswer& kept = hold_.resume->at(header.request_id);
  if (!kept.is_there) return hold_.resume->is_same(header.request_id, header.operation, payload);
  proto::WriteRequest write;
  if (header.operation != Operation::write || proto::decode(payload, write) || write.offset != kept.offset ||
      write.data.size() != kept.length)
    return false;
  const auto there = read_written(kept);
  return !there || std::equal(there->begin(), there->end(), write.data.begin());
}

Connection::Step Connection::take_resumable(const FrameHeader& header, Payload payload) {
  Resumption& resume = *hold_.resume;
  FrameHeader request = header;
  request.reserved = 0;
  if (hold_.restart != nullptr && hold_.restart->rebuilding) look_for_replay(header.request_id);
  const auto refuse = [&](Status status, const std::string& text) {
    answers().error(header.request_id, header.operation, status, proto::to_string(header.operation) + " " + text);
    return Step::taken;
  };
  switch (resume.place_of(header.request_id, header.reserved)) {
    case Resumption::Place::outside:
      return refuse(Status::outside_window,
                    "has request_id=" + std::to_string(header.request_id) + " and " + std::to_string(header.reserved) +
                        " unanswered before it: requests up to " + std::to_string(resume.executed()) +
                        " were carried out, up to " + std::to_string(resume.acknowledged()) +
                        " are acknowledged, and at most " + std::to_string(resume_window()) + " may not be");
    case Resumption::Place::executed:
      if (!is_same_request(header, payload))
        return refuse(Status::request_differs, "has request_id=" + std::to_string(header.request_id) +
                                                   ", by which another request was carried out");
      repeat_answer(header.request_id);
      return Step::taken;
    case Resumption::Place::next: break;
  }
  resume.acknowledge(header.request_id, header.reserved);
  if (resume.kept_bytes() > buffered_bytes_max(server_.config.limits)) {
    pending_.begin(Pending::What::acknowledgement);
    set_deadline(Deadline::Kind::input, server_.config.limits.stall_timeout);
    return Step::not_taken;
  }
  if (may_change_view(header.operation)) keep_read_answers();
  sum_written(header.operation, payload);
  resume.take_in_hand(header.operation, payload);
  const std::size_t before = answers().size();
  Step step = Step::taken;
  if (const std::optional<proto::Fault> fault = proto::check_request_header(request)) {
    answers().error(request, *fault);
    note_answer(request, fault->status, hold_.failed_change);
  } else if (was_published(request)) {
    resume.sum_in_hand();
    answer_published(request);
  } else {
    if (hold_.restart != nullptr) remember(request.operation, request.request_id);
    step = take_session(request, payload);
  }
  if (step == Step::taken) keep_answer(before);
  if (hold_.resume != nullptr) hold_.resume->drop_in_hand();
  return step;
}

// Once a request was carried out: its answer is what was added since `before`, unless it comes later, or never.
void Connection::keep_answer(std::size_t before) {
  if (hold_.resume == nullptr || !hold_.resume->has_in_hand()) return;
  const std::span<const std::byte> frame = answers().out().bytes().subspan(before);
  if (!frame.empty()) {
    if (hold_.restart != nullptr) {
      const FrameHeader answer = proto::scan_frame(frame, UINT32_MAX).header;
      hold_.resume->done(frame);
      return note_outcome(answer.operation, answer.request_id, answer.status);
    }
    return hold_.resume->done(frame);
  }
  if (pending_.what() == Pending::What::flush) hold_.resume->begun();
}

// The group was published as one: each of its writes is answered.
void Connection::keep_group_answer(const FrameHeader& header, Payload payload, std::size_t before) {
  hold_.resume->acknowledge(header.request_id, header.reserved);
  hold_.resume->take_in_hand(header.operation, payload);
  hold_.resume->done(answers().out().bytes().subspan(before));
}

// Of the answers too many are kept. A mark that makes room may stand in any of the requests that are here.
bool Connection::is_acknowledged() {
  Resumption& resume = *hold_.resume;
  std::span<const std::byte> rest = stream_.input().bytes();
  for (;;) {
    const proto::Scan scan =
        proto::scan_frame(rest, server_.config.limits.request_bytes + proto::payload_overhead_bytes);
    if (scan.kind == proto::Scan::Kind::broken || scan.bytes_needed == 0) break;
    const std::uint64_t mark = scan.header.request_id - 1 - scan.header.reserved;
    if (scan.header.request_id > scan.header.reserved && mark <= resume.executed()) resume.acknowledge(mark);
    if (scan.kind != proto::Scan::Kind::frame) break;
    rest = rest.subspan(scan.frame_bytes);
  }
  if (resume.kept_bytes() <= buffered_bytes_max(server_.config.limits)) return true;
  if (!deadline_.passed(Deadline::Kind::input)) return false;
  reason_ = "the peer acknowledges none of " + std::to_string(resume.kept_bytes()) + " bytes of answers";
  stream_.fail();
  return true;
}

std::uint32_t Connection::resume_window() const noexcept {
  return std::min(server_.config.limits.requests_in_flight, proto::resume_window_max);
}

void Connection::begin_resumable(const FrameHeader& header, const storage::SessionRequest& request) {
  const proto::ResumeToken token = server_.resume_tokens->add(
      {id_, gate_.who().text(), hold_.use->host().name(), request.access, request.view, request.publish});
  try {
    hold_.resume = std::make_unique<Resumption>(token, header.request_id, resume_window());
  } catch (...) {
    server_.resume_tokens->end(token);
    throw;
  }
}

void Connection::end_resumable() noexcept {
  if (hold_.resume == nullptr) return;
  // One that goes on at another daemon may come back with its store.
  if (orders_.has_successor() && hold_.restart != nullptr)
    server_.resume_tokens->forget(hold_.resume->token());
  else
    server_.resume_tokens->end(hold_.resume->token());
  hold_.resume.reset();
  hold_.restart.reset();
  note_detached(false);
  resumed_by_.reset();
}

}  // namespace pageserver::server
