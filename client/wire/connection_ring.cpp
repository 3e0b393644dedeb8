// A connection over shared memory: how it is asked for, and how its answers are waited for.
//
// The frames are those of a socket. What differs is the wait: while polling it is a look at memory, and who sleeps says
// so in the ring, and is woken by a byte over the socket. There the end of the daemon shows as well.
#include <poll.h>
#include <algorithm>
#include <array>

#include <pageserver/error.hpp>

#include "base/ring/pause.hpp"
#include "client/wire/connection.hpp"
#include "client/wire/error_text.hpp"

namespace pageserver::client {
namespace {

// Between two looks at the clock.
constexpr int looks_in_a_row = 8;

}  // namespace

// Asked for once, before there is a session. A daemon that has none to give says so, and all goes on over the socket.
void Connection::ask_for_ring(Deadline deadline) {
  if (!options_.ring || !endpoint().is_unix() || !budget_.is_on() || (server_.features & proto::feature_ring) == 0)
    return;
  UniqueFd descriptor;
  auto ring = RingChannel::make(socket_.get(), descriptor);
  if (!ring) return;
  send_.attach(descriptor.get());
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  try {
    call(
        proto::RingRequest{RingChannel::direction_bytes}, [](const proto::RingAnswer&) {},
        std::max(left, std::chrono::milliseconds{1}));
  } catch (const MemoryError&) {
    // Who resumes makes it again: there is no session yet.
    if (ended() != nullptr && !options_.resume) throw;
    return;
  }
  if (!receive_.bytes().empty())
    throw MemoryError{Errc::protocol_error,
                      error_text(context_, "ring", "the daemon sent bytes over the socket behind its answer")};
  ring_ = std::move(ring);
}

bool Connection::wants_room() const { return send_.sendable() > 0 && send_.error() == 0; }

std::uint32_t Connection::what_to_sleep_for(bool room) {
  return ring::sleeps_for_bytes | (room ? ring::sleeps_for_room : 0);
}

// Where something has come meanwhile the socket, which always has room, wakes at once.
short Connection::arm_events() const {
  short events = events_of_socket();
  if (ring_ && (events & POLLOUT) == 0 && !ring_->end().begin_sleep(what_to_sleep_for(wants_room())))
    events = static_cast<short>(events | POLLOUT);
  return events;
}

// What the daemon says unasked shows at the socket. While answers are under way somebody comes for them, and to be rung
// for each would cost the daemon a call.
void Connection::rest() {
  constexpr int attempts_max = 8;
  const bool rests = is_watched_ || requests_.in_flight() == 0;
  for (int i = 0; i < attempts_max && ring_ && rests && ended() == nullptr; ++i) {
    if (ring_->end().begin_sleep(ring::sleeps_for_bytes)) return;
    Arrival arrival;
    arrival.got = receive_once(false);
    take(arrival);
  }
}

Connection::Arrival Connection::await_ring(const Wait& wait) {
  Arrival arrival;
  ring::End& end = ring_->end();
  const auto began = Clock::now();
  bool polled = false;
  const auto end_wait = [&] {
    arrival.got = receive_once(false);
    if (wait.adapts && (!arrival.got.would_block || polled)) arrival.waited = Clock::now() - began;
    return arrival;
  };
  const auto has_come = [&] {
    arrival.room = wait.wants_room && end.has_room();
    return arrival.room || end.has_bytes() || ring_->has_ended();
  };
  if (wait.polling > base::PollBudget::Duration::zero()) {
    polled = true;
    const auto until = std::min(wait.until, began + wait.polling);
    do {
      for (int look = 0; look < looks_in_a_row; ++look) {
        if (has_come()) return end_wait();
        ring::pause();
      }
    } while (Clock::now() < until);
  }
  if (has_come() || !end.begin_sleep(what_to_sleep_for(wait.wants_room))) {
    (void)has_come();
    return end_wait();
  }
  if (wait.may_block && (wait.until == never || wait.until - began > 2 * blocking_receive_max)) {
    ring_->look_at_socket(true);
  } else {
    std::array<pollfd, 2> polls{pollfd{socket_.get(), POLLIN, 0}, pollfd{wait.wake_fd, POLLIN, 0}};
    timespec left{};
    if (wait.until != never) left = timespec_until(wait.until);
    (void)::ppoll(polls.data(), wait.wake_fd < 0 ? 1 : 2, wait.until == never ? nullptr : &left, nullptr);
    arrival.woken = wait.wake_fd >= 0 && polls[1].revents != 0;
    if (polls[0].revents != 0) ring_->look_at_socket();
  }
  end.end_sleep();
  ++arrival.calls;
  (void)has_come();
  return end_wait();
}

}  // namespace pageserver::client
