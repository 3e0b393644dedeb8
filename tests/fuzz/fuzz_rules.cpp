// Rules as the configuration has them, the tokens file, a hello's credentials, and what patterns match: texts that
// people write, and that one who may change a part of them must not make the daemon stumble over.
#include <span>
#include <string>
#include <string_view>

#include "proto/codec.hpp"
#include "server/access/policy.hpp"
#include "server/config/config_json.hpp"
#include "server/config/config_values.hpp"
#include "tests/fuzz/require.hpp"

using namespace pageserver;
using namespace pageserver::server;
using fuzz::require;

namespace {

/// The same, as one would write it down first.
bool matches_plainly(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() == '*')
    return matches_plainly(pattern.substr(1), text) || (!text.empty() && matches_plainly(pattern, text.substr(1)));
  return !text.empty() && pattern.front() == text.front() && matches_plainly(pattern.substr(1), text.substr(1));
}

void check_pattern(std::string_view text) {
  const std::size_t blank = text.find('\n');
  if (blank == std::string_view::npos || text.size() > 24) return;
  const std::string_view pattern = text.substr(0, blank), subject = text.substr(blank + 1);
  require(matches(pattern, subject) == matches_plainly(pattern, subject), "a pattern means what it says");
}

void check_rules(std::string_view text) {
  Config config;
  if (!read_config(text, config).empty() || !config.access.rules) return;
  static_cast<void>(check_policy_source(config.access));
  const AccessPolicy policy(*config.access.rules, {});
  for (const Rule& rule : *config.access.rules) {
    require(is_identity(rule.who, true), "who is an identity or a pattern of some");
    require((rule.may & ~all_rights) == 0, "no right that there is not");
    const Identity who = is_identity(rule.who, false) ? Identity(rule.who) : Identity("token:a");
    const Rights everywhere = policy.rights_everywhere(who), anywhere = policy.rights_anywhere(who),
                 there = policy.rights_on(who, rule.stores);
    require((everywhere & ~there) == 0, "what holds everywhere holds there");
    require((there & ~anywhere) == 0, "what holds there holds somewhere");
    require(policy.explain(who, "a").rights == policy.rights_on(who, "a"), "what is explained is what holds");
  }
}

void check_tokens(std::string_view text) {
  Tokens tokens;
  const auto faults = read_tokens(text, tokens);
  require(faults.empty() || tokens.size() == 0, "a file with a fault is not taken in part");
}

/// A hello's payload: whom its credentials make of the client.
void check_credentials(std::string_view text) {
  constexpr std::string_view word = "token ", secret = "secret";
  static const Tokens tokens = [] {
    Tokens read;
    // SHA-256 of the secret.
    require(read_tokens("ci sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n", read).empty(),
            "a line as the tool makes it is read");
    return read;
  }();
  proto::HelloRequest request;
  if (proto::decode(std::as_bytes(std::span(text)), request) || !request.credentials.starts_with(word)) return;
  const std::string_view shown = request.credentials.substr(word.size());
  require(tokens.holder_of(shown).has_value() == (shown == secret),
          "who shows the secret is its holder, and nobody else");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  check_pattern(text);
  check_rules(text);
  check_tokens(text);
  check_credentials(text);
  return 0;
}
