// TLS between a real daemon and real clients, with certificates by `openssl`.
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>
#include "tests/support/catch.hpp"

#include <pageserver/async_session.hpp>
#include <pageserver/daemon.hpp>
#include <pageserver/error.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/daemon/helpers.hpp"
#include "tests/daemon/secured.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

RunResult s_client(const Secured& secured, std::vector<std::string> more) {
  std::vector<std::string> argv{"openssl",
                                "s_client",
                                "-connect",
                                "127.0.0.1:" + secured.port(),
                                "-CAfile",
                                secured.certificates.certificate("ca"),
                                "-verify_return_error",
                                "-brief"};
  argv.insert(argv.end(), more.begin(), more.end());
  return run(argv);
}

void finish(AsyncSession& session) {
  session.run_until([&] { return session.outstanding() == 0; });
}

}  // namespace

TEST_CASE("a session over TLS reads and writes what one without does") {
  Secured secured;
  Certificates::Wanted wanted;
  wanted.rsa = GENERATE(false, true);
  secured.certificates.make("server", wanted);
  secured.start("server");
  const auto data = pattern((3u << 20) + 12345, 1);
  {
    const auto image = open(secured.uri());
    image->grow(64);
    image->write(777, data);
    std::vector<std::byte> back(data.size());
    image->read(777, back);
    CHECK(back == data);
    // Each size around those of records, of headers and of what is received straight into place.
    for (const std::size_t size : {1u, 23u, 24u, 25u, 4096u, 4097u, 16359u, 16360u, 16384u, 16385u, 65536u, 131072u}) {
      std::vector<std::byte> part(size);
      image->read(777 + 5, part);
      INFO(size);
      CHECK(std::equal(part.begin(), part.end(), data.begin() + 5));
    }
  }
  std::vector<std::byte> plain(data.size());
  open(secured.daemon->tcp_uri("demo", "access=read"))->read(777, plain);
  CHECK(plain == data);
}

TEST_CASE("many requests in flight over TLS are all answered, with a caller that polls and one that sleeps") {
  Secured secured;
  secured.certificates.make("server", {});
  const std::string poll = GENERATE("0", "1000");
  secured.start("server", {"--poll-us", poll});
  RemoteOptions options;
  options.host = "localhost";
  options.port = secured.port_number();
  options.tls = true;
  options.tls_ca = secured.certificates.certificate("ca");
  options.store = "demo";
  options.poll_us = static_cast<std::uint32_t>(std::stoul(poll));
  AsyncSession session(options);
  session.grow(16, [](const MemoryError*, std::uint64_t) {});
  finish(session);
  std::vector<std::vector<std::byte>> places;
  const auto data = pattern(16 * 65536, 2);
  session.write(0, data, [](const MemoryError*) {});
  finish(session);
  int answered = 0;
  for (unsigned i = 0; i < 600; ++i) places.emplace_back(i % 3 == 0 ? 8 : i % 3 == 1 ? 20'000 : 70'000);
  for (unsigned i = 0; i < 600; ++i)
    session.read(i * 100, places[i], [&answered](const MemoryError* error) { answered += error == nullptr ? 1 : 0; });
  finish(session);
  CHECK(answered == 600);
  for (unsigned i = 0; i < 600; ++i)
    CHECK(std::equal(places[i].begin(), places[i].end(), data.begin() + static_cast<std::ptrdiff_t>(i) * 100));
}

TEST_CASE("threads share a session over TLS") {
  Secured secured;
  secured.certificates.make("server", {});
  secured.start("server");
  const auto session = open_session(secured.uri());
  session->grow(8);
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (unsigned t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i < 100; ++i) {
        const auto data = pattern(i % 2 == 0 ? 100 : 30'000, t * 1000 + i);
        session->write(t * 65536, data);
        std::vector<std::byte> back(data.size());
        session->read(t * 65536, back);
        right += back == data ? 1 : 0;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(right == 800);
}

TEST_CASE("a plain client on a TLS port, and the reverse, get one clear sentence") {
  Secured secured;
  secured.certificates.make("server", {});
  secured.start("server", {"--metrics", "0"});
  const std::string plain = Secured::opening_of("pageserver://localhost:" + secured.port() + "/demo");
  INFO(plain);
  CHECK(holds(plain, "this port speaks TLS; use pageservers://"));
  const auto metrics = http_get(RawClient::tcp(metrics_port(secured.daemon->process())), "/metrics");
  CHECK(sample_of(metrics.body, R"(pageserver_auth_failures_total{reason="tls"})") == 1);
  const std::string tls = Secured::opening_of("pageservers://localhost:" + std::to_string(secured.daemon->port()) +
                                              "/demo?tls_ca=" + secured.certificates.certificate("ca"));
  INFO(tls);
  CHECK(holds(tls, "speaks no TLS; use pageserver://, without the s"));
  secured.daemon->wait_for_log("this port speaks no TLS; use pageserver://");
}

TEST_CASE("openssl s_client gets TLS 1.3 with our protocol, no ticket, and nothing older") {
  Secured secured;
  secured.certificates.make("server", {});
  secured.start("server");
  const RunResult ours = s_client(secured, {"-alpn", "pageserver/1"});
  INFO(ours.err);
  CHECK(holds(ours.err, "Protocol version: TLSv1.3"));
  CHECK(holds(ours.err, "Verification: OK"));
  const RunResult full =
      run({"openssl", "s_client", "-connect", "127.0.0.1:" + secured.port(), "-alpn", "pageserver/1"});
  CHECK(holds(full.out, "ALPN protocol: pageserver/1"));
  CHECK_FALSE(holds(full.out, "New Session Ticket"));
  const RunResult older = s_client(secured, {"-tls1_2"});
  INFO(older.err);
  CHECK(older.status != 0);
  CHECK(holds(older.err, "protocol version"));
  const RunResult other = s_client(secured, {"-alpn", "h2"});
  CHECK(other.status != 0);
  CHECK(holds(other.err, "no application protocol"));
}

TEST_CASE("files that can't be used stop the daemon, and others may not read a key") {
  Certificates made;
  made.make("server", {});
  made.make("other", {});
  TempDir dir;
  const auto start = [&](const std::string& certificate, const std::string& key) {
    return run({pageserverd_path(), "--store", "demo=" + dir.file("demo.img"), "--listen-tls", "127.0.0.1:0",
                "--tls-certificate", certificate, "--tls-key", key})
        .err;
  };
  CHECK(holds(start(made.certificate("server"), made.key("other")), "it is not that of the certificate"));
  CHECK(holds(start(made.key("server"), made.key("server")), "there is none in PEM form"));
  CHECK(holds(start(made.certificate("server"), made.certificate("server")), "its mode is"));
  ::chmod(made.key("server").c_str(), 0644);
  CHECK(holds(start(made.certificate("server"), made.key("server")), "chmod 600 " + made.key("server")));
  ::chmod(made.key("server").c_str(), 0600);
  CHECK(holds(start(made.certificate("server"), made.file("none.key")), "No such file"));
  const RunResult half = run({pageserverd_path(), "--store", "demo=" + dir.file("demo.img"), "--listen-tls",
                              "127.0.0.1:0", "--tls-certificate", made.certificate("server")});
  CHECK(half.status == 1);
  CHECK(holds(half.err, "tls.key is missing"));
}

TEST_CASE("a client's key that others can read is not used, and its files are named when they are wrong") {
  Secured secured;
  auto& made = secured.certificates;
  made.make("server", {});
  made.make_client("client", "URI:app:ci");
  secured.start("server");
  ::chmod(made.key("client").c_str(), 0640 | 0004);
  CHECK(holds(secured.opening(made.shown_by("client")), "chmod 600 " + made.key("client")));
  CHECK(holds(secured.opening("&tls_certificate=" + made.certificate("client") + "&tls_key=" + made.key("server")),
              "it is not that of the certificate"));
  CHECK(holds(Secured::opening_of("pageservers://localhost:" + secured.port() + "/demo?tls_ca=/nowhere.pem"),
              "tls_ca \"/nowhere.pem\": No such file"));
}

TEST_CASE("handshakes given up half-way leave nothing behind and keep nobody out") {
  Secured secured;
  secured.certificates.make("server", {});
  secured.start("server");
  CHECK(secured.opening() == "opened");
  const auto files = [&] {
    const std::filesystem::directory_iterator all("/proc/" + std::to_string(secured.daemon->pid()) + "/fd");
    return std::distance(begin(all), end(all));
  };
  const RunResult hello = run({"python3", "-c",
                               "import ssl,sys\n"
                               "c=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
                               "i,o=ssl.MemoryBIO(),ssl.MemoryBIO()\n"
                               "s=c.wrap_bio(i,o,server_hostname='localhost')\n"
                               "try: s.do_handshake()\n"
                               "except ssl.SSLWantReadError: pass\n"
                               "sys.stdout.write(o.read().hex())\n"});
  INFO(hello.err);
  REQUIRE(hello.out.size() > 200);
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hello.out.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoul(hello.out.substr(i, 2), nullptr, 16)));
  const auto before = files();
  // Cut at every byte, and each whole one is left alone in the middle of the handshake.
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    RawClient client = RawClient::tcp(secured.port_number());
    client.send_bytes(std::span(bytes).first(cut));
    if (cut % 5 == 0) client.reset();
  }
  CHECK(secured.opening() == "opened");
  wait_until([&] { return files() <= before; });
}

TEST_CASE("who does not finish the handshake in time is let go, and a stop does not wait for it") {
  Secured secured;
  secured.certificates.make("server", {});
  TempDir dir;
  std::ofstream(dir.file("config.json")) << R"({"limits": {"hello_timeout": "200ms"}})";
  secured.start("server", {"--config", dir.file("config.json")});
  RawClient silent = RawClient::tcp(secured.port_number());
  CHECK(silent.closed_within());
  secured.daemon->wait_for_log("no TLS handshake within limits.hello_timeout=200 ms");
}

TEST_CASE("a client on Python's ssl is served, cut at every byte of its first record") {
  Secured secured;
  secured.certificates.make("server", {});
  secured.start("server");
  const RunResult result = run({"python3", "-c", R"(
import socket, ssl, struct, sys
port, ca = int(sys.argv[1]), sys.argv[2]
def connect():
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(['pageserver/1'])
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    plain = socket.create_connection(('localhost', port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = context.wrap_bio(into, out, server_hostname='localhost')
    while True:
        try:
            tls.do_handshake()
            plain.sendall(out.read())
            return plain, into, out, tls
        except ssl.SSLWantReadError:
            plain.sendall(out.read())
            into.write(plain.recv(65536))
def receive(plain, into, tls):
    while True:
        try:
            return tls.read(65536)
        except ssl.SSLWantReadError:
            got = plain.recv(65536)
            if not got: return b''
            into.write(got)
hello = bytes.fromhex(sys.argv[3])
plain, into, out, tls = connect()
assert tls.selected_alpn_protocol() == 'pageserver/1' and tls.version() == 'TLSv1.3'
tls.write(hello)
whole = out.read()
for at in range(1, len(whole)):
    # In two pieces: one that the daemon sees alone, and the rest.
    plain, into, out, tls = connect()
    tls.write(hello)
    record = out.read()
    plain.sendall(record[:at])
    plain.sendall(record[at:])
    answer = receive(plain, into, tls)
    assert answer[:4] == b'PGS1', answer
    # And one cut off there for good.
    plain, into, out, tls = connect()
    tls.write(hello)
    plain.sendall(out.read()[:at])
    plain.shutdown(socket.SHUT_WR)
    assert receive(plain, into, tls) == b''
print('cuts', len(whole) - 1)
)",
                                secured.port(), secured.certificates.certificate("ca"), [] {
                                  proto::Bytes bytes;
                                  proto::HelloRequest request;
                                  request.payload_bytes_max = 1u << 20;
                                  request.client_name = "py";
                                  proto::encode(bytes, 1, request);
                                  std::string hex;
                                  constexpr std::string_view digits = "0123456789abcdef";
                                  for (const std::byte b : bytes) {
                                    hex += digits[static_cast<unsigned>(b) >> 4];
                                    hex += digits[static_cast<unsigned>(b) & 15];
                                  }
                                  return hex;
                                }()});
  INFO(result.err);
  CHECK(result.status == 0);
  CHECK(holds(result.out, "cuts "));
}

TEST_CASE("certificate and key are read again when they change, and a pair that does not match changes nothing") {
  Secured secured;
  auto& made = secured.certificates;
  made.make("server", Certificates::named("DNS:localhost"));
  Certificates::Wanted next = Certificates::named("DNS:next.example");
  next.end = "20300101000000Z";
  made.make("next", next);
  secured.start("server", {"--metrics", "0"});
  const auto end = [&] {
    const HttpAnswer answer = http_get(RawClient::tcp(metrics_port(secured.daemon->process())), "/metrics");
    return sample_of(answer.body, "pageserver_certificate_not_after_timestamp_seconds");
  };
  CHECK(end() == 4'070'908'800);  // 2099-01-01
  const auto session = open_session(secured.uri());
  const auto replace = [&](const std::string& from, const std::string& to) {
    std::filesystem::copy_file(from, to + ".new");
    std::filesystem::rename(to + ".new", to);
  };
  const auto reload = [&](std::string_view logged) {
    const std::size_t times = count_of(secured.daemon->log(), logged);
    secured.daemon->process().signal(SIGHUP);
    wait_until([&] { return count_of(secured.daemon->log(), logged) > times; });
  };
  secured.daemon->expect_complaint("certificate not read");
  replace(made.certificate("next"), made.certificate("server"));
  reload("it is not that of the certificate");
  CHECK(secured.opening("&access=read") == "opened");
  CHECK(end() == 4'070'908'800);
  replace(made.key("next"), made.key("server"));
  reload("certificate read");
  CHECK(end() == 1'893'456'000);  // 2030-01-01
  CHECK(holds(secured.opening("&access=read"), "it is for next.example"));
  CHECK(secured.opening("&access=read&tls_name=next.example") == "opened");
  // What began before goes on.
  session->grow(1);
}

TEST_CASE("the lines of docs/operations.md make certificates with which a client gets in, as who it is") {
  TempDir dir;
  std::ifstream document(OPERATIONS_PATH);
  std::string script = "set -e\ncd '" + dir.path().string() + "'\n";
  int lines = 0;
  for (std::string line; std::getline(document, line);) {
    if (!line.starts_with("    NEW='") && !line.starts_with("    openssl $NEW ")) continue;
    script += line + '\n';
    ++lines;
  }
  CHECK(lines == 4);
  const RunResult made = run({"sh", "-c", script});
  INFO(made.err);
  REQUIRE(made.status == 0);
  const test::Daemon daemon({"--store", "demo={dir}/demo.img", "--listen-tls", "127.0.0.1:0", "--tls-certificate",
                             dir.file("server.pem"), "--tls-key", dir.file("server.key"), "--tls-client-ca",
                             dir.file("ca.pem")});
  const std::string& listener = daemon.listeners().at(1);
  const std::string server = "pageservers://localhost" + listener.substr(listener.rfind(':'));
  const std::string who =
      "tls_ca=" + dir.file("ca.pem") + "&tls_certificate=" + dir.file("ci.pem") + "&tls_key=" + dir.file("ci.key");
  CHECK(Secured::opening_of(server + "/demo?" + who) == "opened");
  CHECK(holds(run({pagectl_path(), "whoami", server + "?" + who}).out, "cert:app:ci"));
}

TEST_CASE("certificate and key are replaced in every order, and a client that connects in a loop is never refused") {
  Secured secured;
  auto& made = secured.certificates;
  made.make("server", {});
  Certificates::Wanted next;
  next.end = "20300101000000Z";
  made.make("next", next);
  // As Kubernetes mounts a secret: the files are behind a link to a folder.
  for (const char* const folder : {"server", "next", "mixed"}) std::filesystem::create_directory(made.file(folder));
  const auto put = [&](const std::string& name, const std::string& what, const std::string& folder) {
    const std::string to = made.file(folder) + "/tls." + what, from = made.file(name + "." + what);
    std::filesystem::copy_file(from, to + ".new", std::filesystem::copy_options::overwrite_existing);
    std::filesystem::rename(to + ".new", to);
  };
  const auto link = [&](const std::string& folder) {
    std::filesystem::create_directory_symlink(folder, made.file("tls.new"));
    std::filesystem::rename(made.file("tls.new"), made.file("tls"));
  };
  for (const char* const name : {"server", "next"})
    for (const char* const what : {"pem", "key"}) put(name, what, name);
  for (const char* const what : {"pem", "key"}) put("server", what, "mixed");
  link("mixed");
  secured.daemon = std::make_unique<test::Daemon>(
      std::vector<std::string>{"--store", "demo={dir}/demo.img", "--metrics", "0", "--listen-tls", "127.0.0.1:0",
                               "--tls-certificate", made.file("tls/tls.pem"), "--tls-key", made.file("tls/tls.key")});
  secured.daemon->expect_complaint("certificate not read");
  std::atomic<int> opened{0};
  std::vector<std::string> others;
  std::jthread client([&](const std::stop_token& over) {
    while (!over.stop_requested()) {
      if (std::string said = secured.opening("&access=read"); said != "opened") others.push_back(std::move(said));
      ++opened;
    }
  });
  const auto reload = [&](std::string_view logged) {
    const std::size_t times = count_of(secured.daemon->log(), logged);
    secured.daemon->process().signal(SIGHUP);
    wait_until([&] { return count_of(secured.daemon->log(), logged) > times; });
    const int before = opened;
    wait_until([&] { return opened >= before + 3; });
  };
  const auto shows = [&](double end) {
    const HttpAnswer answer = http_get(RawClient::tcp(metrics_port(secured.daemon->process())), "/metrics");
    return sample_of(answer.body, "pageserver_certificate_not_after_timestamp_seconds") == end;
  };
  constexpr double server_end = 4'070'908'800, next_end = 1'893'456'000;  // 2099-01-01, 2030-01-01
  put("next", "pem", "mixed");
  reload("it is not that of the certificate");
  CHECK(shows(server_end));
  put("next", "key", "mixed");
  reload("INFO certificate read");
  CHECK(shows(next_end));
  put("server", "key", "mixed");
  reload("it is not that of the certificate");
  CHECK(shows(next_end));
  put("server", "pem", "mixed");
  reload("INFO certificate read");
  CHECK(shows(server_end));
  put("next", "pem", "mixed");
  put("next", "key", "mixed");
  reload("INFO certificate read");
  CHECK(shows(next_end));
  link("server");
  reload("INFO certificate read");
  CHECK(shows(server_end));
  link("next");
  reload("INFO certificate read");
  CHECK(shows(next_end));
  client.request_stop();
  client.join();
  for (const std::string& said : others) CHECK(said == "opened");
}

TEST_CASE("a certificate, key or list that is not taken is counted and logged, and told until it is mended") {
  Secured secured;
  auto& made = secured.certificates;
  made.make("server", {});
  made.make("other", {});
  std::filesystem::copy_file(made.certificate("ca"), made.file("clients.pem"));
  secured.start("server", {"--metrics", "0", "--tls-client-ca", made.file("clients.pem")});
  secured.daemon->expect_complaint("certificate not read");
  const auto metric = [&](const std::string& name) {
    const HttpAnswer answer = http_get(RawClient::tcp(metrics_port(secured.daemon->process())), "/metrics");
    return sample_of(answer.body, name);
  };
  const auto reload = [&](std::string_view logged) {
    const std::size_t times = count_of(secured.daemon->log(), logged);
    secured.daemon->process().signal(SIGHUP);
    wait_until([&] { return count_of(secured.daemon->log(), logged) > times; });
  };
  const auto reloads = [&](const std::string& result) {
    return metric(R"(pageserver_reloads_total{files="certificates",result=")" + result + "\"}");
  };
  double failed = 0, taken = 0;
  const auto is_not_taken = [&](std::string_view logged) {
    INFO(logged);
    reload(logged);
    ++failed;
    wait_until([&] { return reloads("failed") == failed; });
    CHECK(metric("pageserver_certificate_not_taken") == 1);
    const auto said = static_cast<std::size_t>(failed);
    wait_until([&] { return count_of(secured.daemon->log(), "WARN certificate not read") >= said; });
    CHECK(count_of(secured.daemon->log(), "WARN certificate not read") == said);
  };
  const auto is_mended = [&] {
    reload("INFO certificate read");
    wait_until([&] { return metric("pageserver_certificate_not_taken") == 0; });
    CHECK(reloads("failed") == failed);
    CHECK(reloads("taken") == ++taken);
  };
  CHECK(reloads("failed") == 0);
  CHECK(metric("pageserver_certificate_not_taken") == 0);
  // Put aside and back again: what is in the place has always its own mode.
  const auto swapped = [&](const std::string& one, const std::string& other) {
    std::filesystem::rename(one, one + ".aside");
    std::filesystem::rename(other, one);
    std::filesystem::rename(one + ".aside", other);
  };
  swapped(made.certificate("server"), made.certificate("other"));
  is_not_taken("it is not that of the certificate");
  swapped(made.certificate("server"), made.certificate("other"));
  is_mended();
  ::chmod(made.key("server").c_str(), 0644);
  is_not_taken("chmod 600 " + made.key("server"));
  ::chmod(made.key("server").c_str(), 0600);
  is_mended();
  std::ofstream(made.file("clients.pem"), std::ios::app)
      << "-----BEGIN X509 CRL-----\nbm8gbGlzdA==\n-----END X509 CRL-----\n";
  is_not_taken("authorities: ");
  std::filesystem::copy_file(made.certificate("ca"), made.file("clients.pem"),
                             std::filesystem::copy_options::overwrite_existing);
  is_mended();
}

TEST_CASE("who a client is comes from its certificate, and rules are about that") {
  Secured secured;
  auto& made = secured.certificates;
  made.make("server", {});
  made.make_client("ci", "URI:app:ci,DNS:ci.example,email:ci@example.org");
  made.make_client("nameless", "IP:127.0.0.1");
  const auto [field, who] = GENERATE(table<std::string, std::string>(
      {{"uri", "cert:app:ci"}, {"dns", "cert:ci.example"}, {"email", "cert:ci@example.org"}, {"cn", "cert:ci"}}));
  std::ofstream(made.file("config.json")) << R"({"tls": {"identity": ")" << field << R"("}, "rules": [{"who": ")" << who
                                          << R"(", "stores": "demo", "may": ["read"]}]})";
  secured.start("server", {"--config", made.file("config.json"), "--tls-client-ca", made.certificate("ca")});
  test::Daemon* const daemon = secured.daemon.get();
  CHECK(secured.opening("&access=read" + made.shown_by("ci")) == "opened");
  CHECK(holds(secured.opening("&access=write" + made.shown_by("ci")), who));
  const WhoAmI told = pageserver::Daemon(secured.server_uri(made.shown_by("ci"))).whoami("demo");
  CHECK(told.identity == who);
  if (field != "cn") CHECK(holds(secured.opening("&access=read" + made.shown_by("nameless")), "anyone"));
  CHECK(daemon->stop() == 0);
}

TEST_CASE("an address that others reach needs TLS with client_ca, rules or --insecure") {
  Certificates made;
  made.make("server", {});
  const auto check = [&](std::vector<std::string> more) {
    std::vector<std::string> argv{
        pageserverd_path(), "--check-config",  "--store",           "demo=" + made.file("demo.img"),
        "--listen-tls",     "0.0.0.0:0",       "--tls-certificate", made.certificate("server"),
        "--tls-key",        made.key("server")};
    argv.insert(argv.end(), more.begin(), more.end());
    return run(argv);
  };
  const RunResult alone = check({});
  CHECK(alone.status != 0);
  CHECK(holds(alone.err + alone.out, "tls.client_ca"));
  CHECK(check({"--tls-client-ca", made.certificate("ca")}).status == 0);
  CHECK(check({"--insecure"}).status == 0);
}

TEST_CASE("who needs OpenSSL loads it, and nobody else") {
  const auto is_mapped = [](const test::Daemon& daemon) {
    std::ifstream maps("/proc/" + std::to_string(daemon.pid()) + "/maps");
    return holds(std::string(std::istreambuf_iterator<char>(maps), {}), "libssl");
  };
  const test::Daemon plain({"--store", "demo={dir}/demo.img"});
  CHECK_FALSE(is_mapped(plain));
  Secured secured;
  secured.certificates.make("server", {});
  secured.start("server");
  CHECK(is_mapped(*secured.daemon));
}

TEST_CASE("where OpenSSL can't be loaded, TLS and tokens are refused at once and in words") {
  Secured secured;
  const Certificates& certificates = secured.certificates;
  secured.certificates.make("server", {});
  secured.start("server");
  const TempDir broken;
  std::ofstream(broken.file("libssl.so.3")) << "no library";
  const TempDir dir;
  std::ofstream(dir.file("tokens")) << "ci sha256:" << std::string(64, 'a') << '\n';
  REQUIRE(::chmod(dir.file("tokens").c_str(), 0600) == 0);
  std::ofstream(dir.file("tokens.json")) << R"({"tokens_file": ")" << dir.file("tokens")
                                         << R"(", "rules": [{"who": "token:ci", "stores": "*", "may": ["read"]}]})";
  const auto run_without = [&](std::vector<std::string> argv) {
    argv.insert(argv.begin(), {"env", "LD_LIBRARY_PATH=" + broken.path().string()});
    return run(argv);
  };
  const std::string store = "demo=" + dir.file("demo.img");
  const std::vector<std::vector<std::string>> refused{
      {pageserverd_path(), "--check-config", "--store", store, "--listen-tls", "127.0.0.1:0", "--tls-certificate",
       certificates.certificate("server"), "--tls-key", certificates.key("server")},
      {pageserverd_path(), "--check-config", "--store", store, "--config", dir.file("tokens.json")},
      {pagectl_path(), "whoami", secured.uri()},
      {pagectl_path(), "token", "create", "ci"}};
  for (const auto& argv : refused) {
    const RunResult result = run_without(argv);
    INFO(result.out << result.err);
    CHECK(result.status != 0);
    CHECK(holds(result.err, "TLS and tokens need OpenSSL 3"));
    CHECK(holds(result.err, "libssl3"));
  }
  const RunResult plain = run_without({pageserverd_path(), "--check-config", "--store", store});
  CHECK(plain.status == 0);
}
