// Who may do what, without a daemon: patterns, rules, tokens, and the table of operations.
#include <sys/stat.h>

#include <fstream>
#include <set>
#include <string>
#include "tests/support/catch.hpp"

#include "proto/codec.hpp"
#include "server/access/gate.hpp"
#include "server/config/config_json.hpp"
#include "server/config/config_values.hpp"
#include "tests/support/temp_dir.hpp"

using namespace pageserver;
using namespace pageserver::server;
using pageserver::test::TempDir;
using proto::Access;
using proto::Operation;

namespace {

AccessPolicy policy_of(std::vector<Rule> rules) { return {std::move(rules), {}}; }

std::string write_file(const TempDir& dir, const std::string& text, mode_t mode = 0600) {
  const std::string path = dir.file("tokens");
  std::ofstream(path) << text;
  ::chmod(path.c_str(), mode);
  return path;
}

bool mentions(const std::vector<std::string>& faults, std::string_view text) {
  for (const std::string& fault : faults)
    if (fault.find(text) != std::string::npos) return true;
  return false;
}

Config config_of(std::string_view text, std::vector<std::string>& faults) {
  Config config;
  faults = read_config(text, config);
  return config;
}

}  // namespace

TEST_CASE("access: every operation that a client can ask for has a line in the table, and one only") {
  std::set<Operation> seen;
  for (const OperationNeed& each : operation_needs) {
    CHECK(each.need != Need::forbidden);
    CHECK(seen.insert(each.operation).second);
  }
  for (unsigned number = 0; number < 128; ++number) {
    const auto operation = static_cast<Operation>(number);
    INFO(proto::to_string(operation));
    CHECK(seen.contains(operation) == proto::is_known(operation));
  }
}

TEST_CASE("access: an operation that the table does not know is for nobody") {
  for (const unsigned number : {0u, 100u, 127u, 128u, 129u, 4711u})
    CHECK_FALSE(is_allowed(static_cast<Operation>(number), Access::write, all_rights));
}

TEST_CASE("access: a session's operations take the right of its access, and no other") {
  for (const OperationNeed& each : operation_needs) {
    if (each.need != Need::access) continue;
    for (const auto& [access, right] : {std::pair{Access::read, Right::read}, std::pair{Access::fork, Right::fork},
                                        std::pair{Access::write, Right::write}}) {
      CHECK(is_allowed(each.operation, access, bit(right)));
      CHECK_FALSE(is_allowed(each.operation, access, all_rights & ~bit(right)));
    }
  }
}

TEST_CASE("access: a star stands for any characters, and everything else for itself") {
  CHECK(matches("test-*", "test-"));
  CHECK(matches("test-*", "test-1"));
  CHECK_FALSE(matches("test-*", "test"));
  CHECK_FALSE(matches("test-*", "a-test-1"));
  CHECK(matches("*", ""));
  CHECK(matches("*-img", "a-img-img"));
  CHECK(matches("a*b*c", "aXbYbZc"));
  CHECK_FALSE(matches("a*b*c", "aXbY"));
  CHECK(matches("a.b", "a.b"));
  CHECK_FALSE(matches("a.b", "axb"));
  CHECK_FALSE(matches("", "a"));
  // Not in the time of 2 to the number of stars.
  CHECK_FALSE(matches(std::string(60, '*') + "x", std::string(64, 'y')));
}

TEST_CASE("access: an identity is of a kind and has a name, and is a pattern only in a rule") {
  for (const char* const text : {"anyone", "token:ci", "cert:web", "uid:0", "uid:4294967295"}) {
    CHECK(is_identity(text, false));
    CHECK(is_identity(text, true));
  }
  for (const char* const text : {"token:ci-*", "uid:*", "cert:*"}) {
    CHECK_FALSE(is_identity(text, false));
    CHECK(is_identity(text, true));
  }
  for (const char* const text : {"", "*", "ci", "token:", "uid:", "uid:root", "uid:1*", "Token:ci", "any*"})
    CHECK_FALSE(is_identity(text, true));
}

TEST_CASE("access: rules add up, and what none allows is refused") {
  const AccessPolicy policy = policy_of({{"rules[0]", "anyone", "demo", bit(Right::read)},
                                         {"rules[1]", "token:ci-*", "test-*", bit(Right::fork) | bit(Right::write)},
                                         {"rules[2]", "uid:7", "*", bit(Right::admin)}});
  const Identity ci("token:ci-1"), uid("uid:7"), nobody;
  CHECK(policy.rights_on(nobody, "demo") == bit(Right::read));
  CHECK(policy.rights_on(ci, "demo") == bit(Right::read));
  CHECK(policy.rights_on(ci, "test-1") == (bit(Right::fork) | bit(Right::write)));
  CHECK(policy.rights_on(ci, "other") == 0);
  CHECK(policy.rights_on(Identity("token:other"), "test-1") == 0);
  CHECK(policy.rights_on(Identity("cert:ci-1"), "test-1") == 0);
  CHECK(policy.rights_on(uid, "demo") == (bit(Right::read) | bit(Right::admin)));
  CHECK(policy.rights_on(Identity("uid:77"), "test-1") == 0);
  CHECK(policy.rights_everywhere(uid) == bit(Right::admin));
  CHECK(policy.rights_everywhere(ci) == 0);
  CHECK(policy.rights_anywhere(ci) == (bit(Right::read) | bit(Right::fork) | bit(Right::write)));
  CHECK(policy.explain(ci, "test-1").why == "fork, write: rules[1] (token:ci-* on test-*)");
  CHECK(policy.explain(ci, "other").why == "no rule allows token:ci-1 anything there");
  CHECK(policy_of({}).rights_on(Identity("uid:0"), "demo") == 0);
}

TEST_CASE("access: without rules root, the daemon's user and TCP have everything, and other users nothing") {
  const AccessPolicy policy = AccessPolicy::without_rules(1000, false);
  for (const char* const who : {"uid:0", "uid:1000", "anyone"})
    CHECK(policy.rights_on(Identity(who), "s") == all_rights);
  for (const char* const who : {"uid:1001", "uid:65534", "uid:10", "uid:10000"})
    CHECK(policy.rights_on(Identity(who), "s") == 0);
  const AccessPolicy insecure = AccessPolicy::without_rules(1000, true);
  CHECK(insecure.rights_on(Identity("uid:1001"), "s") == all_rights);
}

TEST_CASE("access: a token is found by what it hashes to, and its file says nothing else of it") {
  const std::string token = base::make_token(), other = base::make_token(), older = base::make_token();
  CHECK(base::is_token(token));
  CHECK(token != other);
  Tokens tokens;
  CHECK(read_tokens("# who\n\nci " + base::text_of(base::sha256(token)) + "  # new\n\tci  " +
                        base::text_of(base::sha256(older)) + "\r\nweb " + base::text_of(base::sha256(other)),
                    tokens)
            .empty());
  CHECK(tokens.size() == 3);
  CHECK(tokens.holder_of(token)->name == "ci");
  CHECK(tokens.holder_of(older)->name == "ci");
  CHECK(tokens.holder_of(other)->name == "web");
  CHECK_FALSE(tokens.holder_of("").has_value());
  CHECK_FALSE(tokens.holder_of(token + "0").has_value());
  CHECK_FALSE(tokens.holder_of(base::text_of(base::sha256(token))).has_value());
  // NIST's vector for SHA-256.
  CHECK(base::text_of(base::sha256("abc")) ==
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("access: a tokens file with one bad line is refused as a whole, without its text in the message") {
  const std::string token = base::make_token();
  const std::string good = "ci " + base::text_of(base::sha256(token)) + "\n";
  for (const std::string& bad : {token, "ci " + token, std::string("ci"), std::string("ci sha256:12"),
                                 "a/b " + base::text_of(base::sha256(token)), good.substr(0, good.size() - 2) + "g",
                                 good.substr(0, good.size() - 1) + " more"}) {
    Tokens tokens;
    const auto faults = read_tokens(good + bad + "\n", tokens);
    INFO(bad);
    REQUIRE(faults.size() == 1);
    CHECK(faults[0].starts_with("line 2: "));
    CHECK(faults[0].find(token) == std::string::npos);
    CHECK(tokens.size() == 0);
  }
}

TEST_CASE("access: a file of secrets that others can read or change is refused with the chmod") {
  const TempDir dir;
  Tokens tokens;
  for (const mode_t mode : {0644u, 0604u, 0620u, 0660u, 0601u, 0777u}) {
    const std::string path = write_file(dir, "", mode);
    const auto faults = read_tokens_file(path, tokens);
    CHECK(mentions(faults, "chmod 600 " + path));
  }
  for (const mode_t mode : {0600u, 0400u, 0640u, 0440u})
    CHECK(read_tokens_file(write_file(dir, "", mode), tokens).empty());
  CHECK(mentions(read_tokens_file(dir.file("none"), tokens), "No such file"));
  CHECK(mentions(read_tokens_file(dir.path().string(), tokens), "not a regular file"));
}

TEST_CASE("access: rules of the configuration are read whole, and each fault says where") {
  std::vector<std::string> faults;
  const Config config = config_of(R"({"tokens_file": "/t", "rules": [
    {"who": "token:ci-*", "stores": "test-*", "may": ["read", "fork"]},
    {"who": "anyone", "stores": "*", "may": []}]})",
                                  faults);
  CHECK(faults.empty());
  REQUIRE(config.access.rules->size() == 2);
  CHECK((*config.access.rules)[0].origin == "rules[0]");
  CHECK((*config.access.rules)[0].may == (bit(Right::read) | bit(Right::fork)));
  CHECK((*config.access.rules)[1].may == 0);
  for (const auto& [text, fault] :
       {std::pair{R"({"rules": {}})", "rules: expected a list"}, std::pair{R"({"rules": [7]})", "rules[0]"},
        std::pair{R"({"rules": [{"who": "ci", "stores": "*", "may": []}]})", "rules[0].who"},
        std::pair{R"({"rules": [{"who": "anyone", "stores": "a/b", "may": []}]})", "rules[0].stores"},
        std::pair{R"({"rules": [{"who": "anyone", "stores": "*", "may": ["reed"]}]})", "rules[0].may[0]"},
        std::pair{R"({"rules": [{"who": "anyone", "stores": "*"}]})", "rules[0].may: is missing"},
        std::pair{R"({"rules": [{"stores": "*", "may": []}]})", "rules[0].who: is missing"},
        std::pair{R"({"rules": [{"who": "anyone", "store": "*", "may": []}]})", "did you mean \"stores\"?"}}) {
    INFO(text);
    config_of(text, faults);
    CHECK(mentions(faults, fault));
  }
}

TEST_CASE("access: what can't work together is said before anything starts") {
  const auto check = [](Config config) {
    config.directory.emplace().path = "/d";
    return check_config(config);
  };
  Config config;
  config.access.tokens_file = "/t";
  CHECK(mentions(check(config), "tokens_file: without \"rules\""));
  config.access.tokens_file.clear();
  config.access.rules.emplace().push_back({"rules[0]", "token:ci", "*", all_rights});
  CHECK(mentions(check(config), "rules[0].who: \"token:ci\" is a token, and there is no \"tokens_file\""));
  config.access.tokens_file = "/t";
  CHECK(check(config).empty());
  config.access.insecure = true;
  CHECK(mentions(check(config), "--insecure"));
}

TEST_CASE("access: before somebody is admitted nothing is allowed but what needs no right") {
  const Gate gate;
  for (const OperationNeed& each : operation_needs)
    CHECK(gate.may(each.operation, "s", Access::read) == (each.need == Need::nothing));
}
