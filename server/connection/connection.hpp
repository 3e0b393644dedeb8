// One client's connection, from accept to close: hello, requests without a session, and the session.
//
// How it works. ConnectionLoop::serve() (connection.cpp) is one loop: advance() does what needs no more bytes, the
// answers are sent, and then it waits for the one thing that comes next: bytes, room in the socket, the end of what is
// pending, or a turn. Frames are taken strictly in order. A request that has to wait (for the directory, the lease,
// a sync, room in the log) becomes `pending_`, and the frames behind it stay in `input_`; whoever completes it posts to
// this connection's worker. stream.cpp has the bytes, front.cpp what is asked before there is a session, session.cpp
// the session. The states that a connection goes through are drawn in docs/architecture.md.
//
// Much of its state is in parts with unit tests of their own:
//
//   bytes                    ByteStream; BufferAccount (what is kept of them, and whether there is room)
//   the peer                 Deadline, HostWatch, Gate (who it is, and what it may do)
//   what others want of it   Orders (from any thread), Pending (what it waits for)
//   its loop                 Turn, TurnTime
//   the session              SessionHold, with Resumption and Restart
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/mutex.hpp"
#include "base/poll_budget.hpp"
#include "base/unique_fd.hpp"
#include "proto/framing.hpp"
#include "server/access/audit.hpp"
#include "server/access/gate.hpp"
#include "server/config/config.hpp"
#include "server/connection/answers.hpp"
#include "server/connection/buffer_account.hpp"
#include "server/connection/byte_stream.hpp"
#include "server/connection/closed_sessions.hpp"
#include "server/connection/deadline.hpp"
#include "server/connection/fault_plan.hpp"
#include "server/connection/host_watch.hpp"
#include "server/connection/orders.hpp"
#include "server/connection/pending.hpp"
#include "server/connection/record.hpp"
#include "server/connection/resume_tokens.hpp"
#include "server/connection/session_hold.hpp"
#include "server/connection/turn_time.hpp"
#include "server/metrics/figures.hpp"
#include "server/runtime/buffer_room.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/peer_log.hpp"
#include "server/runtime/peers.hpp"
#include "server/runtime/shared_slot.hpp"
#include "server/runtime/strangers.hpp"
#include "server/runtime/tls_memory.hpp"
#include "server/runtime/turn.hpp"
#include "server/runtime/worker.hpp"
#include "server/stores/catalog.hpp"

namespace pageserver::server {

class Connection;
class LogWriteFaults;
class ResumeReply;
struct HandedOver;

/// The certificate and key of now, for the connections to come.
using TlsInForce = SharedSlot<const tls::Context>;

/// What all connections share. Outlives them.
struct ServerContext {
  const Config& config;
  Log& log;
  LogLines& lines;
  Catalog& catalog;
  Figures& figures;
  std::shared_ptr<Worker> front;
  std::chrono::nanoseconds poll_bound{};  ///< see base::poll_bound()
  std::atomic<bool> stopping{false};
  std::atomic<std::uint64_t> next_session_id{1};
  /// Both from any thread.
  std::function<void(std::uint64_t connection_id)> ended;
  std::function<std::shared_ptr<Connection>(std::uint64_t connection_id)> find;
  /// Those with a greater id than `after`, up to so many, in rising order. From any thread.
  std::function<std::vector<std::shared_ptr<const ConnectionRecord>>(std::uint64_t after, std::size_t count)> records;
  /// The connection with, or about to have, that session. From any thread.
  std::function<std::shared_ptr<Connection>(std::uint64_t session_id)> find_session;
  std::function<std::size_t()> connections;
  BufferRoom& buffers;
  /// Any thread: who keeps much in its buffers and does not go on makes room for others.
  std::function<void(const Peer& wanting)> relieve_buffers;
  const PolicyInForce* policy = nullptr;  ///< who may do what
  const TlsInForce* tls = nullptr;
  Strangers* strangers = nullptr;
  TlsMemory* tls_memory = nullptr;
  AuditRate audit;
  ResumeTokens* resume_tokens = nullptr;
  // Null but with --allow-faults:
  StorePlans* faults = nullptr;  ///< what is ordered for whole stores
  LogWriteFaults* log_write_faults = nullptr;
  ClosedSessions* closed_sessions = nullptr;
  /// By what it is bounded how many strangers may stay; set before the first of them comes.
  std::string strangers_bound = {};
};

/// What a client's open asks for. Not a member type: clang 14 then finds no default constructor.
struct PendingOpen {
  proto::FrameHeader header;
  storage::SessionRequest request;
  std::string store;
  std::uint32_t wait_ms = 0;
  /// Of a session that the store knows from before it was opened.
  struct Rebuilt {
    proto::ResumeToken token{};
    std::uint64_t mark = 0;  ///< all up to it are answered
  };
  std::optional<Rebuilt> rebuilt;
  std::shared_ptr<void> place_in_line;  ///< among those that may wait for the store's lease
  std::uint64_t lease_place = 0;        ///< of Store::open_session(): where in that line; 0: it does not wait
};

/// A kick that a client asked for.
struct KickUnderWay {
  /// It is answered after so long, whether or not a disk still has hold of what it ended.
  static constexpr std::chrono::milliseconds wait{1000};

  proto::FrameHeader header;
  std::uint64_t number = 0;  // of what is pending
  DescribedConnection kicked;
};

/// Lives on one worker at a time: the front one, before that one for handshakes where it speaks TLS, and while it has a
/// session one of the loops. One coroutine does all of its input and output there. Everything is done in a turn (see
/// Turn), so that nothing in here needs a lock, although a loop may have several threads while one is stuck; other
/// threads only post to it.
class Connection : public std::enable_shared_from_this<Connection> {
public:
  /// `socket` does not block.
  Connection(ServerContext& server, UniqueFd socket, std::string address, std::shared_ptr<Peer> peer, std::uint64_t id);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  /// On the front worker. A refused connection is told why and closed. One that can't begin ends at once.
  /// With `tls` a handshake comes first, on `handshakes`.
  void start(std::optional<proto::Fault> refusal = {}, const std::shared_ptr<const tls::Context>& tls = {},
             const std::shared_ptr<Worker>& handshakes = {});
  /// Any thread: answers what has arrived, says goodbye and closes.
  void stop() noexcept;
  /// Any thread: closes at once.
  void abort() noexcept;
  /// Any thread: its store goes to another daemon. A writer's session that can go on there ends with the connection,
  /// without a word, and its client comes back. `gone` runs, on some thread, once that is done, or is not to be.
  void go_to_successor(std::function<void()> gone);

  /// Any thread: the session ends, or the connection that has none, and the client is told why. `released` runs, on
  /// some thread, once nothing is held any more, which a call that is stuck in a disk may delay. Its lease, pin and
  /// place are free when this returns, but for a publish that is under way. Throws std::bad_alloc, having done nothing.
  void kick(const std::string& reason, std::function<void()> released, proto::Status status = proto::Status::kicked);

  /// Any thread: there is another policy. A connection that may not have what it has any more ends, with the reason.
  void policy_changed() noexcept;

  /// Any thread: what the client has shown in its handshake; null without a certificate, and until that is done.
  std::shared_ptr<tls::PeerChain> peer_chain() const { return peer_chain_.get(); }
  /// Any thread: that is not believed any more, for this reason, and the connection ends as by kick().
  void certificate_failed(const std::string& why);

  /// Any thread: it ends at once, unless it is known by then.
  void drop_stranger() noexcept;

  const std::shared_ptr<ConnectionRecord>& record() const noexcept { return record_; }
  /// Any thread: there may be room for what it waits to keep in its buffers.
  void room_in_buffers() noexcept { nudge(); }

  std::uint64_t id() const noexcept { return id_; }
  const Peer& peer() const noexcept { return *peer_; }
  /// Any thread: what its buffers are charged with while nothing comes or goes.
  BufferAccount::Idle idle_buffers() const noexcept { return buffers_.idle(); }
  /// Any thread: it ends, unless something goes on meanwhile.
  void give_way() noexcept {
    buffers_.ask_for_room();
    nudge();
  }

  /// A client that comes back for its session.
  struct ResumeRequest {
    proto::FrameHeader header;
    std::uint64_t mark = 0;  ///< all up to it are answered
  };
  /// What hello agreed on.
  struct Greeting {
    bool done = false;
    std::uint64_t features = 0;
    std::uint32_t request_bytes_max = 0;
    std::string client_name;
  };

private:
  friend struct ConnectionLoop;
  friend class ResumeReply;
  struct Io;  // Asio's part, so that only connection.cpp compiles it

  using Clock = std::chrono::steady_clock;
  using Received = ByteStream::Received;
  enum class Step : std::uint8_t { taken, not_taken };

  // connection.cpp: input, output, waiting, moving
  void begin();
  void loop_ended(const std::exception_ptr& error);
  void move_on();
  void finish();
  /// For the log; empty when the peer just ended.
  std::string_view end_reason() const noexcept;
  /// What a turn is taken for, beside tasks.
  struct Sign {
    static constexpr unsigned resume = Turn::first_sign;         ///< what the loop waited for has come
    static constexpr unsigned deadline = Turn::first_sign << 1;  ///< the timer has run out
    static constexpr unsigned peer = Turn::first_sign << 2;      ///< the peer's host is to be looked at
    static constexpr unsigned nudge = Turn::first_sign << 3;
    static constexpr unsigned leave = Turn::first_sign << 4;  ///< the worker
    static constexpr unsigned begin = Turn::first_sign << 5;  ///< on the worker that it has come to
  };
  /// On the worker. What there is to do is done now, or by the thread that is in this connection's turn.
  void take_turn(unsigned signs);
  template <class Task>
  void take_turn_with(Task task) {
    const std::shared_ptr<Connection> self = shared_from_this();
    try {
      turn_.add(std::move(task));
    } catch (const std::bad_alloc&) {
      return lose();
    }
    take_turn(Turn::tasks);
  }
  /// Inside: what the signs say, and whatever comes meanwhile. Throws what one of them threw, once all is done. May
  /// leave all of it for later, or for the worker that the connection goes to.
  void use_turn(unsigned signs);
  void act(unsigned signs);
  /// Inside: true when the turn goes on later, since too many threads are stuck in calls of the store already.
  bool waits_for_calls(unsigned signs) noexcept;
  /// Any thread, once nobody is inside: the turn goes on, on the worker.
  void go_on_with_turn() noexcept;
  /// The calling thread runs the worker's loop. Not so when the connection has moved since something was posted.
  bool is_on_its_worker() const;
  void post(std::function<void(Connection&)> task);
  void post_again(std::function<void(Connection&)> task) noexcept;
  /// Any thread, without an allocation: the loop looks at what is said in the atomic members.
  void nudge() noexcept;
  void nudged() noexcept;
  /// Inside, after kick().
  void leave_kicked();
  /// Inside, after drop_stranger(): it is told so, as far as it takes that at once.
  void leave_dropped();
  void deadline_passed() noexcept;
  void peer_look_due() noexcept;
  /// Any thread: what it waits for, or has to be told, is lost for want of memory, so it ends.
  void lose() noexcept;
  void wake() noexcept;
  std::shared_ptr<Worker> worker() const { return worker_.get(); }
  bool on_front() const;
  int socket() const;

  /// After the handshake.
  void note_certificate();
  /// The peer speaks no TLS, or is not believed, or does not believe us.
  void handshake_failed();
  /// True: the handshake can't go on, since the time for it is over or everything ends.
  bool gives_up_handshake();

  // stream.cpp: bytes in, frames, bytes out; nothing in there waits
  void advance();
  std::size_t process(std::span<const std::byte> bytes);
  void announce_reads(std::span<const std::byte> bytes);
  void note_waiting_request(RequestRow& row) noexcept;
  /// A request that waited has its answer.
  void waited() noexcept;
  Step take_frame(const proto::Scan& scan);
  /// Without a session none of the large frames is of use: it is answered by its header, and its payload is dropped as
  /// it comes.
  bool is_too_large_for_front(const proto::Scan& scan) const noexcept;
  void refuse_large_frame(const proto::Scan& scan);
  /// How much may wait in the input while something is pending.
  std::size_t read_ahead_max() const noexcept;
  Received receive();
  Received poll_socket(int tries);
  Received poll_ring(int tries);
  /// The peer has written into the ring what can't be: it is told so, as far as that is possible.
  void leave_broken_ring();
  Received receive_ahead();
  Received receive_into_input(std::size_t bytes_max);
  /// Charges what is in the buffers. Before each wait.
  void settle_buffers() noexcept;
  /// Whether the rest of the frame at the front of the input may be taken in; else the connection waits.
  bool may_take_in() noexcept;
  /// Whether the frame's answer may be made, should the peer not take it at once; else the connection waits.
  bool may_answer(const proto::Scan& scan) noexcept;
  bool is_tight() const noexcept { return buffers_.is_tight(); }
  /// There is still no room.
  void wait_for_buffers();
  void make_way();
  void gather_answers();
  void send_output();
  bool output_full() const;
  void receive_before_stop();
  void look_for_hang_up();
  bool is_in_line() const noexcept {
    return pending_.what() == Pending::What::session && pending_open_->request.wait_in_line;
  }
  void probe_peer_in_line();
  void look_at_peer();
  std::uint64_t owed_bytes() const;
  bool owes_beyond_limit();
  void say_goodbye(proto::Status status, const std::string& message);
  void watch_input_progress();
  void set_deadline(Deadline::Kind kind, std::chrono::milliseconds from_now);
  void clear_deadline() noexcept { deadline_.clear(greeting_.done); }
  void deadline_missed();
  Answers& answers() const;
  /// What this thread's connections share is empty again: after an exception it holds another one's bytes.
  static void forget_batch() noexcept;

  // Pending work
  /// Any thread: `finish` runs on the connection's worker if it still waits for `number`, else it is dropped.
  /// An exception is moved into it, not shared: the thread sanitizer does not see how owners agree on who is the last.
  template <class Finish>
  void complete(std::uint64_t number, Finish finish) noexcept {
    try {
      complete_with(number, std::function<void()>(std::move(finish)));
    } catch (const std::exception&) {
      lose();
    }
  }
  void complete_with(std::uint64_t number, std::function<void()> finish);
  /// Runs `job` in a strand of the catalog, unless the connection has ended by then, or the daemon stops: then what is
  /// queued is dropped. Where it throws the connection ends: nobody else would complete it.
  template <class Job>
  void on_admin(Strand& strand, const proto::FrameHeader& header, Job job) {
    std::shared_ptr<void> place = server_.catalog.take_place();
    if (place == nullptr) return refuse_admin(header);
    strand.submit([self = shared_from_this(), number = pending_.begin(Pending::What::admin), place = std::move(place),
                   job = std::move(job)] {
      if (self->ended_) return;
      if (self->server_.stopping)
        return self->complete(number, [connection = self.get()] { connection->refuse_stopping(); });
      try {
        job(self, number);
      } catch (const std::exception&) {
        self->lose();
      }
    });
    if (server_.catalog.is_beyond()) bound_by_home(header, server_.config.home_timeout);
  }
  /// What is pending is answered with timed_out where it has not ended after `time`, and goes on. A replay that comes
  /// further is not late: that of `store`, or of the store that is being opened.
  void bound_by_home(const proto::FrameHeader& header, std::chrono::milliseconds time, std::string store = {});
  /// How long a store may take to open. One that another had is waited for as long as its lease lasts.
  std::chrono::milliseconds opening_time() const;
  bool is_home_late();
  void answer_home_late();
  void refuse_admin(const proto::FrameHeader& header);
  void refuse_stopping();

  // permission.cpp: who this is, and what it may do
  /// False: hello is refused, or will be after a while.
  bool admit(const proto::HelloRequest& request);
  Identity identity_by_certificate() const;
  /// Everything that is asked for passes here, or through allows_in_session(). False: it was refused, in an answer and
  /// in the log. `store`: that the request names, if it names one.
  bool allows(const proto::FrameHeader& header, std::string_view store, proto::Access access = proto::Access::read);
  bool allows_in_session(const proto::FrameHeader& header);
  void take_whoami(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void take_takeover(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void answer_takeover(const proto::FrameHeader& header, const std::string& store, const StoreHost::TakeOver& taken,
                       const std::exception_ptr& error);
  /// Another daemon has the store, as far as that is known without asking.
  bool is_served_elsewhere(std::string_view store) const;
  /// What was agreed on: false with an answer that says that the feature was not.
  bool agreed_on(const proto::FrameHeader& header, std::uint64_t feature);
  void log_refusal(Figures::Counter& failures, proto::Operation operation, std::string_view store,
                   std::string_view reason);
  /// The right admin is used, whatever comes of it.
  void log_admin(proto::Operation operation, std::string_view store);
  /// Inside, after policy_changed().
  void apply_policy();

  // operators.cpp: what those who run the daemon ask
  void take_sessions(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void take_kick(const proto::FrameHeader& header, std::span<const std::byte> payload);
  /// Answers a kick that has not come to its end yet.
  void answer_kick(bool released);
  Load load(StoreHost* host) const;
  std::uint32_t count_waiting_frames() const;
  /// Says what is going on, before the connection waits for the end of something.
  void note_private() noexcept {
    if (hold_.keeps_private && hold_.session && !pending_.is_any())
      record_->private_bytes.set(hold_.session->private_bytes());
  }
  void note_waiting() noexcept { record_->in_flight.set(std::uint64_t{count_waiting_frames()} + 1); }

  // front.cpp: requests without a session
  Step take_hello(const proto::FrameHeader& header, std::span<const std::byte> payload);
  Step take_front(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void take_list(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void take_create(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void take_remove(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void take_open(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void go_to_open(const proto::FrameHeader& header, const proto::OpenRequest& request);
  void take_close(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void take_ring(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void go_to_store(std::shared_ptr<HostUse> use);
  void back_on_front();
  void refused(std::string_view action, const std::string& store, const proto::FrameHeader& header,
               const std::exception_ptr& error);

  // ordered_faults.cpp: faults on order
  Step take_with_faults(const proto::FrameHeader& header, std::span<const std::byte> payload);
  bool take_instead(const proto::FrameHeader& header, Strike& strike);
  void leave_by_fault(const Strike& strike);
  void finish_strike(std::size_t before);
  bool go_on_with_fault();
  void drip(std::size_t bytes_max);
  void finish_drip();
  void take_faults(const proto::FrameHeader& header, std::span<const std::byte> payload);

  // resume.cpp: sessions that outlive their connections
  void take_resume(const proto::FrameHeader& header, const proto::OpenRequest& request);
  void refuse_resume(proto::Status status, const std::string& text);
  void say_not_resumed(const proto::FrameHeader& header, proto::Status status, const std::string& text);
  void hand_over(const std::shared_ptr<Connection>& old);
  bool can_be_resumed() const noexcept;
  void fence_for(ResumeReply& reply, std::uint64_t mark);
  void fence() noexcept;
  /// For good. False: the session goes on without the socket.
  bool is_over() noexcept {
    to_be_detached_ = can_be_resumed();
    return !to_be_detached_;
  }
  void detach();
  bool ends_detached();
  void complete_detached();
  void adopt(HandedOver& over);
  void answer_resumed();
  proto::ResumeTicket ticket() const;
  void repeat_answers();
  void repeat_answer(std::uint64_t id);
  void keep_read_answers();
  void sum_written(proto::Operation operation, std::span<const std::byte> payload);
  std::optional<proto::Bytes> read_written(const KeptAnswer& kept);
  bool is_same_request(const proto::FrameHeader& header, std::span<const std::byte> payload);
  Step take_resumable(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void keep_answer(std::size_t before);
  void keep_group_answer(const proto::FrameHeader& header, std::span<const std::byte> payload, std::size_t before);
  bool is_acknowledged();
  bool is_repeating() const noexcept { return hold_.resume != nullptr && hold_.resume->is_repeating(); }
  std::uint32_t resume_window() const noexcept;
  void begin_resumable(const proto::FrameHeader& header, const storage::SessionRequest& request);
  void end_resumable() noexcept;
  void note_detached(bool detached) noexcept;

  // restart.cpp: sessions that outlive the daemon
  /// False: it is refused.
  bool claim_session();
  void refuse_rebuilding(proto::Status status, const std::string& text);
  void begin_rebuilt(const storage::SessionRequest& request);
  void begin_restartable(const proto::FrameHeader& header, const storage::SessionRequest& request);
  void look_for_replay(std::uint64_t request_id) noexcept;
  void remember(proto::Operation operation, std::uint64_t request_id);
  void note_outcome(proto::Operation operation, std::uint64_t request_id, proto::Status status);
  bool was_published(const proto::FrameHeader& header) const noexcept;
  void answer_published(const proto::FrameHeader& header);
  bool finds_room_beside_detached(const proto::FrameHeader& header);

  // session.cpp: the session
  void begin_open();
  void open_session();
  void session_opened(std::unique_ptr<storage::StoreSession> session, const std::exception_ptr& error);
  void open_failed(const std::exception_ptr& error);
  void drop_opening();
  void give_up_place();
  Step take_session(const proto::FrameHeader& header, std::span<const std::byte> payload);
  Step carry_out(const proto::FrameHeader& header, std::span<const std::byte> payload);
  /// Small writes that follow each other are gathered, and then published by one append. Returns false for a frame that
  /// does not belong to the group: publish it first, then look at the frame again.
  bool take_into_group(const proto::Scan& scan);
  /// Answers the group's writes; returns how many bytes of input they took, which is fewer when one has to wait.
  std::size_t publish_group(RequestRow& row);
  static void forget_group() noexcept;
  std::function<void()> room_callback();
  void begin_flush(const proto::FrameHeader& header);
  void end_session();
  void tell_session_end() const;
  void watch_lease();
  void note_held_version() noexcept;
  void room_made();

  ServerContext& server_;
  std::unique_ptr<const proto::Fault> refusal_;  // why it was not let in, if so
  std::string address_;
  const std::shared_ptr<Peer> peer_;
  const Counted counted_;  // one of the peer's connections
  const std::uint64_t id_;
  const std::shared_ptr<ConnectionRecord> record_;
  bool is_tcp_;
  UniqueFd socket_;  // until io_ has it, and between two workers
  PostRoom nudging_;
  PostRoom going_on_;
  Orders orders_;
  SharedSlot<tls::PeerChain> peer_chain_;  // of a client with a certificate, from its handshake on
  Turn turn_;                              // whose it is may touch all that follows
  unsigned signs_to_go_on_ = 0;            // of a turn that goes on
  bool moves_ = false;                     // it goes on where the connection goes
  Loops::Wait wait_for_calls_;             // a node, while it does not wait
  std::atomic<bool> ended_{false};

  SharedSlot<Worker> worker_;
  std::shared_ptr<Worker> move_to_;  // where the loop goes on after it has ended here
  std::unique_ptr<Io> io_;           // belongs to worker_, so it goes first

  ByteStream stream_;
  TlsMemory::Held tls_memory_;  // from hello on
  TurnTime turn_time_;
  /// A request that has to wait for something before it is answered, and since when it has been in hand.
  struct Waiting {
    proto::Operation operation;
    Clock::time_point since;
  };
  std::optional<Waiting> waiting_;
  bool recheck_input_ = false;  // the input may hold a whole frame
  bool is_cut_ = false;         // leaving_ by a fault on order, with neither goodbye nor close
  bool detached_ = false;       // it has a session and no socket
  bool to_be_detached_ = false;
  bool leaving_ = false;             // goodbye or close's answer is in the output: send it, then close
  bool kick_taken_ = false;          // all that it held is let go
  bool unwelcome_ = false;           // it showed a wrong token, and will be told so
  std::size_t input_needed_ = 0;     // length of the frame at the front of the input, as far as known
  std::uint64_t bytes_to_drop_ = 0;  // of a payload that was answered already
  std::string reason_;               // why it ended, for the log
  int last_looks_ = 0;               // stopping: how often what had arrived was read
  BufferAccount buffers_;
  Deadline deadline_;
  HostWatch host_watch_;

  Greeting greeting_;
  Gate gate_;

  Pending pending_;
  std::unique_ptr<KickUnderWay> kick_;  // that this connection asked for
  /// A request that waits for a pool, which may not answer.
  struct HomeWait {
    proto::FrameHeader header;
    std::chrono::milliseconds time;
    std::chrono::steady_clock::time_point until;
    std::string store;
  };
  std::unique_ptr<HomeWait> home_wait_;
  std::unique_ptr<PendingOpen> pending_open_;  // only while it opens: an idle session is small
  base::PollBudget poll_budget_;
  std::optional<std::uint64_t> close_request_id_;
  std::unique_ptr<ResumeRequest> resume_request_;  // that this connection asked for
  std::unique_ptr<ResumeRequest> resumed_by_;      // its socket is here, and its answer is due
  SessionHold hold_;
};

}  // namespace pageserver::server
