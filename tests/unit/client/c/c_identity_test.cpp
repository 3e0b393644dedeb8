// The C interface: who a client is for a daemon, by token and by certificate, given beside the URI.
#include "tests/support/catch.hpp"

#include <sys/stat.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <pageserver/pageserver.h>

#include "tests/support/c_handles.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"

using namespace pageserver::test;

namespace {

using CIdentity = std::unique_ptr<const ps_identity, Release<ps_identity_free>>;

ps_options no_options() { return PS_OPTIONS_INIT; }

/// A file for its owner alone.
std::string secret_file(const TempDir& dir, const std::string& name, const std::string& text) {
  const std::string path = dir.file(name);
  std::ofstream(path) << text;
  ::chmod(path.c_str(), 0600);
  return path;
}

CIdentity identity_by(const std::string& uri, const ps_options& options, const char* store) {
  const auto handle = c_daemon(uri, &options);
  const ps_identity* found = nullptr;
  ps_error error = no_error();
  const int code = ps_daemon_whoami(handle.get(), store, &found, &error);
  INFO(error.text);
  REQUIRE(code == PS_OK);
  REQUIRE(found->size == sizeof(ps_identity));
  return CIdentity{found};
}

/// Checks that the session can't be opened, and what the text says.
void check_closed_to(const std::string& uri, const ps_options& options, int expected, const std::string& part) {
  ps_error error = no_error();
  ps_session* session = nullptr;
  const int code = ps_session_open(uri.c_str(), &options, &session, &error);
  ps_session_close(session);
  INFO(uri << ": " << error.text);
  CHECK(std::string{ps_code_name(code)} == ps_code_name(expected));
  CHECK(std::string{error.text}.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("C: a token and a certificate beside the URI say who the client is, and whoami tells") {
  TempDir dir;
  Certificates made;
  made.make("server", {});
  made.make_client("one", "URI:app:one");
  // The SHA-256 of "abc".
  const std::string tokens =
      secret_file(dir, "tokens", "ci sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n");
  const std::string token_file = secret_file(dir, "ci.token", "abc\n");
  const std::string config = dir.file("config.json");
  std::ofstream(config) << R"({"tokens_file": ")" << tokens << R"(", "rules": [)"
                        << R"({"who": "token:ci", "stores": "demo", "may": ["read", "fork", "write"]},)"
                        << R"({"who": "cert:app:one", "stores": "*", "may": ["read"]}]})";
  Daemon daemon{{"--config", config, "--store", "demo={dir}/demo.img", "--listen-tls", "127.0.0.1:0",
                 "--tls-certificate", made.certificate("server"), "--tls-key", made.key("server"), "--tls-client-ca",
                 made.certificate("ca")}};
  const std::string& line = daemon.listeners().at(1);
  const std::string secured = "pageservers://localhost" + line.substr(line.rfind(':'));
  const std::string plain = "pageserver://" + daemon.listeners().at(0);
  REQUIRE(plain.find("127.0.0.1:") != std::string::npos);

  auto nobody = no_options();
  check_closed_to(plain + "/demo", nobody, PS_PERMISSION_DENIED, "takes the right write");

  auto ci = no_options();
  ci.token = "abc";
  auto found = identity_by(plain, ci, "demo");
  CHECK(std::string{found->identity} == "token:ci");
  CHECK(found->rights == (PS_RIGHT_READ | PS_RIGHT_FORK | PS_RIGHT_WRITE));
  CHECK(std::string{found->rights_text} == "read, fork, write");
  CHECK(std::string{found->why}.find("token:ci") != std::string::npos);
  CHECK(identity_by(plain, ci, nullptr)->rights == 0);
  const auto writer = c_session(plain + "/demo", &ci);
  // That takes another right.
  const auto handle = c_daemon(plain, &ci);
  ps_error error = no_error();
  CHECK(ps_daemon_break_lease(handle.get(), "demo", 0, nullptr, &error) == PS_PERMISSION_DENIED);
  INFO(error.text);
  CHECK(std::string{error.text}.find("right admin") != std::string::npos);

  auto by_file = no_options();
  by_file.token_file = token_file.c_str();
  CHECK(std::string{identity_by(plain, by_file, "demo")->identity} == "token:ci");
  auto fork = by_file;
  fork.access = PS_ACCESS_FORK;
  CHECK(c_async(plain + "/demo", &fork) != nullptr);
  by_file.token = "def";
  check_closed_to(plain + "/demo", by_file, PS_PERMISSION_DENIED, "token");
  ::chmod(token_file.c_str(), 0644);
  check_closed_to(plain + "/demo", fork, PS_PERMISSION_DENIED, "chmod 600");

  const std::string ca = made.certificate("ca"), certificate = made.certificate("one"), key = made.key("one");
  auto shown = no_options();
  shown.tls_ca = ca.c_str();
  check_closed_to(secured + "/demo", shown, PS_CONNECTION_LOST, "tls_certificate=");
  shown.tls_certificate = certificate.c_str();
  check_closed_to(secured + "/demo", shown, PS_INVALID_ARGUMENT, "tls_certificate and tls_key go together");
  shown.tls_key = key.c_str();
  found = identity_by(secured, shown, "demo");
  CHECK(std::string{found->identity} == "cert:app:one");
  CHECK(std::string{found->rights_text} == "read");
  shown.access = PS_ACCESS_READ;
  CHECK(c_session(secured + "/demo", &shown) != nullptr);
  shown.tls_name = "elsewhere.example";
  check_closed_to(secured + "/demo", shown, PS_CONNECTION_LOST, "elsewhere.example");
  check_closed_to(plain + "/demo", shown, PS_INVALID_ARGUMENT, "tls_ca is nothing that this URI's scheme knows");
  auto empty = no_options();
  empty.token = "";
  check_closed_to(plain + "/demo", empty, PS_INVALID_ARGUMENT, "token is empty; leave it NULL");
  check_closed_to("heap:", ci, PS_INVALID_ARGUMENT, "token is nothing that this URI's scheme knows");
}
