// The session of a connection: begun, served, ended. All of it on one of the loops.
//
// Group publishes. A record of the log costs much the same for 8 bytes as for 4096, so small writes that arrived
// together become one record. While process() cuts frames, each small write goes into the group of this thread and not
// to the engine. What ends the group is any other frame, a full group, or the end of what was received; then
// publish_group() publishes all of it as one version, with one append, and answers each write by itself. That is
// allowed since none was answered before, and reads that came behind them are looked at after. Where they can't be
// published together (two overlap, one is out of bounds, the disk refuses, the session publishes on flush) each is
// served for itself, in order, and told what is wrong with it.
#include <array>
#include <cassert>
#include <type_traits>

#include "base/access.hpp"
#include "base/clock.hpp"
#include "server/connection/connection.hpp"

namespace pageserver::server {

namespace {

using proto::FrameHeader;
using proto::Operation;
using Payload = std::span<const std::byte>;

// Larger writes gain nothing from company.
constexpr std::size_t group_payload_bytes_max = 4096 + 64;
constexpr std::size_t group_writes_max = 64;

/// Writes of one connection that are in hand; what they point to is its input. Empty between two batches, whatever was
/// thrown in one, so that all connections of a worker share it. To take a write in can't fail.
class WriteGroup {
public:
  struct Frame {
    FrameHeader header;
    Payload payload;
    std::size_t frame_bytes;
  };

  static WriteGroup& of_this_thread() {
    static_assert(std::is_trivially_destructible_v<WriteGroup>);  // else the first use on a thread needs memory
    thread_local WriteGroup mine;
    return mine;
  }

  std::size_t size() const noexcept { return size_; }
  bool full() const noexcept { return size_ == group_writes_max; }
  void add(const Frame& frame, const storage::StoreSession::Write& write) noexcept {
    frames_[size_] = frame;
    writes_[size_] = write;
    ++size_;
  }
  void clear() noexcept { size_ = 0; }
  std::span<const Frame> frames() const noexcept { return {frames_.data(), size_}; }
  std::span<const storage::StoreSession::Write> writes() const noexcept { return {writes_.data(), size_}; }

private:
  std::array<Frame, group_writes_max> frames_;
  std::array<storage::StoreSession::Write, group_writes_max> writes_;
  std::size_t size_ = 0;
};

/// What `pagectl ping` does: whether the store answers, and reads.
bool only_asks(const FrameHeader& header, Payload payload) {
  proto::ReadRequest read;
  switch (header.operation) {
    case Operation::ping:
    case Operation::stat: return true;
    case Operation::read: return !proto::decode(payload, read) && read.length <= 1;
    default: return false;
  }
}

/// Who holds the lease is for those who may see others.
std::exception_ptr without_names(const std::exception_ptr& error, const std::string& store) {
  try {
    std::rethrow_exception(error);
  } catch (const MemoryError& problem) {
    if (problem.errc() != Errc::busy) return error;
    return std::make_exception_ptr(
        MemoryError(Errc::busy, "open " + store +
                                    ": another session holds the writer lease; wait for it with wait_ms, "
                                    "or ask who runs the daemon (it takes the right admin to see whose it is)"));
  } catch (...) {
    return error;
  }
}

constexpr std::size_t write_answer_bytes = proto::frame_header_bytes;

}  // namespace

void Connection::forget_group() noexcept { WriteGroup::of_this_thread().clear(); }

void Connection::begin_open() {
  StoreHost& host = hold_.use->host();
  hold_.store = host.open_already();
  if (hold_.store != nullptr) return open_session();
  const std::uint64_t number = pending_.begin(Pending::What::session);
  try {
    // While a job waits to open a store it is in use, whatever becomes of the connection.
    host.jobs().submit([self = shared_from_this(), number, use = hold_.use]() mutable {
      if (self->ended_) return;
      storage::Store* store = nullptr;
      std::exception_ptr error;
      try {
        store = &use->host().opened();
      } catch (...) {
        error = std::current_exception();
      }
      use.reset();  // before the client hears of it: once it has closed, nobody uses the store
      self->complete(number, [connection = self.get(), store, error = std::move(error)] {
        if (error) return connection->open_failed(error);
        connection->hold_.store = store;
        connection->open_session();
      });
    });
    if (host.is_beyond()) bound_by_home(pending_open_->header, opening_time());
  } catch (const std::exception&) {
    pending_.clear();
    open_failed(std::current_exception());
  }
}

void Connection::open_session() {
  if (pending_open_->rebuilt && !claim_session()) return;
  const std::uint64_t number = pending_.begin(Pending::What::session);
  try {
    // What was opened for a connection that is gone meanwhile is dropped with this, before the hold on its store.
    struct Opened {
      std::shared_ptr<HostUse> use;
      std::unique_ptr<storage::StoreSession> session;
    };
    const auto done = [self = shared_from_this(), use = hold_.use, number](
                          std::unique_ptr<storage::StoreSession> session, std::exception_ptr error) {
      try {
        auto opened = std::make_shared<Opened>(Opened{use, std::move(session)});
        self->complete(number, [connection = self.get(), opened, error = std::move(error)] {
          connection->session_opened(std::move(opened->session), error);
        });
      } catch (const std::bad_alloc&) {
        self->lose();  // the session is released, and the store's own steps go on
      }
    };
    if (pending_open_->request.wait_in_line) pending_open_->place_in_line = hold_.use->host().take_place_in_line(peer_);
    if (pending_open_->request.access == Access::fork)
      pending_open_->request.owner_fork_bytes = std::shared_ptr<std::atomic<std::uint64_t>>(peer_, &peer_->fork_bytes);
    {
      const Pending::Beginning beginning{pending_};
      pending_open_->lease_place = hold_.store->open_session(pending_open_->request, done);
    }
    record_->place.set(pending_open_->lease_place);
    if (!pending_.is_done() && pending_open_->request.wait_in_line) {
      set_deadline(Deadline::Kind::lease_wait, std::chrono::milliseconds(pending_open_->wait_ms));
    }
  } catch (...) {
    pending_.clear();
    open_failed(std::current_exception());
  }
}

void Connection::give_up_place() {
  if (pending_open_ == nullptr || pending_open_->lease_place == 0) return;
  hold_.store->cancel_wait(std::exchange(pending_open_->lease_place, 0));
  clear_deadline();
}

void Connection::open_failed(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const ServedElsewhere& elsewhere) {
    server_.lines.info(peer_, "request refused",
                       {{"action", "open"},
                        {"store", pending_open_->store},
                        {"connection", id_},
                        {"address", address_},
                        {"reason", elsewhere.what()}});
    answers().error(pending_open_->header.request_id, Operation::open, proto::Status::served_elsewhere,
                    elsewhere.what());
    return drop_opening();
  } catch (...) {
  }
  refused("open", pending_open_->store, pending_open_->header,
          gate_.administers() ? error : without_names(error, pending_open_->store));
  drop_opening();
}

void Connection::drop_opening() {
  pending_open_.reset();
  hold_.store = nullptr;
  waited();
  record_->left(proto::SessionState::front);
  if (!on_front()) move_to_ = server_.front;
}

void Connection::session_opened(std::unique_ptr<storage::StoreSession> session, const std::exception_ptr& error) {
  if (error) return open_failed(error);
  pending_open_->lease_place = 0;
  hold_.session = std::move(session);
  if (pending_open_->rebuilt) {
    try {
      begin_rebuilt(pending_open_->request);
    } catch (const std::exception&) {
      end_resumable();
      hold_.session.reset();
      return open_failed(std::current_exception());
    }
  }
  hold_.session->note_request(base::monotonic_ms());
  hold_.start = std::chrono::steady_clock::now();
  record_->counters.reset();
  record_->lease_lost = false;
  record_->opened(*hold_.session, base::monotonic_ms());
  hold_.failed_change.reset();
  hold_.lost_lease.reset();
  hold_.lease_notice_due = false;
  if (server_.faults != nullptr) hold_.faults = std::make_unique<SessionFaults>();
  const storage::SessionRequest& request = pending_open_->request;
  if (request.access != Access::read || request.view != View::live) hold_.use->serve();
  hold_.name = request.name;
  hold_.keeps_private = request.access == Access::fork || request.publish == Publish::on_flush;
  watch_lease();
  proto::OpenAnswer answer;
  answer.session_id = hold_.id;
  answer.epoch = hold_.session->epoch();
  answer.version = hold_.session->opened().version;
  answer.pages = hold_.session->opened().pages;
  answer.size_bytes_max = hold_.use->host().settings().size_bytes_max;
  if ((greeting_.features & proto::feature_resume) != 0) {
    if (!pending_open_->rebuilt) {
      begin_resumable(pending_open_->header, request);
      begin_restartable(pending_open_->header, request);
    }
    answer.resume = ticket();
  }
  answers().add(pending_open_->header.request_id, answer);
  server_.lines.info(peer_, "session open",
                     {{"session", hold_.id},
                      {"store", pending_open_->store},
                      {"access", base::name_of(request.access)},
                      {"view", request.view == View::live ? "live" : "pinned"},
                      {"publish", request.publish == Publish::on_write ? "on_write" : "on_flush"},
                      {"name", hold_.name},
                      {"address", address_},
                      {"client", greeting_.client_name},
                      {"who", gate_.who().text()},
                      {"connection", id_},
                      {"epoch", answer.epoch},
                      {"pages", answer.pages}});
  pending_open_.reset();
}

void Connection::watch_lease() {
  hold_.session->on_notice([weak = weak_from_this()](const MemoryError& reason) {
    if (reason.errc() != Errc::lease_lost) return;
    const std::shared_ptr<Connection> self = weak.lock();
    if (self == nullptr) return;
    self->record_->lease_lost = true;
    try {
      self->post([text = std::string(reason.what())](Connection& connection) {
        if (connection.hold_.session == nullptr) return;
        connection.hold_.lost_lease = std::make_unique<const std::string>(text);
        connection.hold_.lease_notice_due = true;
        connection.wake();
      });
    } catch (const std::bad_alloc&) {
      self->lose();
    }
  });
}

// A pin that has moved on, or a fork's base.
void Connection::note_held_version() noexcept {
  if (record_->held_version == 0) return;
  try {
    record_->held_version.set(hold_.session->version().number);
  } catch (const MemoryError&) {
    // It holds none any more.
  }
}

Connection::Step Connection::take_session(const FrameHeader& header, Payload payload) {
  if (hold_.faults != nullptr) [[unlikely]]
    return take_with_faults(header, payload);
  return carry_out(header, payload);
}

Connection::Step Connection::carry_out(const FrameHeader& header, Payload payload) {
  assert(is_on_its_worker());  // a disk that hangs may hold up this thread
  if (header.operation == Operation::close) {
    take_close(header, payload);
    return Step::taken;
  }
  if (!allows_in_session(header)) return Step::taken;
  if (!hold_.use->serves() && !only_asks(header, payload)) hold_.use->serve();
  if (header.operation == Operation::faults && hold_.faults != nullptr) {
    take_faults(header, payload);
    return Step::taken;
  }
  SessionScope scope{*hold_.session,
                     hold_.use->host().name(),
                     greeting_.request_bytes_max,
                     greeting_.features,
                     base::monotonic_ms(turn_time_.now()),
                     hold_.name,
                     address_,
                     record_->counters,
                     hold_.failed_change,
                     gate_.administers()};
  std::optional<Load> load_now;
  if (header.operation == Operation::stat && (greeting_.features & proto::feature_load) != 0) {
    load_now = load(&hold_.use->host());
    scope.load = &*load_now;
  }
  switch (handle_request(scope, header, payload, answers(), room_callback())) {
    case Next::wait_for_room: pending_.begin(Pending::What::room); return Step::not_taken;
    case Next::answered: break;
    case Next::flush: begin_flush(header); break;
    case Next::lease_broken:
      ++server_.figures.leases_broken;
      server_.lines.info(peer_, "lease broken",
                         {{"store", hold_.use->host().name()},
                          {"by", hold_.name},
                          {"who", gate_.who().text()},
                          {"address", address_},
                          {"session", hold_.id}});
      break;
  }
  if (header.operation == Operation::refresh) note_held_version();
  record_->counters.requests.add(1);
  return Step::taken;
}

std::function<void()> Connection::room_callback() {
  // Small enough for std::function to hold without an allocation: each write hands one in.
  return [server = &server_, id = id_] {
    if (const std::shared_ptr<Connection> self = server->find(id)) self->room_made();
  };
}

bool Connection::take_into_group(const proto::Scan& scan) {
  WriteGroup& group = WriteGroup::of_this_thread();
  proto::FrameHeader header = scan.header;
  if (hold_.resume != nullptr) {
    if (hold_.resume->place_of(header.request_id, header.reserved, group.size()) != Resumption::Place::next ||
        hold_.resume->kept_bytes() != 0 ||
        (hold_.restart != nullptr && hold_.restart->is_within_rebuilt(header.request_id)))
      return false;
    header.reserved = 0;
  }
  if (hold_.session == nullptr || scan.header.operation != Operation::write || hold_.faults != nullptr ||
      scan.payload.size() > group_payload_bytes_max || !gate_.may(Operation::write) ||
      proto::check_request_header(header))
    return false;
  if (group.full() || answers().count() + group.size() >= server_.config.limits.requests_in_flight) return false;
  proto::WriteRequest request;
  if (proto::decode(scan.payload, request)) return false;
  group.add({scan.header, scan.payload, scan.frame_bytes}, {request.offset, request.data});
  return true;
}

std::size_t Connection::publish_group(RequestRow& row) {
  WriteGroup& group = WriteGroup::of_this_thread();
  std::size_t taken = 0;
  bool together = false;
  try {
    if (group.size() > 1 && hold_.session->may_write(room_callback())) {
      if (hold_.resume != nullptr) {
        keep_read_answers();
        for (const WriteGroup::Frame& frame : group.frames()) sum_written(Operation::write, frame.payload);
      }
      // First, or what is published might find no room for its answers.
      answers().reserve(group.size() * write_answer_bytes);
      if (hold_.restart != nullptr) remember(Operation::write, group.frames().back().header.request_id);
      together = hold_.session->write_together(group.writes());
    }
  } catch (const std::exception&) {
    // Each for itself: then each is told what is wrong with it.
  }
  for (std::size_t i = 0; i < group.size(); ++i) {
    const WriteGroup::Frame& frame = group.frames()[i];
    if (together) {
      const std::size_t before = answers().size();
      answers().add(frame.header.request_id, proto::WriteAnswer{});
      if (hold_.resume != nullptr) keep_group_answer(frame.header, frame.payload, before);
      record_->counters.bytes_written.add(group.writes()[i].data.size());
      record_->counters.requests.add(1);
    } else if ((hold_.resume != nullptr ? take_resumable(frame.header, frame.payload)
                                        : take_session(frame.header, frame.payload)) == Step::not_taken) {
      recheck_input_ = true;
      if (!waiting_) waiting_ = Waiting{Operation::write, turn_time_.now()};
      break;
    }
    taken += frame.frame_bytes;
    row.taken(Operation::write);
    if (waiting_) note_waiting_request(row);
  }
  group.clear();
  clear_deadline();
  return taken;
}

// Any thread. It may come late, for a wait that is over: then the next one asks once more than it had to.
void Connection::room_made() {
  try {
    post([](Connection& self) {
      if (self.pending_.complete_if(Pending::What::room)) self.wake();
    });
  } catch (const std::bad_alloc&) {
    lose();
  }
}

void Connection::begin_flush(const FrameHeader& header) {
  const std::uint64_t number = pending_.begin(Pending::What::flush);
  const Pending::Beginning beginning{pending_};
  try {
    hold_.session->flush([self = shared_from_this(), number, header](std::exception_ptr error, const Version& version) {
      self->complete(number, [connection = self.get(), header, error = std::move(error), version] {
        const std::size_t before = connection->answers().size();
        answer_flush(header, error, version, connection->answers(), connection->hold_.failed_change);
        if (connection->hold_.resume != nullptr)
          connection->hold_.resume->answered(connection->answers().out().bytes().subspan(before));
        if (connection->hold_.restart != nullptr && error)
          connection->note_outcome(header.operation, header.request_id, connection->answers().last_status());
        connection->finish_strike(before);
      });
    });
  } catch (...) {
    pending_.clear();
    answers().error(header, std::current_exception());
  }
}

void Connection::tell_session_end() const {
  const auto lasted = std::chrono::steady_clock::now() - hold_.start;
  const std::string_view reason = end_reason().empty() ? "end of stream" : end_reason();
  const auto lasted_ms = std::chrono::duration_cast<std::chrono::milliseconds>(lasted).count();
  // A health check each second would leave no other.
  const bool only_asked = !hold_.use->serves() && (end_reason().empty() || close_request_id_);
  if (server_.closed_sessions != nullptr && !only_asked) {
    const auto [access, view] = record_->last_kind();
    server_.closed_sessions->add({hold_.id, hold_.use->host().name(), hold_.name, address_, std::string(reason), access,
                                  view, record_->counters.requests, record_->counters.bytes_read,
                                  record_->counters.bytes_written, static_cast<std::uint64_t>(lasted_ms),
                                  base::monotonic_ms()});
  }
  server_.lines.info(peer_, "session close",
                     {{"session", hold_.id},
                      {"store", hold_.use->host().name()},
                      {"name", hold_.name},
                      {"address", address_},
                      {"requests", record_->counters.requests.get()},
                      {"bytes_read", record_->counters.bytes_read.get()},
                      {"bytes_written", record_->counters.bytes_written.get()},
                      {"receives", stream_.receives()},
                      {"polls", stream_.polls()},
                      {"sends", stream_.sends()},
                      {"ms", lasted_ms},
                      {"reason", reason}});
}

void Connection::end_session() {
  if (pending_.what() == Pending::What::session) give_up_place();
  pending_.clear();
  hold_.faults.reset();
  // It goes on once the daemon was started again, or at another one.
  if (hold_.restart != nullptr && (server_.stopping || orders_.has_successor()) && !close_request_id_ &&
      !orders_.kicked() && hold_.session != nullptr)
    hold_.session->keep_for_reopening();
  end_resumable();
  record_->left(proto::SessionState::leaving);
  if (pending_open_) pending_open_->place_in_line.reset();
  if (hold_.session != nullptr) {
    hold_.session.reset();
    try {
      tell_session_end();
    } catch (const std::bad_alloc&) {
      // The line is lost; the store has to be let go all the same.
    }
  }
  hold_.store = nullptr;
}

}  // namespace pageserver::server
