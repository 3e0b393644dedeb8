// check and recover: an image file and the log beside it, while nobody serves them.
#include <exception>
#include <optional>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/images/files.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/terminal/progress.hpp"
#include "client/pagectl/work/block_reader.hpp"
#include "storage/engine/recovery.hpp"

namespace pageserver::pagectl {
namespace {

using Json = nlohmann::ordered_json;

std::string path_in(const std::string& action, const std::string& text) {
  const auto uri = client::parse_uri(text, Access::read);
  if (uri.scheme != client::Scheme::file) {
    throw MemoryError(Errc::invalid_argument, action + " " + text + ": expected a file of this machine");
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
  progress.update(image.size_bytes());
}

void require_file(const std::string& action, const std::string& path) {
  check_place(action, path);
  if (!exists(path)) {
    throw MemoryError(Errc::not_found, action + " " + storage::quoted(path) + ": there is no such file");
  }
}

/// How far a replay is: the log is read, then what it has is copied into the image.
class ReplayProgress final : public storage::EngineEvents {
public:
  ReplayProgress(ProgressKind kind, std::uint64_t log_bytes) : kind_(kind) {
    progress_.emplace(kind_, "recover: reading the log", log_bytes);
  }

  void recovery_read(std::uint64_t bytes) noexcept override {
    read_bytes_ = bytes;
    show(bytes);
  }
  void recovery_copied(std::uint64_t page, std::uint64_t pages) noexcept override {
    if (!copies_) begin_copy(pages * page_size);
    show(page * page_size);
  }
  /// The part that is shown is over: of the log's files not all was used, of the image the last pages may be as they
  /// were.
  void finish() noexcept {
    try {
      if (progress_) progress_->finish(copies_ ? size_bytes_ : read_bytes_);
    } catch (const std::exception&) {
      progress_.reset();
    }
  }

private:
  // Not told for want of memory is better than not recovered.
  void begin_copy(std::uint64_t size_bytes) noexcept {
    finish();
    copies_ = true;
    size_bytes_ = size_bytes;
    try {
      progress_.reset();
      progress_.emplace(kind_, "recover: copying", size_bytes);
    } catch (const std::exception&) {
      progress_.reset();
    }
  }
  void show(std::uint64_t done) noexcept {
    try {
      if (progress_) progress_->update(done);
    } catch (const std::exception&) {
      progress_.reset();
    }
  }

  const ProgressKind kind_;
  bool copies_ = false;
  std::uint64_t read_bytes_ = 0, size_bytes_ = 0;
  std::optional<Progress> progress_;
};

Json report_json(const std::string& path, const storage::RecoveryReport& report) {
  return {{"file", path},
          {"log_found", report.log_found},
          {"log_bytes", report.log_bytes},
          {"segments", report.segments},
          {"records", report.records},
          {"tail_bytes", report.tail_bytes},
          {"end_position", report.end_position},
          {"synced_position", report.synced_position},
          {"image_pages", report.image_pages},
          {"pages", report.pages},
          {"size_bytes", report.pages * page_size},
          {"dropped_files", report.dropped_files},
          {"dropped_records", report.dropped_records},
          {"kept_files", report.kept_files},
          {"resumable_request", report.resumable ? Json(report.resumable->last_request_id) : Json(nullptr)},
          {"warning", report.warning.empty() ? Json(nullptr) : Json(report.warning)}};
}

/// All of a log is read, however long that takes.
storage::RecoveryReport look_at_log(Context& context, const std::string& action, const std::string& path) {
  std::optional<Waiting> waiting;
  if (!check_place(action, path).log.empty()) waiting.emplace(context.progress_kind(), action + ": looking at the log");
  return storage::inspect_log(storage::all_file_systems(), path);
}

/// Why the file can't be used as it is; empty when it can. Reads all of it unless a log says that it is not whole.
std::string problem_of(Context& context, const std::string& path, storage::RecoveryReport& report) {
  try {
    report = look_at_log(context, "check", path);
    if (report.problem) return report.problem->what();
    if (report.log_found) {
      return "a log of " + bytes_text(report.log_bytes) +
             " waits to be replayed; start the daemon on the image, or run `pagectl recover`";
    }
    const auto image = make_file_image(path, path, Access::read);
    report.pages = report.image_pages = image->pages();
    Progress progress(context.progress_kind(), "check", image->size_bytes());
    read_all(*image, progress);
    return {};
  } catch (const MemoryError& error) {
    return error.what();
  }
}

}  // namespace

int run_check(Context& context, const FileOptions& options) {
  const std::string path = path_in("check", options.file);
  require_file("check", path);
  storage::RecoveryReport report;
  const std::string problem = problem_of(context, path, report);
  if (context.json) {
    Json document = report_json(path, report);
    document["ok"] = problem.empty();
    document["problem"] = problem.empty() ? Json(nullptr) : Json(problem);
    document["adoptable"] = report.adoptable;
    context.out.json(document);
  }
  if (!problem.empty()) {
    complain("check " + storage::quoted(path) + ": " + problem);
    return exit_failed;
  }
  context.note(path + ": ok, " + pages_text(report.pages) + ", nothing pending");
  return exit_done;
}

int run_recover(Context& context, const RecoverOptions& options) {
  const std::string path = path_in("recover", options.file);
  require_file("recover", path);
  // Opened as an image first where no log is in the way: a file that is no image is refused, not praised.
  const auto found = look_at_log(context, "recover", path);
  if (!found.log_found) make_file_image(options.file, path, Access::write);
  auto& files = storage::all_file_systems();
  const auto report = [&] {
    if (!found.log_found) return storage::RecoveryReport(found);
    if (options.drop_log) {
      const Waiting waiting(context.progress_kind(), "setting a log of " + bytes_text(found.log_bytes) + " aside");
      return storage::drop_log(files, path);
    }
    ReplayProgress progress(context.progress_kind(), found.log_bytes);
    auto recovered = storage::recover_log(files, path, options.adopt, progress);
    progress.finish();
    return recovered;
  }();
  if (context.json) {
    Json document = report_json(path, report);
    document["recovered"] = report.replayed;
    context.out.json(document);
  }
  if (!report.warning.empty()) complain("recover " + storage::quoted(path) + ": " + report.warning);
  if (options.drop_log && report.log_found) {
    std::string kept;
    for (const std::string& file : report.kept_files) kept += (kept.empty() ? "" : ", ") + file;
    context.note(path + ": used as it is, " + pages_text(report.pages) + ", without the " +
                 std::to_string(report.records) + " publishes of a log of " + bytes_text(report.log_bytes) +
                 "; its files are kept as " + kept);
  } else if (report.replayed) {
    context.note(path + ": replayed " + std::to_string(report.records) + " publishes from a log of " +
                 bytes_text(report.log_bytes) + "; the image has " + pages_text(report.pages));
  } else {
    context.note(path + ": nothing is pending, " + pages_text(report.pages));
  }
  return exit_done;
}

}  // namespace pageserver::pagectl
