#include "server/stores/store_directory.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <pageserver/memory_provider.hpp>

#include "proto/codec.hpp"
#include "server/stores/directory_files.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/siblings.hpp"
#include "storage/image/image_file.hpp"
#include "storage/image/image_lifecycle.hpp"

namespace pageserver::server {

namespace {

using storage::file_error;
using storage::FileStatus;
using storage::IoResult;
using storage::quoted;
using storage::retried;

// File systems note times in steps, some in seconds: what changed twice within one looks as if it had once.
constexpr std::chrono::milliseconds time_step_max{2100};

/// Why no store may have this name; empty when it may.
std::string resembling(const std::string& name) {
  const std::string file = name + std::string(image_suffix);
  if (!storage::resembles_sibling(file)) return {};
  return "its file " + quoted(file) + " could be taken for one that a store keeps beside its image";
}

// What a client can do about a log without an image.
constexpr std::string_view gone_remedy =
    "remove the store (`pagectl remove`), which removes that too, or let an administrator put the image back beside it";

// The directory may hold names that no client could say: they are not stores.
std::string store_name_of(const std::string& file) {
  if (!file.ends_with(image_suffix)) return {};
  std::string name = file.substr(0, file.size() - image_suffix.size());
  return proto::is_store_name(name) && resembling(name).empty() ? name : std::string();
}

std::string file_of(const std::string& name) { return name + std::string(image_suffix); }

}  // namespace

MemoryError not_served(const std::string& name) {
  return {Errc::not_found, "store " + quoted(name) + " is not served here; `pagectl list` names those that are"};
}

void check_store_name(const std::string& name) {
  if (proto::is_store_name(name)) return;
  throw MemoryError(Errc::invalid_argument,
                    "store name " + quoted(name) + " is not of the form [A-Za-z0-9][A-Za-z0-9._-]{0,63}");
}

StoreDirectory::StoreDirectory(storage::FileSystem& file_system, const DirectoryConfig& config, Log& log)
    : file_system_(file_system), config_(config), log_(log) {
  IoResult opened = storage::Folder::try_open(file_system_, config.path, folder_);
  if (opened.ok() && folder_.unreadable()) opened = {-1, EACCES};
  if (opened.error == ENOENT) {
    throw MemoryError(Errc::not_found,
                      "open the directory " + quoted(config.path) + ": it does not exist; create it first: mkdir -p");
  }
  if (!opened.ok()) throw file_error(file_system_, "open the directory", config.path, opened.error);
  std::string resolved;
  path_ = file_system_.real_path(config.path, resolved).ok() ? resolved : config.path;
  std::string link = storage::path_from_root(file_system_, config.path);
  if (link == path_) link.clear();
  files_ = make_directory_files(file_system_, folder_.descriptor(), path_, std::move(link));
  if (!config_.read_only) finish_removals();
}

std::string StoreDirectory::path_of(const std::string& name) const {
  return storage::path_in_folder(path_, file_of(name));
}

std::vector<std::string> StoreDirectory::file_names() const {
  std::vector<std::string> names;
  const IoResult listed = folder_.try_names(names);
  if (!listed.ok()) throw file_error(file_system_, "list the directory", path_, listed.error);
  return names;
}

// What a crash left of stores that were being removed or created takes room that nobody would look for.
void StoreDirectory::finish_removals() noexcept {
  try {
    for (const std::string& other : file_names()) {
      const auto sibling = storage::parse_sibling_name(other);
      if (!sibling || sibling->sibling != storage::Sibling::removed) continue;
      const std::string file(sibling->image_name);
      if (store_name_of(file).empty()) continue;
      try {
        if (storage::finish_removal(folder_, file, storage::path_in_folder(path_, file)))
          log_.info("store removed", {{"store", store_name_of(file)}, {"why", "a crash had interrupted its removal"}});
      } catch (const MemoryError& error) {
        log_.warn("store not removed", {{"store", store_name_of(file)}, {"error", error.what()}});
      }
    }
  } catch (const std::exception& error) {
    log_.warn("store not removed", {{"directory", path_}, {"error", error.what()}});
  }
}

bool StoreDirectory::has(const std::string& name) const { return pages_of(name).has_value(); }

std::optional<std::uint64_t> StoreDirectory::pages_of(const std::string& name) const {
  if (!resembling(name).empty()) return {};
  FileStatus status;
  // A link is not followed, so one that leads anywhere is not a store.
  if (!retried([&] { return file_system_.status_beneath(folder_.descriptor(), file_of(name), status); }).ok())
    return {};
  if (!S_ISREG(status.mode)) return {};
  return status.size_bytes / page_size;
}

void StoreDirectory::require(const std::string& name) const {
  if (!proto::is_store_name(name)) throw not_served(name);
  if (const std::string why = resembling(name); !why.empty())
    throw MemoryError(Errc::not_found, "store " + quoted(name) + " is not served: " + why + "; rename its file");
  if (has(name)) return;
  const std::string file = file_of(name);
  storage::check_image_place(folder_, file, "open", folder_.path_of(file), gone_remedy);
  const MemoryError error = not_served(name);
  const std::string replaced = look_at_path();
  if (replaced.empty()) throw error;
  throw MemoryError(error.errc(), std::string(error.what()) + "; " + replaced);
}

// Stores are those of the folder that was opened, wherever it is now: with their logs they are whole there.
std::string StoreDirectory::look_at_path() const {
  FileStatus opened, named;
  if (!file_system_.status(folder_.descriptor(), opened).ok()) return {};
  const IoResult found = files_->status_of(path_, named);
  if (!found.ok() && found.error != ENOENT) return {};
  const bool same = found.ok() && named.inode == opened.inode && named.device == opened.device;
  std::string text;
  if (!same)
    text = "the directory " + quoted(path_) +
           (found.ok() ? " was replaced by another folder" : " was moved or removed") +
           " since the start: the stores are still those of the folder that was opened then; put that back, or restart "
           "to serve what the path leads to";
  const Lock lock{mutex_};
  if (text != std::exchange(said_of_path_, text) && !text.empty()) log_.warn("directory", {{"warning", text}});
  return text;
}

std::uint64_t StoreDirectory::readings() const {
  const Lock lock{mutex_};
  return readings_;
}

// A list of many stores comes in many requests. To read a large directory for each would take longer than all the rest.
std::shared_ptr<const StoreDirectory::Listing> StoreDirectory::listing(bool from_the_beginning) {
  const auto now = std::chrono::steady_clock::now();
  FileStatus status;
  const bool seen = retried([&] { return file_system_.status(folder_.descriptor(), status); }).ok();
  {
    const Lock lock{mutex_};
    const bool same = listing_ && seen && status.modified_ns == listing_->modified_ns;
    if (same && (listing_->stable || (!from_the_beginning && now - listing_->read < time_step_max))) return listing_;
  }
  auto fresh = std::make_shared<Listing>();
  fresh->modified_ns = status.modified_ns;
  const std::int64_t age_ns =
      std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1) - status.modified_ns;
  fresh->stable = seen && age_ns > time_step_max / std::chrono::nanoseconds(1);
  fresh->read = now;
  for (const std::string& file : file_names())
    if (std::string name = store_name_of(file); !name.empty()) fresh->names.push_back(std::move(name));
  std::sort(fresh->names.begin(), fresh->names.end());
  const Lock lock{mutex_};
  ++readings_;
  listing_ = fresh;
  return fresh;
}

std::vector<std::string> StoreDirectory::names(const std::string& after, std::size_t count) {
  if (after.empty()) static_cast<void>(look_at_path());
  const auto all = listing(after.empty());
  const auto from = std::upper_bound(all->names.begin(), all->names.end(), after);
  const auto left = static_cast<std::size_t>(all->names.end() - from);
  return {from, from + static_cast<std::ptrdiff_t>(std::min(count, left))};
}

void StoreDirectory::forget_listing() noexcept {
  const Lock lock{mutex_};
  listing_.reset();
}

void StoreDirectory::create(const std::string& name, std::uint64_t pages) {
  const std::string what = "create store " + quoted(name);
  if (const std::string why = resembling(name); !why.empty())
    throw MemoryError(Errc::invalid_argument, what + ": " + why + "; choose another name");
  const std::string file = file_of(name);
  const std::string path = path_of(name);
  // It would be gone at the next start. Where the path leads nowhere somebody moved the folder, and knows where it is.
  FileStatus named;
  if (const std::string why = look_at_path(); !why.empty() && files_->status_of(path_, named).ok())
    throw MemoryError(Errc::provider_error, what + ": " + why);
  // A crash may have left a part of one.
  storage::finish_removal(folder_, file, path);
  storage::check_image_place(folder_, file, "create", path, gone_remedy);
  try {
    storage::create_image(folder_, file, pages, config_.mode, path);
    forget_listing();
  } catch (const MemoryError& error) {
    if (error.errc() == Errc::already_exists) throw MemoryError(Errc::already_exists, what + ": there is one already");
    throw;
  }
}

void StoreDirectory::remove(const std::string& name) {
  const std::string file = file_of(name);
  forget_listing();
  // What is left of a store goes as well.
  if (resembling(name).empty() && !has(name)) {
    FileStatus status;
    if (folder_.has(file, status)) throw not_served(name);  // a link, a folder: no store
    if (storage::remove_image(folder_, file, path_of(name))) return;
  }
  require(name);
  static_cast<void>(storage::remove_image(folder_, file, path_of(name)));
}

}  // namespace pageserver::server
