// Who may do what: the rules of the configuration, and the tokens that clients show. Nothing in here changes once made,
// so any thread may ask; a changed file makes another one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.hpp"
#include "server/access/identity.hpp"
#include "server/access/rights.hpp"
#include "server/access/tokens.hpp"

namespace pageserver::server {

/// What an identity may do, and why.
struct Granted {
  Rights rights = 0;
  std::string why;
};

class AccessPolicy {
public:
  /// By these rules and no others.
  AccessPolicy(std::vector<Rule> rules, Tokens tokens, std::string hint = {});
  /// Where there are no rules: everything, for root and `own_uid` over a Unix socket and for everybody over TCP, who is
  /// on this machine then. `insecure`: for everybody.
  static AccessPolicy without_rules(std::uint32_t own_uid, bool insecure);

  /// Nobody, with the same effort, when no token is this one.
  std::optional<TokenHolder> holder_of(std::string_view token) const { return tokens_.holder_of(token); }
  bool has_token(const base::TokenHash& hash) const { return tokens_.find(hash).has_value(); }

  Rights rights_on(const Identity& who, std::string_view store) const;
  /// What it may do on every store, whatever its name.
  Rights rights_everywhere(const Identity& who) const;
  /// What it may do on some store or other.
  Rights rights_anywhere(const Identity& who) const;
  /// For people; `store` empty: of rights_everywhere(), with all rules that concern it.
  Granted explain(const Identity& who, std::string_view store) const;
  /// Why a request is refused, and what would help.
  std::string refusal(const Identity& who, proto::Operation operation, std::string_view store,
                      proto::Access access) const;

private:
  std::vector<Rule> rules_;
  Tokens tokens_;
  std::string hint_;  ///< what else to say to who may do nothing
};

/// What a policy is made from.
struct PolicySource {
  std::optional<std::vector<Rule>> rules;
  std::string tokens_file;  ///< empty: none
  bool insecure = false;
  bool certificates = false;  ///< clients are asked for them
};

/// Reads the tokens file, of which `tokens_text` is what it had. Returns every fault, and then nothing in `policy`.
std::vector<std::string> load_policy(const PolicySource& source, std::shared_ptr<const AccessPolicy>& policy,
                                     std::string* tokens_text = nullptr);

/// The policy that holds now. Any thread.
class PolicyInForce {
public:
  std::shared_ptr<const AccessPolicy> get() const {
    const Lock lock{mutex_};
    return policy_;
  }
  void set(std::shared_ptr<const AccessPolicy> policy) {
    const Lock lock{mutex_};
    policy_.swap(policy);
  }

private:
  mutable Mutex mutex_;
  std::shared_ptr<const AccessPolicy> policy_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
