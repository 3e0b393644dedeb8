// No secret is anywhere where people look: logs, errors, answers, reports, pages, the words of a process.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include <pageserver/async_session.hpp>
#include <pageserver/daemon.hpp>
#include <pageserver/error.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/daemon/access_place.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

std::string contents(const std::string& file) {
  const std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string command_line_of(pid_t pid) { return contents("/proc/" + std::to_string(pid) + "/cmdline"); }

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      out += c;
      continue;
    }
    char code[4];
    std::snprintf(code, sizeof code, "%%%02X", static_cast<unsigned char>(c));
    out += code;
  }
  return out;
}

/// What must be nowhere, by what it is called.
class Secrets {
public:
  void add(const std::string& name, const std::string& secret) { secrets_.emplace_back(name, secret); }
  /// Each line of it, but for those that say what the file is.
  void add_key(const std::string& name, const std::string& file) {
    std::istringstream lines(contents(file));
    for (std::string line; std::getline(lines, line);)
      if (!line.starts_with("-----")) secrets_.emplace_back(name, line);
  }
  /// Neither whole nor a large piece of one.
  void are_not_in(std::string_view text, const std::string& where) const {
    constexpr std::size_t piece = 16, shown_max = 4000;
    for (const auto& [name, secret] : secrets_) {
      const std::string_view whole = secret;
      const std::size_t bytes = std::min(piece, whole.size());
      for (const std::size_t at : {std::size_t{0}, (whole.size() - bytes) / 2, whole.size() - bytes}) {
        if (text.find(whole.substr(at, bytes)) == std::string_view::npos) continue;
        FAIL_CHECK(name << " is in " << where << ": " << text.substr(0, shown_max));
        break;
      }
    }
  }

private:
  std::vector<std::pair<std::string, std::string>> secrets_;
};

/// Rules, tokens and certificates, and what must be told of none of them.
struct Guarded : Place {
  Certificates made;
  Secrets secrets;
  std::string token_of_ci, wrong, password = "correct-horse-battery", key;
  const std::filesystem::path before = std::filesystem::current_path();

  ~Guarded() { std::filesystem::current_path(before); }
  Guarded() {
    // What is taken for a file's name is made here.
    std::filesystem::current_path(dir.path());
    made.make("server", {});
    made.make_client("ci", "URI:app:ci");
    token_of_ci = token("ci");
    token("boss");
    // Not of pagectl: a daemon takes any text whose hash it has.
    wrong = token_of_ci;
    std::reverse(wrong.begin() + 4, wrong.end());
    rule("token:ci", "demo", {"read", "write"});
    rule("token:boss", "*", {"read", "write", "admin"});
    rule("cert:app:ci", "demo", {"read"});
    store("demo");
    key = contents(made.key("ci"));
    secrets.add("ci's token", token_of_ci.substr(4));
    secrets.add("boss's token", tokens["boss"].substr(4));
    secrets.add("a wrong token", wrong.substr(4));
    secrets.add("a password", password);
    secrets.add_key("the daemon's key", made.key("server"));
    secrets.add_key("a client's key", made.key("ci"));
  }

  std::vector<std::string> tls_flags() {
    std::vector<std::string> all = flags();
    all.insert(all.end(), {"--listen-tls", "127.0.0.1:0", "--tls-certificate", made.certificate("server"), "--tls-key",
                           made.key("server"), "--tls-client-ca", made.certificate("ca"), "--metrics",
                           "unix:" + dir.file("m.sock")});
    return all;
  }
  std::string tls_uri(const test::Daemon& daemon, const std::string& path) const {
    const std::string& line = daemon.listeners().at(1);
    return "pageservers://localhost" + line.substr(line.rfind(':')) + path + "?tls_ca=" + made.certificate("ca");
  }

  /// Secrets where a URI, a path or a name belongs, as people put them there by mistake.
  std::vector<std::string> misplaced(const test::Daemon& daemon) const {
    const std::string tcp = "pageserver://127.0.0.1:" + std::to_string(daemon.port()), demo = tcp + "/demo";
    const std::string tls = tls_uri(daemon, "/demo");
    const std::string user = "pageserver://ci:" + password + "@127.0.0.1/demo";
    return {
        token_of_ci,
        "file:" + token_of_ci,
        "file:/nowhere/" + token_of_ci + "/x.img",
        "store:/nowhere/" + token_of_ci + "/x.img",
        tcp + "/" + token_of_ci,
        demo + "?token=" + token_of_ci,
        demo + "?token=" + password,
        demo + "?tokn=" + password,
        demo + "?password=" + password + "&access=read",
        tcp + "?token=" + password,
        demo + "?token_file=" + token_of_ci,
        tcp + "?token_file=" + token_of_ci,
        demo + "?token_file=" + made.key("ci"),
        demo + "?access=" + token_of_ci,
        demo + "?faults=" + token_of_ci,
        demo + "?name=" + token_of_ci + "&wait_ms=" + token_of_ci,
        user,
        "pageserver://" + token_of_ci + "@127.0.0.1/demo",
        "pageserver://" + token_of_ci + "/demo",
        "pageserver+unix:///demo?socket=/nowhere/" + token_of_ci,
        tls + "&tls_certificate=" + made.certificate("ci") + "&tls_key=" + percent_encoded(key),
        tls + "&tls_certificate=" + made.certificate("ci") + "&tls_key=" + made.key("server"),
        tls + "&tls_certificate=" + percent_encoded(key) + "&tls_key=" + made.key("ci"),
        tls + "&tls_certificate=" + made.key("ci") + "&tls_key=" + made.key("ci"),
        tls.substr(0, tls.find('?')) + "?tls_ca=" + made.key("ci"),
        tls + "&tls_name=" + token_of_ci,
        key,
    };
  }
};

std::string http_of(const test::Daemon& daemon, const std::string& path) {
  const HttpAnswer answer = http_get(RawClient::local(daemon.file("m.sock")), path);
  return answer.head + answer.body;
}

/// What a process has in memory that it may write to, but for what is too large to be looked at: AddressSanitizer has
/// such mappings.
void each_memory(pid_t pid, const std::function<void(std::string_view, const std::string&)>& look) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/";
  std::ifstream maps(folder + "maps");
  std::ifstream memory(folder + "mem", std::ios::binary);
  REQUIRE(memory);
  std::size_t looked = 0;
  for (std::string line; std::getline(maps, line);) {
    unsigned long long begin = 0, end = 0;
    char rights[5] = "";
    constexpr unsigned long long looked_at_max = 256u << 20;
    if (std::sscanf(line.c_str(), "%llx-%llx %4s", &begin, &end, rights) != 3 || rights[1] != 'w') continue;
    if (end - begin > looked_at_max) continue;
    std::string bytes(end - begin, '\0');
    memory.clear();
    memory.seekg(static_cast<std::streamoff>(begin));
    memory.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    look(bytes, "the memory " + line);
    ++looked;
  }
  CHECK(looked > 3);
}

std::string said_by(const std::function<void()>& call) {
  try {
    call();
    return {};
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("a daemon tells no secret in its log, its answers, its pages or its command line, at any level") {
  const auto [level, format] = GENERATE(
      table<std::string, std::string>({{"debug", "text"}, {"info", "json"}, {"warn", "text"}, {"error", "json"}}));
  Guarded place;
  std::vector<std::string> flags = place.tls_flags();
  flags.insert(flags.end(), {"--log-level", level, "--log-format", format});
  test::Daemon daemon{flags, &place.dir};
  for (const char* const expected : {"rules not read", "certificate not read", "malformed", "rotocol"})
    daemon.expect_complaint(expected);
  const auto answered = [&](const Frame& frame, const std::string& to) {
    place.secrets.are_not_in(
        std::string_view(reinterpret_cast<const char*>(frame.payload.data()), frame.payload.size()),
        "the answer to " + to);
  };
  // Who shows a token: the right one, wrong ones, in every wrong way.
  RawClient known = greeted(daemon, place.token_of_ci);
  answered(known.call(proto::WhoamiRequest{"demo"}), "whoami");
  for (const std::string& credentials :
       {"token " + place.wrong, "token " + place.password, "token  " + place.token_of_ci, place.token_of_ci,
        "password " + place.password, "bearer " + place.token_of_ci, "token " + place.key.substr(0, 200)}) {
    RawClient guesser = RawClient::tcp(daemon.port());
    guesser.send(hello_of(credentials));
    answered(guesser.must_receive(), "hello");
  }
  // And where something else belongs.
  RawClient misled = RawClient::tcp(daemon.port());
  const std::string right = "token " + place.token_of_ci;
  proto::HelloRequest hello = hello_of(right);
  hello.client_name = place.token_of_ci;
  misled.call(hello).as<proto::HelloAnswer>();
  for (const std::string& store : {place.token_of_ci.substr(0, 60), place.token_of_ci.substr(0, 60) + "/.."}) {
    proto::OpenRequest open;
    open.store = store;
    answered(misled.call(open), "open");
    answered(misled.call(proto::CreateRequest{store, 1}), "create");
    answered(misled.call(proto::RemoveRequest{store}), "remove");
    answered(misled.call(proto::ListRequest{store}), "list");
    answered(misled.call(proto::WhoamiRequest{store}), "whoami");
    answered(misled.call(proto::SessionsRequest{0, store}), "sessions");
  }
  REQUIRE(misled.try_open("demo", proto::Access::write, 0, place.token_of_ci).status() == proto::Status::ok);
  RawClient boss = greeted(daemon, place.tokens["boss"]);
  answered(boss.call(proto::SessionsRequest{}), "sessions");
  answered(boss.try_open("demo"), "an open of what another one has");
  boss.open("demo", proto::Access::read);
  answered(boss.call(proto::StatRequest{}), "stat");
  for (const char* const path : {"/metrics", "/", "/pages", "/pages?store=demo", "/readyz", "/livez"})
    place.secrets.are_not_in(http_of(daemon, path), path);
  const RunResult told = run(
      {"env", "PAGESERVER_TOKEN=" + place.tokens["boss"], pagectl_path(), "sessions", daemon.server_uri(), "--json"});
  CHECK(told.status == 0);
  place.secrets.are_not_in(told.out + told.err, "pagectl sessions");
  answered(boss.call(proto::KickRequest{~0ull, proto::KickWhat::connection, place.token_of_ci}), "kick");
  // Over TLS, with a key that is read.
  for (const std::string& uri : place.misplaced(daemon))
    place.secrets.are_not_in(said_by([&] { (void)open(uri); }), "what the library says");
  // What is read again, and wrong.
  const auto reload = [&] {
    const auto failed = [&] {
      const std::string now = http_of(daemon, "/metrics");
      return sample_of(now, R"(pageserver_reloads_total{files="rules",result="failed"})") +
             sample_of(now, R"(pageserver_reloads_total{files="certificates",result="failed"})");
    };
    const double before = failed();
    daemon.process().signal(SIGHUP);
    wait_until([&] { return failed() > before; });
  };
  std::ofstream(place.dir.file("tokens"), std::ios::app) << "new " << place.wrong << '\n' << place.token_of_ci << '\n';
  reload();
  const std::string sound = contents(place.dir.file("config.json"));
  std::ofstream(place.dir.file("config.json")) << R"({"rules": [{"who": ")" << place.token_of_ci << "\"}]}";
  reload();
  std::ofstream(place.dir.file("config.json")) << R"({"rules": ")" << place.token_of_ci << "\" \"" << place.wrong;
  reload();
  std::ofstream(place.dir.file("config.json")) << sound;
  std::ofstream(place.made.key("server")) << place.key;
  reload();
  std::ofstream(place.made.key("server")) << place.key.substr(0, 100);
  reload();
  CHECK(daemon.stop() == 0);
  place.secrets.are_not_in(daemon.log(), "the log");
}

TEST_CASE("a daemon that can't start says why without any secret, wherever one stands") {
  Guarded place;
  const std::string sound = (place.flags(), contents(place.dir.file("config.json")));
  const auto check = [&](std::vector<std::string> argv, const std::string& what) {
    argv.insert(argv.begin(), {"timeout", "20", pageserverd_path(), "--check-config"});
    const RunResult result = run(argv);
    INFO(what << ": " << result.err);
    CHECK(result.status != 124);
    place.secrets.are_not_in(result.out + result.err, what);
    return result.status;
  };
  const auto with_config = [&](const std::string& text, const std::string& what) {
    std::ofstream(place.dir.file("bad.json")) << text;
    return check({"--config", place.dir.file("bad.json"), "--store", "demo=" + place.dir.file("demo.img")}, what);
  };
  // Each flag.
  std::istringstream help(run({pageserverd_path(), "--help"}).out);
  std::set<std::string> flags;
  for (std::string word; help >> word;)
    if (word.starts_with("--")) flags.insert(word.substr(0, word.find_first_of(",=")));
  CHECK(flags.size() > 15);
  for (const std::string& flag : flags) {
    for (const std::string& secret : {place.token_of_ci, place.key, place.dir.file(place.token_of_ci)}) {
      check({flag, secret}, flag);
      check({flag + "=" + secret}, flag);
      check({flag, secret, secret, "--config", place.dir.file("config.json")}, flag);
    }
  }
  check({"--explain", place.token_of_ci, place.token_of_ci}, "--explain");
  check({"--store", "demo=" + place.dir.file("demo.img"), "--listen-tls", "127.0.0.1:0", "--tls-certificate",
         place.made.key("server"), "--tls-key", place.made.certificate("server")},
        "certificate and key the wrong way round");
  // Each key of the configuration.
  const RunResult reference = run({pageserverd_path(), "--print-config-reference"});
  std::set<std::string> keys;
  std::istringstream lines(reference.out);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| `")) continue;
    const std::string name = line.substr(3, line.find('`', 3) - 3);
    keys.insert(name.substr(name.rfind('.') + 1, name.rfind('[') - name.rfind('.') - 1));
  }
  CHECK(keys.size() > 20);
  nlohmann::json secret = place.token_of_ci, pem = place.key;
  for (const std::string& key : keys) {
    for (const nlohmann::json& value : {secret, pem}) {
      with_config(nlohmann::json{{key, value}}.dump(), key);
      with_config(nlohmann::json{{key, nlohmann::json::array({value})}}.dump(), key);
      for (const char* const section : {"limits", "tls", "directory", "stores", "defaults"})
        with_config(nlohmann::json{{section, {{key, value}}}}.dump(), std::string(section) + "." + key);
    }
  }
  for (const nlohmann::json& value : {secret, pem}) {
    CHECK(with_config(nlohmann::json{{"token", value}}.dump(), "an unknown key") != 0);
    CHECK(with_config(nlohmann::json{{value.get<std::string>(), 1}}.dump(), "a key") != 0);
    CHECK(with_config("{" + value.dump(), "no end") != 0);
    CHECK(with_config("{\"a\": " + value.get<std::string>() + "}", "no quotes") != 0);
    for (const char* const part : {"who", "stores", "may", "more"}) {
      nlohmann::json rule{{"who", "token:ci"}, {"stores", "*"}, {"may", {"read"}}};
      rule[part] = std::string_view(part) == "may" ? nlohmann::json::array({value}) : value;
      with_config(nlohmann::json{{"tokens_file", place.dir.file("tokens")}, {"rules", {rule}}}.dump(), part);
    }
  }
  std::ofstream(place.dir.file("tokens")) << place.token_of_ci << '\n';
  CHECK(with_config(sound, "the tokens file") != 0);
  std::ofstream(place.dir.file("tokens")) << "ci " << place.token_of_ci << '\n';
  CHECK(with_config(sound, "the tokens file") != 0);
}

TEST_CASE("the library's errors have no secret, whichever way a program gives it one") {
  Guarded place;
  test::Daemon daemon{place.tls_flags(), &place.dir};
  for (const std::string& uri : place.misplaced(daemon)) {
    const std::string said = said_by([&] { (void)open(uri); });
    place.secrets.are_not_in(said, "open()");
    place.secrets.are_not_in(said_by([&] { (void)open_session(uri); }), "open_session()");
    place.secrets.are_not_in(said_by([&] { pageserver::Daemon{uri}.whoami(); }), "Daemon");
  }
  RemoteOptions options;
  options.host = "127.0.0.1";
  options.port = daemon.port();
  options.store = "demo";
  for (const std::string& token :
       {place.wrong, place.password, place.key, place.token_of_ci + "\n", place.token_of_ci + std::string(4096, 'x')}) {
    options.token = token;
    const std::string said = said_by([&] { const AsyncSession session(options); });
    CHECK_FALSE(said.empty());
    place.secrets.are_not_in(said, "AsyncSession");
  }
  // A token of the other kind of file, and a key as one.
  for (const std::string& text : {place.key, place.token_of_ci + " " + place.wrong, std::string(9000, 'a')}) {
    const std::string file = place.dir.file("bad.token");
    std::ofstream(file) << text;
    ::chmod(file.c_str(), 0600);
    place.secrets.are_not_in(said_by([&] { (void)open(daemon.tcp_uri("demo", "token_file=" + file)); }), "token_file");
  }
  // It is said what belongs there.
  const std::string said = said_by([&] { (void)open(daemon.tcp_uri("demo", "token=" + place.token_of_ci)); });
  INFO(said);
  CHECK(said.find("token_file=PATH") != std::string::npos);
  CHECK(said.find("PAGESERVER_TOKEN") != std::string::npos);
}

TEST_CASE("no command of pagectl prints a secret that stands in its words, its environment or its files") {
  Guarded place;
  test::Daemon daemon{place.tls_flags(), &place.dir};
  std::istringstream help(run({pagectl_path(), "--help"}).out);
  std::vector<std::string> commands;
  bool listed = false;
  for (std::string line; std::getline(help, line);) {
    listed = listed ? !line.empty() || commands.empty() : line.find("ubcommands:") != std::string::npos;
    std::string name;
    if (listed && line.starts_with("  ") && std::istringstream(line) >> name && line[2] != ' ')
      commands.push_back(name);
  }
  CHECK(commands.size() > 20);
  const std::vector<std::string> misplaced = place.misplaced(daemon);
  const auto check = [&](std::vector<std::string> words) {
    std::string all;
    for (const std::string& word : words) all += word + ' ';
    // Somewhere else: a word that is a name makes a file of that name.
    words.insert(words.begin(), {"env", "-C", place.dir.file("stores"), "PAGESERVER_TOKEN=" + place.tokens["boss"],
                                 "timeout", "20", pagectl_path()});
    const RunResult result = run(words);
    INFO(all);
    CHECK(result.status != 124);
    place.secrets.are_not_in(result.err + result.out, "what `pagectl " + words.at(7) + "` says");
  };
  // Each command takes some of them, and those that take a URI of each kind all.
  std::size_t turn = 0;
  for (const std::string& command : commands) {
    if (command == "top") continue;  // without an end; it says what `sessions` does
    const bool all = command == "info" || command == "list";
    ++turn;
    for (std::size_t i = all ? 0 : turn % 7; i < misplaced.size(); i += all ? 1 : 7) {
      check({command, misplaced[i]});
      check({command, misplaced[i], misplaced[(i + turn) % misplaced.size()]});
    }
    check({command, daemon.tcp_uri("demo", "token=" + place.token_of_ci), "--json"});
    check({command, "--token=" + place.token_of_ci});
    check({command, "--token", place.password, daemon.tcp_uri("demo")});
  }
  check({"top", daemon.server_uri() + "?token=" + place.token_of_ci});
  check({place.token_of_ci});
  check({"--token=" + place.token_of_ci, "info"});
}

TEST_CASE("a daemon has no token in its memory once it has answered the hello that showed it, right or wrong") {
  Guarded place;
  test::Daemon daemon(place.tls_flags());
  const std::string tls = place.tls_uri(daemon, "/demo");
  const std::vector<std::string> uris{
      daemon.tcp_uri("demo", "access=read"), daemon.unix_uri("demo", "access=read"),
      tls + "&access=read&tls_certificate=" + place.made.certificate("ci") + "&tls_key=" + place.made.key("ci")};
  const auto in_file = [&](const std::string& name, const std::string& token) {
    const std::string file = place.dir.file(name);
    std::ofstream(file) << token;
    std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    return "&token_file=" + file;
  };
  const std::string right = in_file("right", place.token_of_ci), wrong = in_file("wrong", place.wrong);
  for (const std::string& uri : uris) {
    CHECK(open(uri + right)->pages() == 1);
    CHECK(said_by([&] { open(uri + wrong); }).find("token") != std::string::npos);
  }
  const auto kept = open(uris[0] + right);
  // Of the key for TLS it has to have what it signs with.
  Secrets tokens;
  tokens.add("a token", place.token_of_ci.substr(4));
  tokens.add("a wrong token", place.wrong.substr(4));
  each_memory(daemon.pid(), [&](std::string_view bytes, const std::string& where) { tokens.are_not_in(bytes, where); });
  CHECK(kept->pages() == 1);
}

TEST_CASE("a secret among the words of a process is not in its command line while it runs") {
  Guarded place;
  const std::string folder = place.dir.file(place.token_of_ci);
  std::filesystem::create_directory(folder);
  std::vector<std::string> flags = place.tls_flags();
  flags.insert(flags.end(), {"--store", "other=" + folder + "/x.img"});
  test::Daemon daemon{flags, &place.dir};
  const std::string of_daemon = command_line_of(daemon.pid());
  CHECK(of_daemon.find("pageserverd") != std::string::npos);
  CHECK(of_daemon.find("other=") != std::string::npos);
  place.secrets.are_not_in(of_daemon, "the daemon's command line");
  // What it was told holds all the same.
  CHECK(std::filesystem::exists(folder + "/x.img"));
  // It waits for what it is to write.
  Process tool({"env", "PAGESERVER_TOKEN=" + place.token_of_ci, pagectl_path(), "write",
                daemon.tcp_uri("demo", "name=" + place.token_of_ci), "0"},
               Input::lines);
  wait_until([&] { return daemon.log().find("session open") != std::string::npos; });
  const std::string of_tool = command_line_of(tool.pid());
  CHECK(of_tool.find("pagectl") != std::string::npos);
  CHECK(of_tool.find("name=pgt_") != std::string::npos);
  place.secrets.are_not_in(of_tool, "pagectl's command line");
  tool.close_input();
  CHECK(tool.wait() == 0);
}
