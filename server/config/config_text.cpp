#include "server/config/config_text.hpp"

#include <cerrno>
#include <cstring>

#include "base/small_file.hpp"

namespace pageserver::server {

std::string read_text(const std::string& path, std::string& text) {
  constexpr std::size_t bytes_max = 16u << 20;
  const base::SmallFile file(path);
  const int error = file.error() != 0 ? file.error() : file.read(text, bytes_max);
  if (error == 0) return {};
  if (error == EFBIG) return "it has more than " + std::to_string(bytes_max) + " bytes";
  return error == EISDIR ? "it is a folder; name the file itself" : std::strerror(error);
}

}  // namespace pageserver::server
