// Which certificates are believed, of daemons and of clients.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/catch.hpp"

#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include "tests/daemon/helpers.hpp"
#include "tests/daemon/secured.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

TEST_CASE("a certificate that should not be believed is not, and the error says why and what helps") {
  Secured secured;
  struct Case {
    std::string name;
    Certificates::Wanted wanted;
    std::vector<std::string> said;
  };
  Certificates::Wanted expired, early, usage, self;
  expired.end = "20210101000000Z";
  early.begin = "20980101000000Z";
  usage.usage = "clientAuth";
  self.by = {};
  const std::vector<Case> cases{
      {"expired", expired, {"has expired", "Jan  1 00:00:00 2021", "renew it"}},
      {"early", early, {"not valid yet", "2098"}},
      {"usage", usage, {"not for servers", "serverAuth"}},
      {"self", self, {"signed by itself", "tls_ca="}},
      {"other_name",
       Certificates::named("DNS:elsewhere.example"),
       {"expected localhost", "elsewhere.example", "tls_name="}},
      {"no_name", Certificates::named("URI:app:x"), {"expected localhost", "it is for nobody"}},
      {"wildcard", Certificates::named("DNS:*.example"), {"expected localhost", "*.example"}},
  };
  for (const Case& each : cases) {
    INFO(each.name);
    secured.certificates.make(each.name, each.wanted);
    secured.start(each.name);
    const std::string said = secured.opening();
    CHECK(holds(said, "pageservers://localhost:" + secured.port()));
    for (const std::string& part : each.said) {
      INFO(said);
      CHECK(holds(said, part));
    }
    secured.daemon.reset();
  }
}

TEST_CASE("an authority that is not the daemon's is not believed, nor those of the system where none is named") {
  Secured secured;
  Certificates other;
  secured.certificates.make("server", {});
  secured.start("server");
  const std::string base = "pageservers://localhost:" + secured.port() + "/demo";
  for (const std::string& uri : {base + "?tls_ca=" + other.certificate("ca"), base}) {
    const std::string said = Secured::opening_of(uri);
    INFO(said);
    CHECK(holds(said, "an authority that is not known here"));
    CHECK(holds(said, "tls_ca="));
  }
  CHECK(secured.opening() == "opened");
}

TEST_CASE("the name is verified: a host's, an address, or the one that tls_name says") {
  Secured secured;
  secured.certificates.make("server", Certificates::named("DNS:db.example,IP:127.0.0.1"));
  secured.start("server");
  CHECK(holds(secured.opening(), "expected localhost, it is for db.example, 127.0.0.1"));
  CHECK(secured.opening({}, "127.0.0.1") == "opened");
  CHECK(secured.opening("&tls_name=db.example") == "opened");
  CHECK(holds(secured.opening("&tls_name=other.example"), "expected other.example"));
}

TEST_CASE("a chain with an intermediate authority is believed when the daemon sends it") {
  Secured secured;
  Certificates::Wanted intermediate;
  intermediate.authority = true;
  secured.certificates.make("between", intermediate);
  Certificates::Wanted leaf;
  leaf.by = "between";
  secured.certificates.make("leaf", leaf);
  secured.start("leaf");
  CHECK(holds(secured.opening(), "one between them was not sent"));
  secured.daemon.reset();
  std::ofstream(secured.certificates.certificate("leaf"), std::ios::app)
      << std::ifstream(secured.certificates.certificate("between")).rdbuf();
  secured.start("leaf");
  CHECK(secured.opening() == "opened");
}

TEST_CASE("clients show a certificate where client_ca asks for one") {
  Secured secured;
  auto& made = secured.certificates;
  made.make("server", {});
  made.make_client("client", "URI:app:ci");
  made.make_client("revoked", "URI:app:gone");
  made.revoke("revoked");
  made.make("no_client", {});
  Certificates::Wanted expired;
  expired.usage = "clientAuth";
  expired.end = "20210101000000Z";
  made.make("expired", expired);
  Certificates other;
  other.make_client("stranger", "URI:app:ci");
  std::filesystem::copy_file(made.certificate("ca"), made.file("clients.pem"));
  secured.start("server", {"--tls-client-ca", made.file("clients.pem")});
  CHECK(secured.opening(made.shown_by("client")) == "opened");
  const auto refused = [&](const std::string& more, std::string_view said, std::string_view logged) {
    const std::string got = secured.opening(more);
    INFO(got);
    CHECK(holds(got, said));
    secured.daemon->wait_for_log(logged);
  };
  refused({}, "wants a certificate of its clients", "shows no certificate");
  refused(made.shown_by("expired"), "has expired", "has expired");
  refused(made.shown_by("no_client"), "not for clients", "not for clients");
  refused(made.shown_by("revoked"), "revoked", "was revoked");
  refused(other.shown_by("stranger"), "does not know its authority", "an authority that is not known");
  CHECK(secured.opening(made.shown_by("client")) == "opened");
}

TEST_CASE("every kind of client's certificate is believed or refused as a daemon's would be") {
  Secured secured;
  auto& made = secured.certificates;
  made.make("server", {});
  std::filesystem::copy_file(made.certificate("ca"), made.file("clients.pem"));
  Certificates::Wanted rsa, early, self, between, leaf, both, old;
  for (auto* const wanted : {&rsa, &early, &self, &leaf}) {
    wanted->usage = "clientAuth";
    wanted->names = "URI:app:ci";
  }
  rsa.rsa = true;
  early.begin = "20980101000000Z";
  self.by = {};
  between.authority = true;
  leaf.by = "between";
  both = leaf;
  both.by = "ca";
  both.usage = "serverAuth,clientAuth";
  old.authority = true;
  old.end = "20210101000000Z";
  made.make("rsa", rsa);
  made.make("early", early);
  made.make("self", self);
  made.make("both", both);
  made.make("between", between);
  made.make("leaf", leaf);
  made.make("old", old);
  leaf.by = "old";
  made.make("of_old", leaf);
  std::filesystem::copy_file(made.certificate("leaf"), made.file("chain.pem"));
  std::ofstream(made.file("chain.pem"), std::ios::app) << std::ifstream(made.certificate("between")).rdbuf();
  std::filesystem::copy_file(made.certificate("of_old"), made.file("old_chain.pem"));
  std::ofstream(made.file("old_chain.pem"), std::ios::app) << std::ifstream(made.certificate("old")).rdbuf();
  secured.start("server", {"--tls-client-ca", made.file("clients.pem")});
  const auto shown = [&](const std::string& certificate, const std::string& key) {
    return "&tls_certificate=" + made.file(certificate) + "&tls_key=" + made.key(key);
  };
  CHECK(secured.opening(made.shown_by("rsa")) == "opened");
  CHECK(secured.opening(made.shown_by("both")) == "opened");
  CHECK(secured.opening(shown("chain.pem", "leaf")) == "opened");
  const auto refused = [&](const std::string& more, std::string_view logged) {
    const std::size_t times = count_of(secured.daemon->log(), logged);
    const std::string got = secured.opening(more);
    INFO(got);
    CHECK(got != "opened");
    wait_until([&] { return count_of(secured.daemon->log(), logged) > times; });
  };
  refused(made.shown_by("early"), "not valid yet");
  refused(made.shown_by("self"), "signed by itself");
  refused(made.shown_by("leaf"), "an authority that is not known");
  refused(shown("old_chain.pem", "of_old"), "has expired");
  // An authority's own is not for clients either.
  refused(made.shown_by("server"), "not for clients");
}

TEST_CASE("a daemon's certificate that a list in tls_ca names is not believed, nor one beside a list out of date") {
  Secured secured;
  auto& made = secured.certificates;
  made.make("server", {});
  made.make("other", {});
  made.revoke("other");
  secured.start("server");
  CHECK(secured.opening() == "opened");
  secured.daemon.reset();
  secured.start("other");
  const std::string revoked = secured.opening();
  INFO(revoked);
  CHECK(holds(revoked, "revoked"));
  Secured late;
  late.certificates.make("server", {});
  late.start("server");
  late.certificates.add_old_list();
  const std::string old = late.opening();
  INFO(old);
  CHECK(old != "opened");
  CHECK(holds(old, "list"));
}
