// Orders of faults: texts that people write into URIs and files, and that any client of a test daemon may send.
#include <string>
#include <vector>

#include "proto/codec.hpp"
#include "proto/fault_order.hpp"
#include "tests/fuzz/require.hpp"

using namespace pageserver::proto;
using pageserver::fuzz::require;

namespace {

bool is_same(const FaultOrder& a, const FaultOrder& b) {
  return a.operation == b.operation && a.first == b.first && a.last == b.last && a.rate_ppm == b.rate_ppm &&
         a.seed == b.seed && a.at_offset == b.at_offset && a.at_length == b.at_length &&
         a.after_bytes == b.after_bytes && a.action == b.action && a.status == b.status && a.delay_min == b.delay_min &&
         a.delay_max == b.delay_max && a.bytes == b.bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::vector<FaultOrder> orders;
  if (const auto error = parse_fault_orders(text, orders)) {
    require(error->position <= text.size(), "a fault is at a place of the text, or at its end");
    require(error->message.find("expected ") != std::string::npos, "a fault says what may stand there");
  }
  for (const FaultOrder& order : orders) {
    require(order.text.size() <= name_bytes_max, "an order is no longer than the protocol can tell");
    require(order.first >= 1 && order.first <= order.last, "an order strikes something");
    require(!order.operation || can_be_struck(*order.operation), "an order is for what can be struck");
    require(order.delay_min <= order.delay_max, "a delay has its ends in order");
    require(order.action != FaultAction::status || order.status != Status::ok, "a status is an error");
    std::vector<FaultOrder> again;
    require(!parse_fault_orders(order.text, again) && again.size() == 1 && is_same(order, again[0]),
            "an order that is told is the one that was given");
  }
  return 0;
}
