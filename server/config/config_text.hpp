// Text of a file that the configuration names, or of its own.
#pragma once

#include <string>

namespace pageserver::server {

/// Appends what the file has to `text`. Empty, or what is wrong. A pipe is read as well, such as that of <(...) in a
/// shell.
std::string read_text(const std::string& path, std::string& text);

}  // namespace pageserver::server
