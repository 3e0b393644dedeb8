#include "storage/embedded/shared_store.hpp"

#include <atomic>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "base/mutex.hpp"
#include "base/process_mark.hpp"
#include "base/random.hpp"
#include "storage/embedded/embedded_store.hpp"
#include "storage/embedded/own_files.hpp"
#include "storage/engine/thread_background.hpp"
#include "storage/image/image_file.hpp"

namespace pageserver::storage {

/// A store with its lanes and its files.
class OpenStore {
public:
  OpenStore(FileSystem& file_system, const std::string& path, const EngineOptions& options)
      : files_{file_system}, store_{open_engine(files_, path, sync_lane_, checkpoint_lane_, options)} {}
  static std::shared_ptr<OpenStore> make(FileSystem& file_system, const std::string& path,
                                         const EngineOptions& options) {
    try {
      return std::make_shared<OpenStore>(file_system, path, options);
    } catch (const MemoryError&) {
      throw;
    } catch (const std::system_error& error) {
      // A lane got no thread. Nothing was opened before that.
      throw MemoryError{Errc::limit_exceeded, "open " + quoted(path) +
                                                  ": a store needs 2 threads, and the system gives "
                                                  "this process no more (" +
                                                  error.code().message() +
                                                  "); end some, or raise the limit of threads: ulimit -u, pids_limit "
                                                  "of a container, TasksMax of a service"};
    }
  }
  OpenStore(const OpenStore&) = delete;
  OpenStore& operator=(const OpenStore&) = delete;
  ~OpenStore() {
    try {
      close();
    } catch (const MemoryError&) {
      // No caller is left to be told. Flushed bytes are in the log, and the next opening replays it.
    }
  }
  /// Once.
  void close() {
    if (!std::exchange(closed_, true)) store_->close();
  }
  Store& operator*() { return *store_; }
  Store* operator->() { return store_.get(); }
  const FileIdentity& image() const noexcept { return files_.image(); }
  /// Keeps `other` until the store is closed.
  void keep(std::shared_ptr<void> other) noexcept { kept_ = std::move(other); }
  void close_files() noexcept { files_.close_all(); }

private:
  std::shared_ptr<void> kept_;
  OwnFiles files_;
  ThreadBackground sync_lane_;
  ThreadBackground checkpoint_lane_;
  std::unique_ptr<Store> store_;
  bool closed_ = false;
};

/// A file that is the image of a store.
struct StoreImage {
  Mutex mutex;  ///< held while the store opens or closes: whoever opens it again waits until the image is unlocked
  std::weak_ptr<OpenStore> store PAGESERVER_GUARDED_BY(mutex);
};

namespace {

/// A name in a folder, kept for as long as a store that was opened by it.
struct StoreName {
  Mutex mutex;  ///< held while a store opens by that name, so that an image is made once; taken before one of an image
  std::weak_ptr<StoreImage> image PAGESERVER_GUARDED_BY(mutex);  ///< of the last store that was opened by this name
};

class Registry {
public:
  using NameKey = std::pair<FileIdentity, std::string>;

  std::shared_ptr<StoreImage> image(const FileIdentity& key) {
    const Lock lock{mutex_};
    return entry(images_, key);
  }
  std::shared_ptr<StoreName> name(const NameKey& key) {
    const Lock lock{mutex_};
    return entry(names_, key);
  }

private:
  template <class Map>
  typename Map::mapped_type entry(Map& entries, const typename Map::key_type& key) PAGESERVER_REQUIRES(mutex_) {
    std::erase_if(entries, [](const auto& one) { return one.second.use_count() == 1; });
    auto& found = entries[key];
    if (!found) found = std::make_shared<typename Map::mapped_type::element_type>();
    return found;
  }

  Mutex mutex_;
  std::map<FileIdentity, std::shared_ptr<StoreImage>> images_ PAGESERVER_GUARDED_BY(mutex_);
  std::map<NameKey, std::shared_ptr<StoreName>> names_ PAGESERVER_GUARDED_BY(mutex_);
};

/// The registry of this process. A child after fork(2) gets one of its own: the parent's stores are not the child's,
/// and the parent's mutexes may be locked for ever.
Registry& registry() {
  struct Made {
    std::uint64_t process;
    Made* before;  // keeps it reachable: a leak checker reports no leak
    Registry registry;
  };
  static std::atomic<Made*> newest{nullptr};
  const std::uint64_t process = base::process_mark();
  Made* made = newest.load();
  while (made == nullptr || made->process != process) {
    auto* const fresh = new Made{process, made, {}};  // never destroyed: sessions may outlive static objects
    if (newest.compare_exchange_strong(made, fresh)) return fresh->registry;
    delete fresh;
  }
  return made->registry;
}

Registry::NameKey name_key(FileSystem& file_system, const std::string& resolved) {
  FileStatus folder;
  std::string path;
  // Where the folder can't be looked at, the opening fails as well.
  if (retried([&] { return file_system.real_path(parent_folder(resolved), path); }).ok())
    static_cast<void>(retried([&] { return file_system.status_of(path, folder); }));
  return {identity_of(folder), file_name(resolved)};
}

std::optional<FileIdentity> image_at(FileSystem& file_system, const std::string& resolved) {
  FileStatus status;
  if (!retried([&] { return file_system.status_of(resolved, status); }).ok()) return std::nullopt;
  return identity_of(status);
}

/// Throws busy where a store is open by this name and has another file for its image. Its log lies beside the name, and
/// a second store would need that place.
void refuse_if_replaced(const StoreName& name, const std::optional<FileIdentity>& there, const std::string& path)
    PAGESERVER_REQUIRES(name.mutex) {
  const auto image = name.image.lock();
  if (!image) return;
  const Lock lock{image->mutex};  // waits for a store that is just closing
  const auto store = image->store.lock();
  if (!store || (there && store->image() == *there)) return;
  throw MemoryError{Errc::busy, "open " + quoted(path) +
                                    ": this process has a store open whose image had this name, and was renamed or "
                                    "removed meanwhile; its log is still here, so end its sessions first"};
}

std::shared_ptr<OpenStore> open_store(FileSystem& file_system, const std::string& path, const EmbeddedOptions& asked) {
  EngineOptions options = asked.engine;
  const Access access = asked.access;
  if (options.salt == 0) options.salt = base::random_number();
  if (access != Access::write) options.create = false;
  try {
    return OpenStore::make(file_system, path, options);
  } catch (const MemoryError& error) {
    const bool unwritable = error.errc() == Errc::permission_denied || error.errc() == Errc::read_only;
    if (access == Access::write || options.read_only || !unwritable) throw;
  }
  options.read_only = true;
  return OpenStore::make(file_system, path, options);
}

/// From now on the store is found by its file, and by the name.
void connect(const std::shared_ptr<StoreName>& name, const std::shared_ptr<StoreImage>& image,
             const std::shared_ptr<OpenStore>& store) noexcept PAGESERVER_REQUIRES(name->mutex, image->mutex) {
  store->keep(name);
  image->store = store;
  name->image = image;
}

}  // namespace

SharedStore::SharedStore(FileSystem& file_system, const std::string& path, const EmbeddedOptions& options) {
  const std::string resolved = resolved_image_path(file_system, path);
  const auto name = registry().name(name_key(file_system, resolved));
  const Lock name_lock{name->mutex};
  const auto there = image_at(file_system, resolved);
  refuse_if_replaced(*name, there, path);
  if (there) {
    image_ = registry().image(*there);
    const Lock lock{image_->mutex};
    store_ = image_->store.lock();
    if (store_) return;
    store_ = open_store(file_system, path, options);
    if (store_->image() == *there) {
      connect(name, image_, store_);
      return;
    }
  } else {
    store_ = open_store(file_system, path, options);
  }
  // The file was made just now, or another one took the place of the file that was there.
  image_ = registry().image(store_->image());
  const Lock lock{image_->mutex};
  connect(name, image_, store_);
}

SharedStore::~SharedStore() {
  const Lock lock{image_->mutex};
  store_.reset();
}

void SharedStore::close() {
  const Lock lock{image_->mutex};
  const auto store = std::exchange(store_, nullptr);
  if (store.use_count() == 1) store->close();
}

Store& SharedStore::operator*() { return **store_; }

void SharedStore::close_files() noexcept { store_->close_files(); }

}  // namespace pageserver::storage
