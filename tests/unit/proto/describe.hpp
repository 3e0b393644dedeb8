// A message as the "value" lines of test_vectors.txt.
#pragma once

#include <string>
#include <vector>

#include "proto/codec.hpp"

namespace pageserver::proto::test {

using Lines = std::vector<std::string>;

Lines describe(const HelloRequest& message);
Lines describe(const HelloAnswer& message);
Lines describe(const PingRequest& message);
Lines describe(const PingAnswer& message);
Lines describe(const ListRequest& message);
Lines describe(const ListAnswer& message);
Lines describe(const CreateRequest& message);
Lines describe(const RemoveRequest& message);
Lines describe(const OpenRequest& message);
Lines describe(const OpenAnswer& message);
Lines describe(const SizeAnswer& message);
Lines describe(const GrowRequest& message);
Lines describe(const GrowAnswer& message);
Lines describe(const ReadRequest& message);
Lines describe(const ReadAnswer& message);
Lines describe(const WriteRequest& message);
Lines describe(const ZeroRequest& message);
Lines describe(const DataRangesRequest& message);
Lines describe(const DataRangesAnswer& message);
Lines describe(const FlushAnswer& message);
Lines describe(const CommitAnswer& message);
Lines describe(const DiscardAnswer& message);
Lines describe(const RefreshAnswer& message);
Lines describe(const StatAnswer& message);
Lines describe(const BreakLeaseRequest& message);
Lines describe(const BreakLeaseAnswer& message);
Lines describe(const SessionsRequest& message);
Lines describe(const SessionsAnswer& message);
Lines describe(const KickRequest& message);
Lines describe(const KickAnswer& message);
Lines describe(const WhoamiRequest& message);
Lines describe(const WhoamiAnswer& message);
Lines describe(const TakeoverRequest& message);
Lines describe(const TakeoverAnswer& message);
Lines describe(const FaultsRequest& message);
Lines describe(const FaultsAnswer& message);
Lines describe(const RingRequest& message);
Lines describe(const ErrorText& message);

/// The others have no fields.
template <class Empty>
Lines describe(const Empty&) {
  static_assert(std::is_empty_v<Empty>);
  return {};
}

std::string hex(std::span<const std::byte> bytes);

}  // namespace pageserver::proto::test
