// Authorities and certificates, made by `openssl` for one test.
#pragma once

#include <string>
#include <vector>

#include "tests/support/temp_dir.hpp"

namespace pageserver::test {

/// NAME.pem and NAME.key in a folder of their own, each key for its owner alone. The authority `ca` is there already.
class Certificates {
public:
  Certificates();

  struct Wanted {
    std::string by = "ca";  ///< empty: by itself
    std::string names = "DNS:localhost,IP:127.0.0.1";
    std::string usage = "serverAuth";
    std::string begin = "20200101000000Z";
    std::string end = "20990101000000Z";
    bool authority = false;
    bool rsa = false;  ///< else ECDSA with P-256
    unsigned rsa_bits = 2048;
  };
  static Wanted named(const std::string& names) {
    Wanted wanted;
    wanted.names = names;
    return wanted;
  }
  void make(const std::string& name, const Wanted& wanted);
  /// A client's certificate by `ca`.
  void make_client(const std::string& name, const std::string& names);
  /// Adds a list of what was revoked, which has NAME, to `ca.pem`.
  void revoke(const std::string& name);
  /// Adds a list to `ca.pem` that is out of date, and has what was revoked so far.
  void add_old_list();

  std::string certificate(const std::string& name) const { return dir_.file(name + ".pem"); }
  std::string key(const std::string& name) const { return dir_.file(name + ".key"); }
  std::string file(const std::string& name) const { return dir_.file(name); }
  const TempDir& dir() const noexcept { return dir_; }
  /// "&tls_certificate=...&tls_key=..."
  std::string shown_by(const std::string& name) const {
    return "&tls_certificate=" + certificate(name) + "&tls_key=" + key(name);
  }

private:
  void add_list(const std::vector<std::string>& more);

  TempDir dir_;
};

}  // namespace pageserver::test
