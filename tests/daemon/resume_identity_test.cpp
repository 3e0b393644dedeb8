// Sessions that outlive their connections, and who they belong to: over TLS, with certificates, tokens and rules.
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include "tests/daemon/access_place.hpp"
#include "tests/daemon/secured.hpp"
#include "tests/daemon/tls_client.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;
using proto::Status;

namespace {

/// A daemon with TLS, rules, tokens and certificates, and a session that can be resumed.
struct Kept : Place {
  Certificates made;
  std::unique_ptr<test::Daemon> daemon;
  std::uint16_t tls_port = 0;
  proto::OpenRequest request;
  proto::ResumeToken resume_token{};
  std::uint64_t mark = 0;

  Kept() {
    made.make("server", {});
    made.make_client("stays", "URI:app:stays");
    made.make_client("goes", "URI:app:goes");
    std::filesystem::copy_file(made.certificate("ca"), made.file("plain_ca.pem"));
    believe();
    store("demo");
    for (const char* const who : {"token:*", "cert:*"}) rule(who, "demo", {"read", "write"});
    request.store = "demo";
    request.access = proto::Access::write;
    request.session_name = "kept";
  }
  void believe() const {
    std::filesystem::copy_file(made.certificate("ca"), made.file("clients.new"));
    std::filesystem::rename(made.file("clients.new"), made.file("clients.pem"));
  }
  void start() {
    std::vector<std::string> all = flags();
    all.insert(all.end(), {"--listen-tls", "127.0.0.1:0", "--tls-certificate", made.certificate("server"), "--tls-key",
                           made.key("server"), "--tls-client-ca", made.file("clients.pem")});
    daemon = std::make_unique<test::Daemon>(all, &dir);
    const std::string& line = daemon->listeners().at(1);
    tls_port = static_cast<std::uint16_t>(std::stoul(line.substr(line.rfind(':') + 1)));
  }
  /// SIGHUP, twice: a second look comes behind the first.
  void reload(std::string_view logged) const {
    for (int i = 0; i < 2; ++i) {
      const std::size_t times = count_of(daemon->log(), logged);
      daemon->process().signal(SIGHUP);
      wait_until([&] { return count_of(daemon->log(), logged) > times; });
    }
  }

  static proto::HelloRequest hello(const std::string& credentials) {
    proto::HelloRequest hello = hello_of(credentials);
    hello.features |= proto::feature_resume;
    return hello;
  }
  /// Greeted, by its certificate.
  TlsClient by(const std::string& certificate, const std::string& token = {}) const {
    TlsClient client(tls_port, made.file("plain_ca.pem"), made, certificate);
    const std::string credentials = token.empty() ? "" : "token " + token;
    client.call(hello(credentials)).as<proto::HelloAnswer>();
    return client;
  }
  /// Greeted, over plain TCP by its token, or by none; or over the Unix socket.
  RawClient plain(const std::string& token, bool local = false, std::uint64_t more_features = 0) const {
    RawClient client = local ? RawClient::local(daemon->socket_path()) : RawClient::tcp(daemon->port());
    const std::string credentials = token.empty() ? "" : "token " + token;
    proto::HelloRequest greeting = hello(credentials);
    greeting.features |= more_features;
    client.call(greeting).as<proto::HelloAnswer>();
    return client;
  }
  template <class Client>
  void begin(Client& client) {
    const Frame frame = client.call(request);
    const auto answer = frame.template as<proto::OpenAnswer>();
    REQUIRE(answer.resume);
    resume_token = answer.resume->token;
    // The client has the token once it asks for something.
    mark = client.send(proto::WriteRequest{0, std::as_bytes(std::span("kept", 4))});
    CHECK(client.must_receive().status() == Status::ok);
  }
  template <class Client>
  Frame try_resume(Client& client) const {
    proto::OpenRequest again = request;
    again.resume_token = resume_token;
    again.last_request_id = mark;
    return client.call(again);
  }
  void wait_for_detached() const { daemon->wait_for_log("session detached"); }
};

/// How it ended: what the daemon says last.
template <class Client>
std::string last_words(Client& client) {
  std::string said;
  while (const auto frame = client.receive())
    if (frame->is_notice()) said = frame->text();
  return said;
}

}  // namespace

TEST_CASE("after a restart of the daemon, too, a session is resumed by who opened it and by nobody else") {
  Kept kept;
  kept.token("opens");
  kept.token("steals");
  kept.start();
  {
    RawClient client = kept.plain(kept.tokens["opens"], false, proto::feature_restart);
    kept.begin(client);
    kept.daemon->kill_hard();
  }
  kept.daemon->start_again();
  RawClient thief = kept.plain(kept.tokens["steals"], false, proto::feature_restart);
  CHECK(kept.try_resume(thief).status() == Status::identity_differs);
  RawClient nobody = kept.plain({}, true, proto::feature_restart);
  CHECK(kept.try_resume(nobody).status() != Status::ok);
  RawClient own = kept.plain(kept.tokens["opens"], false, proto::feature_restart);
  const Frame frame = kept.try_resume(own);
  const auto answer = frame.as<proto::OpenAnswer>();
  REQUIRE(answer.resume);
  CHECK(answer.resume->rebuilt);
  CHECK(answer.resume->executed == kept.mark);
}

TEST_CASE("a session over TLS is resumed by who has its certificate, and by nobody else who has its resume token") {
  Kept place;
  place.token("thief");
  place.start();
  std::optional<TlsClient> first(place.by("goes"));
  place.begin(*first);
  first->socket().reset();
  place.wait_for_detached();
  place.daemon->expect_complaint("resumption refused");
  TlsClient other = place.by("stays");
  CHECK(place.try_resume(other).status() == Status::identity_differs);
  TlsClient with_token = place.by("goes", place.tokens["thief"]);
  CHECK(place.try_resume(with_token).status() == Status::identity_differs);
  RawClient token = place.plain(place.tokens["thief"]);
  CHECK(place.try_resume(token).status() == Status::identity_differs);
  RawClient nobody = place.plain({});
  CHECK(place.try_resume(nobody).status() == Status::permission_denied);
  RawClient user = place.plain({}, true);
  CHECK(place.try_resume(user).status() == Status::permission_denied);
  // Nobody of them has moved it.
  TlsClient owner = place.by("goes");
  const Frame frame = place.try_resume(owner);
  CHECK(frame.as<proto::OpenAnswer>().resume->executed == place.mark);
  std::string hex;
  for (const unsigned char byte : place.resume_token) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", unsigned{byte});
    hex += two;
  }
  CHECK(place.daemon->log().find(hex) == std::string::npos);
}

TEST_CASE("the library resumes a session over TLS with its certificate, and goes on") {
  Kept place;
  place.start();
  const auto session =
      open_session("pageservers://localhost:" + std::to_string(place.tls_port) +
                   "/demo?resume=30&tls_ca=" + place.made.file("plain_ca.pem") + place.made.shown_by("goes"));
  std::vector<std::byte> data(5);
  session->write(10, std::as_bytes(std::span("hello", 5)));
  // Its socket is the only one of this process to that port.
  for (int round = 0; round < 3; ++round) {
    for (int fd = 3; fd < 256; ++fd) {
      sockaddr_in peer{};
      socklen_t size = sizeof peer;
      if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 && peer.sin_family == AF_INET &&
          ntohs(peer.sin_port) == place.tls_port)
        ::shutdown(fd, SHUT_RDWR);
    }
    session->read(10, data);
    CHECK(data ==
          std::vector<std::byte>({std::byte{'h'}, std::byte{'e'}, std::byte{'l'}, std::byte{'l'}, std::byte{'o'}}));
  }
  // The line comes after the answer.
  wait_until([&] { return count_of(place.daemon->log(), "session resumed") == 3; });
}

TEST_CASE("a session ends when its certificate is revoked while nobody is connected to it") {
  Kept place;
  place.start();
  std::optional<TlsClient> first(place.by("goes"));
  place.begin(*first);
  first->socket().reset();
  place.wait_for_detached();
  place.made.revoke("goes");
  place.believe();
  place.reload("certificate read");
  place.daemon->wait_for_log("session close");
  place.daemon->wait_for_log("was revoked by its authority");
  // Its lease is free at once, and its owner does not get in.
  TlsClient other = place.by("stays");
  CHECK(other.call(place.request).status() == Status::ok);
  std::string said;
  try {
    TlsClient owner = place.by("goes");
    said = "greeted";
  } catch (const std::exception& error) {
    said = error.what();
  }
  INFO(said);
  CHECK(said != "greeted");
}

TEST_CASE("a session ends with the reason when its right or its token is taken back while it is detached") {
  Kept place;
  place.token("ci");
  place.start();
  RawClient first = place.plain(place.tokens["ci"]);
  place.begin(first);
  first.reset();
  place.wait_for_detached();
  const bool whole_token = GENERATE(false, true);
  place.daemon->expect_complaint("resumption refused");
  if (whole_token) {
    std::ofstream(place.dir.file("tokens")).flush();
  } else {
    place.config["rules"] = {{{"who", "token:*"}, {"stores", "demo"}, {"may", {"read"}}}};
    std::ofstream(place.dir.file("config.json")) << place.config;
  }
  place.reload("rules read");
  place.daemon->wait_for_log("session close");
  const std::string log = place.daemon->log();
  CHECK(holds(log.substr(log.find("session close")), whole_token ? "was taken back" : "it takes the right write"));
  if (whole_token) return;
  RawClient owner = place.plain(place.tokens["ci"]);
  const Frame refused = place.try_resume(owner);
  CHECK(refused.status() == Status::permission_denied);
  CHECK(holds(refused.text(), "it takes the right write"));
}

TEST_CASE("of two tokens of one name a session belongs to the one that was shown last") {
  Kept place;
  const std::string old = place.token("ci"), fresh = [&] {
    std::filesystem::remove(place.dir.file("ci.token"));
    return place.token("ci");
  }();
  place.start();
  const bool old_goes = GENERATE(false, true);
  RawClient first = place.plain(old);
  place.begin(first);
  first.reset();
  place.wait_for_detached();
  RawClient next = place.plain(fresh);
  const Frame resumed = place.try_resume(next);
  CHECK(resumed.as<proto::OpenAnswer>().resume->executed == place.mark);
  // Changed over: the line of one goes.
  std::istringstream lines(text_of_file(place.dir.file("tokens")));
  std::string one, two;
  std::getline(lines, one);
  std::getline(lines, two);
  std::ofstream(place.dir.file("tokens")) << (old_goes ? two : one) << '\n';
  place.reload("rules read");
  if (old_goes) {
    next.send_as(place.mark + 1, 0, proto::SizeRequest{});
    CHECK(next.must_receive().status() == Status::ok);
  } else {
    CHECK(holds(last_words(next), "was taken back"));
  }
}

TEST_CASE("of two certificates of one name a session belongs to the one that was shown last") {
  Kept place;
  place.made.make_client("again", "URI:app:goes");
  place.start();
  const bool first_goes = GENERATE(false, true);
  std::optional<TlsClient> first(place.by("goes"));
  place.begin(*first);
  first->socket().reset();
  place.wait_for_detached();
  TlsClient next = place.by("again");
  const Frame resumed = place.try_resume(next);
  CHECK(resumed.as<proto::OpenAnswer>().resume->executed == place.mark);
  place.made.revoke(first_goes ? "goes" : "again");
  place.believe();
  place.reload("certificate read");
  if (first_goes) {
    proto::Bytes bytes;
    proto::encode(bytes, place.mark + 1, proto::SizeRequest{});
    next.send_bytes(bytes);
    CHECK(next.must_receive().status() == Status::ok);
  } else {
    CHECK(holds(last_words(next), "was revoked by its authority"));
  }
}
