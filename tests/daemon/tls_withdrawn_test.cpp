// What becomes of sessions whose certificate is not believed any more: it was revoked, its authority was replaced, it
// has come to its end.
#include <signal.h>

#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include <pageserver/open.hpp>

#include "base/tls/stream.hpp"
#include "proto/framing.hpp"
#include "tests/daemon/helpers.hpp"
#include "tests/daemon/secured.hpp"
#include "tests/daemon/tls_client.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

/// Clients with certificates, and authorities that the test replaces.
struct Place : Secured {
  Place() {
    certificates.make("server", {});
    certificates.make_client("stays", "URI:app:stays");
    certificates.make_client("goes", "URI:app:goes");
    believe(certificates.certificate("ca"));
  }
  void start() {
    Secured::start("server", {"--tls-client-ca", certificates.file("clients.pem")});
    plain_ca = certificates.file("plain_ca.pem");
    std::filesystem::copy_file(certificates.certificate("ca"), plain_ca);
  }
  std::unique_ptr<Session> session(const std::string& name, const std::string& access) const {
    // `ca.pem` may have a list of the revoked by now, which is not about the daemon.
    return open_session("pageservers://localhost:" + port() + "/demo?tls_ca=" + plain_ca + "&access=" + access +
                        certificates.shown_by(name));
  }
  void believe(const std::string& authorities) const {
    std::filesystem::copy_file(authorities, certificates.file("clients.pem.new"));
    std::filesystem::rename(certificates.file("clients.pem.new"), certificates.file("clients.pem"));
  }
  /// Returns once what was open then has been looked at: a second look comes behind the first.
  void reload() const {
    for (int i = 0; i < 2; ++i) {
      const std::size_t times = count_of(daemon->log(), "certificate read");
      daemon->process().signal(SIGHUP);
      wait_until([&] { return count_of(daemon->log(), "certificate read") > times; });
    }
  }
  /// What a session that ends says of it.
  static std::string ending(Session& session) {
    std::string said;
    wait_until([&] {
      try {
        session.refresh();
        return false;
      } catch (const MemoryError& error) {
        CHECK(error.code() == Errc::connection_lost);
        said = error.what();
        return true;
      }
    });
    return said;
  }

  std::string plain_ca;
};

}  // namespace

TEST_CASE("a session ends when its certificate is revoked, with its lease, and others stay") {
  Place place;
  place.start();
  const auto stays = place.session("stays", "read");
  const auto goes = place.session("goes", "write");
  goes->grow(1);
  place.certificates.revoke("goes");
  place.believe(place.certificates.certificate("ca"));
  place.reload();
  const std::string said = Place::ending(*goes);
  INFO(said);
  CHECK(holds(said, "was revoked by its authority"));
  stays->refresh();
  CHECK(place.session("stays", "write")->grow(1) == 1);
  place.daemon->wait_for_log("access refused operation=hello store=\"\" who=cert:app:goes");
  CHECK(count_of(place.daemon->log(), "access refused") == 1);
}

TEST_CASE("a session ends when its authority is replaced, and stays where both are believed") {
  Place place;
  Certificates other;
  other.make_client("stays", "URI:app:other");
  place.start();
  const auto goes = place.session("goes", "read");
  std::filesystem::copy_file(place.plain_ca, place.certificates.file("both.pem"));
  std::ofstream(place.certificates.file("both.pem"), std::ios::app) << std::ifstream(other.certificate("ca")).rdbuf();
  place.believe(place.certificates.file("both.pem"));
  place.reload();
  const auto stays = open_session(place.uri("&access=read" + other.shown_by("stays")));
  goes->refresh();
  place.believe(other.certificate("ca"));
  place.reload();
  const std::string said = Place::ending(*goes);
  INFO(said);
  CHECK(holds(said, "signed by an authority that is not known"));
  stays->refresh();
}

TEST_CASE("a chain with an intermediate authority is verified again as it was sent") {
  Place place;
  Certificates::Wanted between, leaf;
  between.authority = true;
  place.certificates.make("between", between);
  leaf.by = "between";
  leaf.usage = "clientAuth";
  leaf.names = "URI:app:leaf";
  place.certificates.make("leaf", leaf);
  std::ofstream(place.certificates.certificate("leaf"), std::ios::app)
      << std::ifstream(place.certificates.certificate("between")).rdbuf();
  place.start();
  const auto stays = place.session("leaf", "read");
  place.reload();
  stays->refresh();
  // The intermediate alone is no authority that a chain may end at.
  place.believe(place.certificates.certificate("between"));
  place.reload();
  CHECK(holds(Place::ending(*stays), "signed by an authority that is not known"));
}

TEST_CASE("a session ends by itself when its certificate has come to its end") {
  Place place;
  Certificates::Wanted wanted;
  wanted.usage = "clientAuth";
  wanted.names = "URI:app:short";
  const std::time_t end = std::time(nullptr) + 6;
  std::tm time{};
  ::gmtime_r(&end, &time);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d%H%M%SZ", &time);
  wanted.end = text;
  place.certificates.make("short", wanted);
  place.start();
  const auto stays = place.session("stays", "read");
  const auto goes = place.session("short", "read");
  const std::string said = Place::ending(*goes);
  INFO(said);
  CHECK(std::time(nullptr) > end);
  CHECK(holds(said, "has expired"));
  stays->refresh();
}

TEST_CASE("a list of the revoked that is out of date keeps new clients out, and ends no session but of who is in it") {
  Place place;
  place.start();
  const auto stays = place.session("stays", "read");
  place.certificates.add_old_list();
  place.believe(place.certificates.certificate("ca"));
  place.reload();
  stays->refresh();
  const std::string said = Secured::opening_of("pageservers://localhost:" + place.port() +
                                               "/demo?tls_ca=" + place.plain_ca + place.certificates.shown_by("stays"));
  INFO(said);
  CHECK(said != "opened");
  place.daemon->wait_for_log("renew the list beside the authority's certificate");
}

TEST_CASE("who is in the middle of the handshake when its certificate is revoked does not get in") {
  Place place;
  place.start();
  tls::Credentials credentials;
  credentials.certificate = text_of_file(place.certificates.certificate("goes"));
  credentials.key = text_of_file(place.certificates.key("goes"));
  credentials.authorities = text_of_file(place.plain_ca);
  RawClient client = RawClient::tcp(place.port_number());
  tls::Stream stream(tls::Context::of_client(credentials), client.fd(), "localhost");
  // Stopped, or its answer might be here already, and the handshake be done.
  place.daemon->process().pause();
  REQUIRE(stream.handshake() == tls::Stream::Result::wants_read);
  place.daemon->process().signal(SIGCONT);
  // The daemon has begun with what it believes now.
  REQUIRE(client.readable_within(patience));
  place.certificates.revoke("goes");
  place.believe(place.certificates.certificate("ca"));
  place.reload();
  wait_until([&] { return stream.handshake() == tls::Stream::Result::done; });
  std::vector<std::byte> got;
  wait_until([&] {
    std::byte some[4096];
    std::size_t count = 0;
    const auto result = stream.read(some, count);
    got.insert(got.end(), some, some + count);
    return result == tls::Stream::Result::end;
  });
  const proto::Scan scan = proto::scan_frame(got, 1u << 20);
  REQUIRE(scan.kind == proto::Scan::Kind::frame);
  CHECK(scan.header.operation == proto::Operation::goodbye);
  CHECK(scan.header.status == proto::Status::permission_denied);
  proto::ErrorText error;
  REQUIRE_FALSE(proto::decode(scan.payload, error));
  CHECK(holds(std::string(error.message), "was revoked by its authority"));
}
