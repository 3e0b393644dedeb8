#include "server/connection/fault_plan.hpp"

#include <pageserver/error.hpp>

#include "server/runtime/log.hpp"

namespace pageserver::server {

namespace {

constexpr std::uint64_t million = 1'000'000;

/// SplitMix64: the same for the same seed and number, on whatever machine.
std::uint64_t mixed(std::uint64_t seed, std::uint64_t number) {
  std::uint64_t value = seed + (number + 1) * 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

template <class Request>
std::optional<RequestShape> shape_with_length(proto::Operation operation, std::span<const std::byte> payload) {
  Request request;
  if (proto::decode(payload, request)) return {};
  return RequestShape{operation, request.offset, request.length};
}

std::chrono::milliseconds delay_of(const proto::FaultOrder& order, std::uint64_t number) {
  const auto span = static_cast<std::uint64_t>((order.delay_max - order.delay_min).count()) + 1;
  return order.delay_min + std::chrono::milliseconds(mixed(~order.seed, number) % span);
}

}  // namespace

std::optional<RequestShape> shape_of(const proto::FrameHeader& header, std::span<const std::byte> payload) {
  using proto::Operation;
  if (!proto::can_be_struck(header.operation)) return {};
  switch (header.operation) {
    case Operation::read: return shape_with_length<proto::ReadRequest>(header.operation, payload);
    case Operation::zero: return shape_with_length<proto::ZeroRequest>(header.operation, payload);
    case Operation::data_ranges: return shape_with_length<proto::DataRangesRequest>(header.operation, payload);
    case Operation::write: {
      proto::WriteRequest request;
      if (proto::decode(payload, request)) return {};
      return RequestShape{header.operation, request.offset, request.data.size()};
    }
    default: return RequestShape{header.operation};
  }
}

void FaultPlan::add(std::vector<proto::FaultOrder> orders) {
  if (entries_.size() + orders.size() > proto::fault_orders_max)
    throw MemoryError(Errc::limit_exceeded, "faults: " + std::to_string(entries_.size()) + " orders are here, and " +
                                                std::to_string(orders.size()) + " more exceed fault_orders_max=" +
                                                std::to_string(proto::fault_orders_max) + "; clear them first");
  entries_.reserve(entries_.size() + orders.size());
  for (proto::FaultOrder& order : orders) entries_.push_back({std::move(order)});
}

bool FaultPlan::is_due(Entry& entry, const RequestShape& request) {
  const proto::FaultOrder& order = entry.order;
  if (order.operation ? *order.operation != request.operation : request.operation == proto::Operation::close)
    return false;
  const bool is_behind = entry.moved_bytes >= order.after_bytes;
  entry.moved_bytes += std::min(request.length, UINT64_MAX - entry.moved_bytes);
  if (!is_behind) return false;
  // Of two ranges that touch, one begins inside the other. Written without sums, which could overflow.
  if (order.at_length && !(request.offset >= order.at_offset ? request.offset - order.at_offset < *order.at_length
                                                             : order.at_offset - request.offset < request.length))
    return false;
  const bool needs_sync = order.action == proto::FaultAction::sync_failed;
  if (needs_sync && request.operation != proto::Operation::flush && request.operation != proto::Operation::commit)
    return false;
  if (order.action == proto::FaultAction::kill_inside && !proto::may_change(request.operation)) return false;
  const std::uint64_t number = ++entry.seen;
  if (number < order.first || number > order.last) return false;
  return !order.rate_ppm || mixed(order.seed, number) % million < *order.rate_ppm;
}

void FaultPlan::look(const RequestShape& request, Strike& strike) {
  for (Entry& entry : entries_) {
    const proto::FaultOrder& order = entry.order;
    if (!is_due(entry, request)) continue;
    switch (order.action) {
      case proto::FaultAction::delay: strike.delay += delay_of(order, entry.seen); break;
      case proto::FaultAction::hang: strike.hang = true; break;
      default:
        if (strike.action) continue;
        strike.action = order.action;
        strike.status = order.status;
        strike.bytes = order.bytes;
        strike.order = order.text;
        break;
    }
    if (order.action != proto::FaultAction::kill_inside) ++entry.struck;
  }
}

void FaultPlan::describe(std::vector<proto::FaultsEntry>& entries) const {
  for (const Entry& entry : entries_) entries.push_back({entry.seen, entry.struck, entry.order.text});
}

void StorePlans::change(const std::string& store, const std::function<void(FaultPlan& plan)>& change) {
  const Lock lock{mutex_};
  FaultPlan& plan = plans_[store];
  change(plan);
  if (plan.empty()) plans_.erase(store);
  any_ = !plans_.empty();
}

void StorePlans::look(const std::string& store, const RequestShape& request, Strike& strike) {
  if (!any_.load(std::memory_order_relaxed)) return;
  const Lock lock{mutex_};
  if (const auto plan = plans_.find(store); plan != plans_.end()) plan->second.look(request, strike);
}

void StorePlans::tell(Log& log) {
  const Lock lock{mutex_};
  for (const auto& [store, plan] : plans_) {
    std::vector<proto::FaultsEntry> entries;
    plan.describe(entries);
    for (const proto::FaultsEntry& entry : entries)
      log.warn("fault on order",
               {{"seen", entry.seen}, {"struck", entry.struck}, {"order", entry.order}, {"store", store}});
  }
}

}  // namespace pageserver::server
