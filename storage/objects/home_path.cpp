#include "storage/objects/home_path.hpp"

#include <algorithm>

#include "base/home_paths.hpp"

namespace pageserver::storage {
namespace {

std::optional<std::string> decoded(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0) return std::nullopt;
    out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
    i += 2;
  }
  return out;
}

}  // namespace

std::optional<HomePath> parse_home_path(std::string_view path) {
  if (!base::is_home_path(path)) return std::nullopt;
  path.remove_prefix(base::home_prefix.size());
  HomePath found;
  std::string_view query;
  if (const auto mark = path.find('?'); mark != std::string_view::npos) {
    query = path.substr(mark + 1);
    path = path.substr(0, mark);
  }
  const auto slash = path.find('/');
  found.pool.pool = path.substr(0, slash);
  if (slash != std::string_view::npos) found.name = path.substr(slash + 1);
  const bool bad_name = found.name.find('/') != std::string::npos || found.name == "." || found.name == "..";
  if (found.pool.pool.empty() || bad_name || path.find('\0') != std::string_view::npos) return std::nullopt;
  while (!query.empty()) {
    const auto item = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(item.size() + 1, query.size()));
    const auto equals = item.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const auto value = decoded(item.substr(equals + 1));
    const auto key = item.substr(0, equals);
    if (!value || value->empty()) return std::nullopt;
    if (key == "conf")
      found.pool.configuration = *value;
    else if (key == "id")
      found.pool.client = *value;
    else if (key == "namespace")
      found.pool.name_space = *value;
    else
      return std::nullopt;
  }
  return found;
}

}  // namespace pageserver::storage
