#include "server/policy_reload.hpp"

#include <sys/stat.h>

#include "server/config/config_json.hpp"
#include "server/config/config_text.hpp"
#include "server/config/config_values.hpp"

namespace pageserver::server {

namespace {

bool is_regular(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

}  // namespace

PolicyReload::PolicyReload(const Config& config) : config_(config), source_(config.access) {}

// The other keys are for the next start; a file with a fault anywhere is not half taken.
std::vector<std::string> PolicyReload::read_rules(const std::string& text, PolicySource& source) const {
  Config read;
  std::vector<std::string> faults = read_config(text, read);
  for (std::string& fault : faults) fault = config_.file + ": " + fault;
  if (!faults.empty()) return faults;
  source = std::move(read.access);
  source.insecure = config_.access.insecure;
  source.certificates = config_.access.certificates;
  faults = check_policy_source(source);
  if (config_.access.rules && !source.rules)
    faults.push_back(
        "rules: there are none any more, and the daemon has run with some; it takes a restart to do without");
  for (std::string& fault : faults) fault = config_.file + ": " + fault;
  return faults;
}

PolicyReload::Found PolicyReload::look(bool always) {
  Found found;
  PolicySource source = source_;
  std::string text, tokens_text;
  // A pipe, such as that of <(...) in a shell, had its say at the start.
  const bool has_config = !config_.file.empty() && is_regular(config_.file);
  if (has_config) {
    if (const std::string why = read_text(config_.file, text); !why.empty()) {
      found.faults.push_back(config_.file + ": " + why);
    } else {
      found.faults = read_rules(text, source);
    }
  }
  if (found.faults.empty()) found.faults = load_policy(source, found.policy, &tokens_text);
  if (!watch_.has_changed({text, tokens_text}, found.faults) && !always) return {};
  if (found.faults.empty()) source_ = std::move(source);
  return found;
}

}  // namespace pageserver::server
