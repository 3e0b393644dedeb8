#include "client/wire/connection.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <algorithm>
#include <cassert>
#include <cstring>

#include <pageserver/version.hpp>

#include "base/process_mark.hpp"
#include "base/text.hpp"
#include "client/wire/credentials.hpp"
#include "client/wire/dial.hpp"
#include "client/wire/error_text.hpp"
#include "proto/byte_order.hpp"
#include "proto/library_values.hpp"
#include "storage/file/processors.hpp"

namespace pageserver::client {
namespace {

// Data up to this size is cheaper to copy beside its header than to send as a vector of its own.
constexpr std::size_t copy_bytes_max = 4096;

// A number in the payload of a write, before the data.
constexpr std::size_t write_fixed_bytes = sizeof(std::uint64_t);

// The largest read that this client asks for, whatever the server would allow.
constexpr std::uint32_t request_bytes_max = 64u << 20;

// A read from this size on is received straight into its buffer, one call for one answer. Of smaller ones many come
// with one call, and to copy them costs less than that.
constexpr std::size_t ahead_bytes_min = 16u << 10;

/// Sockets are non-blocking call by call, so that one which has nothing else to do may sleep in recvmsg(2).
void let_receive_block(int socket, std::chrono::milliseconds limit_of_each) {
  const int flags = ::fcntl(socket, F_GETFL);
  if (flags >= 0) (void)::fcntl(socket, F_SETFL, flags & ~O_NONBLOCK);
  timeval limit{};
  limit.tv_usec = std::chrono::microseconds{limit_of_each}.count();
  (void)::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

std::string milliseconds_text(std::chrono::milliseconds duration) { return std::to_string(duration.count()) + "ms"; }

}  // namespace

Connection::Connection(const Endpoint& endpoint, const ConnectionOptions& options)
    : hosts_{endpoint.each()},
      options_{options},
      request_timeout_{options.request_timeout},
      process_{base::process_mark()},
      budget_{base::poll_bound(options.poll_us, storage::usable_processors())} {
  name_store({});
  const auto deadline = deadline_after(opened_at_, options.connect_timeout);
  if (hosts_.size() > 1) {
    connect_to_one(0, deadline);
    return;
  }
  socket_ = dial(this->endpoint(), deadline);
  secure(deadline);
  let_receive_block(socket_.get(), blocking_receive_max);
  hello(deadline, options);
  ask_for_ring(deadline);
}

Connection::Connection(int socket, const Endpoint& endpoint, const ConnectionOptions& options)
    : hosts_{endpoint.each()},
      options_{options},
      request_timeout_{options.request_timeout},
      process_{base::process_mark()},
      socket_{socket},
      budget_{base::poll_bound(options.poll_us, storage::usable_processors())} {
  name_store({});
  const auto deadline = deadline_after(opened_at_, options.connect_timeout);
  secure(deadline);
  let_receive_block(socket_.get(), blocking_receive_max);
  hello(deadline, options);
  ask_for_ring(deadline);
}

// Each gets an equal part of the time that is left, so that one that never answers leaves time for the others.
void Connection::connect_to_one(std::size_t first, Deadline deadline) {
  std::string failures;
  bool all_timed_out = true;
  for (std::size_t i = 0; i < hosts_.size(); ++i) {
    const std::size_t at = (first + i) % hosts_.size();
    ConnectionOptions options = options_;
    if (deadline != never) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      options.connect_timeout = std::max(left / static_cast<int>(hosts_.size() - i), std::chrono::milliseconds{1});
    }
    try {
      Connection fresh{hosts_[at], options};
      fresh.end_.throw_if_ended();
      take_over(fresh);
      end_ = ConnectionEnd{};
      at_ = at;
      skipped_ = std::move(failures);
      name_store(store_);
      return;
    } catch (const MemoryError& error) {
      const bool next = error.errc() == Errc::connection_lost || error.errc() == Errc::timed_out ||
                        error.errc() == Errc::limit_exceeded;
      if (!next) throw;
      all_timed_out = all_timed_out && error.errc() == Errc::timed_out;
      failures += (failures.empty() ? "" : "; ") + std::string{error.what()};
    }
  }
  throw MemoryError{all_timed_out ? Errc::timed_out : Errc::connection_lost, "none of the hosts answers: " + failures};
}

// In a child after fork only close(2): it drops the child's reference, and the parent's connection lives on.
Connection::~Connection() {
  say_end();
  // A thread that is not there may have locked what it shares with it.
  if (is_forked() && resumable_) base::keep_for_ever(resumable_.release());
}

void Connection::say_end() noexcept {
  if (tls_ != nullptr && socket_.is_open() && !is_forked()) tls_->close();
}

void Connection::secure(Deadline deadline) {
  if (endpoint().tls) tls_ = std::make_unique<TlsChannel>(endpoint(), context_, socket_.get(), deadline);
}

void Connection::name_store(std::string_view store) {
  store_ = store;
  context_ = endpoint().uri(store_);
  end_.prepare(Errc::connection_lost,
               error_text(context_, "receive",
                          "no memory for what the daemon said: the session was given up, and requests without an "
                          "answer may or may not have been applied; open another one"));
}

void Connection::hello(Deadline deadline, const ConnectionOptions& options) {
  const Secret credentials =
      credentials_for(socket_.get(), is_encrypted(), context_, options.token, options.token_file);
  proto::HelloRequest request;
  request.payload_bytes_max = request_bytes_max + proto::payload_overhead_bytes;
  request.features = proto::features_all | (options.resume ? proto::feature_resume | proto::feature_restart : 0) |
                     (options.ring && endpoint().is_unix() && budget_.is_on() ? proto::feature_ring : 0);
  request.client_name =
      options.client_name.empty() ? std::string_view{"libpageserver " PAGESERVER_VERSION} : options.client_name;
  request.client_name = request.client_name.substr(0, proto::name_bytes_max);
  request.credentials = credentials.text();
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  call(
      request, [this](const proto::HelloAnswer& answer) { accept_hello(answer); },
      std::max(left, std::chrono::milliseconds{1}));
}

void Connection::accept_hello(const proto::HelloAnswer& answer) {
  const auto refuse = [this](Errc code, const std::string& message) {
    throw MemoryError{code, error_text(context_, "hello", message)};
  };
  if (answer.version != proto::protocol_version)
    refuse(Errc::unsupported, "the daemon chose version " + std::to_string(answer.version) + " of the protocol, this " +
                                  "library speaks " + std::to_string(proto::protocol_version));
  if (answer.request_bytes_max == 0 || answer.requests_in_flight_max == 0)
    refuse(Errc::protocol_error, "the daemon announced request_bytes_max=" + std::to_string(answer.request_bytes_max) +
                                     " requests_in_flight_max=" + std::to_string(answer.requests_in_flight_max) +
                                     ", expected at least 1 of each");
  server_.features =
      answer.features & (proto::features_all | proto::feature_resume | proto::feature_ring | proto::feature_restart);
  server_.payload_bytes_max = answer.payload_bytes_max;
  server_.request_bytes_max = std::min(answer.request_bytes_max, request_bytes_max);
  server_.requests_in_flight_max = answer.requests_in_flight_max;
  server_.buffered_bytes_max = answer.buffered_bytes_max;
  server_.connection_id = answer.connection_id;
  server_.name = base::visible(answer.server_name);
  server_.version = answer.version;
}

bool Connection::is_forked() const noexcept { return base::process_mark() != process_; }

void Connection::check_usable(proto::Operation operation) const {
  if (is_forked())
    throw MemoryError{Errc::connection_lost,
                      error_text(context_, proto::to_string(operation),
                                 "the connection belongs to process " + std::to_string(base::process_id_of(process_)) +
                                     ": sessions do not survive fork(2), open one in this process")};
  end_.check(operation);
}

proto::Bytes& Connection::begin(proto::Operation operation) {
  check_usable(operation);
  send_.unseal();  // what an earlier request left that could not be queued for want of memory
  return send_.tail();
}

std::span<const std::byte> Connection::encode_write(std::uint64_t offset, std::span<const std::byte> data) {
  auto& out = begin(proto::Operation::write);
  if (data.size() <= copy_bytes_max) {
    proto::encode(out, requests_.next_id(), proto::WriteRequest{offset, data});
    return {};
  }
  std::array<std::byte, proto::frame_header_bytes + write_fixed_bytes> head;
  proto::FrameHeader header;
  header.operation = proto::Operation::write;
  header.request_id = requests_.next_id();
  header.payload_bytes = static_cast<std::uint32_t>(write_fixed_bytes + data.size());
  proto::encode_header(std::span{head}.first<proto::frame_header_bytes>(), header);
  proto::store(head.data() + proto::frame_header_bytes, offset);
  out.insert(out.end(), head.begin(), head.end());
  return data;
}

void Connection::enqueue(proto::Operation operation, Completion completion, std::chrono::milliseconds timeout,
                         std::span<std::byte> into, std::span<const std::byte> by_reference) {
  PendingRequest& added =
      requests_.add(operation, send_.unsealed_bytes() + by_reference.size() + proto::frame_header_bytes + into.size(),
                    timeout.count() > 0 ? timeout : request_timeout_, into, std::move(completion));
  try {
    if (resumable_) {
      const auto& tail = send_.tail();
      added.frame.assign(tail.end() - static_cast<std::ptrdiff_t>(send_.unsealed_bytes()), tail.end());
      added.by_reference = by_reference;
    } else {
      added.end_position = send_.seal(by_reference);
    }
  } catch (...) {
    requests_.drop_last();
    throw;
  }
  ++counters_.requests;
  if (resumable_) return admit_added();
  admit();
}

bool Connection::has_room() const { return requests_.has_room(limits()); }

void Connection::send_some() noexcept {
  if (is_reconnecting()) return;
  // An error is not the end yet: a daemon that closes says why first, and that is still to be read.
  const auto sent = ring_ ? send_.send(ring_->end()) : tls_ ? send_.send(*tls_) : send_.send(socket_.get());
  counters_.send_calls += sent.calls;
  counters_.bytes_sent += sent.bytes;
}

void Connection::send_now() noexcept {
  if (!is_forked() && ended() == nullptr) send_some();
}

template <class Work>
std::size_t Connection::guarded(Work work) {
  std::size_t completed = 0;
  try {
    completed = work();
  } catch (const std::exception&) {
    end_out_of_memory();
    completed += deliver_end();
  }
  completions_.rethrow();
  return completed;
}

std::size_t Connection::push() {
  if (is_forked()) check_usable(proto::Operation::close);
  if (ended() != nullptr) return guarded([&] { return deliver_end(); });
  if (is_reconnecting()) return guarded([&] { return take_reconnected(); });
  if (ring_) ring_->end().end_sleep();
  admit();
  send_some();
  // Some may be left from a call whose completion threw.
  if (receive_.bytes().empty() && !direct_.has_landed()) return 0;
  return guarded([&] { return handle_frames(); });
}

std::size_t Connection::advance() {
  const std::size_t completed = push();
  if (ended() != nullptr || is_reconnecting()) return completed;
  Arrival arrival;
  look_ahead();
  if (ring_) ring_->look_at_socket();
  arrival.got = receive_once(false);
  arrival.calls = 1;
  const std::size_t more = take(arrival);
  rest();
  return completed + more;
}

bool Connection::progress(Deadline until, bool until_lost) {
  const bool progressed = make_progress(until, until_lost);
  rest();
  return progressed;
}

bool Connection::make_progress(Deadline until, bool until_lost) {
  const bool was_lost = lost() != nullptr;
  for (bool again = false;;) {
    if (push() > 0) return true;
    if (ended() != nullptr || (until_lost && !was_lost && lost() != nullptr)) return false;
    if (Clock::now() >= until) return advance() > 0;
    assert((outstanding() > 0 || until != never || until_lost) && "nothing could end this wait");
    auto wait = plan_wait(until);
    if (again) wait.only_sleep();
    const auto arrival = await(wait);
    if (take(arrival) > 0) return true;
    again = arrival.got.would_block && !arrival.room;
  }
}

Connection::Wait Connection::plan_wait(Deadline until, int wake_fd) {
  Wait wait;
  if (is_reconnecting()) {
    wait.until = until;
    wait.reconnect_fd = poll_set();
    wait.wake_fd = wake_fd;
    return wait;
  }
  look_ahead();
  wait.until = std::min(until, requests_.deadline());
  wait.events = events_of_socket();
  wait.wake_fd = wake_fd;
  const bool only_receives = (wait.events & POLLOUT) == 0;
  wait.adapts = budget_.is_on() && requests_.in_flight() > 0;
  wait.wants_room = ring_ && wants_room();
  if ((only_receives || ring_) && wait.adapts) wait.polling = budget_.window();
  wait.may_block = only_receives || ring_;
  return wait;
}

void Connection::look_ahead() {
  direct_.expect_nothing();
  if (!receive_.bytes().empty()) return;
  const std::uint64_t id = requests_.next_in_flight(direct_.current_id());
  if (id == 0) return;
  const auto& next = requests_.at(id);
  if (next.operation == proto::Operation::read && next.into.size() >= ahead_bytes_min) direct_.expect(id, next.into);
}

ReceiveBuffer::Received Connection::receive_once(bool may_block) {
  const ReceiveBuffer::Ahead ahead{proto::frame_header_bytes, direct_.expected()};
  if (ring_) return receive_.receive(*ring_, direct_.rest(), ahead);
  if (tls_) return receive_.receive(*tls_, direct_.rest(), ahead);
  return receive_.receive(socket_.get(), direct_.rest(), ahead, may_block);
}

Connection::Arrival Connection::await(const Wait& wait) {
  if (ring_ && wait.reconnect_fd < 0) return await_ring(wait);
  Arrival arrival;
  const auto began = Clock::now();
  const auto receive = [&](bool may_block) {
    arrival.got = receive_once(may_block);
    ++arrival.calls;
    return !arrival.got.would_block;
  };
  const auto end_wait = [&] {
    // A wait that others cut short says nothing about the daemon.
    const auto waited = Clock::now() - began;
    if (wait.adapts && (!arrival.got.would_block || arrival.calls_in_vain > 0)) arrival.waited = waited;
    return arrival;
  };
  if (wait.polling > base::PollBudget::Duration::zero()) {
    const auto end = std::min(wait.until, began + wait.polling);
    do {
      if (receive(false)) return end_wait();
      ++arrival.calls_in_vain;
    } while (Clock::now() < end);
  }
  // A record that has come may have held more than was taken; the socket is quiet then.
  if (wait.reconnect_fd < 0 && tls_ && tls_->has_unread() && receive(false)) return end_wait();
  if (wait.may_block && !tls_ && (wait.until == never || wait.until - began > 2 * blocking_receive_max)) {
    (void)receive(true);
    return end_wait();
  }
  std::array<pollfd, 2> polled{pollfd{socket_.get(), wait.events, 0}, pollfd{wait.wake_fd, POLLIN, 0}};
  timespec left{};
  if (wait.until != never) left = timespec_until(wait.until);
  if (wait.reconnect_fd >= 0) polled[0] = {wait.reconnect_fd, POLLIN, 0};
  // Whatever ends it, a signal too, the caller looks at the socket and the clock again.
  (void)::ppoll(polled.data(), wait.wake_fd < 0 ? 1 : 2, wait.until == never ? nullptr : &left, nullptr);
  arrival.woken = wait.wake_fd >= 0 && polled[1].revents != 0;
  if (wait.reconnect_fd >= 0) {
    arrival.got.would_block = true;
    return arrival;
  }
  (void)receive(false);
  return end_wait();
}

std::size_t Connection::take(const Arrival& arrival) {
  counters_.receive_calls += arrival.calls;
  counters_.polls_in_vain += arrival.calls_in_vain;
  if (arrival.waited) budget_.record(*arrival.waited);
  return guarded([&] {
    std::size_t completed = is_reconnecting() ? take_reconnected() : take_received(arrival.got);
    if (ended() != nullptr || is_reconnecting()) return completed;
    // Answers made room for what waited.
    if (completed > 0) {
      admit();
      send_some();
    }
    check_timeout();
    return ended() != nullptr ? completed + deliver_end() : completed;
  });
}

short Connection::poll_events() const {
  if (resumable_) {
    watch();
    return POLLIN;
  }
  return arm_events();
}

short Connection::events_of_socket() const {
  if (ring_) return static_cast<short>(wants_room() && ring_->end().has_room() ? POLLIN | POLLOUT : POLLIN);
  const bool sends = (send_.sendable() > 0 && send_.error() == 0) || (tls_ && tls_->read_wants_write());
  return static_cast<short>(sends ? POLLIN | POLLOUT : POLLIN);
}

// What is left inside TLS makes no socket readable: it is due now.
Deadline Connection::next_deadline() const {
  return tls_ && ended() == nullptr && tls_->has_unread() ? Deadline::min() : request_deadline();
}

void Connection::check_timeout() {
  if (Clock::now() < request_deadline()) return;
  const auto& oldest = requests_.oldest();
  const auto operation = proto::to_string(oldest.operation);
  const bool sent = oldest.end_position <= send_.sent();
  // Perhaps it is the connection's fault, but once for a request.
  if (is_greeted() && come_back(operation, "no answer within " + milliseconds_text(oldest.timeout), true)) return;
  end(Errc::timed_out, operation,
      (sent ? "no answer within " : "the daemon did not take the request within ") + milliseconds_text(oldest.timeout) +
          (is_greeted() ? ": the request may or may not have been applied; see request_timeout in the URI"
                        : ": is it a pageserverd that listens there? See connect_timeout in the URI"));
}

void Connection::end(Errc code, std::string_view operation, std::string_view message) {
  if (ended() != nullptr) return;
  end_.set(code, error_text(context_, operation, base::visible(message)));
  let_go();
}

void Connection::end_out_of_memory() noexcept {
  if (ended() != nullptr) return;
  end_.set_out_of_memory();
  let_go();
}

void Connection::let_go() noexcept {
  say_end();
  ring_.reset();
  socket_.reset();
  send_.clear();
  direct_.clear();
  requests_.halt();
}

std::size_t Connection::deliver_end() noexcept {
  std::size_t delivered = 0;
  while (!completions_.has_thrown()) {
    const auto completion = requests_.take_first();
    if (!completion) break;
    ++delivered;
    (void)completions_.run(completion, RawAnswer{ended(), {}});
  }
  return delivered;
}

MemoryError Connection::error_of(proto::Operation operation, proto::Status status, std::string_view message) const {
  const std::string name = proto::to_string(operation);
  const Errc code = proto::errc_of(status);
  // A status of a later version: its name can't be told by the code, so the text has to.
  const bool unknown = code == Errc::provider_error && status != proto::Status::provider_error;
  std::string text = base::visible(message);
  if (unknown || text.empty())
    text += (text.empty() ? "" : " (") + proto::to_string(status) + (text.empty() ? "" : ")");
  return {code, error_text(context_, name, text)};
}

}  // namespace pageserver::client
