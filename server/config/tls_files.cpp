#include "server/config/tls_files.hpp"

#include <stdexcept>

#include "server/access/tokens.hpp"
#include "server/config/config_text.hpp"

namespace pageserver::server {

std::vector<std::string> TlsFiles::look(bool always, std::shared_ptr<const tls::Context>& context) {
  if (!has_files()) return {};
  std::vector<std::string> faults;
  tls::Credentials read;
  const auto take = [&](const std::string& key, const std::string& path, std::string& text) {
    if (path.empty()) return;
    std::string why;
    if (key == "tls.key")
      text = read_private_file(path, why);
    else
      why = read_text(path, text);
    if (!why.empty()) faults.push_back(key + ": " + path + ": " + why);
  };
  take("tls.certificate", config_.tls.certificate, read.certificate);
  take("tls.key", config_.tls.key, read.key);
  take("tls.client_ca", config_.tls.client_ca, read.authorities);
  if (!watch_.has_changed({read.certificate, read.key, read.authorities}, faults) && !always) return {};
  if (!faults.empty()) return faults;
  if (!config_.tls.client_ca.empty() && read.authorities.empty())
    return {"tls.client_ca: " + config_.tls.client_ca + ": it is empty"};
  try {
    context = tls::Context::of_server(read);
  } catch (const std::runtime_error& error) {
    const std::string what = error.what();
    const std::string path = what.starts_with("certificate")   ? config_.tls.certificate
                             : what.starts_with("key")         ? config_.tls.key
                             : what.starts_with("authorities") ? config_.tls.client_ca
                                                               : std::string();
    faults.push_back("tls: " + (path.empty() ? path : path + ": ") + what);
  }
  return faults;
}

}  // namespace pageserver::server
