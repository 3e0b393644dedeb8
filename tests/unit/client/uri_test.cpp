#include "tests/support/catch.hpp"

#include <cstdint>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "base/units.hpp"
#include "client/uri/uri.hpp"
#include "client/uri/uri_text.hpp"

using namespace pageserver;
using base::parse_duration;
using base::parse_number;
using base::parse_size;
using namespace pageserver::client;
using namespace std::chrono_literals;

namespace {

/// The text of the invalid_argument that `uri` is refused with.
std::string refusal(std::string_view uri, UriTarget target = UriTarget::image) {
  try {
    (void)parse_uri(uri, Access::write, target);
  } catch (const MemoryError& error) {
    CHECK(error.code() == Errc::invalid_argument);
    return error.what();
  }
  FAIL("accepted: " << uri);
  return {};
}

/// The lines of tests/fixtures/uri_cases.txt that begin with `kind`, in fields; its first lines say what they are.
std::vector<std::vector<std::string>> uri_cases(std::string_view kind) {
  std::ifstream file{PAGESERVER_FIXTURES_DIR "/uri_cases.txt"};
  REQUIRE(file.is_open());
  std::vector<std::vector<std::string>> cases;
  for (std::string line; std::getline(file, line);) {
    if (!std::string_view{line}.starts_with(std::string{kind} + "\t")) continue;
    auto& fields = cases.emplace_back(1);
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\t')
        fields.emplace_back();
      else if (line[i] == '\\' && ++i < line.size())
        fields.back() += line[i] == 'n' ? '\n' : line[i];
      else
        fields.back() += line[i];
    }
  }
  return cases;
}

UriTarget target_of(std::string_view word) { return word == "server" ? UriTarget::server : UriTarget::image; }

/// As the table writes them.
std::map<std::string, std::string> values_of(const Uri& uri) {
  static constexpr const char* schemes[] = {"heap", "file", "store", "tcp", "unix"};
  static constexpr const char* accesses[] = {"read", "write", "fork"};
  std::map<std::string, std::string> values;
  values["scheme"] = uri.endpoint.tls ? "tls" : schemes[static_cast<int>(uri.scheme)];
  values["access"] = accesses[static_cast<int>(uri.access)];
  values["view"] = uri.view == View::live ? "live" : "pinned";
  values["publish"] = uri.publish == Publish::on_write ? "on_write" : "on_flush";
  values["wait_ms"] = std::to_string(uri.wait_ms);
  values["connect_ms"] = std::to_string(uri.connect_timeout.count());
  values["request_ms"] = std::to_string(uri.request_timeout.count());
  values["poll_us"] = uri.poll_us ? std::to_string(*uri.poll_us) : "auto";
  values["cache_bytes"] = std::to_string(uri.cache_bytes);
  values["resume"] = std::to_string(uri.resume.count());
  std::string others;
  for (const OtherHost& other : uri.endpoint.others)
    others += (others.empty() ? "" : ",") + other.host + "@" + std::to_string(other.port);
  if (!others.empty()) values["others"] = others;
  values["transport"] = uri.ring ? "auto" : "socket";
  if (uri.scheme == Scheme::tcp) values["port"] = std::to_string(uri.endpoint.port);
  const auto add = [&values](const char* name, const std::string& value) {
    if (!value.empty()) values[name] = value;
  };
  add("path", uri.path);
  add("faults", uri.faults);
  add("host", uri.endpoint.host);
  add("socket", uri.endpoint.socket_path);
  add("store", uri.store);
  add("name", uri.name);
  add("tls_ca", uri.endpoint.tls_ca);
  add("tls_certificate", uri.endpoint.tls_certificate);
  add("tls_key", uri.endpoint.tls_key);
  add("tls_name", uri.endpoint.tls_name);
  return values;
}

}  // namespace

TEST_CASE("a text without a scheme is a path, letter by letter") {
  for (const std::string path : {"db.img", "/var/lib/db.img", "./heap:", "dir/a:b", "../x", "a b", "100%25",
                                 "x?access=read", "x#y", ":x", "5:x", "_x:y", "\xc3\xa4.img"}) {
    CAPTURE(path);
    const auto uri = parse_uri(path);
    CHECK(uri.scheme == Scheme::file);
    CHECK(uri.path == path);
    CHECK(uri.access == Access::write);
    CHECK_FALSE(uri.access_given);
  }
}

TEST_CASE("file: decodes its path and takes access") {
  CHECK(parse_uri("file:db.img").path == "db.img");
  CHECK(parse_uri("file:/a/b").path == "/a/b");
  CHECK(parse_uri("file:///a/b").path == "/a/b");
  CHECK(parse_uri("FILE:a%20b%3f").path == "a b?");
  CHECK(parse_uri("file:a%25").path == "a%");
  CHECK(parse_uri("file:a?access=read").access == Access::read);
  CHECK(parse_uri("file:a?access=write").access == Access::write);
  CHECK(parse_uri("file:a?access=read").access_given);
  CHECK_FALSE(parse_uri("pageserver://h/s?access=read").view_given);
  CHECK(parse_uri("pageserver://h/s?access=read&view=live").view_given);
  CHECK_FALSE(parse_uri("pageserver://h/s").publish_given);
  CHECK(parse_uri("pageserver://h/s?publish=on_write").publish_given);
  CHECK(parse_uri("pageserver://h/s").endpoint.port == RemoteOptions{}.port);
  CHECK(parse_uri("file:a?").path == "a");
  CHECK(parse_uri("heap:").scheme == Scheme::heap);
}

TEST_CASE("store: takes what a session is opened with") {
  const auto uri = parse_uri("store:/data/x.img?access=write&publish=on_flush&wait_ms=7&name=me");
  CHECK(uri.scheme == Scheme::store);
  CHECK(uri.path == "/data/x.img");
  CHECK(uri.publish == Publish::on_flush);
  CHECK(uri.wait_ms == 7);
  CHECK(uri.name == "me");
  CHECK(parse_uri("store:x?access=fork").access == Access::fork);
}

TEST_CASE("a TCP URI names host, port, store and every option") {
  auto uri = parse_uri("pageserver://db.example.org/demo");
  CHECK(uri.scheme == Scheme::tcp);
  CHECK(uri.endpoint == Endpoint{"db.example.org", 6553, ""});
  CHECK(uri.store == "demo");
  CHECK(uri.access == Access::write);
  CHECK(uri.view == View::live);
  CHECK(uri.publish == Publish::on_write);
  CHECK(uri.wait_ms == 0);
  CHECK(uri.connect_timeout == 10s);
  CHECK(uri.request_timeout == 60s);

  uri = parse_uri(
      "pageserver://10.0.0.1:1/a.b-c_9?access=read&view=pinned&wait_ms=4294967295&name=J%C3%BCrgen%20%26+co"
      "&connect_timeout=500ms&request_timeout=2m");
  CHECK(uri.endpoint == Endpoint{"10.0.0.1", 1, ""});
  CHECK(uri.store == "a.b-c_9");
  CHECK(uri.access == Access::read);
  CHECK(uri.view == View::pinned);
  CHECK(uri.wait_ms == 4294967295u);
  CHECK(uri.name == "J\xc3\xbcrgen &+co");
  CHECK(uri.connect_timeout == 500ms);
  CHECK(uri.request_timeout == 120s);

  CHECK(parse_uri("pageserver://h/x?access=write&publish=on_flush").publish == Publish::on_flush);
  CHECK(parse_uri("pageserver://h/x?publish=on_flush").publish == Publish::on_flush);
  CHECK(parse_uri("pageserver://h/x?access=fork").access == Access::fork);
  CHECK(parse_uri("PageServer://h:65535/x").endpoint.port == 65535);
  CHECK(parse_uri("pageserver://h/x?").store == "x");
  CHECK(parse_uri("pageserver://h/%64emo").store == "demo");
  CHECK(parse_uri("pageserver://%6cocalhost/x").endpoint.host == "localhost");
  CHECK(parse_uri("pageserver://h/x?connect_timeout=7").connect_timeout == 7ms);
}

TEST_CASE("poll_us is auto, off or a bounded number of microseconds") {
  CHECK_FALSE(parse_uri("pageserver://h/x").poll_us);
  CHECK_FALSE(parse_uri("pageserver://h/x?poll_us=auto").poll_us);
  CHECK(parse_uri("pageserver://h/x?poll_us=0").poll_us == 0u);
  CHECK(parse_uri("pageserver+unix:///x?socket=/s&poll_us=1000").poll_us == 1000u);
  CHECK(parse_uri("pageserver://h?poll_us=20", Access::read, UriTarget::server).poll_us == 20u);
}

TEST_CASE("cache_bytes is off, or bytes with the suffixes of the configuration") {
  CHECK(parse_uri("pageserver://h/x").cache_bytes == 0);
  CHECK(parse_uri("pageserver://h/x?cache_bytes=off").cache_bytes == 0);
  CHECK(parse_uri("pageserver://h/x?cache_bytes=0").cache_bytes == 0);
  CHECK(parse_uri("pageserver://h/x?cache_bytes=65536").cache_bytes == 65536);
  CHECK(parse_uri("pageserver://h/x?cache_bytes=3KiB").cache_bytes == 3072);
  CHECK(parse_uri("pageserver://h/x?cache_bytes=64MiB").cache_bytes == 64u << 20);
  CHECK(parse_uri("pageserver+unix:///x?socket=/s&cache_bytes=2GiB").cache_bytes == 2ull << 30);
  CHECK(parse_size("17TiB") == 17ull << 40);
  CHECK_FALSE(parse_size("16777216TiB"));
}

TEST_CASE("IPv6 hosts stand in brackets") {
  CHECK(parse_uri("pageserver://[::1]/x").endpoint == Endpoint{"::1", 6553, ""});
  CHECK(parse_uri("pageserver://[2001:db8::7]:9/x").endpoint == Endpoint{"2001:db8::7", 9, ""});
  CHECK(parse_uri("pageserver://[::ffff:1.2.3.4]:9/x").endpoint.host == "::ffff:1.2.3.4");
  CHECK(parse_uri("pageserver://[fe80::1%25eth0]/x").endpoint.host == "fe80::1%eth0");
}

TEST_CASE("a Unix socket URI has no host") {
  const auto uri = parse_uri("pageserver+unix:///demo?socket=/run/a%20b.sock&access=fork");
  CHECK(uri.scheme == Scheme::unix_socket);
  CHECK(uri.endpoint.socket_path == "/run/a b.sock");
  CHECK(uri.store == "demo");
  CHECK(uri.access == Access::fork);
}

TEST_CASE("a server URI names no store") {
  const auto parse = [](std::string_view text) { return parse_uri(text, Access::read, UriTarget::server); };
  CHECK(parse("pageserver://h").endpoint == Endpoint{"h", 6553, ""});
  CHECK(parse("pageserver://h:7").endpoint.port == 7);
  CHECK(parse("pageserver://[::1]:7/").endpoint.host == "::1");
  CHECK(parse("pageserver://h?connect_timeout=1s").connect_timeout == 1s);
  CHECK(parse("pageserver+unix:///?socket=/s").endpoint.socket_path == "/s");
  CHECK(parse("pageserver+unix://?socket=/s&request_timeout=3s").request_timeout == 3s);
}

TEST_CASE("the default access is the caller's") {
  CHECK(parse_uri("pageserver://h/x", Access::read).access == Access::read);
  CHECK(parse_uri("pageserver://h/x?view=pinned", Access::read).view == View::pinned);
  CHECK(parse_uri("pageserver://h/x?access=write", Access::read).access == Access::write);
  CHECK(parse_uri("x", Access::read).access == Access::read);
  CHECK_THROWS_AS(parse_uri("pageserver://h/x?publish=on_flush", Access::read), MemoryError);
}

TEST_CASE("a malformed URI is refused, quoting the wrong part and saying what is expected") {
  std::size_t rows = 0;
  for (const auto& fields : uri_cases("refuse")) {
    REQUIRE(fields.size() == 5);
    const auto text = refusal(fields[2], target_of(fields[1]));
    CAPTURE(fields[2], text);
    CHECK(text.find(fields[3]) != std::string::npos);
    CHECK(text.find("expected ") != std::string::npos);
    CHECK(text.substr(text.find("expected ")).find(fields[4]) != std::string::npos);
    ++rows;
  }
  CHECK(rows >= 80);
}

TEST_CASE("each URI of the shared table has the values that stand beside it") {
  std::size_t rows = 0;
  for (const auto& fields : uri_cases("accept")) {
    CAPTURE(fields[2]);
    std::map<std::string, std::string> expected{{"access", "write"},  {"view", "live"},        {"publish", "on_write"},
                                                {"wait_ms", "0"},     {"poll_us", "auto"},     {"cache_bytes", "0"},
                                                {"resume", "0"},      {"connect_ms", "10000"}, {"request_ms", "60000"},
                                                {"transport", "auto"}};
    for (auto field = fields.begin() + 3; field != fields.end(); ++field)
      expected[field->substr(0, field->find('='))] = field->substr(field->find('=') + 1);
    CHECK(values_of(parse_uri(fields[2], Access::write, target_of(fields[1]))) == expected);
    ++rows;
  }
  CHECK(rows >= 50);
}

TEST_CASE("limits of lengths are those of the system and the protocol") {
  const std::string long_socket(108, 's');
  CHECK(refusal("pageserver+unix:///x?socket=" + long_socket).find("at most 107") != std::string::npos);
  CHECK(parse_uri("pageserver+unix:///x?socket=" + long_socket.substr(1)).endpoint.socket_path.size() == 107);
  CHECK(parse_uri("pageserver://h/" + std::string(64, 'x')).store.size() == 64);
  refusal("pageserver://h/" + std::string(65, 'x'));
  CHECK(parse_uri("pageserver://h/x?name=" + std::string(255, 'n')).name.size() == 255);
  refusal("pageserver://h/x?name=" + std::string(256, 'n'));
  refusal("pageserver://" + std::string(254, 'h') + "/x");
  refusal(std::string_view{"a\0b", 3});
}

TEST_CASE("an endpoint prints as a URI that parses to itself") {
  for (const Endpoint& endpoint : {Endpoint{"h", 6553, ""}, Endpoint{"::1", 7, ""}, Endpoint{"fe80::1%eth0", 7, ""},
                                   Endpoint{"", 6553, "/run/a b&c%.sock"}}) {
    const auto text = endpoint.uri("demo");
    CAPTURE(text);
    const auto parsed = parse_uri(text);
    CHECK(parsed.endpoint == endpoint);
    CHECK(parsed.store == "demo");
    CHECK(parse_uri(endpoint.uri(), Access::read, UriTarget::server).endpoint == endpoint);
  }
  CHECK(Endpoint{"::1", 7, ""}.uri("demo") == "pageserver://[::1]:7/demo");
  const std::string several = "pageserver://h:6553,[::1]:7,g:1/demo";
  CHECK(parse_uri(several).endpoint.uri("demo") == several);
  CHECK(Endpoint{"", 7, "/s"}.uri("demo") == "pageserver+unix:///demo?socket=/s");
}

TEST_CASE("no text makes the parser do anything but accept or refuse") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  const std::string_view pieces[] = {
      "pageserver", "+unix", ":",   "/",      "//",   "[",     "]",      "::1",    "?",       "&",
      "=",          "%",     "%41", "access", "read", "view",  "pinned", "socket", "wait_ms", "99",
      "#",          "@",     "x",   "file",   "heap", "store", "\x80",   "\n",     "%ff",     "connect_timeout"};
  for (int i = 0; i < 20'000; ++i) {
    std::string text = i % 2 == 0 ? "pageserver://" : "";
    for (auto count = random() % 12; count > 0; --count) text += pieces[random() % std::size(pieces)];
    try {
      (void)parse_uri(text, Access::write, i % 3 == 0 ? UriTarget::server : UriTarget::image);
    } catch (const MemoryError& error) {
      if (error.errc() != Errc::invalid_argument) FAIL(text << ": " << error.what());
    }
  }
}

TEST_CASE("durations and numbers have one reading") {
  CHECK(parse_duration("1ms") == 1ms);
  CHECK(parse_duration("24") == 24ms);
  CHECK(parse_duration("1440m") == 24h);
  CHECK(parse_duration("1h") == 1h);
  CHECK(parse_duration("0s") == 0ms);
  CHECK(parse_duration("8784h") == 366 * 24h);
  for (const auto* text : {"", "-1", "1.5s", "1 s", " 1s", "1sec", "ms", "8785h", "99999999999999999999999s", "1d"})
    CHECK_FALSE(parse_duration(text));
  CHECK(parse_number("18446744073709551615", UINT64_MAX) == UINT64_MAX);
  CHECK_FALSE(parse_number("18446744073709551616", UINT64_MAX));
  CHECK_FALSE(parse_number("+1", 5));
  CHECK(parse_number("5", 5) == 5);
  CHECK_FALSE(parse_number("6", 5));
}

TEST_CASE("a timeout of 0 is none") {
  const auto uri = parse_uri("pageserver://h/x?request_timeout=0&connect_timeout=0s");
  CHECK(uri.request_timeout == std::chrono::milliseconds::max());
  CHECK(uri.connect_timeout == std::chrono::milliseconds::max());
  CHECK(uri.request_timeout_given);
  CHECK_FALSE(parse_uri("pageserver://h/x?connect_timeout=1h").request_timeout_given);
}

TEST_CASE("open() chooses the provider by the scheme") {
  auto heap = open("heap:");
  CHECK(heap->grow(2) == 0);
  CHECK(heap->size() == 2 * page_size);

  const auto expect = [](auto call, Errc code, std::string_view part) {
    try {
      call();
      FAIL("accepted");
    } catch (const MemoryError& error) {
      CHECK(error.code() == code);
      CHECK(std::string{error.what()}.find(part) != std::string::npos);
    }
  };
  expect([] { (void)open_session("heap:"); }, Errc::unsupported, "has no sessions");
  expect([] { (void)open_session("/tmp/x.img"); }, Errc::unsupported, "/tmp/x.img");
  expect([] { (void)open("file:/nonexistent-dir/x?access=read"); }, Errc::not_found, "/nonexistent-dir/x");
  expect([] { (void)open("pageserver://h/x?acces=read"); }, Errc::invalid_argument, "\"acces\"");
}
