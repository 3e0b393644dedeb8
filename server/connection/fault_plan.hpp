// Faults on order: which requests are struck, and by what. Pure: what is done about it is the connection's business.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.hpp"
#include "proto/codec.hpp"
#include "proto/fault_order.hpp"
#include "server/connection/byte_buffer.hpp"

namespace pageserver::server {

/// What orders look at.
struct RequestShape {
  proto::Operation operation{};
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// Nothing: the payload is malformed, and will be told so, or such a request is never struck.
std::optional<RequestShape> shape_of(const proto::FrameHeader& header, std::span<const std::byte> payload);

/// What is done to one request.
struct Strike {
  std::chrono::milliseconds delay{0};
  bool hang = false;
  std::optional<proto::FaultAction> action;  ///< neither delay nor hang
  proto::Status status{};
  std::optional<std::uint32_t> bytes;
  std::string order;  ///< of the action
};

class Log;

/// The orders of one session, or of one store, in the order in which they came.
///
/// Threads: one at a time.
class FaultPlan {
public:
  /// All or none: throws limit_exceeded where they would be too many.
  void add(std::vector<proto::FaultOrder> orders);
  void clear() noexcept { entries_.clear(); }
  bool empty() const noexcept { return entries_.empty(); }
  /// Counts the request, and adds to `strike` what is due. An action that is there already stays. A kill inside of a
  /// record counts as struck by nobody: until there is one it has not struck, and then nobody counts any more.
  void look(const RequestShape& request, Strike& strike);
  /// Appends what was ordered, and how often it struck; the texts live as long as the plan is not changed.
  void describe(std::vector<proto::FaultsEntry>& entries) const;

private:
  struct Entry {
    proto::FaultOrder order;
    std::uint64_t moved_bytes = 0;  ///< by requests of its operation
    std::uint64_t seen = 0;
    std::uint64_t struck = 0;
  };
  static bool is_due(Entry& entry, const RequestShape& request);

  std::vector<Entry> entries_;
};

/// The plans of all stores. Any thread.
class StorePlans {
public:
  /// `change` gets the store's plan.
  void change(const std::string& store, const std::function<void(FaultPlan& plan)>& change);
  void look(const std::string& store, const RequestShape& request, Strike& strike);
  /// What came of all of them, a line each: nobody can ask a daemon that ends.
  void tell(Log& log);

private:
  std::atomic<bool> any_{false};  // else no session asks for the lock
  Mutex mutex_;
  std::map<std::string, FaultPlan> plans_ PAGESERVER_GUARDED_BY(mutex_);
};

/// Says which order did it and what came of the others, and ends the process as by SIGKILL. Any thread.
void kill_by_fault(Log& log, StorePlans& plans, const std::string& order, const std::string& store) noexcept;

/// What one session has of all this.
struct SessionFaults {
  FaultPlan plan;
  std::optional<Strike> strike;                    ///< of the request in hand
  bool has_waited = false;                         ///< that one, for its delay
  std::chrono::steady_clock::time_point go_on_at;  ///< while something waits; max(): never
  ByteBuffer dripping;                             ///< what is left of an answer
  std::uint32_t drip_bytes = 0;
  bool sync_failed = false;
  bool tends_store = false;  ///< it has ordered, listed or cleared for its store
};

}  // namespace pageserver::server
