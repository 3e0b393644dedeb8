// What one connection may do: its identity, before the policy in force. Every request passes here before it is done.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "server/access/policy.hpp"

namespace pageserver::server {

/// Before admit() nothing is allowed. Cheap to copy, so that work on other threads takes its own.
///
/// Threads: that of the connection.
class Gate {
public:
  void admit(Identity who, std::shared_ptr<const AccessPolicy> policy) {
    who_ = std::move(who);
    policy_ = std::move(policy);
  }
  /// By a token with this hash, which has to stay in the file.
  void admit(TokenHolder holder, std::shared_ptr<const AccessPolicy> policy) {
    admit(Identity::of_token(holder.name), std::move(policy));
    token_ = std::make_shared<const base::TokenHash>(holder.hash);
  }
  /// The same identity came again over another connection, perhaps by another token or with a newer policy.
  void shown_again(const Gate& other) {
    policy_ = other.policy_;
    token_ = other.token_;
  }
  /// Another policy holds. False: the token is not in it any more.
  bool renew(std::shared_ptr<const AccessPolicy> policy) {
    policy_ = std::move(policy);
    return !token_ || policy_->has_token(*token_);
  }
  const Identity& who() const noexcept { return who_; }
  const std::shared_ptr<const AccessPolicy>& policy() const noexcept { return policy_; }

  Rights on(std::string_view store) const { return policy_ ? policy_->rights_on(who_, store) : 0; }
  Rights everywhere() const { return policy_ ? policy_->rights_everywhere(who_) : 0; }
  bool administers(std::string_view store) const {
    return ((store.empty() ? everywhere() : on(store)) & bit(Right::admin)) != 0;
  }

  /// Of a request without a session; `store`: that it names, if it names one.
  bool may(proto::Operation operation, std::string_view store, proto::Access access) const {
    if (need_of(operation) == Need::nothing) return true;
    if (!policy_) return false;
    return is_allowed(operation, access,
                      store.empty() ? policy_->rights_anywhere(who_) : policy_->rights_on(who_, store));
  }
  std::string refusal(proto::Operation operation, std::string_view store, proto::Access access) const {
    return policy_ ? policy_->refusal(who_, operation, store, access) : "this connection is nobody's";
  }

  /// The session that begins, and what may be done in it.
  void enter(std::string_view store, proto::Access access) {
    access_ = access;
    rights_ = on(store);
  }
  /// Of a request of the session.
  bool may(proto::Operation operation) const noexcept { return is_allowed(operation, access_, rights_); }
  bool administers() const noexcept { return (rights_ & bit(Right::admin)) != 0; }
  proto::Access access() const noexcept { return access_; }

private:
  Identity who_;
  std::shared_ptr<const AccessPolicy> policy_;
  std::shared_ptr<const base::TokenHash> token_;  // few connections have one
  proto::Access access_ = proto::Access::read;
  Rights rights_ = 0;
};

}  // namespace pageserver::server
