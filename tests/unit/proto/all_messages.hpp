// Every message of the protocol with its operation, so that a test can do the same to each.
#pragma once

#include <algorithm>
#include <tuple>
#include <type_traits>
#include <utility>

#include "proto/codec.hpp"

namespace pageserver::proto::test {

template <class M, Operation Number, bool IsAnswer>
struct Entry {
  using Message = M;
  static constexpr Operation operation = Number;
  static constexpr bool is_answer = IsAnswer;
};

template <class M, Operation Number>
using Request = Entry<M, Number, false>;
template <class M, Operation Number>
using Answer = Entry<M, Number, true>;

using Requests = std::tuple<Request<HelloRequest, Operation::hello>, Request<PingRequest, Operation::ping>,
                            Request<ListRequest, Operation::list>, Request<CreateRequest, Operation::create>,
                            Request<RemoveRequest, Operation::remove>, Request<OpenRequest, Operation::open>,
                            Request<SizeRequest, Operation::size>, Request<GrowRequest, Operation::grow>,
                            Request<ReadRequest, Operation::read>, Request<WriteRequest, Operation::write>,
                            Request<ZeroRequest, Operation::zero>, Request<DataRangesRequest, Operation::data_ranges>,
                            Request<FlushRequest, Operation::flush>, Request<DiscardRequest, Operation::discard>,
                            Request<RefreshRequest, Operation::refresh>, Request<StatRequest, Operation::stat>,
                            Request<BreakLeaseRequest, Operation::break_lease>, Request<CloseRequest, Operation::close>,
                            Request<CommitRequest, Operation::commit>, Request<SessionsRequest, Operation::sessions>,
                            Request<KickRequest, Operation::kick>, Request<WhoamiRequest, Operation::whoami>,
                            Request<FaultsRequest, Operation::faults>, Request<RingRequest, Operation::ring>,
                            Request<TakeoverRequest, Operation::takeover>>;

using Answers = std::tuple<
    Answer<HelloAnswer, Operation::hello>, Answer<PingAnswer, Operation::ping>, Answer<ListAnswer, Operation::list>,
    Answer<CreateAnswer, Operation::create>, Answer<RemoveAnswer, Operation::remove>,
    Answer<OpenAnswer, Operation::open>, Answer<SizeAnswer, Operation::size>, Answer<GrowAnswer, Operation::grow>,
    Answer<ReadAnswer, Operation::read>, Answer<WriteAnswer, Operation::write>, Answer<ZeroAnswer, Operation::zero>,
    Answer<DataRangesAnswer, Operation::data_ranges>, Answer<FlushAnswer, Operation::flush>,
    Answer<DiscardAnswer, Operation::discard>, Answer<RefreshAnswer, Operation::refresh>,
    Answer<StatAnswer, Operation::stat>, Answer<BreakLeaseAnswer, Operation::break_lease>,
    Answer<CloseAnswer, Operation::close>, Answer<CommitAnswer, Operation::commit>,
    Answer<SessionsAnswer, Operation::sessions>, Answer<KickAnswer, Operation::kick>,
    Answer<WhoamiAnswer, Operation::whoami>, Answer<FaultsAnswer, Operation::faults>,
    Answer<RingAnswer, Operation::ring>, Answer<TakeoverAnswer, Operation::takeover>>;

/// Calls `use(Entry{})` for each entry of `Entries`.
template <class Entries, class Use>
void for_each_entry(Use&& use) {
  std::apply([&](auto... entry) { (use(entry), ...); }, Entries{});
}

/// Calls `use(Entry{})` for each request and each answer.
template <class Use>
void for_each_message(Use&& use) {
  for_each_entry<Requests>(use);
  for_each_entry<Answers>(use);
}

/// Calls `use(Entry{})` for the entry of `operation`; false when there is none.
template <class Entries, class Use>
bool with_operation(Operation operation, Use&& use) {
  bool found = false;
  for_each_entry<Entries>([&](auto entry) {
    if (entry.operation != operation) return;
    found = true;
    use(entry);
  });
  return found;
}

template <class Entry>
std::string name_of(Entry entry) {
  return to_string(entry.operation) + (entry.is_answer ? " answer" : " request");
}

}  // namespace pageserver::proto::test
