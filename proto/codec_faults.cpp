// faults: what is ordered, listed and cleared.
#include <array>

#include "proto/codec.hpp"
#include "proto/frame_writer.hpp"
#include "proto/payload_reader.hpp"

namespace pageserver::proto {
namespace {

constexpr std::size_t faults_request_bytes = 8;
constexpr std::size_t faults_answer_bytes = 8;
constexpr std::size_t faults_entry_bytes = 24;

}  // namespace

Decoded decode(std::span<const std::byte> payload, FaultsRequest& message) {
  PayloadReader in("faults request", payload);
  if (!in.at_least(faults_request_bytes)) return in.result();
  message.what = in.choice(FaultsWhat::clear, "what");
  message.scope = in.choice(FaultsScope::store, "scope");
  const auto orders_bytes = in.number<std::uint16_t>();
  in.reserved(4);
  if (!in.exactly(faults_request_bytes + orders_bytes)) return in.result();
  message.orders = in.text(orders_bytes, fault_orders_bytes_max, "orders");
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const FaultsRequest& message) {
  assert(message.orders.size() <= fault_orders_bytes_max);
  FrameWriter(out, request_header(Operation::faults, request_id, faults_request_bytes + message.orders.size()))
      .choice(message.what)
      .choice(message.scope)
      .length(message.orders.size())
      .reserved(4)
      .text(message.orders);
}

Decoded decode(std::span<const std::byte> payload, FaultsAnswer& message) {
  PayloadReader in("faults answer", payload);
  message.entries.clear();
  if (!in.at_least(faults_answer_bytes)) return in.result();
  const auto count = in.number<std::uint16_t>();
  in.reserved(6);
  if (count > fault_orders_max)
    in.refuse(Status::limit_exceeded,
              "announces " + std::to_string(count) + " entries, at most " + std::to_string(fault_orders_max));
  if (!in.at_least(faults_answer_bytes + count * faults_entry_bytes)) return in.result();
  std::array<std::size_t, fault_orders_max> order_bytes{};
  std::size_t orders_bytes = 0;
  message.entries.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    message.entries[i].seen = in.number<std::uint64_t>();
    message.entries[i].struck = in.number<std::uint64_t>();
    order_bytes[i] = in.number<std::uint16_t>();
    in.reserved(6);
    orders_bytes += order_bytes[i];
  }
  if (!in.exactly(faults_answer_bytes + count * faults_entry_bytes + orders_bytes)) return in.result();
  for (std::size_t i = 0; i < count; ++i) message.entries[i].order = in.text(order_bytes[i], name_bytes_max, "order");
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const FaultsAnswer& message) {
  assert(message.entries.size() <= fault_orders_max);
  std::size_t payload_bytes = faults_answer_bytes + message.entries.size() * faults_entry_bytes;
  for (const FaultsEntry& entry : message.entries) {
    assert(entry.order.size() <= name_bytes_max);
    payload_bytes += entry.order.size();
  }
  FrameWriter frame(out, answer_header(Operation::faults, request_id, payload_bytes));
  frame.length(message.entries.size()).reserved(6);
  for (const FaultsEntry& entry : message.entries)
    frame.number(entry.seen).number(entry.struck).length(entry.order.size()).reserved(6);
  for (const FaultsEntry& entry : message.entries) frame.text(entry.order);
}

}  // namespace pageserver::proto
