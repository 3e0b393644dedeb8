#include "server/access/tokens.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "base/small_file.hpp"
#include "base/text.hpp"
#include "proto/codec.hpp"

namespace pageserver::server {

namespace {

constexpr std::size_t file_bytes_max = 4u << 20;

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::string octal(mode_t mode) {
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "0%o", static_cast<unsigned>(mode & 07777u));
  return text.data();
}

}  // namespace

std::optional<TokenHolder> Tokens::find(const base::TokenHash& hash) const {
  const Entry* found = nullptr;
  for (const Entry& entry : entries_)
    if (base::same(entry.hash, hash)) found = &entry;
  if (found == nullptr) return {};
  return *found;
}

std::vector<std::string> read_tokens(std::string_view text, Tokens& tokens) {
  std::vector<std::string> faults;
  std::vector<Tokens::Entry> entries;
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const std::string place = "line " + std::to_string(number) + ": ";
    const std::size_t blank = line.find_first_of(" \t");
    const std::string_view name = line.substr(0, blank);
    const std::string_view rest = blank == std::string_view::npos ? std::string_view() : trimmed(line.substr(blank));
    // What stands there may be a secret that somebody put into the wrong file: it is not repeated.
    if (!proto::is_store_name(name)) {
      faults.push_back(place + "expected NAME sha256:HEX, with a name of the form [A-Za-z0-9][A-Za-z0-9._-]{0,63}");
    } else if (const auto hash = base::parse_token_hash(rest)) {
      entries.push_back({std::string(name), *hash});
    } else {
      faults.push_back(place + "expected \"sha256:\" and 64 hex digits behind " + std::string(name) +
                       ", as `pagectl token create " + std::string(name) + "` says it");
    }
  }
  try {
    // What can't be had is said now, and not to the first who shows a token.
    if (!entries.empty()) (void)base::sha256({});
  } catch (const std::runtime_error& error) {
    faults.emplace_back(error.what());
  }
  if (faults.empty()) tokens = Tokens(std::move(entries));
  return faults;
}

std::string read_private_file(const std::string& path, std::string& why) {
  why.clear();
  const base::SmallFile file(path, O_NONBLOCK);
  const struct stat& status = file.status();
  std::string text;
  if (file.error() != 0) {
    why = std::strerror(file.error());
  } else if (!S_ISREG(status.st_mode)) {
    why = "not a regular file";
  } else if (status.st_uid != 0 && status.st_uid != ::geteuid()) {
    why = "belongs to uid " + std::to_string(status.st_uid) + ", who could change it; chown it to the daemon's user (" +
          std::to_string(::geteuid()) + ") or root";
  } else if (file.is_open_to_others()) {
    why = "its mode is " + octal(status.st_mode) + ", so that others can read or change it; chmod 600 " + path;
  } else if (const int error = file.read(text, file_bytes_max); error != 0) {
    text.clear();
    why = error == EFBIG ? "it has more than " + std::to_string(file_bytes_max) + " bytes" : std::strerror(error);
  }
  return text;
}

std::vector<std::string> read_tokens_file(const std::string& path, Tokens& tokens, std::string* text) {
  std::string why;
  std::string read = read_private_file(path, why);
  std::vector<std::string> faults = why.empty() ? read_tokens(read, tokens) : std::vector{why};
  for (std::string& fault : faults) fault = path + ": " + fault;
  if (text != nullptr) *text = std::move(read);
  return faults;
}

}  // namespace pageserver::server
