// Who gets in, and who may do what: a real daemon with rules, asked for everything by everybody.
#include <ifaddrs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "server/access/rights.hpp"
#include "tests/daemon/access_place.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/skip.hpp"

using namespace pageserver;
using namespace pageserver::test;
using namespace pageserver::server;
using nlohmann::json;
using proto::Access;
using proto::Operation;
using proto::Status;

namespace {

std::string identity_of(RawClient& client, std::string_view store = {}) {
  const Frame frame = client.call(proto::WhoamiRequest{store});
  return std::string(frame.as<proto::WhoamiAnswer>().identity);
}

/// Asks for this operation about the store `demo`, or for a thing of it that does no harm. A new operation does not
/// compile until it is here.
Frame ask(RawClient& client, Operation operation, std::string_view store, Access access) {
  static const std::array<std::byte, 1> one{};
  proto::OpenRequest open;
  open.store = store;
  open.access = access;
  switch (operation) {
    case Operation::hello: return client.call(hello_of({}));
    case Operation::ping: return client.call(proto::PingRequest{});
    case Operation::list: return client.call(proto::ListRequest{});
    case Operation::create: return client.call(proto::CreateRequest{store, 1});
    case Operation::remove: return client.call(proto::RemoveRequest{store});
    case Operation::open: return client.call(open);
    case Operation::size: return client.call(proto::SizeRequest{});
    case Operation::grow: return client.call(proto::GrowRequest{0});
    case Operation::read: return client.call(proto::ReadRequest{0, 1});
    case Operation::write: return client.call(proto::WriteRequest{0, one});
    case Operation::zero: return client.call(proto::ZeroRequest{0, 1});
    case Operation::data_ranges: return client.call(proto::DataRangesRequest{0, 65536});
    case Operation::flush: return client.call(proto::FlushRequest{});
    case Operation::commit: return client.call(proto::CommitRequest{});
    case Operation::discard: return client.call(proto::DiscardRequest{});
    case Operation::refresh: return client.call(proto::RefreshRequest{});
    case Operation::stat: return client.call(proto::StatRequest{});
    case Operation::break_lease: return client.call(proto::BreakLeaseRequest{~0ull});
    case Operation::close: return client.call(proto::CloseRequest{});
    case Operation::sessions: return client.call(proto::SessionsRequest{0, store});
    case Operation::kick: return client.call(proto::KickRequest{~0ull, proto::KickWhat::connection, ""});
    case Operation::whoami: return client.call(proto::WhoamiRequest{store});
    case Operation::faults: return client.call(proto::FaultsRequest{});
    case Operation::ring: return client.call(proto::RingRequest{65536});
    case Operation::takeover: return client.call(proto::TakeoverRequest{store, false});
    case Operation::lease_lost:
    case Operation::waiting:
    case Operation::goodbye: break;
  }
  throw std::runtime_error("no client asks for " + proto::to_string(operation));
}

bool is_for_sessions(Operation operation) {
  const Need need = need_of(operation);
  return (need == Need::access && operation != Operation::open) || need == Need::admin;
}

Status denied_text_is_whole(const Frame& frame) {
  if (frame.status() == Status::permission_denied) CHECK(frame.text().find("it takes the right") != std::string::npos);
  return frame.status();
}

/// Runs `call` as another user: only this thread, and only in the eyes of the kernel.
void as_user(uid_t uid, const std::function<void()>& call) {
  REQUIRE(::syscall(SYS_setresuid, -1, uid, -1) == 0);
  try {
    call();
  } catch (...) {
    ::syscall(SYS_setresuid, -1, 0, -1);
    throw;
  }
  REQUIRE(::syscall(SYS_setresuid, -1, 0, -1) == 0);
}

/// An address of this machine that is not loopback.
std::optional<in_addr> own_address() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return {};
  std::optional<in_addr> found;
  for (const ifaddrs* each = all; each != nullptr && !found; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    sockaddr_in address{};
    std::memcpy(&address, each->ifa_addr, sizeof address);
    if ((ntohl(address.sin_addr.s_addr) >> 24) != 127) found = address.sin_addr;
  }
  ::freeifaddrs(all);
  return found;
}

std::string text_of(const in_addr& address) {
  std::array<char, INET_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET, &address, text.data(), text.size());
  return text.data();
}

std::vector<std::string> names_of(RawClient& client) {
  const Frame frame = client.call(proto::ListRequest{});
  std::vector<std::string> names;
  for (const auto& entry : frame.as<proto::ListAnswer>().entries) names.emplace_back(entry.store);
  return names;
}

}  // namespace

TEST_CASE("access: each operation with each right, and with all others: what the table says, and nothing else") {
  Place place;
  // For each right one who has it alone and one who has all but it, and one who has none.
  std::map<std::string, Rights> people{{"none", 0}, {"all", all_rights}};
  for (const base::NamedRight& each : rights_by_name) {
    people["only-" + std::string(each.name)] = bit(each.right);
    people["not-" + std::string(each.name)] = all_rights & ~bit(each.right);
  }
  for (const auto& [name, rights] : people) {
    place.token(name);
    std::vector<std::string> may;
    for (const base::NamedRight& each : rights_by_name)
      if ((rights & bit(each.right)) != 0) may.emplace_back(each.name);
    place.rule("token:" + name, "demo", may);
  }
  place.store("demo");
  Daemon daemon{place.flags(), &place.dir};
  std::size_t allowed = 0, refused = 0;
  for (const auto& [name, rights] : people) {
    for (const OperationNeed& each : operation_needs) {
      if (each.operation == Operation::close || is_for_sessions(each.operation)) continue;
      for (const Access access : {Access::read, Access::fork, Access::write}) {
        INFO(name << ": " << proto::to_string(each.operation) << " access " << static_cast<int>(access));
        RawClient client = greeted(daemon, place.tokens[name]);
        // Whether the store is there makes no difference: it was removed, perhaps.
        const Status status = denied_text_is_whole(ask(client, each.operation, "demo", access));
        const bool may = status != Status::permission_denied;
        CHECK(may == is_allowed(each.operation, access, rights));
        ++(may ? allowed : refused);
        if (each.operation == Operation::remove && status == Status::ok) place.store("demo");
        if (each.operation != Operation::open || !may) continue;
        for (const OperationNeed& inside : operation_needs) {
          if (!is_for_sessions(inside.operation) && inside.operation != Operation::ping) continue;
          INFO("then " << proto::to_string(inside.operation));
          const bool may_inside =
              denied_text_is_whole(ask(client, inside.operation, "demo", access)) != Status::permission_denied;
          CHECK(may_inside == is_allowed(inside.operation, access, rights));
          ++(may_inside ? allowed : refused);
        }
        CHECK(ask(client, Operation::close, "demo", access).status() == Status::ok);
      }
    }
    // And on a store that no rule names.
    RawClient client = greeted(daemon, place.tokens[name]);
    for (const Operation operation : {Operation::create, Operation::remove, Operation::open})
      for (const Access access : {Access::read, Access::fork, Access::write})
        CHECK(ask(client, operation, "other", access).status() == Status::permission_denied);
    CHECK(ask(client, Operation::sessions, "other", Access::read).status() == Status::permission_denied);
  }
  CHECK(allowed > 300);
  CHECK(refused > 100);
}

TEST_CASE("access: a right on one store is none on another, and a refusal does not tell whether a store is there") {
  Place place;
  place.token("ci");
  place.rule("token:ci", "mine-*", {"read", "create"});
  place.store("mine-1");
  place.store("theirs");
  Daemon daemon{place.flags(), &place.dir};
  RawClient client = greeted(daemon, place.tokens["ci"]);
  CHECK(client.call(proto::CreateRequest{"mine-2", 0}).status() == Status::ok);
  const Frame there = client.try_open("theirs", Access::read), absent = client.try_open("absent", Access::read);
  CHECK(there.status() == Status::permission_denied);
  CHECK(absent.status() == Status::permission_denied);
  CHECK(there.text().substr(there.text().find(':')) == absent.text().substr(absent.text().find(':')));
  CHECK(names_of(client) == std::vector<std::string>{"mine-1", "mine-2"});
  RawClient nobody = greeted(daemon, "");
  CHECK(names_of(nobody).empty());
}

TEST_CASE("access: a list of few visible stores among many is whole, page by page") {
  Place place;
  place.token("ci");
  place.rule("token:ci", "z-*", {"read"});
  for (int i = 0; i < 1100; ++i) place.store("a-" + std::to_string(i), 0);
  std::set<std::string> expected;
  for (int i = 0; i < 40; ++i) {
    place.store("z-" + std::to_string(i), 0);
    expected.insert("z-" + std::to_string(i));
  }
  Daemon daemon{place.flags(), &place.dir};
  RawClient client = greeted(daemon, place.tokens["ci"]);
  std::set<std::string> found;
  std::string after;
  for (bool more = true; more;) {
    const Frame frame = client.call(proto::ListRequest{after});
    const auto answer = frame.as<proto::ListAnswer>();
    more = answer.more;
    REQUIRE_FALSE(answer.entries.empty());
    for (const auto& entry : answer.entries) found.insert(std::string(entry.store));
    after = std::string(answer.entries.back().store);
  }
  CHECK(found == expected);
}

TEST_CASE(
    "access: a token that is not accepted is told so after a while, in the same words whatever is wrong with it") {
  Place place;
  place.token("ci");
  place.rule("token:ci", "*", {"read"});
  Daemon daemon{place.flags(), &place.dir};
  std::string wrong = place.tokens["ci"];
  wrong.back() = wrong.back() == '0' ? '1' : '0';
  std::set<std::string> texts;
  for (const std::string& token :
       {wrong, std::string("x"), std::string(), std::string("token:ci"), std::string("ci")}) {
    RawClient guesser = RawClient::tcp(daemon.port());
    const auto begin = std::chrono::steady_clock::now();
    guesser.send(hello_of("token " + token));
    const Frame told = guesser.must_receive();
    CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(900));
    CHECK(told.is_notice());
    CHECK(told.status() == Status::permission_denied);
    texts.insert(told.text());
    CHECK(guesser.closed_within());
  }
  CHECK(texts.size() == 1);
  daemon.wait_for_log("access refused");
  CHECK(daemon.log().find(wrong) == std::string::npos);
  CHECK(daemon.log().find(place.tokens["ci"]) == std::string::npos);
  // Who has the right one waits for nobody.
  RawClient guesser = RawClient::tcp(daemon.port());
  guesser.send(hello_of("token " + wrong));
  RawClient client = greeted(daemon, place.tokens["ci"]);
  CHECK(identity_of(client) == "token:ci");
  // What a guesser sends behind its hello is not looked at, and one that goes is forgotten.
  guesser.send(proto::ListRequest{});
  guesser.reset();
  CHECK(daemon.stop() == 0);
}

TEST_CASE("access: credentials of another kind are unsupported, also where there are no tokens") {
  Place place;
  place.config.erase("tokens_file");
  Daemon daemon{place.flags(), &place.dir};
  for (const auto& [credentials, status] :
       {std::pair{"password hunter2", Status::unsupported}, std::pair{"token", Status::unsupported},
        std::pair{"token pgt_0", Status::permission_denied}}) {
    RawClient client = RawClient::tcp(daemon.port());
    client.send(hello_of(credentials));
    CHECK(client.must_receive().status() == status);
  }
}

TEST_CASE("access: without an identity of its own a client is anyone over TCP and its user over a Unix socket") {
  Place place;
  place.token("ci");
  place.rule("anyone", "public", {"read"});
  place.rule("uid:" + std::to_string(::geteuid()), "*", {"admin"});
  Daemon daemon{place.flags(), &place.dir};
  RawClient over_tcp = greeted(daemon, ""), local = greeted(daemon, "", true);
  CHECK(identity_of(over_tcp) == "anyone");
  CHECK(identity_of(local) == "uid:" + std::to_string(::geteuid()));
  RawClient with_token = greeted(daemon, place.tokens["ci"], true);
  CHECK(identity_of(with_token) == "token:ci");
  CHECK(local.call(proto::WhoamiRequest{"public"}).as<proto::WhoamiAnswer>().rights ==
        (bit(Right::read) | bit(Right::admin)));
  CHECK(local.call(proto::WhoamiRequest{"else"}).as<proto::WhoamiAnswer>().rights == bit(Right::admin));
  CHECK(local.call(proto::WhoamiRequest{}).as<proto::WhoamiAnswer>().rights == bit(Right::admin));
  CHECK(with_token.call(proto::WhoamiRequest{}).as<proto::WhoamiAnswer>().rights == 0);
  RawClient old = RawClient::tcp(daemon.port());
  proto::HelloRequest hello = hello_of({});
  hello.features &= ~proto::feature_identity;
  old.call(hello).as<proto::HelloAnswer>();
  CHECK(old.call(proto::WhoamiRequest{}).status() == Status::unsupported);
}

TEST_CASE("access: without rules a Unix socket is for root and the daemon's user, whatever its mode lets in") {
  if (::geteuid() != 0) return skip("only root can be somebody else");
  TempDir dir;
  ::chmod(dir.path().c_str(), 0755);
  Daemon daemon{{"--store", "demo={dir}/demo.img"}, &dir};
  ::chmod(daemon.socket_path().c_str(), 0666);
  std::optional<RawClient> client;
  as_user(65533, [&] { client.emplace(greeted(daemon, "", true)); });
  CHECK(identity_of(*client) == "uid:65533");
  CHECK(names_of(*client).empty());
  const Frame refused = client->try_open("demo", Access::read);
  CHECK(refused.status() == Status::permission_denied);
  CHECK(refused.text().find("without rules") != std::string::npos);
  CHECK(client->call(proto::SessionsRequest{}).status() == Status::permission_denied);
  CHECK(client->call(proto::CreateRequest{"x", 0}).status() == Status::permission_denied);
  RawClient root = greeted(daemon, "", true);
  CHECK(root.try_open("demo").status() == Status::ok);
}

TEST_CASE("access: --insecure serves every user of a Unix socket") {
  if (::geteuid() != 0) return skip("only root can be somebody else");
  TempDir dir;
  ::chmod(dir.path().c_str(), 0755);
  Daemon daemon{{"--store", "demo={dir}/demo.img", "--insecure"}, &dir};
  ::chmod(daemon.socket_path().c_str(), 0666);
  std::optional<RawClient> client;
  as_user(65533, [&] { client.emplace(greeted(daemon, "", true)); });
  CHECK(client->try_open("demo").status() == Status::ok);
}

TEST_CASE("access: who is no administrator sees names of others neither in stat nor in busy") {
  Place place;
  place.token("writer");
  place.token("reader");
  place.token("boss");
  place.rule("token:*", "*", {"read", "write"});
  place.rule("token:boss", "*", {"admin"});
  place.store("demo");
  Daemon daemon{place.flags(), &place.dir};
  RawClient writer = greeted(daemon, place.tokens["writer"]), reader = greeted(daemon, place.tokens["reader"]),
            boss = greeted(daemon, place.tokens["boss"]);
  REQUIRE(writer.try_open("demo", Access::write, 0, "the-writer").status() == Status::ok);
  const Frame busy = reader.try_open("demo"), told = boss.try_open("demo");
  CHECK(busy.status() == Status::busy);
  CHECK(busy.text().find("the-writer") == std::string::npos);
  CHECK(busy.text().find("127.0.0.1") == std::string::npos);
  CHECK(told.text().find("the-writer") != std::string::npos);
  const auto writer_name = [](RawClient& client) {
    const Frame frame = client.call(proto::StatRequest{});
    const auto answer = frame.as<proto::StatAnswer>();
    REQUIRE(answer.writer.has_value());
    return std::string(answer.writer->name) + "|" + std::string(answer.writer->address);
  };
  reader.open("demo", Access::read);
  CHECK(writer_name(reader) == "|");
  CHECK(writer_name(writer).starts_with("the-writer|127.0.0.1"));
  boss.open("demo", Access::read);
  CHECK(writer_name(boss).starts_with("the-writer|"));
}

TEST_CASE("access: an administrator of some stores sees and ends only what is on them") {
  Place place;
  place.token("boss");
  place.token("user");
  place.token("root");
  place.rule("token:*", "*", {"read"});
  place.rule("token:boss", "mine", {"admin"});
  place.rule("token:root", "*", {"admin"});
  place.store("mine");
  place.store("other");
  Daemon daemon{place.flags(), &place.dir};
  RawClient on_mine = greeted(daemon, place.tokens["user"]), on_other = greeted(daemon, place.tokens["user"]);
  const std::uint64_t mine = on_mine.open("mine", Access::read).session_id,
                      other = on_other.open("other", Access::read).session_id;
  RawClient boss = greeted(daemon, place.tokens["boss"]), root = greeted(daemon, place.tokens["root"]);
  const auto seen = [](RawClient& client) {
    const Frame frame = client.call(proto::SessionsRequest{});
    std::set<std::uint64_t> ids;
    for (const auto& entry : frame.as<proto::SessionsAnswer>().entries) ids.insert(entry.session_id);
    return ids;
  };
  CHECK(seen(boss) == std::set{mine});
  CHECK(seen(root) == std::set{std::uint64_t{0}, mine, other});
  const auto kick = [](RawClient& client, std::uint64_t id) {
    return client.call(proto::KickRequest{id, proto::KickWhat::session, ""}).status();
  };
  CHECK(kick(boss, other) == Status::not_found);
  CHECK(kick(boss, 4711) == Status::not_found);
  CHECK(on_other.call(proto::SizeRequest{}).status() == Status::ok);
  CHECK(kick(boss, mine) == Status::ok);
  CHECK(kick(root, other) == Status::ok);
}

TEST_CASE("access: a tokens file that others can read keeps the daemon from starting, and says the chmod") {
  Place place;
  place.token("ci");
  place.rule("token:ci", "*", {"read"});
  ::chmod(place.dir.file("tokens").c_str(), 0644);
  std::vector<std::string> argv{pageserverd_path()};
  for (const std::string& flag : place.flags()) argv.push_back(flag);
  argv.insert(argv.end(), {"--listen", "127.0.0.1:0"});
  const RunResult started = run(argv);
  CHECK(started.status == 1);
  CHECK(started.err.find("chmod 600 " + place.dir.file("tokens")) != std::string::npos);
  argv.push_back("--check-config");
  const RunResult checked = run(argv);
  CHECK(checked.status == 1);
  CHECK(checked.err.find("chmod 600 ") != std::string::npos);
}

TEST_CASE("access: pagectl whoami, --explain and the daemon say the same") {
  Place place;
  place.token("ci");
  place.rule("anyone", "demo", {"read"});
  place.rule("token:ci", "d*", {"write", "admin"});
  place.store("demo");
  std::vector<std::string> argv{pageserverd_path()};
  for (const std::string& flag : place.flags()) argv.push_back(flag);
  argv.insert(argv.end(), {"--check-config", "--explain", "token:ci", "demo"});
  const RunResult explained = run(argv);
  INFO(explained.err);
  CHECK(explained.status == 0);
  CHECK(explained.out ==
        "token:ci may do read, write, admin with demo\n"
        "read: rules[0] (anyone on demo); write, admin: rules[1] (token:ci on d*)\n");
  Daemon daemon{place.flags(), &place.dir};
  const RunResult asked =
      run({pagectl_path(), "whoami", daemon.tcp_uri("demo", "token_file=" + place.dir.file("ci.token"))});
  INFO(asked.err);
  CHECK(asked.status == 0);
  CHECK(asked.out == explained.out);
  const RunResult document = run({pagectl_path(), "whoami", "--json", daemon.server_uri()});
  REQUIRE(document.status == 0);
  const json parsed = json::parse(document.out);
  CHECK(parsed["identity"] == "anyone");
  CHECK(parsed["may"] == json::array());
  CHECK(parsed["store"].is_null());
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{"--check-config", "--explain", "ci", "demo"},
        std::vector<std::string>{"--check-config", "--explain", "token:ci", "a/b"},
        std::vector<std::string>{"--explain", "token:ci", "demo"}}) {
    std::vector<std::string> words{pageserverd_path(), "--directory", place.dir.file("stores")};
    words.insert(words.end(), wrong.begin(), wrong.end());
    CHECK(run(words).status == 2);
  }
}

TEST_CASE("access: the tool shows a token of a file or the environment, and refuses a file that others can read") {
  Place place;
  place.token("ci");
  place.rule("token:ci", "*", {"read", "write"});
  place.store("demo");
  Daemon daemon{place.flags(), &place.dir};
  const std::string file = place.dir.file("ci.token");
  CHECK(run({pagectl_path(), "hash", daemon.tcp_uri("demo", "token_file=" + file)}).status == 0);
  CHECK(run({pagectl_path(), "hash", daemon.unix_uri("demo", "token_file=" + file)}).status == 0);
  CHECK(run({"env", "PAGESERVER_TOKEN=" + place.tokens["ci"], pagectl_path(), "hash", daemon.tcp_uri("demo")}).status ==
        0);
  const RunResult without = run({pagectl_path(), "hash", daemon.tcp_uri("demo")});
  CHECK(without.status == 1);
  CHECK(without.err.find("anyone may do nothing there") != std::string::npos);
  const RunResult wrong = run({"env", "PAGESERVER_TOKEN=pgt_wrong", pagectl_path(), "hash", daemon.tcp_uri("demo")});
  CHECK(wrong.status == 1);
  CHECK(wrong.err.find("the token was not accepted") != std::string::npos);
  CHECK(wrong.err.find("pgt_wrong") == std::string::npos);
  ::chmod(file.c_str(), 0644);
  const RunResult open_file = run({pagectl_path(), "hash", daemon.tcp_uri("demo", "token_file=" + file)});
  CHECK(open_file.status == 1);
  CHECK(open_file.err.find("chmod 600 " + file) != std::string::npos);
  CHECK(open_file.err.find(place.tokens["ci"]) == std::string::npos);
  const RunResult missing = run({pagectl_path(), "hash", daemon.tcp_uri("demo", "token_file=/none")});
  CHECK(missing.status == 1);
  CHECK(missing.err.find("No such file") != std::string::npos);
}

TEST_CASE("access: pagectl token prints a token once, and writes over no file") {
  const TempDir dir;
  const RunResult made = run({pagectl_path(), "token", "create", "ci"});
  REQUIRE(made.status == 0);
  CHECK(made.out.starts_with("pgt_"));
  CHECK(made.out.size() == 4 + 64 + 1);
  CHECK(made.err.find("ci sha256:") != std::string::npos);
  CHECK(made.err.find(made.out.substr(0, 68)) == std::string::npos);
  CHECK(run({pagectl_path(), "token", "create", "ci", "--quiet"}).out != made.out);
  const std::string file = dir.file("t");
  CHECK(run({pagectl_path(), "token", "create", "ci", "--quiet", "--save", file}).status == 0);
  struct stat status {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777u) == 0600);
  const RunResult again = run({pagectl_path(), "token", "create", "ci", "--quiet", "--save", file});
  CHECK(again.status == 1);
  CHECK(again.err.find("File exists") != std::string::npos);
  CHECK(run({pagectl_path(), "token", "create", "a/b"}).status == 2);
  CHECK(run({pagectl_path(), "token", "destroy", "ci"}).status == 2);
}

TEST_CASE("access: no token goes over a network, neither from the tool nor into the daemon") {
  const std::optional<in_addr> address = own_address();
  if (!address) return skip("this machine has no address but loopback");
  Place place;
  place.token("ci");
  place.rule("token:ci", "*", {"read"});
  place.config["listen"] = {"0.0.0.0:0"};
  std::vector<std::string> argv{pageserverd_path()};
  for (const std::string& flag : place.flags()) argv.push_back(flag);
  argv.insert(argv.end(), {"--port-file", place.dir.file("port")});
  Process daemon(argv);
  daemon.wait_for_err(" start ");
  std::string listener;
  std::ifstream(place.dir.file("port")) >> listener;
  const std::string port = listener.substr(listener.rfind(':') + 1);
  const RunResult tool =
      run({pagectl_path(), "list",
           "pageserver://" + text_of(*address) + ":" + port + "?token_file=" + place.dir.file("ci.token")});
  CHECK(tool.status == 1);
  CHECK(tool.err.find("others can listen") != std::string::npos);
  CHECK(daemon.err_so_far().find("access refused") == std::string::npos);
  RawClient client = RawClient::tcp_at(*address, static_cast<std::uint16_t>(std::stoul(port)));
  client.send(hello_of("token " + place.tokens["ci"]));
  const Frame told = client.must_receive();
  CHECK(told.status() == Status::permission_denied);
  CHECK(told.text().find("replace it") != std::string::npos);
  daemon.signal(SIGTERM);
  CHECK(daemon.wait() == 0);
}
