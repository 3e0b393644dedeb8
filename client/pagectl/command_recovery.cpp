// check and recover: an image file and the log beside it, while nobody serves them.
#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "client/pagectl/block_reader.hpp"
#include "client/pagectl/commands.hpp"
#include "client/pagectl/files.hpp"
#include "client/pagectl/image.hpp"
#include "client/pagectl/numbers.hpp"
#include "client/pagectl/progress.hpp"

namespace pageserver::pagectl {
namespace {

std::string path_in(const std::string& text) {
  const auto uri = client::parse_uri(text, Access::read);
  if (uri.scheme != client::Scheme::file) {
    throw MemoryError(Errc::invalid_argument, "check " + text + ": expected a file of this machine");
  }
  return uri.path;
}

/// Reads whatever the file holds, so that a failing disk shows.
void read_all(Image& image, Progress& progress) {
  DataScan scan({&image}, 0, image.size_bytes());
  BlockReader reader({&image}, [&] { return scan.next(); });
  while (const auto block = reader.next()) {
    progress.update(block->offset + block->length);
  }
}

void require_file(const std::string& action, const std::string& path) {
  if (!exists(path)) {
    throw MemoryError(Errc::not_found, action + " " + storage::quoted(path) + ": there is no such file");
  }
}

std::string pending_text(const std::vector<std::string>& logs) {
  std::string text;
  for (const auto& log : logs) text += (text.empty() ? "" : ", ") + storage::quoted(log);
  return text;
}

}  // namespace

int run_check(Context& context, const FileOptions& options) {
  const std::string path = path_in(options.file);
  require_file("check", path);
  const auto logs = pending_logs(path);
  std::string problem;
  std::uint64_t pages = 0;
  if (!logs.empty()) {
    problem = "a log waits to be replayed: " + pending_text(logs) + "; start the daemon on it, or `pagectl recover`";
  } else {
    try {
      const auto image = make_file_image(options.file, path, Access::read);
      pages = image->pages();
      Progress progress(context.wants_progress(), "check", image->size_bytes());
      read_all(*image, progress);
    } catch (const MemoryError& error) {
      problem = error.what();
    }
  }
  if (context.json) {
    context.out.json({{"file", path},
                      {"ok", problem.empty()},
                      {"problem", problem.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(problem)},
                      {"pages", pages},
                      {"size_bytes", pages * page_size},
                      {"pending_logs", logs}});
  }
  if (!problem.empty()) {
    complain("check " + storage::quoted(path) + ": " + problem);
    return exit_failed;
  }
  context.note(path + ": ok, " + pages_text(pages) + ", nothing pending");
  return exit_done;
}

int run_recover(Context& context, const FileOptions& options) {
  const std::string path = path_in(options.file);
  require_file("recover", path);
  const auto logs = pending_logs(path);
  if (!logs.empty()) {
    throw MemoryError(Errc::unsupported, "recover " + storage::quoted(path) + ": " + pending_text(logs) +
                                             " was written by a release that this build can't replay; use the release "
                                             "that wrote it, nothing was changed");
  }
  // Locked against everyone else, so that "nothing is pending" holds for the whole of an instant.
  const auto image = make_file_image(options.file, path, Access::write);
  const auto pages = image->pages();
  if (context.json) {
    context.out.json({{"file", path},
                      {"recovered", false},
                      {"pages", pages},
                      {"size_bytes", pages * page_size},
                      {"pending_logs", nlohmann::ordered_json::array()}});
  }
  context.note(path + ": nothing is pending, " + pages_text(pages));
  return exit_done;
}

}  // namespace pageserver::pagectl
