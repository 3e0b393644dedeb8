// One connection to a daemon: many requests in flight, completions by callback, no thread of its own.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <pageserver/error.hpp>

#include "base/poll_budget.hpp"
#include "base/unique_fd.hpp"
#include "client/uri/endpoint.hpp"
#include "client/wire/operations.hpp"
#include "client/wire/receive_buffer.hpp"
#include "client/wire/send_queue.hpp"
#include "proto/codec.hpp"
#include "proto/framing.hpp"

namespace pageserver::client {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;
inline constexpr Deadline never = Deadline::max();

/// `time` after `from`. What is longer than the clock can tell is for ever.
constexpr Deadline deadline_after(Deadline from, std::chrono::milliseconds time) {
  const auto most = std::chrono::floor<std::chrono::milliseconds>(never - from);
  return time >= most ? never : from + time;
}

/// The time left, at least zero, as poll(2) and its kin take it.
timespec timespec_until(Deadline deadline);

struct ConnectionOptions {
  std::chrono::milliseconds connect_timeout{10'000};  ///< name resolution, all addresses and hello together
  std::chrono::milliseconds request_timeout{60'000};  ///< of each request that names no other
  /// How long at most to poll for an answer before sleeping, in microseconds; empty: see storage::poll_bound().
  std::optional<std::uint32_t> poll_us;
  std::string client_name;  ///< program and version, for the daemon's log; empty: "libpageserver VERSION"
};

/// What the daemon announced in its hello.
struct ServerInfo {
  std::uint16_t version = 0;
  std::uint64_t features = 0;
  std::uint32_t payload_bytes_max = 0;
  std::uint32_t request_bytes_max = 0;  ///< the most data in one read or write
  std::uint32_t requests_in_flight_max = 1;
  std::uint32_t buffered_bytes_max = 0;
  std::uint64_t connection_id = 0;
  std::string name;
};

/// How a request ended: with its answer, or with an error. Texts and spans in the answer live until the completion
/// returns.
template <class Answer>
class Outcome {
public:
  explicit Outcome(const MemoryError& error) : error_{&error} {}
  explicit Outcome(const Answer& answer) : answer_{&answer} {}

  bool ok() const { return error_ == nullptr; }
  const MemoryError* error() const { return error_; }
  /// The answer; throws a copy of the error when there is none.
  const Answer& value() const {
    if (error_ != nullptr) throw MemoryError{*error_};
    return *answer_;
  }

private:
  const MemoryError* error_ = nullptr;
  const Answer* answer_ = nullptr;
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
/// Memory: a call that finds none throws std::bad_alloc and has submitted nothing. Where there is none for what the
/// daemon said, the connection ends with connection_lost: what was not understood must not look like something else.
///
/// Threads: one at a time. (RemoteProvider adds the lock.)
class Connection {
public:
  /// Connects to the first of the endpoint's addresses that answers, and says hello. Throws connection_lost (nobody
  /// listens; the text names every address tried), timed_out, protocol_error, unsupported, limit_exceeded.
  Connection(const Endpoint& endpoint, const ConnectionOptions& options);
  /// Takes over a connected stream socket and says hello within the connect timeout. `endpoint` is for messages.
  Connection(int socket, const Endpoint& endpoint, const ConnectionOptions& options);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  const ServerInfo& server() const { return server_; }
  /// When the constructor began.
  Deadline opened_at() const { return opened_at_; }
  const Endpoint& endpoint() const { return endpoint_; }
  /// Sets what error texts begin with: "pageserver://HOST:PORT/STORE" once a store is open.
  void name_store(std::string_view store);
  const std::string& context() const { return context_; }

  /// Queues a request. `done` is called as `done(const Outcome<AnswerTo<Request>>&)`. For reads and writes with their
  /// data use submit_read() and submit_write().
  template <class Request, class F>
  void submit(const Request& request, F done, std::chrono::milliseconds timeout = {}) {
    constexpr proto::Operation operation = OperationOf<Request>::value;
    proto::encode(begin(operation), next_id_, request);
    enqueue(operation, wrap<Request>(std::move(done)), timeout, {}, {});
  }

  /// As submit(), for `done(const Outcome<Value>&)` with what `convert(answer)` makes of the answer.
  template <class Value, class Request, class Convert, class F>
  void submit_converted(const Request& request, Convert convert, F done) {
    constexpr proto::Operation operation = OperationOf<Request>::value;
    proto::encode(begin(operation), next_id_, request);
    enqueue(operation, wrap_converted<Value, Request>(std::move(convert), std::move(done)), {}, {}, {});
  }

  /// Queues a read of `into.size()` bytes, at most server().request_bytes_max, straight into `into`, which must live
  /// until `done(const Outcome<proto::ReadAnswer>&)`; its answer's `data` is `into`.
  template <class F>
  void submit_read(std::uint64_t offset, std::span<std::byte> into, F done) {
    proto::encode(begin(proto::Operation::read), next_id_,
                  proto::ReadRequest{offset, static_cast<std::uint32_t>(into.size())});
    enqueue(proto::Operation::read, wrap_read(std::move(done)), {}, into, {});
  }

  /// Queues a write of at most server().request_bytes_max bytes. `data` is not copied when it is large: it must live,
  /// unchanged, until `done(const Outcome<proto::WriteAnswer>&)`.
  template <class F>
  void submit_write(std::uint64_t offset, std::span<const std::byte> data, F done) {
    const auto by_reference = encode_write(offset, data);
    enqueue(proto::Operation::write, wrap<proto::WriteRequest>(std::move(done)), {}, {}, by_reference);
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

  /// True: a request submitted now goes out at once instead of waiting for answers. Who loops while it has room keeps
  /// its own memory bounded.
  bool has_room() const;
  /// Requests submitted whose completion did not run yet.
  std::size_t outstanding() const { return outstanding_; }

  /// Sends and receives what is possible without waiting and runs what completed. Returns how many did.
  std::size_t advance();
  /// advance() until at least one request completed, waiting for the socket. False when `until` passed first, or the
  /// connection had ended with nothing outstanding. Give `until` when nothing is outstanding: it waits for notices.
  bool progress(Deadline until = never);
  /// progress() until `done()`; false when `until` passed first. Throws the connection's error when it ended and
  /// `done()` still doesn't hold.
  template <class Done>
  bool run_until(Done done, Deadline until = never) {
    while (!done()) {
      if (outstanding_ == 0) throw_if_ended();
      if (!progress(until) && Clock::now() >= until) return done();
    }
    return true;
  }

  // advance() in its parts, for threads that share a connection: only await() waits, and it may run without their lock.
  struct Wait {
    Deadline until;
    short events = 0;                         ///< what the socket is waited for
    int wake_fd = -1;                         ///< ends the wait when it becomes readable
    storage::PollBudget::Duration polling{};  ///< how long to look without sleeping first
    bool may_block = false;  ///< a short sleep in recvmsg(2) itself will do, which wake_fd does not end
    bool adapts = false;     ///< what it takes is to be known
    /// For the further waits for the same answer: polling was in vain.
    void only_sleep() {
      polling = storage::PollBudget::Duration::zero();
      may_block = adapts = false;
    }
  };
  struct Arrival {
    ReceiveBuffer::Received got;
    std::size_t calls = 0;
    std::size_t calls_in_vain = 0;  ///< of them, while polling
    bool woken = false;             ///< by `wake_fd`
    std::optional<storage::PollBudget::Duration> waited;
  };
  /// Sends what can be sent and runs what completed without receiving. Returns how many did.
  std::size_t push();
  /// What await() has to wait for now, at most until `until`.
  Wait plan_wait(Deadline until, int wake_fd = -1);
  /// Waits as planned and receives once. Touches nothing that submit() does: others may submit meanwhile.
  Arrival await(const Wait& wait);
  /// Takes in what await() brought, runs what completed, and looks at the clock. Returns how many did.
  std::size_t take(const Arrival& arrival);

  // For those who wait in a poll(2) of their own, on more than this socket.
  int socket() const { return socket_.get(); }
  /// The events that the connection waits for now: POLLIN, and POLLOUT while there is something to send.
  short poll_events() const;
  /// When the oldest request times out: advance() must be called then at the latest.
  Deadline next_deadline() const;
  /// Sends what the socket takes, reads nothing, ends nothing: a failure shows in the next advance().
  void send_now() noexcept;
  bool has_unsent() const { return send_.sendable() > 0 || write_failed_ != 0; }

  /// Gives up the socket without a word to the daemon. For a child after fork(2), where it is the parent's.
  void abandon() noexcept { socket_.reset(); }

  /// Throws what a submit would throw now.
  void check_usable(proto::Operation operation) const;
  /// The error that ended the connection; null while it lives.
  const MemoryError* ended() const { return ended_; }
  /// A completion is running: no other call than a submit is possible.
  bool is_completing() const { return completing_; }
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
  struct RawAnswer {
    const MemoryError* error = nullptr;  // null: ok
    std::span<const std::byte> payload;
  };
  /// What could not be decoded, for which the connection ends.
  struct Undecoded {
    std::optional<proto::Fault> fault;  // empty: there was no memory for it
  };
  using Completion = std::function<std::optional<Undecoded>(const RawAnswer&)>;

  struct Pending {
    proto::Operation operation{};
    bool done = false;
    std::span<std::byte> into;       // a read's destination
    std::size_t cost_bytes = 0;      // what it occupies at the daemon: its frame and its answer's
    std::uint64_t end_position = 0;  // of its frame in the stream of bytes sent
    std::chrono::milliseconds timeout{};
    Completion completion;
  };
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

  template <class Request, class F>
  static Completion wrap(F done) {
    return [done = std::move(done)](const RawAnswer& raw) mutable -> std::optional<Undecoded> {
      using Answer = AnswerTo<Request>;
      if (raw.error != nullptr) {
        done(Outcome<Answer>{*raw.error});
        return std::nullopt;
      }
      Answer answer;
      try {
        if (auto fault = proto::decode(raw.payload, answer)) return Undecoded{std::move(fault)};
      } catch (const std::exception&) {
        return Undecoded{};
      }
      done(Outcome<Answer>{answer});
      return std::nullopt;
    };
  }
  template <class Value, class Request, class Convert, class F>
  static Completion wrap_converted(Convert convert, F done) {
    return [convert = std::move(convert),
            done = std::move(done)](const RawAnswer& raw) mutable -> std::optional<Undecoded> {
      if (raw.error != nullptr) {
        done(Outcome<Value>{*raw.error});
        return std::nullopt;
      }
      std::optional<Value> value;
      try {
        AnswerTo<Request> answer;
        if (auto fault = proto::decode(raw.payload, answer)) return Undecoded{std::move(fault)};
        value.emplace(convert(answer));
      } catch (const std::exception&) {
        return Undecoded{};
      }
      done(Outcome<Value>{*value});
      return std::nullopt;
    };
  }
  template <class F>
  static Completion wrap_read(F done) {
    // Its payload is where it was read to. Not a capture: small completions need no allocation of their own.
    return [done = std::move(done)](const RawAnswer& raw) mutable -> std::optional<Undecoded> {
      if (raw.error != nullptr)
        done(Outcome<proto::ReadAnswer>{*raw.error});
      else
        done(Outcome<proto::ReadAnswer>{proto::ReadAnswer{raw.payload}});
      return std::nullopt;
    };
  }

  proto::Bytes& begin(proto::Operation operation);
  /// Returns the part of the frame that is sent by reference; empty when all of it was copied.
  std::span<const std::byte> encode_write(std::uint64_t offset, std::span<const std::byte> data);
  void enqueue(proto::Operation operation, Completion completion, std::chrono::milliseconds timeout,
               std::span<std::byte> into, std::span<const std::byte> by_reference);

  // connection.cpp: what goes out, time, the end.
  void hello(Deadline deadline, const std::string& client_name);
  void accept_hello(const proto::HelloAnswer& answer);
  void admit();
  void send_some() noexcept;
  /// Sets `ahead_`; before each receive_once(), by whoever may submit.
  void look_ahead();
  ReceiveBuffer::Received receive_once(bool may_block);
  void check_timeout();
  void end(Errc code, std::string_view operation, std::string_view message);
  void end_out_of_memory() noexcept;
  void end_with(const MemoryError& error) noexcept;
  std::size_t deliver_end() noexcept;
  /// Runs `work`, which closes the books of what came in. What fails in it is ours, for want of memory, and ends the
  /// connection. What a completion threw is thrown once all of it is done.
  template <class Work>
  std::size_t guarded(Work work);
  void throw_if_ended() const;

  // connection_frames.cpp: what comes in.
  std::size_t take_received(const ReceiveBuffer::Received& first);
  void find_places(const ReceiveBuffer::Received& got);
  void take_ahead(std::size_t count);
  bool has_landed() const { return landed_ != 0 || (direct_ && direct_->rest.empty()); }
  std::size_t complete_landed();
  std::size_t handle_frames();
  std::size_t handle_frame(const proto::FrameHeader& header, std::span<const std::byte> payload);
  std::size_t handle_error(std::uint64_t id, proto::Operation operation, proto::Status status,
                           std::span<const std::byte> payload);
  std::size_t handle_notice(const proto::FrameHeader& header, std::span<const std::byte> payload);
  std::uint32_t frame_limit() const;
  bool start_direct(const proto::FrameHeader& header, std::span<const std::byte> bytes);
  std::optional<std::string> what_is_wrong(const proto::FrameHeader& header) const;
  Pending& pending(std::uint64_t id) { return pending_[static_cast<std::size_t>(id - first_id_)]; }
  const Pending& pending(std::uint64_t id) const { return pending_[static_cast<std::size_t>(id - first_id_)]; }
  std::size_t complete(std::uint64_t id, const RawAnswer& raw);
  std::size_t complete_read(std::uint64_t id);
  std::optional<Undecoded> run(const Completion& completion, const RawAnswer& raw) noexcept;
  std::size_t end_protocol(std::string_view message);
  std::size_t end_of_stream(int error);
  void forget_done();

  const Deadline opened_at_ = Clock::now();
  Endpoint endpoint_;
  std::string context_;
  ServerInfo server_;
  std::chrono::milliseconds request_timeout_;
  std::uint64_t process_;
  UniqueFd socket_;

  SendQueue send_;
  ReceiveBuffer receive_;
  storage::PollBudget budget_;
  int write_failed_ = 0;  // errno of a send that failed; what the daemon said before is still to be read

  // Requests in the order submitted. The first `admitted_` of them may be sent; ids are consecutive.
  std::deque<Pending> pending_;
  std::uint64_t first_id_ = 1;
  std::uint64_t next_id_ = 1;
  std::size_t admitted_ = 0;
  std::size_t in_flight_ = 0;  // admitted and not done
  std::size_t in_flight_bytes_ = 0;
  std::size_t outstanding_ = 0;
  Deadline oldest_since_{};  // when the oldest request became the oldest

  // The answer to a read whose payload is on its way into the caller's buffer. Without a rest it has landed: all of it
  // is there, and its completion is to run.
  struct Direct {
    std::uint64_t id = 0;
    std::span<std::byte> rest;
  };
  std::optional<Direct> direct_;
  std::uint64_t landed_ = 0;  // id of a read that has landed before direct_; 0: none
  // The read that is answered next most likely, if large: its payload need not go through `receive_`. An id of 0: none.
  Direct ahead_;

  bool greeted_ = false;
  bool completing_ = false;
  std::exception_ptr thrown_;                 // by a completion: it waits until the books are closed
  std::optional<MemoryError> out_of_memory_;  // made in time: when it is needed nothing can be made
  std::optional<MemoryError> end_;
  const MemoryError* ended_ = nullptr;  // one of the two
  std::optional<MemoryError> lease_lost_;
  Counters counters_;
};

}  // namespace pageserver::client
