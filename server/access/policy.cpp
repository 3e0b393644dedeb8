#include "server/access/policy.hpp"

#include <unistd.h>

#include "proto/codec.hpp"

namespace pageserver::server {

namespace {

// Who came over TCP and showed nothing. No rule of a configuration can say this: there "anyone" is everybody.
constexpr std::string_view nobody_in_particular = "\1";

bool is_meant(const Rule& rule, const Identity& who) {
  if (rule.who == nobody_in_particular) return who.text() == Identity::anyone;
  return rule.who == Identity::anyone || matches(rule.who, who.text());
}

bool is_name_of(std::string_view kind, std::string_view text) {
  return text.starts_with(kind) && text.size() > kind.size() && text.size() <= 255;
}

}  // namespace

std::string text_of(Rights rights) {
  std::string text;
  for (const base::NamedRight& each : rights_by_name) {
    if ((rights & bit(each.right)) != 0) text += (text.empty() ? "" : ", ") + std::string(each.name);
  }
  return text.empty() ? "nothing" : text;
}

bool is_identity(std::string_view text, bool patterns) {
  if (text == Identity::anyone) return true;
  const bool named = is_name_of("token:", text) || is_name_of("cert:", text) || is_name_of("uid:", text);
  if (!named || (!patterns && text.find('*') != std::string_view::npos)) return false;
  if (!text.starts_with("uid:")) return true;
  const std::string_view number = text.substr(4);
  return number == "*" || (number.size() <= 10 && number.find_first_not_of("0123456789") == std::string_view::npos);
}

// Without recursion: a pattern of many stars costs at most its length for each character.
bool matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0;
  std::size_t star = std::string_view::npos, behind = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      behind = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++behind;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

AccessPolicy::AccessPolicy(std::vector<Rule> rules, Tokens tokens, std::string hint)
    : rules_(std::move(rules)), tokens_(std::move(tokens)), hint_(std::move(hint)) {}

AccessPolicy AccessPolicy::without_rules(std::uint32_t own_uid, bool insecure) {
  if (insecure) return {{{"--insecure", std::string(Identity::anyone), "*", all_rights}}, {}};
  const std::string origin = "there are no rules";
  std::vector<Rule> rules{{origin, "uid:0", "*", all_rights},
                          {origin, std::string(nobody_in_particular), "*", all_rights},
                          {origin, "cert:*", "*", all_rights}};
  if (own_uid != 0) rules.push_back({origin, "uid:" + std::to_string(own_uid), "*", all_rights});
  return {std::move(rules),
          {},
          "without rules in its configuration the daemon serves a Unix socket to root and its own user (uid:" +
              std::to_string(own_uid) + ") only"};
}

Rights AccessPolicy::rights_on(const Identity& who, std::string_view store) const {
  Rights rights = 0;
  for (const Rule& rule : rules_)
    if (is_meant(rule, who) && matches(rule.stores, store)) rights |= rule.may;
  return rights;
}

Rights AccessPolicy::rights_everywhere(const Identity& who) const {
  Rights rights = 0;
  for (const Rule& rule : rules_)
    if (is_meant(rule, who) && rule.stores.find_first_not_of('*') == std::string::npos) rights |= rule.may;
  return rights;
}

Rights AccessPolicy::rights_anywhere(const Identity& who) const {
  Rights rights = 0;
  for (const Rule& rule : rules_)
    if (is_meant(rule, who)) rights |= rule.may;
  return rights;
}

Granted AccessPolicy::explain(const Identity& who, std::string_view store) const {
  Granted granted;
  granted.rights = store.empty() ? rights_everywhere(who) : rights_on(who, store);
  for (const Rule& rule : rules_) {
    if (!is_meant(rule, who) || (!store.empty() && !matches(rule.stores, store))) continue;
    if (!granted.why.empty()) granted.why += "; ";
    granted.why += text_of(rule.may) + ": " + rule.origin;
    if (rule.origin.starts_with("rules")) granted.why += " (" + rule.who + " on " + rule.stores + ")";
  }
  if (granted.why.empty()) {
    granted.why = "no rule allows " + who.text() + " anything" + (store.empty() ? "" : " there");
    if (!hint_.empty()) granted.why = hint_;
  }
  return granted;
}

std::string AccessPolicy::refusal(const Identity& who, proto::Operation operation, std::string_view store,
                                  proto::Access access) const {
  std::string text = proto::to_string(operation);
  if (!store.empty()) text += " " + std::string(store);
  const Rights needed = right_for(operation, access);
  if (needed == 0) return text + ": nobody may do that: it is in no rule's words";
  const Rights has = store.empty() ? rights_anywhere(who) : rights_on(who, store);
  text += ": it takes the right " + text_of(needed) + ", and " + who.text() + " may do " + text_of(has) +
          (store.empty() ? " anywhere" : " there");
  if (has == 0 && !hint_.empty()) return text + ": " + hint_;
  return text + "; `pagectl whoami` says why, and who runs the daemon can change its rules";
}

std::vector<std::string> load_policy(const PolicySource& source, std::shared_ptr<const AccessPolicy>& policy,
                                     std::string* tokens_text) {
  policy.reset();
  if (!source.rules) {
    policy = std::make_shared<const AccessPolicy>(AccessPolicy::without_rules(::geteuid(), source.insecure));
    return {};
  }
  Tokens tokens;
  std::vector<std::string> faults;
  if (!source.tokens_file.empty()) faults = read_tokens_file(source.tokens_file, tokens, tokens_text);
  if (faults.empty()) policy = std::make_shared<const AccessPolicy>(*source.rules, std::move(tokens));
  return faults;
}

}  // namespace pageserver::server
