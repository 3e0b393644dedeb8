#include "server/connection/restart.hpp"

#include <cstring>
#include <string_view>

#include "base/access.hpp"
#include "base/token.hpp"
#include "proto/library_values.hpp"
#include "server/connection/connection.hpp"

namespace pageserver::server {

namespace {

using proto::FrameHeader;
using proto::Operation;
using proto::Status;

bool is_change(Operation operation) noexcept {
  return operation == Operation::write || operation == Operation::zero || operation == Operation::grow;
}

bool ends_transaction(Operation operation) noexcept {
  return operation == Operation::flush || operation == Operation::commit;
}

std::uint64_t number_of(const base::TokenHash& hash) noexcept {
  std::uint64_t number = 0;
  std::memcpy(&number, hash.data(), sizeof number);
  return number;
}

}  // namespace

void Restart::put(const storage::ResumeEntry::Outcome& outcome, std::uint64_t acknowledged) {
  drop_outcomes(acknowledged);
  if (!entry.outcomes.empty() && entry.outcomes.back().request_id == outcome.request_id) entry.outcomes.pop_back();
  entry.outcomes.push_back(outcome);
}

storage::ResumeEntry entry_of(const proto::ResumeToken& token, const std::string& who, proto::Publish publish) {
  storage::ResumeEntry entry;
  std::string bytes(token.size(), '\0');
  std::memcpy(bytes.data(), token.data(), token.size());
  const base::TokenHash hash = base::sha256(bytes);
  std::memcpy(entry.token_hash.data(), hash.data(), entry.token_hash.size());
  entry.owner = number_of(base::sha256(who));
  entry.publish = publish;
  return entry;
}

// The store is open; whether anybody may claim it is looked at once more where the lease is given.
bool Connection::claim_session() {
  const PendingOpen::Rebuilt& rebuilt = *pending_open_->rebuilt;
  std::shared_ptr<const storage::ResumeEntry> known;
  storage::ResumeEntry shown;
  try {
    if (std::optional<storage::ResumeEntry> found = hold_.store->resumable())
      known = std::make_shared<const storage::ResumeEntry>(*std::move(found));
    shown = entry_of(rebuilt.token, gate_.who().text(), pending_open_->request.publish);
  } catch (const std::exception& error) {
    refuse_rebuilding(Status::provider_error, error.what());
    return false;
  }
  const auto refuse = [this](Status status, const std::string& text) {
    refuse_rebuilding(status, text);
    return false;
  };
  if (!known || known->token_hash != shown.token_hash)
    return refuse(Status::token_unknown,
                  "no session has this token, and none that published last before the store was opened; of those of a "
                  "server that has ended only such a writer can go on");
  if (known->owner != shown.owner)
    return refuse(Status::identity_differs,
                  "the session with this token was opened by somebody else than " + gate_.who().text());
  if (known->publish != shown.publish)
    return refuse(Status::token_foreign, "the session with this token published in the other way");
  pending_open_->request.claim = std::move(known);
  return true;
}

void Connection::refuse_rebuilding(Status status, const std::string& text) {
  if (server_.stopping) status = Status::stopping;  // whoever starts next may know it
  say_not_resumed(pending_open_->header, status, text);
  drop_opening();
}

// Its token is known again from now on, and its first record says so.
void Connection::begin_rebuilt(const storage::SessionRequest& request) {
  const PendingOpen::Rebuilt& rebuilt = *pending_open_->rebuilt;
  auto restart = std::make_unique<Restart>();
  restart->entry = *request.claim;
  restart->published = restart->entry.last_request_id;
  restart->outcomes = restart->entry.outcomes;
  restart->rebuilding = true;
  const bool loses_private = request.publish == Publish::on_flush && restart->published < rebuilt.mark;
  if (loses_private) restart->replays_until = rebuilt.mark;
  const std::uint64_t first = loses_private ? restart->published : rebuilt.mark;
  auto resume = std::make_unique<Resumption>(rebuilt.token, first, resume_window());
  resume->confirm();
  hold_.session->remember(&restart->entry);
  hold_.session->publish_remembered();
  if (!server_.resume_tokens->put(rebuilt.token, {id_, gate_.who().text(), hold_.use->host().name(), request.access,
                                                  request.view, request.publish}))
    throw MemoryError(Errc::busy, "open: another connection has this session already");
  hold_.resume = std::move(resume);
  hold_.restart = std::move(restart);
  ++server_.figures.sessions_resumed;
  server_.lines.info(peer_, "session rebuilt",
                     {{"session", hold_.id},
                      {"store", hold_.use->host().name()},
                      {"address", address_},
                      {"acknowledged", rebuilt.mark},
                      {"published", hold_.restart->published}});
}

// One that can't be remembered, for want of room or of SHA-256, is over with the daemon.
void Connection::begin_restartable(const FrameHeader& header, const storage::SessionRequest& request) {
  if ((greeting_.features & proto::feature_restart) == 0 || request.access != Access::write) return;
  try {
    auto restart = std::make_unique<Restart>();
    restart->entry = entry_of(hold_.resume->token(), gate_.who().text(), request.publish);
    restart->entry.last_request_id = header.request_id;
    hold_.session->remember(&restart->entry);
    hold_.session->publish_remembered();
    hold_.restart = std::move(restart);
  } catch (const std::exception& error) {
    hold_.session->remember(nullptr);
    server_.lines.info(peer_, "session ends with the daemon",
                       {{"session", hold_.id}, {"store", hold_.use->host().name()}, {"reason", error.what()}});
  }
}

// Of a rebuilt session a request has come.
void Connection::look_for_replay(std::uint64_t request_id) noexcept {
  Restart& restart = *hold_.restart;
  if (restart.replay_failed) return;
  if (restart.replays_until != 0 && request_id <= restart.replays_until) {
    // What was private comes again. Between its changes were requests that changed nothing, and are answered.
    if (request_id > hold_.resume->executed()) hold_.resume->step_over(request_id - 1);
    return;
  }
  if (restart.replays_until != 0) hold_.resume->step_over(restart.replays_until);
  restart.replays_until = 0;
  restart.rebuilding = false;
}

// Before each change: what its record says. That of a grow says how it is answered, too.
void Connection::remember(Operation operation, std::uint64_t request_id) {
  Restart& restart = *hold_.restart;
  const std::uint64_t acknowledged = hold_.resume->acknowledged();
  if (operation == Operation::grow) {
    try {
      restart.put({request_id, hold_.session->pages(), 0}, acknowledged);
    } catch (const MemoryError&) {
      return;  // it has lost its lease, and the grow says so
    }
  }
  const bool publishes =
      restart.entry.publish == Publish::on_write ? is_change(operation) : ends_transaction(operation);
  if (!publishes) return;
  restart.drop_outcomes(acknowledged);
  restart.entry.last_request_id = request_id;
  hold_.session->remember(&restart.entry);
}

void Connection::note_outcome(Operation operation, std::uint64_t request_id, Status status) {
  Restart& restart = *hold_.restart;
  if (status == Status::ok) return;
  // It is not known how the client would go on without it: it comes again with the next connection.
  if (request_id <= restart.replays_until) {
    restart.replay_failed = true;
    return hold_.resume->forget_last();
  }
  // A flush that failed is none that a later one, which published, could answer for.
  const bool counts =
      is_change(operation) || (restart.entry.publish == Publish::on_flush && ends_transaction(operation));
  if (counts && request_id > restart.published)
    restart.put({request_id, 0, static_cast<std::uint32_t>(status)}, hold_.resume->acknowledged());
}

bool Connection::was_published(const FrameHeader& header) const noexcept {
  if (hold_.restart == nullptr || header.request_id > hold_.restart->published) return false;
  if (is_change(header.operation)) return true;
  // In the other mode these are carried out again, and do no more than the first time.
  return hold_.restart->entry.publish == Publish::on_flush &&
         (ends_transaction(header.operation) || header.operation == Operation::discard);
}

void Connection::answer_published(const FrameHeader& header) {
  const Restart& restart = *hold_.restart;
  const auto outcome = std::find_if(restart.outcomes.begin(), restart.outcomes.end(),
                                    [&](const auto& one) { return one.request_id == header.request_id; });
  if (outcome != restart.outcomes.end() && outcome->status != 0) {
    const auto status = static_cast<Status>(outcome->status);
    answers().error(header.request_id, header.operation, status,
                    proto::to_string(header.operation) +
                        ": it was refused before the server was started again, which kept no more of the answer");
    note_answer(header, status, hold_.failed_change);
    return;
  }
  try {
    const storage::SessionView view = hold_.session->view();
    switch (header.operation) {
      case Operation::write: answers().add(header.request_id, proto::WriteAnswer{}); break;
      case Operation::zero: answers().add(header.request_id, proto::ZeroAnswer{}); break;
      case Operation::grow:
        // One that is not among them grew by nothing.
        answers().add(header.request_id,
                      proto::GrowAnswer{outcome == restart.outcomes.end() ? view.pages : outcome->value});
        break;
      case Operation::discard: answers().add(header.request_id, proto::DiscardAnswer{view.pages, view.version}); break;
      case Operation::commit: answers().add(header.request_id, proto::CommitAnswer{view.version}); break;
      default: answers().add(header.request_id, proto::FlushAnswer{view.version}); break;
    }
  } catch (const MemoryError&) {
    return answers().error(header, std::current_exception());
  }
  if (!is_change(header.operation)) hold_.failed_change.reset();
}

}  // namespace pageserver::server
