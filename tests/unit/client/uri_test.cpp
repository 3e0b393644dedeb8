#include <catch2/catch.hpp>

#include <cstdint>
#include <random>
#include <string>

#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include "client/uri.hpp"
#include "client/uri_text.hpp"

using namespace pageserver;
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

struct Refused {
  const char* uri;
  const char* quoted;    // the wrong part
  const char* expected;  // what should be there
};

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
  const auto row = GENERATE(values<Refused>({
      {"", "\"\"", "a path"},
      {"http://h/x", "\"http\" is no scheme", "pageserver+unix"},
      {"foo:bar", "\"foo\" is no scheme", "./foo:bar"},
      {"heap:x", "\"x\"", "nothing there"},
      {"heap:?access=read", "\"?access=read\"", "nothing there"},
      {"file:", "\"file:\" names no file", "a path"},
      {"file:?access=read", "names no file", "a path"},
      {"file://host/x", "\"host\" stands where a host", "a path after file:"},
      {"file:x?access=fork", "\"access=fork\" is not for a plain file", "access=read or access=write"},
      {"file:x?view=pinned", "\"view\" is no key", "one of access"},
      {"file:a%2", "\"%2\" is a bad escape", "two hex digits"},
      {"file:a%zzb", "\"%zz\" is a bad escape", "%25"},
      {"file:a%00b", "\"%00\" is a bad escape", "not %00"},
      {"file:a#b", "\"#b\" is a fragment", "%23"},
      {"store:", "names no file", "a path"},
      {"store:x?connect_timeout=1s", "\"connect_timeout\" is no key", "access, view, publish, wait_ms, name"},
      {"pageserver:h/x", "has no //", "pageserver://HOST[:PORT]/STORE"},
      {"pageserver:///x", "names no host", "pageserver://HOST"},
      {"pageserver://:7/x", "names no host", "pageserver://HOST"},
      {"pageserver://h", "names no store", "/STORE"},
      {"pageserver://h/", "names no store", "/STORE"},
      {"pageserver://h/a/b", "\"a/b\" is no store's name", "letters, digits"},
      {"pageserver://h/.x", "\".x\" is no store's name", "a letter or digit"},
      {"pageserver://h/a%2fb", "\"a%2fb\" is no store's name", "letters, digits"},
      {"pageserver://h/a%", "\"%\" is a bad escape", "two hex digits"},
      {"pageserver://u@h/x", "\"u@\" is a user", "no users"},
      {"pageserver://h:0/x", "\"0\" is no port", "1 to 65535"},
      {"pageserver://h:65536/x", "\"65536\" is no port", "1 to 65535"},
      {"pageserver://h:/x", "\"\" is no port", "1 to 65535"},
      {"pageserver://h:-1/x", "\"-1\" is no port", "1 to 65535"},
      {"pageserver://h:99999999999999999999/x", "is no port", "1 to 65535"},
      {"pageserver://::1/x", "\"::1\" has too many colons", "brackets"},
      {"pageserver://[::1/x", "\"[::1\" has no closing bracket", "[::1]"},
      {"pageserver://[::g]/x", "\"::g\" is no IPv6 address", "::1"},
      {"pageserver://[1.2.3.4]/x", "\"1.2.3.4\" is no IPv6 address", "::1"},
      {"pageserver://[fe80::1%25]/x", "is no IPv6 address", "%25eth0"},
      {"pageserver://[::1]7/x", "\"7\" follows the address", "a colon and a port"},
      {"pageserver://a b/x", "\"a b\" is no host", "a name or an address"},
      {"pageserver://h/x?y=1", "\"y\" is no key", "one of access, view"},
      {"pageserver://h/x?poll_us=1001", "\"poll_us=1001\" is no time", "0 (off) to 1000"},
      {"pageserver://h/x?poll_us=-1", "\"poll_us=-1\" is no time", "auto"},
      {"file:x?poll_us=1", "\"poll_us\" is no key", "one of access"},
      {"pageserver://h/x?cache_bytes=", "\"cache_bytes=\" is no size", "64MiB"},
      {"pageserver://h/x?cache_bytes=64M", "\"cache_bytes=64M\" is no size", "64MiB"},
      {"pageserver://h/x?cache_bytes=-1", "\"cache_bytes=-1\" is no size", "off"},
      {"pageserver://h/x?socket=/s", "\"socket\" is no key", "connect_timeout"},
      {"pageserver://h/x?access", "\"access\" has no value", "KEY=VALUE"},
      {"pageserver://h/x?access=read&&name=a", "\"\" has no value", "KEY=VALUE"},
      {"pageserver://h/x?access=rw", "\"access=rw\"", "read, write, fork"},
      {"pageserver://h/x?access=", "\"access=\"", "read, write, fork"},
      {"pageserver://h/x?access=READ", "\"access=READ\"", "read, write, fork"},
      {"pageserver://h/x?access=read&access=read", "\"access=read\" comes twice", "each key once"},
      {"pageserver://h/x?view=pinned", "\"view=pinned\" is for readers only", "access=read"},
      {"pageserver://h/x?access=write&view=live", "\"view=live\" is for readers only", "access=read"},
      {"pageserver://h/x?access=fork&view=live", "\"view=live\" is for readers only", "access=read"},
      {"pageserver://h/x?access=read&publish=on_write", "\"publish=on_write\" is for writers", "access=write"},
      {"pageserver://h/x?access=fork&publish=on_flush", "\"publish=on_flush\" is for writers", "access=write"},
      {"pageserver://h/x?publish=later", "\"publish=later\"", "on_write, on_flush"},
      {"pageserver://h/x?view=old&access=read", "\"view=old\"", "live, pinned"},
      {"pageserver://h/x?wait_ms=4294967296", "\"wait_ms=4294967296\"", "4294967295"},
      {"pageserver://h/x?wait_ms=1s", "\"wait_ms=1s\"", "milliseconds"},
      {"pageserver://h/x?wait_ms=-1", "\"wait_ms=-1\"", "milliseconds"},
      {"pageserver://h/x?wait_ms=", "\"wait_ms=\"", "milliseconds"},
      {"pageserver://h/x?name=%ff", "\"name=%ff\" is no name", "UTF-8"},
      {"pageserver://h/x?name=a%0ab", "\"name=a%0ab\" is no name", "control characters"},
      {"pageserver://h/x?name=%g1", "\"%g1\" is a bad escape", "two hex digits"},
      {"pageserver://h/x?connect_timeout=0", "\"connect_timeout=0\" is no duration", "10s, 500ms"},
      {"pageserver://h/x?connect_timeout=1h", "\"connect_timeout=1h\" is no duration", "10s, 500ms"},
      {"pageserver://h/x?request_timeout=s", "\"request_timeout=s\" is no duration", "10s, 500ms"},
      {"pageserver://h/x?request_timeout=1441m", "\"request_timeout=1441m\" is no duration", "24 hours"},
      {"pageserver://h/x#y", "\"#y\" is a fragment", "none"},
      {"pageserver+unix://h/x?socket=/s", "\"h\" stands where a host", "three slashes"},
      {"pageserver+unix:///x", "names no socket", "?socket=PATH"},
      {"pageserver+unix:///x?socket=", "\"socket=\" names no socket", "socket=PATH"},
      {"pageserver+unix:///?socket=/s", "names no store", "/STORE"},
      {"pageserver://h/x?na\nme=1", "\"na\\x0ame\"", "one of"},
  }));
  const auto text = refusal(row.uri);
  CAPTURE(row.uri, text);
  CHECK(text.find(row.quoted) != std::string::npos);
  CHECK(text.find("expected ") != std::string::npos);
  CHECK(text.substr(text.find("expected ")).find(row.expected) != std::string::npos);
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

TEST_CASE("a server URI with a store, or of another scheme, is refused") {
  CHECK(refusal("pageserver://h/demo", UriTarget::server).find("\"demo\" is a store") != std::string::npos);
  CHECK(refusal("db.img", UriTarget::server).find("names no daemon") != std::string::npos);
  CHECK(refusal("heap:", UriTarget::server).find("names no daemon") != std::string::npos);
  CHECK(refusal("pageserver://h?access=read", UriTarget::server).find("\"access\" is no key") != std::string::npos);
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
  CHECK(parse_duration("86400s") == 24h);
  for (const auto* text :
       {"", "0", "0s", "-1", "1.5s", "1 s", " 1s", "1sec", "ms", "86401s", "99999999999999999999999s"})
    CHECK_FALSE(parse_duration(text));
  CHECK(parse_number("18446744073709551615", UINT64_MAX) == UINT64_MAX);
  CHECK_FALSE(parse_number("18446744073709551616", UINT64_MAX));
  CHECK_FALSE(parse_number("+1", 5));
  CHECK(parse_number("5", 5) == 5);
  CHECK_FALSE(parse_number("6", 5));
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
