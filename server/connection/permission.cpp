// Who a connection is, and what it may do: every request passes here, and none is carried out elsewhere that does not.
// What each operation needs is the table of server/access/rights.hpp, what each client has the rules in
// server/access/policy.hpp.
#include "base/loopback.hpp"
#include "server/connection/connection.hpp"

namespace pageserver::server {

namespace {

using proto::FrameHeader;
using proto::Operation;
using proto::Status;
using Payload = std::span<const std::byte>;

constexpr std::string_view token_word = "token ";
// Who guesses waits so long for each answer. Nobody else does.
constexpr std::chrono::milliseconds wrong_token_delay{1000};

}  // namespace

Identity Connection::identity_by_certificate() const {
  if (stream_.tls() == nullptr) return {};
  const std::vector<std::string> names = stream_.tls()->peer_names(server_.config.tls.identity);
  return names.empty() ? Identity() : Identity("cert:" + names.front());
}

// The identity is decided here once: a token that was shown, else the user at the other end of a Unix socket or the
// name in a certificate that was verified, else nobody in particular.
bool Connection::admit(const proto::HelloRequest& request) {
  std::shared_ptr<const AccessPolicy> policy = server_.policy->get();
  const PeerProcess& peer = record_->peer();
  if (request.credentials.empty()) {
    gate_.admit(peer.known ? Identity::of_uid(peer.uid) : identity_by_certificate(), std::move(policy));
    return true;
  }
  if (!request.credentials.starts_with(token_word)) {
    say_goodbye(Status::unsupported, "hello carries credentials of a kind that this server does not know");
    return false;
  }
  if (stream_.tls() == nullptr && !base::stays_on_this_machine(socket())) {
    log_refusal(server_.figures.auth_failed_token, Operation::hello, {},
                "a token over a connection that others can listen to");
    say_goodbye(
        Status::permission_denied,
        "hello: a token is taken only over TLS, a Unix socket or from this machine's loopback, and this one came "
        "over a network: whoever listened has it, so replace it");
    return false;
  }
  if (auto holder = policy->holder_of(request.credentials.substr(token_word.size()))) {
    gate_.admit(*std::move(holder), std::move(policy));
    return true;
  }
  log_refusal(server_.figures.auth_failed_token, Operation::hello, {}, "a token that is not in the tokens file");
  unwelcome_ = true;
  pending_.begin(Pending::What::refusal);
  set_deadline(Deadline::Kind::hello, wrong_token_delay);
  return false;
}

bool Connection::allows(const FrameHeader& header, std::string_view store, proto::Access access) {
  if (gate_.may(header.operation, store, access)) {
    if (const Need need = need_of(header.operation); need == Need::admin_any || need == Need::admin)
      log_admin(header.operation, store);
    return true;
  }
  const std::string why = gate_.refusal(header.operation, store, access);
  log_refusal(server_.figures.auth_failed_right, header.operation, store, why);
  answers().error(header.request_id, header.operation, Status::permission_denied, why);
  return false;
}

// What is not for a session at all is told so where it is served.
bool Connection::allows_in_session(const FrameHeader& header) {
  switch (need_of(header.operation)) {
    case Need::nothing:
    case Need::create:
    case Need::remove:
    case Need::admin_any: return true;
    case Need::forbidden:
    case Need::access:
    case Need::admin: break;
  }
  const std::string& store = hold_.use->host().name();
  if (gate_.may(header.operation)) {
    if (need_of(header.operation) == Need::admin) log_admin(header.operation, store);
    return true;
  }
  const std::string why = gate_.refusal(header.operation, store, gate_.access());
  log_refusal(server_.figures.auth_failed_right, header.operation, store, why);
  answers().error(header.request_id, header.operation, Status::permission_denied, why);
  note_answer(header, Status::permission_denied, hold_.failed_change);
  return false;
}

bool Connection::agreed_on(const FrameHeader& header, std::uint64_t feature) {
  if ((greeting_.features & feature) != 0) return true;
  answers().error(header.request_id, header.operation, Status::unsupported,
                  proto::to_string(header.operation) + " was not agreed on in hello: offer its feature bit " +
                      std::to_string(feature));
  return false;
}

void Connection::take_whoami(const FrameHeader& header, Payload payload) {
  proto::WhoamiRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers().error(header, *fault);
  if (!agreed_on(header, proto::feature_identity) || !allows(header, request.store)) return;
  const Granted granted = gate_.policy()->explain(gate_.who(), request.store);
  proto::WhoamiAnswer answer;
  answer.rights = granted.rights;
  answer.identity = gate_.who().text();
  answer.why = granted.why;
  answers().add(header.request_id, answer);
}

void Connection::apply_policy() {
  if (!greeting_.done || leaving_ || orders_.kicked()) return;
  std::string why;
  auto* failures = &server_.figures.auth_failed_right;
  if (!gate_.renew(server_.policy->get())) {
    why = "the token of " + gate_.who().text() + " was taken back";
    failures = &server_.figures.auth_failed_token;
  } else if (hold_.session != nullptr || pending_open_ != nullptr) {
    const std::string store = hold_.use != nullptr ? hold_.use->host().name() : pending_open_->store;
    gate_.enter(store, gate_.access());
    if (gate_.may(Operation::open)) return;
    why = gate_.refusal(Operation::open, store, gate_.access());
  } else {
    return;
  }
  log_refusal(*failures, Operation::open, {}, why);
  kick(
      why, [] {}, Status::permission_denied);
}

void Connection::log_refusal(Figures::Counter& failures, Operation operation, std::string_view store,
                             std::string_view reason) {
  ++failures;
  std::uint64_t left_out = 0;
  if (!server_.audit.take(Clock::now(), left_out)) return;
  server_.log.info("access refused", {{"operation", proto::to_string(operation)},
                                      {"store", store},
                                      {"who", gate_.who().text()},
                                      {"address", address_},
                                      {"connection", id_},
                                      {"reason", reason},
                                      {"left_out", left_out}});
}

void Connection::log_admin(Operation operation, std::string_view store) {
  std::uint64_t left_out = 0;
  if (!server_.audit.take(Clock::now(), left_out)) return;
  server_.log.info("admin right used", {{"operation", proto::to_string(operation)},
                                        {"store", store},
                                        {"who", gate_.who().text()},
                                        {"address", address_},
                                        {"connection", id_},
                                        {"why", gate_.policy()->explain(gate_.who(), store).why},
                                        {"left_out", left_out}});
}

}  // namespace pageserver::server
