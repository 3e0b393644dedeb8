// What a connection has on the loop that it is on. For connection.cpp and connection_loop.cpp alone.
#pragma once

#include <asio/basic_waitable_timer.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/basic_stream_descriptor.hpp>
#include <chrono>
#include <optional>

#include "server/connection/connection.hpp"
#include "server/runtime/coroutine.hpp"

namespace pageserver::server {

// With the executor's own type: one that could be any takes more memory, and more calls for each wait.
using LoopExecutor = asio::io_context::executor_type;
using LoopTimer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, LoopExecutor>;
using LoopDescriptor = asio::posix::basic_stream_descriptor<LoopExecutor>;

struct Connection::Io {
  Io(Connection& owner, Worker& on, int socket)
      : worker(on),
        timer(on.context()),
        peer_timer(on.context()),
        sleeper(on.context()),
        loop(&owner, [](void* connection) { static_cast<Connection*>(connection)->take_turn(Sign::resume); }),
        descriptor(on.context(), socket) {}

  Worker& worker;
  LoopTimer timer;  // for the deadline; late by one round at most, see arm()
  std::optional<std::chrono::steady_clock::time_point> armed_for;
  LoopTimer peer_timer;  // for the next look at whether the peer's host is there
  bool peer_timer_runs = false;
  LoopTimer sleeper;
  bool woken = false;
  Loop loop;
  LoopDescriptor descriptor;  // last: once it has the socket nothing else can fail
};

}  // namespace pageserver::server
