// whoami and token: who one is for a daemon, and how one gets to be somebody.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <iostream>

#include <nlohmann/json.hpp>

#include <pageserver/administration.hpp>
#include <pageserver/error.hpp>

#include "base/text.hpp"
#include "base/token.hpp"
#include "base/unique_fd.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/commands/server_uri.hpp"
#include "client/pagectl/images/remote.hpp"
#include "client/wire/administration.hpp"
#include "client/wire/error_text.hpp"
#include "proto/codec.hpp"

namespace pageserver::pagectl {
namespace {

[[noreturn]] void fail(const std::string& path, int error) {
  throw MemoryError(error == EEXIST ? Errc::already_exists : Errc::provider_error,
                    "token create: " + base::quoted(path) + ": " + client::system_text(error) +
                        (error == EEXIST ? "; a token is not written over another file" : ""));
}

void write_all(int file, const std::string& path, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(file, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail(path, errno);
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  if (::fsync(file) != 0 && errno != EINVAL && errno != EROFS) fail(path, errno);
}

/// A file that is not there yet, for its owner alone.
UniqueFd new_file(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.is_open()) fail(path, errno);
  return file;
}

/// One line more; a file that is made is for its owner alone. One write, so that two at a time do not mix.
void append(const std::string& path, const std::string& line) {
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  struct stat status {};
  if (!file.is_open() || ::fstat(file.get(), &status) != 0) fail(path, errno);
  char last = '\n';
  if (S_ISREG(status.st_mode) && status.st_size > 0 && ::pread(file.get(), &last, 1, status.st_size - 1) < 0)
    fail(path, errno);
  write_all(file.get(), path, (last == '\n' ? "" : "\n") + line + "\n");
}

}  // namespace

int run_whoami(Context& context, const WhoamiOptions& options) {
  client::Uri uri;
  std::string store;
  if (names_store(options.uri)) {
    uri = client::parse_uri(is_uri(options.uri) ? options.uri : "pageserver://" + options.uri, Access::read);
    if (!uri.is_remote())
      throw MemoryError(Errc::invalid_argument, "whoami " + options.uri + ": only a daemon can say that");
    std::swap(store, uri.store);
  } else {
    uri = parse_server(options.uri);
  }
  const auto connection = dial(uri);
  const WhoAmI found = client::ask_whoami(*connection, store);
  if (context.json) {
    auto rights = nlohmann::ordered_json::array();
    for (const Right right : {Right::read, Right::fork, Right::write, Right::create, Right::remove, Right::admin})
      if ((found.rights & static_cast<std::uint32_t>(right)) != 0)
        rights.push_back(rights_text(static_cast<std::uint32_t>(right)));
    context.out.json({{"server", uri.endpoint.uri()},
                      {"store", store.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(store)},
                      {"identity", found.identity},
                      {"may", std::move(rights)},
                      {"why", found.why}});
    return exit_done;
  }
  context.result(base::visible(found.identity) + " may do " + rights_text(found.rights) + " with " +
                 (store.empty() ? "every store" : store));
  context.note(base::visible(found.why));
  return exit_done;
}

int run_token(Context& context, const TokenOptions& options) {
  if (options.action != "create")
    throw MemoryError(Errc::invalid_argument, "token: there is no action " + base::quoted(options.action) +
                                                  "; the one that there is is create");
  if (!proto::is_store_name(options.name))
    throw MemoryError(Errc::invalid_argument,
                      "token create: " + base::quoted(options.name) +
                          " is no name: a letter or digit, then up to 63 of letters, digits, `.`, `_`, `-`");
  const std::string token = base::make_token();
  const std::string line = options.name + " " + base::text_of(base::sha256(token));
  // The client's first: a line that nobody has the token of would stay.
  UniqueFd saved;
  if (!options.save.empty()) {
    saved = new_file(options.save);
    write_all(saved.get(), options.save, token + "\n");
  }
  if (!options.add_to.empty()) append(options.add_to, line);
  if (context.json) {
    nlohmann::ordered_json document = {{"name", options.name}, {"identity", "token:" + options.name}, {"line", line}};
    if (options.save.empty()) document["token"] = token;
    context.out.json(document);
    return exit_done;
  }
  if (options.save.empty()) context.out.line(token);
  if (options.add_to.empty() && !context.quiet) {
    context.out.flush();
    std::cerr << "the line for the daemon's tokens file (token:" << options.name << " in its rules):\n" << line << '\n';
  }
  return exit_done;
}

}  // namespace pageserver::pagectl
