#include "server/new_images.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <exception>
#include <string>

#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"
#include "storage/image/image_file.hpp"
#include "storage/image/image_lifecycle.hpp"

namespace pageserver::server {

void NewImages::note_missing() {
  missing_.clear();
  std::string resolved;
  for (const StoreConfig& store : config_.stores)
    if (file_system_.real_path(store.path, resolved).error == ENOENT) missing_.push_back(&store);
}

void NewImages::remove(Catalog& catalog, Log& log) const noexcept {
  for (const StoreConfig* const store : missing_) {
    try {
      remove(catalog, *store);
    } catch (const std::exception& error) {
      log.warn("new image not removed", {{"store", store->name}, {"path", store->path}, {"error", error.what()}});
    }
  }
}

// Who has it open, and thereby locked, made it.
void NewImages::remove(Catalog& catalog, const StoreConfig& store) const {
  const auto use = catalog.find(store.name);
  if (use == nullptr || !use->host().is_open()) return;
  use->host().close();
  const std::string path = storage::resolved_image_path(file_system_, store.path);
  const auto folder = storage::Folder::open(file_system_, storage::parent_folder(path));
  storage::FileStatus status;
  const std::string name = storage::file_name(path);
  if (!folder.has(name, status) || !S_ISREG(status.mode) || status.size_bytes != 0) return;
  static_cast<void>(storage::remove_image(folder, name, store.path));
}

}  // namespace pageserver::server
