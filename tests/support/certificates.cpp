#include "tests/support/certificates.hpp"

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "tests/support/process.hpp"

namespace pageserver::test {

namespace {

void openssl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "openssl");
  const RunResult result = run(std::move(arguments));
  if (result.status != 0) throw std::runtime_error("openssl: " + result.err);
}

}  // namespace

Certificates::Certificates() {
  std::ofstream(dir_.file("index.txt")).flush();
  std::ofstream(dir_.file("ca.cnf"))
      << "[ca]\ndefault_ca=own\n[own]\ndatabase=" << dir_.file("index.txt")
      << "\nnew_certs_dir=" << dir_.path().string()
      << "\ndefault_md=sha256\npolicy=any\nunique_subject=no\nrand_serial=yes\ndefault_crl_days=30\n"
         "[any]\ncommonName=supplied\n"
         "[req]\ndistinguished_name=none\nprompt=no\n[none]\n";
  Wanted authority;
  authority.by = {};
  authority.authority = true;
  make("ca", authority);
}

void Certificates::make(const std::string& name, const Wanted& wanted) {
  std::vector<std::string> request{"req", "-new", "-config", dir_.file("ca.cnf"), "-newkey"};
  if (wanted.rsa)
    request.push_back("rsa:" + std::to_string(wanted.rsa_bits));
  else
    request.insert(request.end(), {"ec", "-pkeyopt", "ec_paramgen_curve:P-256"});
  request.insert(request.end(),
                 {"-noenc", "-subj", "/CN=" + name, "-keyout", key(name), "-out", dir_.file(name + ".csr")});
  openssl(request);
  std::ofstream extensions(dir_.file(name + ".ext"));
  extensions << "subjectKeyIdentifier=hash\n";
  if (wanted.authority)
    extensions << "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";
  else
    extensions << "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=" << wanted.usage
               << "\nsubjectAltName=" << wanted.names << '\n';
  extensions.close();
  std::vector<std::string> sign{"ca",
                                "-batch",
                                "-notext",
                                "-config",
                                dir_.file("ca.cnf"),
                                "-in",
                                dir_.file(name + ".csr"),
                                "-out",
                                certificate(name),
                                "-startdate",
                                wanted.begin,
                                "-enddate",
                                wanted.end,
                                "-extfile",
                                dir_.file(name + ".ext")};
  if (wanted.by.empty())
    sign.insert(sign.end(), {"-selfsign", "-keyfile", key(name)});
  else
    sign.insert(sign.end(), {"-cert", certificate(wanted.by), "-keyfile", key(wanted.by)});
  openssl(sign);
}

void Certificates::make_client(const std::string& name, const std::string& names) {
  Wanted wanted;
  wanted.names = names;
  wanted.usage = "clientAuth";
  make(name, wanted);
}

void Certificates::revoke(const std::string& name) {
  openssl({"ca", "-revoke", certificate(name), "-config", dir_.file("ca.cnf"), "-cert", certificate("ca"), "-keyfile",
           key("ca")});
  add_list({});
}

void Certificates::add_old_list() {
  add_list({"-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20210101000000Z"});
}

void Certificates::add_list(const std::vector<std::string>& more) {
  std::vector<std::string> listing{
      "ca",       "-gencrl", "-out", dir_.file("ca.crl"), "-config", dir_.file("ca.cnf"), "-cert", certificate("ca"),
      "-keyfile", key("ca")};
  listing.insert(listing.end(), more.begin(), more.end());
  openssl(listing);
  std::ostringstream list;
  list << std::ifstream(dir_.file("ca.crl")).rdbuf();
  std::ofstream(certificate("ca"), std::ios::app) << list.str();
}

}  // namespace pageserver::test
