#include <pageserver/version.hpp>

namespace pageserver {

static_assert(std::string_view{PAGESERVER_VERSION} == PAGESERVER_PROJECT_VERSION &&
                  PAGESERVER_VERSION_NUMBER == PAGESERVER_PROJECT_VERSION_NUMBER,
              "version.hpp says what project() in CMakeLists.txt says");

std::string_view library_version() noexcept { return PAGESERVER_VERSION; }

}  // namespace pageserver
