// Which answer belongs to which request.
#pragma once

#include "proto/messages.hpp"

namespace pageserver::client {

template <class Request>
struct OperationOf;

#define PAGESERVER_OPERATION(name, Type)                              \
  template <>                                                         \
  struct OperationOf<proto::Type##Request> {                          \
    using Answer = proto::Type##Answer;                               \
    static constexpr proto::Operation value = proto::Operation::name; \
  }
PAGESERVER_OPERATION(hello, Hello);
PAGESERVER_OPERATION(ping, Ping);
PAGESERVER_OPERATION(list, List);
PAGESERVER_OPERATION(create, Create);
PAGESERVER_OPERATION(remove, Remove);
PAGESERVER_OPERATION(open, Open);
PAGESERVER_OPERATION(size, Size);
PAGESERVER_OPERATION(grow, Grow);
PAGESERVER_OPERATION(read, Read);
PAGESERVER_OPERATION(write, Write);
PAGESERVER_OPERATION(zero, Zero);
PAGESERVER_OPERATION(data_ranges, DataRanges);
PAGESERVER_OPERATION(flush, Flush);
PAGESERVER_OPERATION(commit, Commit);
PAGESERVER_OPERATION(discard, Discard);
PAGESERVER_OPERATION(refresh, Refresh);
PAGESERVER_OPERATION(stat, Stat);
PAGESERVER_OPERATION(break_lease, BreakLease);
PAGESERVER_OPERATION(sessions, Sessions);
PAGESERVER_OPERATION(kick, Kick);
PAGESERVER_OPERATION(whoami, Whoami);
PAGESERVER_OPERATION(takeover, Takeover);
PAGESERVER_OPERATION(faults, Faults);
PAGESERVER_OPERATION(ring, Ring);
PAGESERVER_OPERATION(close, Close);
#undef PAGESERVER_OPERATION

template <class Request>
using AnswerTo = typename OperationOf<Request>::Answer;

}  // namespace pageserver::client
