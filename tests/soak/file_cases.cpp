#include "tests/soak/file_cases.hpp"

#include <sys/mount.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

#include "tests/soak/daemon_process.hpp"
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
/// The time of the image as if people had taken theirs: what is put back within seconds after a kill can't be told from
/// what the daemon wrote itself, as LOG_FORMAT.md has it.
void set_modified(const SoakStore& store, std::chrono::seconds from_now) {
  fs::last_write_time(store.image(), fs::file_time_type::clock::now() + from_now);
}
void copy_backup_over_later(SoakStore& store) {
  copy_backup_over(store);
  set_modified(store, std::chrono::seconds{20});
}
/// As `cp -p` and `rsync -t` do.
void copy_old_backup_over_with_its_time(SoakStore& store) {
  copy_backup_over(store);
  set_modified(store, std::chrono::hours{-24});
}
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

void mount_image_alone(SoakStore& store) {
  const std::string image = store.image().string();
  if (::mount(image.c_str(), image.c_str(), nullptr, MS_BIND, nullptr) != 0)
    throw std::system_error(errno, std::generic_category(), "mount of " + image);
}
void unmount_image(SoakStore& store) { ::umount2(store.image().c_str(), MNT_DETACH); }

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
/// The remedy that the refusal names for an image that was put back: the log's files are kept beside it.
void drop_log(SoakStore& store) {
  const auto is_kept = [&](const fs::path& file) {
    return file.filename().string().starts_with(store.file_name() + ".kept-");
  };
  const std::size_t files = store.siblings("log").size();
  must_end_with(0, {"recover", "--drop-log", store.image().string()});
  if (!store.siblings("log").empty()) throw Violation("recover --drop-log left a log beside " + store.image().string());
  std::size_t kept = 0;
  for (const auto& entry : std::vector(fs::directory_iterator(store.folder), fs::directory_iterator())) {
    if (!is_kept(entry.path())) continue;
    ++kept;
    fs::remove(entry.path());
  }
  if (kept != files)
    throw Violation("recover --drop-log kept " + std::to_string(kept) + " of " + std::to_string(files) + " files");
}
/// Nothing is put where the log of another image waits.
void try_to_put_beside_the_log(SoakStore& store) {
  move_image_away(store);
  must_end_with(1, {"copy", store.backup_path().string(), store.image().string()});
  must_end_with(1, {"create", store.image().string(), "--pages", "2"});
  must_end_with(1, {"recover", store.image().string()});
  if (fs::exists(store.image())) throw Violation("an image was made beside the log of another");
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
    {"backup copied over the image, some time later", with_log, with_backup, Expect::refused_then_backup,
     "was written for an image", copy_backup_over_later, drop_log},
    {"old backup copied over the image, with its time", with_log, with_backup, Expect::refused_then_backup,
     "was written for an image", copy_old_backup_over_with_its_time, move_log_away},
    {"image removed, backup copied to its place", with_log, with_backup, Expect::refused_then_backup,
     "was written for an image", remove_and_copy_backup, move_log_away},
    {"backup moved over the image", with_log, with_backup, Expect::refused_then_backup, "was written for an image",
     move_copy_of_backup_over, drop_log},
    {"copy and create where the image was", with_log, with_backup, Expect::refused, "is still there",
     try_to_put_beside_the_log, move_image_back},
    {"image mounted without its folder", with_log, any, Expect::refused, "is mounted by itself", mount_image_alone,
     unmount_image},
    {"closed image mounted without its folder", without_log, any, Expect::refused, "is mounted by itself",
     mount_image_alone, unmount_image},
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
    if (one.act == mount_image_alone && !store.mounts) continue;
    if (one.needs_log == log && (!one.needs_backup || store.backup)) possible.push_back(&one);
  }
  // Backups have to be there before they can be restored.
  if (!log && !store.backup) return possible.front();
  return possible.empty() ? nullptr : possible[random.below(possible.size())];
}

bool has_records(const SoakStore& store) {
  const RunResult checked = run({pagectl_path(), "check", "--json", store.image().string()});
  return checked.out.find("\"records\": 0,") == std::string::npos;
}

}  // namespace pageserver::test::soak
