#include "client/wire/reconnecting.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/mutex.hpp"
#include "client/wire/error_text.hpp"
#include "client/wire/wakeup.hpp"

namespace pageserver::client {
namespace {

// From one attempt to the next: longer each time, so that many clients don't keep a daemon from starting.
constexpr std::chrono::milliseconds pause_min{20};
constexpr std::chrono::milliseconds pause_max{1000};
// A daemon that takes a connection and says nothing is given up on, or there would be no other attempt.
constexpr std::chrono::milliseconds attempt_max{10'000};
// Where there are others to be asked, each has less.
constexpr std::chrono::milliseconds attempt_of_several_max{2'000};

bool is_over(proto::Status status) {
  return status == proto::Status::token_unknown || status == proto::Status::token_expired;
}

/// Another attempt may do better.
bool is_worth_another(const MemoryError& error, proto::Status refusal) {
  if (refusal != proto::Status::ok)
    return refusal == proto::Status::limit_exceeded || refusal == proto::Status::stopping ||
           refusal == proto::Status::busy || refusal == proto::Status::timed_out ||
           refusal == proto::Status::served_elsewhere;
  return error.errc() == Errc::connection_lost || error.errc() == Errc::timed_out ||
         error.errc() == Errc::limit_exceeded;
}

}  // namespace

struct Reconnecting::Shared {
  Shared(std::vector<Endpoint> to, std::size_t from, ConnectionOptions by, ResumableSession what,
         std::uint64_t all_answered, Deadline until)
      : hosts(std::move(to)),
        first(from),
        options(std::move(by)),
        session(std::move(what)),
        mark(all_answered),
        deadline(until) {}

  const std::vector<Endpoint> hosts;
  const std::size_t first;
  const ConnectionOptions options;
  const ResumableSession session;
  const std::uint64_t mark;
  const Deadline deadline;
  Wakeup done_wakeup;
  Mutex mutex;
  CondVar changed;
  bool given_up PAGESERVER_GUARDED_BY(mutex) = false;
  std::optional<Outcome> outcome PAGESERVER_GUARDED_BY(mutex);
};

Reconnecting::Reconnecting(const std::vector<Endpoint>& hosts, std::size_t first, const ConnectionOptions& options,
                           const ResumableSession& session, std::uint64_t mark, Deadline deadline)
    : shared_{std::make_shared<Shared>(hosts, first, options, session, mark, deadline)} {
  std::thread{[shared = shared_] { run(shared); }}.detach();
}

Reconnecting::~Reconnecting() {
  const Lock lock{shared_->mutex};
  shared_->given_up = true;
  shared_->changed.notify_all();
}

int Reconnecting::fd() const noexcept { return shared_->done_wakeup.fd(); }

std::optional<Reconnecting::Outcome> Reconnecting::take() {
  const Lock lock{shared_->mutex};
  return std::exchange(shared_->outcome, std::nullopt);
}

bool Reconnecting::attempt(const Shared& shared, std::size_t host, Outcome& outcome) noexcept {
  try {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(shared.deadline - Clock::now());
    ConnectionOptions options = shared.options;
    const auto most = shared.hosts.size() == 1 ? attempt_max : attempt_of_several_max;
    options.connect_timeout = std::max(std::min({left, options.connect_timeout, most}), std::chrono::milliseconds{1});
    auto refusal = proto::Status::ok;
    try {
      auto connection = std::make_unique<Connection>(shared.hosts[host], options);
      connection->name_store(shared.session.store);
      const proto::ResumeTicket ticket = connection->resume(shared.session, shared.mark, refusal);
      outcome.executed = ticket.executed;
      outcome.rebuilt = ticket.rebuilt;
      outcome.host = host;
      outcome.connection = std::move(connection);
      return false;
    } catch (const MemoryError& error) {
      outcome.failure += (outcome.failure.empty() ? "" : "; ") + std::string{error.what()};
      outcome.session_is_over = is_over(refusal);
      return is_worth_another(error, refusal);
    }
  } catch (const std::exception&) {
    return true;  // no memory, perhaps for a moment
  }
}

void Reconnecting::run(const std::shared_ptr<Shared>& shared) noexcept {
  const auto finish = [&](Outcome&& outcome) {
    const Lock lock{shared->mutex};
    shared->outcome.emplace(std::move(outcome));
    shared->done_wakeup.wake();
  };
  auto pause = pause_min;
  for (;;) {
    Outcome outcome;
    bool again = false;
    // Whoever serves the store knows the session, or that it is over; the others send there.
    for (std::size_t i = 0; i < shared->hosts.size() && !outcome.connection && !outcome.session_is_over; ++i)
      again = attempt(*shared, (shared->first + i) % shared->hosts.size(), outcome) || again;
    if (outcome.session_is_over) again = false;
    Lock lock{shared->mutex};
    if (shared->given_up) return;
    if (outcome.connection || !again || Clock::now() + pause >= shared->deadline) {
      lock.unlock();
      return finish(std::move(outcome));
    }
    const auto until = Clock::now() + pause;
    (void)shared->changed.wait_until(lock, until,
                                     [&]() PAGESERVER_REQUIRES(shared->mutex) { return shared->given_up; });
    if (shared->given_up) return;
    pause = std::min(2 * pause, pause_max);
  }
}

}  // namespace pageserver::client
