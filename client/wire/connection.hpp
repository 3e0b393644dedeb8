// One connection to a daemon: many requests in flight, completions by callback, no thread of its own.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <pageserver/error.hpp>

#include "base/poll_budget.hpp"
#include "base/unique_fd.hpp"
#include "client/uri/endpoint.hpp"
#include "client/wire/completion.hpp"
#include "client/wire/connection_end.hpp"
#include "client/wire/deadline.hpp"
#include "client/wire/direct_reads.hpp"
#include "client/wire/operations.hpp"
#include "client/wire/receive_buffer.hpp"
#include "client/wire/request_queue.hpp"
#include "client/wire/ring_channel.hpp"
#include "client/wire/send_queue.hpp"
#include "client/wire/tls_channel.hpp"
#include "proto/codec.hpp"
#include "proto/framing.hpp"

namespace pageserver::client {

struct ConnectionOptions {
  std::chrono::milliseconds connect_timeout{10'000};  ///< name resolution, all addresses and hello together
  std::chrono::milliseconds request_timeout{60'000};  ///< of each request that names no other
  /// How long at most to poll for an answer before sleeping, in microseconds; empty: see base::poll_bound().
  std::optional<std::uint32_t> poll_us;
  std::string client_name;  ///< program and version, for the daemon's log; empty: "libpageserver VERSION"
  std::string token_file;   ///< see credentials_for()
  std::string token;
  bool resume = false;  ///< offer the feature `resume`
  bool ring = false;    ///< over a Unix socket, and where both ends poll: through shared memory
};

class Reconnecting;
struct ResumableSession;

/// What the daemon announced in its hello.
struct ServerInfo {
  std::uint16_t version = 0;  ///< of the protocol; 0 before the hello
  std::uint64_t features = 0;
  std::uint32_t payload_bytes_max = 0;
  std::uint32_t request_bytes_max = 0;  ///< the most data in one read or write
  std::uint32_t requests_in_flight_max = 1;
  std::uint32_t buffered_bytes_max = 0;
  std::uint64_t connection_id = 0;
  std::string name;
};

/// The asynchronous core of every client. `submit*` queues a request; advance(), progress() and run_until() move bytes
/// and run completions on the calling thread, never inside submit. Requests go out in the order submitted; those over
/// the daemon's announced limits wait here. It reads whenever it writes, so both ends can't be blocked in sending.
///
/// Errors: an answer with an error status is that request's Outcome and nothing more. connection_lost, timed_out and
/// protocol_error end the connection: every request still queued or in flight gets that error, and every later call
/// that submits throws it. After the daemon's notice that the lease is lost, later requests throw lease_lost.
/// In a child after fork(2) every call throws connection_lost, and the destructor leaves the parent's connection alone.
///
/// Completions: run once each, in the order of answers; may submit, but not wait; may throw, which passes through the
/// call that ran them once its books are closed. Those still outstanding at destruction never run.
///
/// Memory: a call that finds none throws std::bad_alloc and has submitted nothing. Without memory for an
/// answer or a notice the connection ends with connection_lost: a message that was not read must not pass for another.
///
/// Threads: one at a time. (RemoteProvider adds the lock.)
class Connection {
public:
  /// Connects to the first of the endpoint's addresses that answers, and of several hosts to the first, and says hello.
  /// Throws connection_lost (nobody
  /// listens; the text names every address tried), timed_out, protocol_error, unsupported, limit_exceeded.
  Connection(const Endpoint& endpoint, const ConnectionOptions& options);
  /// Takes over a connected stream socket and says hello within the connect timeout. `endpoint` is for messages.
  Connection(int socket, const Endpoint& endpoint, const ConnectionOptions& options);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // Sessions that can be resumed: resumable.cpp. From begin_resumable() on a connection that is lost is made again, and
  // what it had not answered is answered over the new one. Meanwhile it is neither ended nor lost; requests are taken.
  /// The session that was opened by the last request. Nothing must be outstanding.
  void begin_resumable(ResumableSession session);
  /// Before that: connects and says hello once more, until `deadline`. Nothing must be outstanding.
  void connect_again(Deadline deadline);
  /// The same to the host behind the one that it is connected to, or to the next that answers.
  void connect_to_next(Deadline deadline);
  /// How many hosts the endpoint has.
  std::size_t hosts() const noexcept { return hosts_.size(); }
  /// Which of them did not answer at the last connect, and why.
  const std::string& skipped() const noexcept { return skipped_; }
  /// How the last `open` was refused; ok: it was not.
  proto::Status open_refusal() const noexcept { return open_refusal_; }
  /// Opens that session again, all of it up to `mark` being answered. Returns how far it was carried out. What
  /// comes behind the daemon's answer is left for the connection that takes this one over. Where the daemon refuses,
  /// `refusal` says how.
  proto::ResumeTicket resume(const ResumableSession& session, std::uint64_t mark, proto::Status& refusal);
  /// Says that the session is over, where all that was submitted has gone out, and waits for nothing: else the daemon
  /// would keep it. Nothing else may be called then.
  void leave() noexcept;
  /// How often a lost connection was made again.
  std::uint64_t resumptions() const noexcept { return resumptions_; }

  const ServerInfo& server() const { return server_; }
  /// When the constructor began.
  Deadline opened_at() const { return opened_at_; }
  const Endpoint& endpoint() const { return hosts_[at_]; }
  /// Sets what error texts begin with: "pageserver://HOST:PORT/STORE" once a store is open.
  void name_store(std::string_view store);
  const std::string& context() const { return context_; }

  /// Queues a request. `done` is called as `done(const Outcome<AnswerTo<Request>>&)`. For reads and writes with their
  /// data use submit_read() and submit_write().
  template <class Request, class F>
  void submit(const Request& request, F done, std::chrono::milliseconds timeout = {}) {
    constexpr proto::Operation operation = OperationOf<Request>::value;
    proto::encode(begin(operation), requests_.next_id(), request);
    enqueue(operation, completion_of<Request>(std::move(done)), timeout, {}, {});
  }

  /// As submit(), for an answer that can be wrong in more than its form: where `check(answer)` returns a fault (a
  /// proto::Decoded), the connection ends as for one that can't be decoded.
  template <class Request, class Check, class F>
  void submit_checked(const Request& request, Check check, F done) {
    constexpr proto::Operation operation = OperationOf<Request>::value;
    proto::encode(begin(operation), requests_.next_id(), request);
    enqueue(operation, checked_completion_of<Request>(std::move(check), std::move(done)), {}, {}, {});
  }

  /// As submit(), for `done(const Outcome<Value>&)` with what `convert(answer)` makes of the answer.
  template <class Value, class Request, class Convert, class F>
  void submit_converted(const Request& request, Convert convert, F done) {
    constexpr proto::Operation operation = OperationOf<Request>::value;
    proto::encode(begin(operation), requests_.next_id(), request);
    enqueue(operation, converted_completion_of<Value, Request>(std::move(convert), std::move(done)), {}, {}, {});
  }

  /// Queues a read of `into.size()` bytes, at most server().request_bytes_max, straight into `into`, which must live
  /// until `done(const Outcome<proto::ReadAnswer>&)`; its answer's `data` is `into`.
  template <class F>
  void submit_read(std::uint64_t offset, std::span<std::byte> into, F done) {
    proto::encode(begin(proto::Operation::read), requests_.next_id(),
                  proto::ReadRequest{offset, static_cast<std::uint32_t>(into.size())});
    enqueue(proto::Operation::read, read_completion_of(std::move(done)), {}, into, {});
  }

  /// Queues a write of at most server().request_bytes_max bytes. `data` is not copied when it is large: it must live,
  /// unchanged, until `done(const Outcome<proto::WriteAnswer>&)`.
  template <class F>
  void submit_write(std::uint64_t offset, std::span<const std::byte> data, F done) {
    const auto by_reference = encode_write(offset, data);
    enqueue(proto::Operation::write, completion_of<proto::WriteRequest>(std::move(done)), {}, {}, by_reference);
  }

  /// Submits, waits, and hands the answer to `use` while its texts live. Throws the request's error.
  template <class Request, class Use>
  void call(const Request& request, Use use, std::chrono::milliseconds timeout = {}) {
    // Shared, not on this frame: should run_until() throw first, the completion may still run later.
    auto state = std::make_shared<CallState>();
    submit(
        request,
        [state, &use](const Outcome<AnswerTo<Request>>& outcome) {
          state->done = true;
          if (state->abandoned) return;
          if (outcome.ok())
            use(outcome.value());
          else
            state->error = *outcome.error();
        },
        timeout);
    const Abandon abandon{*state};
    run_until([&] { return state->done; });
    if (state->error) throw MemoryError{*state->error};
  }

  /// True: a request submitted now goes out at once instead of waiting for answers. A loop
  /// that submits only while there is room keeps its memory bounded.
  bool has_room() const;
  /// Requests submitted whose completion did not run yet.
  std::size_t outstanding() const { return requests_.outstanding(); }

  /// Sends and receives what is possible without waiting and runs what completed. Returns how many did.
  std::size_t advance();
  /// advance() until at least one request completed, waiting for the socket. False when `until` passed first, or the
  /// connection had ended with nothing outstanding. Give `until` when nothing is outstanding: it waits for notices.
  /// With `until_lost` it is also false when lost() comes to say something.
  bool progress(Deadline until = never, bool until_lost = false);
  /// progress() until `done()`; false when `until` passed first. Throws the connection's error when it ended and
  /// `done()` still doesn't hold.
  template <class Done>
  bool run_until(Done done, Deadline until = never) {
    while (!done()) {
      if (outstanding() == 0) end_.throw_if_ended();
      if (!progress(until) && Clock::now() >= until) return done();
    }
    return true;
  }

  // advance() in its parts, for threads that share a connection: only await() waits, and it may run without their lock.
  struct Wait {
    Deadline until;
    short events = 0;                      ///< what the socket is waited for
    int wake_fd = -1;                      ///< ends the wait when it becomes readable
    base::PollBudget::Duration polling{};  ///< how long to look without sleeping first
    bool may_block = false;                ///< a short sleep in recvmsg(2) itself will do, which wake_fd does not end
    int reconnect_fd = -1;                 ///< there is no socket: this one says that there is news of it
    bool wants_room = false;               ///< of the ring: to send more
    bool adapts = false;                   ///< the poll budget learns from how long this wait takes
    /// For the further waits for the same answer: polling was in vain.
    void only_sleep() {
      polling = base::PollBudget::Duration::zero();
      may_block = adapts = false;
    }
  };
  struct Arrival {
    ReceiveBuffer::Received got;
    std::size_t calls = 0;
    std::size_t calls_in_vain = 0;  ///< of them, while polling
    bool woken = false;             ///< by `wake_fd`
    bool room = false;              ///< there is room in the ring that was waited for
    std::optional<base::PollBudget::Duration> waited;
  };
  /// Sends what can be sent and runs what completed without receiving. Returns how many did.
  std::size_t push();
  /// What await() has to wait for now, at most until `until`.
  Wait plan_wait(Deadline until, int wake_fd = -1);
  /// Waits as planned and receives once. Touches nothing that submit() does: others may submit meanwhile.
  Arrival await(const Wait& wait);
  /// Takes in what await() brought, runs what completed, and looks at the clock. Returns how many did.
  std::size_t take(const Arrival& arrival);

  // For a program that waits in a poll(2) of its own, on more than this socket.
  /// The same one while the connection lives. Of a session that can be resumed it is none of the network.
  int socket() const {
    is_watched_ = true;
    return resumable_ && (socket_.is_open() || reconnecting_) ? poll_set() : socket_.get();
  }
  /// The events that the connection waits for now: POLLIN, and POLLOUT while there is something to send.
  short poll_events() const;
  /// When the oldest request times out: advance() must be called then at the latest.
  Deadline next_deadline() const;
  /// Sends what the socket takes, reads nothing, ends nothing: a failure shows in the next advance().
  void send_now() noexcept;
  bool has_unsent() const { return send_.sendable() > 0 || send_.error() != 0; }

  /// Whether it goes through shared memory.
  bool has_ring() const { return ring_ != nullptr; }
  /// After calls that received: who waits for the socket is woken by what comes next.
  void rest();

  /// Whether nobody on the way can read along.
  bool is_encrypted() const { return tls_ != nullptr; }

  /// Gives up the socket without a word to the daemon. For a child after fork(2), where it is the parent's.
  void abandon() noexcept { socket_.reset(); }

  /// Throws what a submit would throw now.
  void check_usable(proto::Operation operation) const;
  /// The error that ended the connection; null while it lives.
  const MemoryError* ended() const { return end_.error(); }
  /// That, or that the lease is lost; null while a session can go on.
  const MemoryError* lost() const { return end_.lost(); }
  /// A completion is running: no other call than a submit is possible.
  bool is_completing() const { return completions_.is_running(); }
  /// True in a process that is not the one that connected.
  bool is_forked() const noexcept;

  struct Counters {
    std::uint64_t requests = 0;
    std::uint64_t answers = 0;
    std::uint64_t send_calls = 0;
    std::uint64_t receive_calls = 0;
    std::uint64_t polls_in_vain = 0;  ///< of the receive_calls, those that found nothing while polling
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
  };
  const Counters& counters() const { return counters_; }

  /// The error that an answer's status means, its text in full: context, operation, message.
  MemoryError error_of(proto::Operation operation, proto::Status status, std::string_view message) const;

private:
  // A sleep in recvmsg(2) costs one system call, but ends late for a deadline: only the first of a wait is one.
  static constexpr std::chrono::milliseconds blocking_receive_max{20};

  struct CallState {
    bool done = false;
    bool abandoned = false;
    std::optional<MemoryError> error;
  };
  struct Abandon {
    CallState& state;
    explicit Abandon(CallState& which) : state{which} {}
    Abandon(const Abandon&) = delete;
    Abandon& operator=(const Abandon&) = delete;
    ~Abandon() { state.abandoned = true; }
  };

  proto::Bytes& begin(proto::Operation operation);
  /// Returns the part of the frame that is sent by reference; empty when all of it was copied.
  std::span<const std::byte> encode_write(std::uint64_t offset, std::span<const std::byte> data);
  void enqueue(proto::Operation operation, Completion completion, std::chrono::milliseconds timeout,
               std::span<std::byte> into, std::span<const std::byte> by_reference);

  // connection.cpp: what goes out, time, the end.
  void secure(Deadline deadline);
  void say_end() noexcept;
  /// Connects to the first host that answers, in their order from `first` on.
  void connect_to_one(std::size_t first, Deadline deadline);
  void hello(Deadline deadline, const ConnectionOptions& options);

  // connection_ring.cpp
  void ask_for_ring(Deadline deadline);
  Arrival await_ring(const Wait& wait);
  bool wants_room() const;
  static std::uint32_t what_to_sleep_for(bool room);
  /// As events_of_socket(), for who waits elsewhere.
  short arm_events() const;
  void accept_hello(const proto::HelloAnswer& answer);
  bool is_greeted() const { return server_.version != 0; }
  RequestQueue::Limits limits() const { return {server_.requests_in_flight_max, server_.buffered_bytes_max}; }
  void admit() {
    if (resumable_) return admit_resumable();
    if (const auto position = requests_.admit(limits())) send_.set_limit(*position);
  }
  void send_some() noexcept;
  /// Expects the next large read; before each receive_once(), by the thread that may submit.
  void look_ahead();
  ReceiveBuffer::Received receive_once(bool may_block);
  bool make_progress(Deadline until, bool until_lost);
  void check_timeout();
  void end(Errc code, std::string_view operation, std::string_view message);
  void end_out_of_memory() noexcept;
  void let_go() noexcept;
  std::size_t deliver_end() noexcept;
  /// Runs `work`, which closes the books of what came in. When it throws, memory was short, and the connection ends.
  /// What a completion threw is thrown once all books are closed.
  template <class Work>
  std::size_t guarded(Work work);

  // connection_frames.cpp: what comes in.
  std::size_t take_received(const ReceiveBuffer::Received& first);
  void find_places(const ReceiveBuffer::Received& got);
  void take_expected(std::size_t count);
  std::size_t complete_landed();
  std::size_t handle_frames();
  std::size_t handle_frame(const proto::FrameHeader& header, std::span<const std::byte> payload);
  std::size_t handle_error(std::uint64_t id, proto::Operation operation, proto::Status status,
                           std::span<const std::byte> payload);
  std::size_t handle_notice(const proto::FrameHeader& header, std::span<const std::byte> payload);
  std::uint32_t frame_limit() const;
  bool start_direct(const proto::FrameHeader& header, std::span<const std::byte> bytes);
  std::optional<std::string> what_is_wrong(const proto::FrameHeader& header) const;
  std::size_t complete(std::uint64_t id, const RawAnswer& raw);
  std::size_t complete_read(std::uint64_t id);
  std::size_t end_protocol(std::string_view message);
  std::size_t end_of_stream(int error);

  // resumable.cpp
  struct Resumable;
  struct DeleteResumable {
    void operator()(Resumable* resumable) const noexcept;
  };
  short events_of_socket() const;
  int poll_set() const noexcept;
  void watch() const noexcept;
  bool is_reconnecting() const noexcept { return reconnecting_; }
  /// The connection is lost. True: it is made again.
  bool come_back(const std::string& operation, const std::string& text, bool timed_out = false);
  std::size_t take_reconnected();
  /// `failure`: of the last attempt; empty: no memory for one.
  std::size_t end_resumable(const std::string& failure, bool session_is_over);
  void take_over(Connection& fresh);
  void admit_resumable();
  /// The one that was added last, whose frame is not sealed yet.
  void admit_added();
  /// Of a request that is answered: what has to be known of it after a restart of the daemon.
  void note_answered(std::uint64_t id, bool ok);
  /// The next request would change what one that has no answer yet sees.
  bool next_must_wait() const;
  /// The daemon was started again, and has what requests up to `executed` changed. Empty, or why it can't go on.
  std::string begin_replay(std::uint64_t executed);
  void send_replays();
  bool is_replay(std::uint64_t id) const noexcept;
  std::size_t handle_replayed(const proto::FrameHeader& header, std::span<const std::byte> payload);
  void send_admitted();
  bool outlives_stop(proto::Status status) const noexcept;
  void send_frame(std::uint64_t id);
  Deadline request_deadline() const { return reconnecting_ ? never : requests_.deadline(); }

  const Deadline opened_at_ = Clock::now();
  const std::vector<Endpoint> hosts_;
  std::size_t at_ = 0;  ///< of them: where it is connected
  std::string skipped_;
  const ConnectionOptions options_;
  const std::chrono::milliseconds request_timeout_;
  const std::uint64_t process_;
  std::string context_;
  std::string store_;
  ServerInfo server_;
  UniqueFd socket_;
  std::unique_ptr<TlsChannel> tls_;    ///< null: without
  std::unique_ptr<RingChannel> ring_;  ///< null: without
  mutable bool is_watched_ = false;    ///< the program has asked for the descriptor

  SendQueue send_;
  ReceiveBuffer receive_;
  base::PollBudget budget_;
  RequestQueue requests_;
  DirectReads direct_;
  CompletionRunner completions_;
  ConnectionEnd end_;
  Counters counters_;
  std::unique_ptr<Resumable, DeleteResumable> resumable_;  ///< null: the session ends with the connection
  bool reconnecting_ = false;
  proto::Status* refusal_ = nullptr;  ///< of an open, where that is asked for
  proto::Status open_refusal_ = proto::Status::ok;
  bool is_closed_ = false;   ///< a close was answered
  bool keeps_rest_ = false;  ///< what comes behind the frame in hand is for another connection
  std::uint64_t resumptions_ = 0;
};

}  // namespace pageserver::client
