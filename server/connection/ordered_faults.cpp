// Faults on order, carried out: of a daemon that was started with --allow-faults, and of no other.
//
// A request that is struck goes through take_with_faults() instead of carry_out(). What comes before it is done there:
// it waits (Pending::What::fault, and the same frame is handed in again), is answered with a status, or the connection
// leaves without a goodbye. What comes after it is done to its answer, by finish_strike(): of a flush when that is
// complete. An answer that drips is kept here, and go_on_with_fault() sends it part by part.
#include <signal.h>
#include <unistd.h>

#include "base/clock.hpp"
#include "server/connection/connection.hpp"
#include "server/stores/log_write_faults.hpp"

namespace pageserver::server {

namespace {

using proto::FaultAction;
using proto::FrameHeader;
using proto::Operation;
using proto::Status;
using Payload = std::span<const std::byte>;

constexpr std::chrono::milliseconds drip_pause{10};

std::string ordered(const Strike& strike) { return "a fault on order (" + strike.order + ")"; }

/// Who reads the log may stall.
constexpr std::chrono::seconds words_time{1};

/// Why an order is of no use to a session, where it is.
std::string fault_in_order(const proto::FaultOrder& order, bool has_lease, bool holds_version) {
  if (order.action == FaultAction::lease_lost && !has_lease)
    return "\"" + order.text + "\": this session has no lease to lose; open it with access=write";
  if (order.action == FaultAction::snapshot_too_old && !holds_version)
    return "\"" + order.text +
           "\": this session holds no version; open it with access=fork, or access=read and view=pinned";
  return {};
}

}  // namespace

void say_ended_by_fault(Log& log, const std::string& order, const std::string& store) noexcept {
  log.warn("fault on order ends the daemon", {{"order", order}, {"store", store}});
}

void kill_by_fault(Log& log, StorePlans& plans, const std::string& order, const std::string& store) noexcept {
  try {
    say_ended_by_fault(log, order, store);
    plans.tell(log);
    log.drain(words_time);
  } catch (const std::bad_alloc&) {
    // The words are lost.
  }
  ::kill(::getpid(), SIGKILL);
}

Connection::Step Connection::take_with_faults(const FrameHeader& header, Payload payload) {
  SessionFaults& faults = *hold_.faults;
  if (!faults.strike) {
    const std::optional<RequestShape> shape = shape_of(header, payload);
    if (!shape) return carry_out(header, payload);
    faults.has_waited = false;
    Strike strike;
    faults.plan.look(*shape, strike);
    // Whoever is there for the orders alone is not what they are for.
    if (!faults.tends_store || shape->operation != Operation::close)
      server_.faults->look(hold_.use->host().name(), *shape, strike);
    faults.strike = std::move(strike);
  }
  Strike& strike = *faults.strike;
  if ((strike.hang || strike.delay.count() > 0) && !std::exchange(faults.has_waited, true)) {
    faults.go_on_at = strike.hang ? Clock::time_point::max() : Clock::now() + strike.delay;
    pending_.begin(Pending::What::fault);
    return Step::not_taken;
  }
  const std::size_t before = answers().size();
  if (take_instead(header, strike)) {
    keep_answer(before);
    faults.strike.reset();
    return Step::taken;
  }
  const bool closes = header.operation == Operation::close;
  const std::string killed_by = strike.action == FaultAction::kill_after ? strike.order : std::string();
  const std::string store = hold_.use->host().name();  // a close lets go of it
  // It may have to wait for room: the frame comes again then, and is still struck.
  if (carry_out(header, payload) == Step::not_taken) return Step::not_taken;
  if (closes) {  // and with the session what was ordered for it
    if (!killed_by.empty()) kill_by_fault(server_.log, *server_.faults, killed_by, store);
  } else {
    keep_answer(before);
    if (!pending_.is_any()) finish_strike(before);
  }
  return Step::taken;
}

// What strikes before the request. True: it is not carried out.
bool Connection::take_instead(const FrameHeader& header, Strike& strike) {
  const auto refuse = [&](Status status, const std::string& text) {
    answers().error(header.request_id, header.operation, status, proto::to_string(header.operation) + ": " + text);
    note_answer(header, status, hold_.failed_change);
    record_->counters.requests.add(1);
    return true;
  };
  if (strike.action) {
    const FaultAction action = *strike.action;
    switch (action) {
      case FaultAction::status: return refuse(strike.status, ordered(strike));
      case FaultAction::kill_before:
        kill_by_fault(server_.log, *server_.faults, strike.order, hold_.use->host().name());
        break;
      case FaultAction::cut_before: leave_by_fault(strike); return true;
      case FaultAction::cut_after:
        if (header.operation != Operation::close) break;
        leave_by_fault(strike);  // the end of the connection ends the session as well
        return true;
      case FaultAction::lease_lost:
      case FaultAction::snapshot_too_old: hold_.session->revoke(ordered(strike)); break;
      case FaultAction::sync_failed: hold_.faults->sync_failed = true; break;
      case FaultAction::stop:
        say_ended_by_fault(server_.log, strike.order, hold_.use->host().name());
        server_.log.drain(words_time);  // before whoever sees it end looks there
        ::kill(::getpid(), SIGTERM);
        break;
      case FaultAction::kill_inside:
        server_.log_write_faults->kill_in_next_record_of(hold_.use->host().image_path(), strike.order,
                                                         hold_.use->host().name());
        break;
      case FaultAction::delay:
      case FaultAction::hang:
      case FaultAction::torn:
      case FaultAction::drip:
      case FaultAction::kill_after: break;
    }
    const bool is_done = action == FaultAction::lease_lost || action == FaultAction::snapshot_too_old ||
                         action == FaultAction::stop || action == FaultAction::kill_inside;
    if (is_done) strike.action.reset();  // once, should the frame come again
  }
  if (hold_.faults->sync_failed && proto::may_change(header.operation))
    return refuse(Status::provider_error,
                  "a sync failed by a fault on order: nothing is written any more, and what was "
                  "not flushed before may be lost; open another session");
  return false;
}

void Connection::leave_by_fault(const Strike& strike) {
  leaving_ = is_cut_ = true;
  record_->state.set(proto::SessionState::leaving);
  reason_ = "cut by " + ordered(strike);
}

// What strikes the answer, which is all that was added since `before`.
void Connection::finish_strike(std::size_t before) {
  if (hold_.faults == nullptr || !hold_.faults->strike) return;
  SessionFaults& faults = *hold_.faults;
  const Strike strike = *std::exchange(faults.strike, std::nullopt);
  if (!strike.action) return;
  const std::size_t answer_bytes = answers().size() - before;
  switch (*strike.action) {
    case FaultAction::kill_after:
      return kill_by_fault(server_.log, *server_.faults, strike.order, hold_.use->host().name());
    case FaultAction::cut_after: answers().shorten(answer_bytes); return leave_by_fault(strike);
    case FaultAction::torn: {
      const std::size_t kept = std::min<std::size_t>(strike.bytes.value_or(answer_bytes / 2), answer_bytes);
      answers().shorten(answer_bytes - kept);
      return leave_by_fault(strike);
    }
    case FaultAction::drip:
      faults.dripping.append(answers().out().bytes().last(answer_bytes));
      answers().shorten(answer_bytes);
      faults.drip_bytes = strike.bytes.value_or(1);
      faults.go_on_at = {};
      pending_.begin(Pending::What::drip);
      return;
    default: return;
  }
}

// While one is pending. True: something was done, or the connection ends.
bool Connection::go_on_with_fault() {
  const Pending::What what = pending_.what();
  if (what != Pending::What::fault && what != Pending::What::drip) return false;
  SessionFaults& faults = *hold_.faults;
  const bool hangs = faults.go_on_at == Clock::time_point::max();
  if (hangs && stream_.is_at_end()) {
    reason_ = "left a request that hangs on order";
    stream_.fail();
    return true;
  }
  const auto now = Clock::now();
  if (!server_.stopping && now < faults.go_on_at) {
    if (!hangs && deadline_.kind() == Deadline::Kind::none)
      set_deadline(Deadline::Kind::fault, std::chrono::ceil<std::chrono::milliseconds>(faults.go_on_at - now));
    return false;
  }
  deadline_.clear_if(Deadline::Kind::fault);
  if (what == Pending::What::drip) {
    drip(server_.stopping ? faults.dripping.size() : faults.drip_bytes);
    faults.go_on_at = now + drip_pause;
    if (!faults.dripping.empty()) return true;
  }
  return pending_.complete_if(what);
}

void Connection::drip(std::size_t bytes_max) {
  ByteBuffer& rest = hold_.faults->dripping;
  const std::size_t bytes = std::min(bytes_max, rest.size());
  answers().out().append(rest.bytes().first(bytes));
  rest.consume(bytes);
  if (rest.empty()) rest.release();
}

// Before anything else is sent: it would come in the middle of an answer.
void Connection::finish_drip() {
  if (hold_.faults != nullptr && !hold_.faults->dripping.empty()) drip(hold_.faults->dripping.size());
}

void Connection::take_faults(const FrameHeader& header, Payload payload) {
  proto::FaultsRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers().error(header, *fault);
  if (!agreed_on(header, proto::feature_faults)) return;
  const auto refuse = [&](Status status, const std::string& text) {
    answers().error(header.request_id, header.operation, status, "faults: " + text);
  };
  const bool adds = request.what == proto::FaultsWhat::add;
  const bool of_store = request.scope == proto::FaultsScope::store;
  std::vector<proto::FaultOrder> orders;
  if (const auto error = proto::parse_fault_orders(request.orders, orders))
    return refuse(Status::invalid_argument, error->message);
  if (adds == orders.empty())
    return refuse(Status::invalid_argument, adds ? "the text has no order; the document PROTOCOL.md has their grammar"
                                                 : "orders are for add, and not for list and clear");
  const bool strikes_daemon = std::any_of(orders.begin(), orders.end(), [](const proto::FaultOrder& order) {
    return proto::strikes_the_daemon(order.action);
  });
  const std::string& store = hold_.use->host().name();
  if ((of_store || strikes_daemon) && !gate_.administers()) {
    const std::string why = std::string(of_store ? "orders for a whole store" : "to stop or kill the daemon") +
                            ": it takes the right admin on " + store + ", which " + gate_.who().text() + " has not";
    log_refusal(server_.figures.auth_failed_right, header.operation, store, why);
    return refuse(Status::permission_denied, why);
  }
  if (of_store) {
    hold_.faults->tends_store = true;
  } else {
    for (const proto::FaultOrder& order : orders) {
      const std::string fault = fault_in_order(order, hold_.session->epoch() != 0, record_->held_version != 0);
      if (!fault.empty()) return refuse(Status::invalid_argument, fault);
    }
  }
  if (request.what != proto::FaultsWhat::list)
    server_.lines.info(peer_, adds ? "faults ordered" : "faults cleared",
                       {{"store", store},
                        {"scope", of_store ? "store" : "session"},
                        {"session", hold_.id},
                        {"address", address_},
                        {"who", gate_.who().text()},
                        {"orders", request.orders}});
  const auto use = [&](FaultPlan& plan) {
    if (adds) plan.add(std::move(orders));
    proto::FaultsAnswer answer;
    plan.describe(answer.entries);
    answers().add(header.request_id, answer);
    if (request.what == proto::FaultsWhat::clear) plan.clear();
  };
  try {
    if (of_store) return server_.faults->change(store, use);
    use(hold_.faults->plan);
    if (request.what == proto::FaultsWhat::clear) hold_.faults->sync_failed = false;
  } catch (...) {
    answers().error(header, std::current_exception());
  }
}

}  // namespace pageserver::server
