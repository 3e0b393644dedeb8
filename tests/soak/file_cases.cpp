#include "tests/soak/file_cases.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/soak/daemon_process.hpp"
#include "tests/soak/gaps.hpp"
#include "tests/support/process.hpp"

namespace pageserver::test::soak {

namespace fs = std::filesystem;

namespace {

/// Beside the stores, on the same file system as this one.
fs::path aside(const SoakStore& store) {
  fs::path folder = store.folder / "aside";
  fs::create_directory(folder);
  return folder;
}

void move_files(const std::vector<fs::path>& files, const fs::path& to) {
  for (const fs::path& file : files) fs::rename(file, to / file.filename());
}

std::vector<fs::path> all_files(const SoakStore& store) {
  std::vector<fs::path> files = store.siblings();
  files.push_back(store.image());
  return files;
}

void move_away_and_back(SoakStore& store) {
  const fs::path folder = aside(store);
  const std::vector<fs::path> files = all_files(store);
  move_files(files, folder);
  std::vector<fs::path> moved;
  for (const fs::path& file : files) moved.push_back(folder / file.filename());
  move_files(moved, store.folder);
}

void move_folder_and_back(SoakStore& store) {
  if (store.on_small_disk) return;  // a mount does not move
  const fs::path other = store.folder.string() + ".moved";
  fs::rename(store.folder, other);
  fs::rename(other, store.folder);
}

fs::path second_name(const SoakStore& store) {
  return store.folder / ("second-name-of-" + store.file_name() + ".link");
}
void link_image(SoakStore& store) { fs::create_hard_link(store.image(), second_name(store)); }
void unlink_second(SoakStore& store) { fs::remove(second_name(store)); }

void move_image_away(SoakStore& store) { fs::rename(store.image(), aside(store) / store.file_name()); }
void move_image_back(SoakStore& store) { fs::rename(aside(store) / store.file_name(), store.image()); }

void copy_backup_over(SoakStore& store) { copy_bytes(store.backup_path(), store.image()); }
void remove_and_copy_backup(SoakStore& store) {
  fs::remove(store.image());
  copy_bytes(store.backup_path(), store.image());
}
void move_copy_of_backup_over(SoakStore& store) {
  const fs::path copy = aside(store) / "copy-of-backup";
  copy_bytes(store.backup_path(), copy);
  fs::rename(copy, store.image());
}
/// The remedy that the refusal names: the log belongs to what was there before.
void move_log_away(SoakStore& store) {
  for (const fs::path& file : store.siblings()) fs::remove(file);
}
void keep_original_and_copy_backup(SoakStore& store) {
  move_image_away(store);
  copy_bytes(store.backup_path(), store.image());
}

void must_end_with(int status, const std::vector<std::string>& command) {
  std::vector<std::string> argv{pagectl_path()};
  argv.insert(argv.end(), command.begin(), command.end());
  const RunResult result = run(argv);
  if (result.status != status)
    throw Violation("pagectl " + command.front() + " ended with status " + std::to_string(result.status) + ", not " +
                    std::to_string(status) + ": " + result.err + result.out);
}

void copy_image_and_log(SoakStore& store) {
  const fs::path folder = aside(store);
  for (const fs::path& file : all_files(store)) {
    copy_bytes(file, folder / file.filename());
    fs::remove(file);
    fs::rename(folder / file.filename(), file);
  }
}
void adopt(SoakStore& store) { must_end_with(0, {"recover", "--adopt", store.image().string()}); }

void try_to_copy_over(SoakStore& store) {
  must_end_with(1, {"copy", store.backup_path().string(), store.image().string()});
  must_end_with(1, {"copy", "--force", store.backup_path().string(), store.image().string()});
}
void try_to_create(SoakStore& store) { must_end_with(1, {"create", store.image().string(), "--pages", "2"}); }
/// Says what waits to be replayed, by its status as well, and changes nothing.
void check(SoakStore& store) { must_end_with(1, {"check", store.image().string()}); }
void recover(SoakStore& store) {
  must_end_with(0, {"recover", store.image().string()});
  if (!store.siblings("log").empty()) throw Violation("pagectl recover left a log beside " + store.image().string());
}
void hash_refuses(SoakStore& store) { must_end_with(1, {"hash", store.image().string()}); }

/// A backup as the manual has it, of files that nothing serves.
void take_backup(SoakStore& store) {
  copy_bytes(store.image(), store.backup_path());
  store.backup = store.read();
}

void nothing(SoakStore&) {}

bool has_begun(const fs::path& log) {
  const int first = std::ifstream(log, std::ios::binary).get();
  return first > 0;
}

constexpr bool with_log = true, without_log = false;
constexpr bool with_backup = true, any = false;

constexpr FileCase cases[] = {
    {"image and log moved away and back", with_log, any, Expect::right, "", move_away_and_back, nothing},
    {"folder moved away and back", with_log, any, Expect::right, "", move_folder_and_back, nothing},
    {"image with a second name", with_log, any, Expect::refused, "has 2 names (hard links)", link_image, unlink_second},
    {"image moved away from its log", with_log, any, Expect::refused, "is still there", move_image_away,
     move_image_back},
    {"backup copied over the image", with_log, with_backup, Expect::refused_then_backup, "log", copy_backup_over,
     move_log_away},
    {"image removed, backup copied to its place", with_log, with_backup, Expect::refused_then_backup,
     "was written for an image", remove_and_copy_backup, move_log_away},
    {"backup moved over the image", with_log, with_backup, Expect::refused_then_backup, "was written for an image",
     move_copy_of_backup_over, move_log_away},
    {"backup beside the log, then the original again", with_log, with_backup, Expect::refused,
     "was written for an image", keep_original_and_copy_backup, move_image_back},
    {"image and log replaced by copies", with_log, any, Expect::refused, "was written for an image", copy_image_and_log,
     adopt},
    {"pagectl copy over an image with a log", with_log, with_backup, Expect::right, "", try_to_copy_over, nothing},
    {"pagectl create over an image with a log", with_log, any, Expect::right, "", try_to_create, nothing},
    {"pagectl check", with_log, any, Expect::right, "", check, nothing},
    {"pagectl hash of an image with a log", with_log, any, Expect::right, "", hash_refuses, nothing},
    {"pagectl recover", with_log, any, Expect::right, "", recover, nothing},
    {"backup taken with cp", without_log, any, Expect::right, "", take_backup, nothing},
    {"closed image with a second name", without_log, any, Expect::refused, "has 2 names (hard links)", link_image,
     unlink_second},
    {"closed image moved away and back", without_log, any, Expect::right, "", move_away_and_back, nothing},
    {"backup copied over a closed image", without_log, with_backup, Expect::backup, "", copy_backup_over, nothing},
    {"closed image removed, backup copied", without_log, with_backup, Expect::backup, "", remove_and_copy_backup,
     nothing},
    {"backup moved over a closed image", without_log, with_backup, Expect::backup, "", move_copy_of_backup_over,
     nothing},
};

}  // namespace

std::span<const FileCase> file_cases() { return cases; }

const FileCase* draw_file_case(const SoakStore& store, Random& random) {
  // People need room for their copies.
  if (fs::space(store.folder).available < 2 * store.bytes() + (4u << 20)) return nullptr;
  const auto files = store.siblings("log");
  const bool log = !files.empty();
  // A kill may leave a file that was made, with nothing in it yet: it belongs to no image.
  if (log && std::none_of(files.begin(), files.end(), has_begun)) return nullptr;
  std::vector<const FileCase*> possible;
  for (const FileCase& one : cases) {
    if (one.needs_log == log && (!one.needs_backup || store.backup) && !is_gap(one.name)) possible.push_back(&one);
  }
  // Backups have to be there before they can be restored.
  if (!log && !store.backup) return possible.front();
  return possible.empty() ? nullptr : possible[random.below(possible.size())];
}

}  // namespace pageserver::test::soak
