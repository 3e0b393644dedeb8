#include "client/pagectl/terminal/colours.hpp"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace pageserver::pagectl {

bool takes_colours(int descriptor) noexcept {
  const char* const unwanted = std::getenv("NO_COLOR");
  if (unwanted != nullptr && *unwanted != '\0') return false;
  const char* const terminal = std::getenv("TERM");
  if (terminal == nullptr || *terminal == '\0' || std::string_view(terminal) == "dumb") return false;
  return ::isatty(descriptor) == 1;
}

}  // namespace pageserver::pagectl
