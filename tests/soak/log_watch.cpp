#include "tests/soak/log_watch.hpp"

#include <algorithm>
#include <sstream>

namespace pageserver::test::soak {

namespace {

struct Kind {
  const char* text;
  Causes causes;  // any of these
};

// docs/operations.md has a table of all; what is not here is never expected. `sync failed` is not, but where the line
// says of files that they are not where they were: the disk is sound.
constexpr Kind kinds[] = {
    {"limits.connections can't be reached", few_descriptors},
    {"connections refused for want of descriptors", few_descriptors},
    {"accept failed", few_descriptors},
    {"has 2 names (hard links) now", second_name},
    {"was removed", handled},
    {"emptied or cut", handled},
    {"was renamed", handled},
    {"was moved or renamed", handled},
    {"names another file", handled},
    {"was replaced by another one", handled},
    {"are where they were again", handled},
    {"store not closed cleanly", handled},
    {"stopped at once", second_signal},
    {"log lines dropped", stalled_streams},
    {"start failed", refused_start},
};

bool is_complaint(const std::string& line) {
  for (const char* mark :
       {" WARN ", " ERROR ", "\"level\":\"warn\"", "\"level\":\"error\"", "Sanitizer", "runtime error:", "Assertion"}) {
    if (line.find(mark) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> complaints_without_cause(const std::string& log, Causes causes) {
  std::vector<std::string> found;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    if (!is_complaint(line)) continue;
    const bool expected = std::any_of(std::begin(kinds), std::end(kinds), [&](const Kind& kind) {
      return (kind.causes & causes) != 0 && line.find(kind.text) != std::string::npos;
    });
    if (!expected) found.push_back(line);
  }
  return found;
}

bool says_recovered(const std::string& log, const std::string& store) {
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    const bool text = line.find(" recovered store=" + store + " ") != std::string::npos;
    const bool json = line.find("\"event\":\"recovered\",\"store\":\"" + store + "\"") != std::string::npos;
    if (text || json) return true;
  }
  return false;
}

}  // namespace pageserver::test::soak
