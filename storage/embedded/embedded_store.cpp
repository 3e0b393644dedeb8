#include "storage/embedded/embedded_store.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "base/process_mark.hpp"
#include "base/random.hpp"
#include "storage/engine/thread_background.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/forwarding_file_system.hpp"
#include "storage/image/image_file.hpp"

namespace pageserver::storage {
namespace {

/// Which file it is, whatever its path.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  auto operator<=>(const FileIdentity&) const = default;
};

FileIdentity identity_of(const FileStatus& status) { return {status.device, status.inode}; }

/// Knows the descriptors that a store has open, so that a child after fork(2) can close them and touch nothing else;
/// and which file is its image: the one that it locks.
class OwnFiles final : public ForwardingFileSystem {
public:
  explicit OwnFiles(FileSystem& below) : ForwardingFileSystem{below} {}
  ~OwnFiles() override {
    for (Slots* more = first_.more.load(); more != nullptr;) delete std::exchange(more, more->more.load());
  }

  IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    return noted(below().open(path, flags, mode));
  }
  IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    return noted(below().open_beneath(directory, name, flags, mode));
  }
  IoResult lock(int file, LockKind lock) override {
    FileStatus status;
    const IoResult looked = retried([&] { return below().status(file, status); });
    if (!looked.ok()) return looked;
    image_ = identity_of(status);
    return below().lock(file, lock);
  }
  void close(int file) noexcept override {
    // Forgotten first: a child must not close what gets the number next.
    forget(file);
    below().close(file);
  }

  const FileIdentity& image() const noexcept { return image_; }

  /// In a child: without a lock, which a thread of the parent may have held.
  void close_all() noexcept {
    for (Slots* slots = &first_; slots != nullptr; slots = slots->more)
      for (auto& slot : slots->files)
        if (const int file = slot.exchange(none) - 1; file >= 0) below().close(file);
  }

private:
  static constexpr int none = 0;  // a descriptor is kept as one more than it is
  struct Slots {
    std::array<std::atomic<int>, 32> files{};
    std::atomic<Slots*> more{nullptr};
  };

  IoResult noted(IoResult opened) noexcept {
    if (!opened.ok() || note(static_cast<int>(opened.value))) return opened;
    below().close(static_cast<int>(opened.value));
    return {-1, ENOMEM};
  }
  bool note(int file) noexcept {
    for (Slots* slots = &first_;;) {
      for (auto& slot : slots->files) {
        int expected = none;
        if (slot.compare_exchange_strong(expected, file + 1)) return true;
      }
      Slots* more = slots->more;
      if (more == nullptr) {
        auto* const fresh = new (std::nothrow) Slots;
        if (fresh == nullptr) return false;
        if (slots->more.compare_exchange_strong(more, fresh))
          more = fresh;
        else
          delete fresh;
      }
      slots = more;
    }
  }
  void forget(int file) noexcept {
    for (Slots* slots = &first_; slots != nullptr; slots = slots->more)
      for (auto& slot : slots->files) {
        int expected = file + 1;
        if (slot.compare_exchange_strong(expected, none)) return;
      }
  }

  Slots first_;
  FileIdentity image_;
};

/// A store with its lanes.
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
      // A lane without its thread. Nothing was opened yet.
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
      store_->close();
    } catch (const MemoryError&) {
      // Nobody is left to be told. What was flushed is in the log, and the next opening replays it.
    }
  }
  Store& operator*() { return *store_; }
  Store* operator->() { return store_.get(); }
  const FileIdentity& image() const noexcept { return files_.image(); }
  /// Kept until the store is closed.
  void keep(std::shared_ptr<void> other) noexcept { kept_ = std::move(other); }
  void close_files() noexcept { files_.close_all(); }

private:
  std::shared_ptr<void> kept_;
  OwnFiles files_;
  ThreadBackground sync_lane_;
  ThreadBackground checkpoint_lane_;
  std::unique_ptr<Store> store_;
};

/// The stores of this process, by the file that is their image: it may have several paths, and a path may come to name
/// another file.
class Registry {
public:
  /// A file's mutex is held while its store opens or closes, so that who opens it again waits for its lock to be free.
  struct Image {
    Mutex mutex;
    std::weak_ptr<OpenStore> store PAGESERVER_GUARDED_BY(mutex);
  };
  /// A name in a folder, whose mutex is held while a store opens by that name: an image that is just being made is
  /// found by the next who asks for it. Taken before the mutex of any image. Lives as long as a store that it opened.
  struct Name {
    Mutex mutex;
    std::weak_ptr<Image> image PAGESERVER_GUARDED_BY(mutex);  ///< of the last store that was opened by this name
  };
  using NameKey = std::pair<FileIdentity, std::string>;

  std::shared_ptr<Image> image(const FileIdentity& key) {
    const Lock lock{mutex_};
    return entry(images_, key);
  }
  std::shared_ptr<Name> name(const NameKey& key) {
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
  std::map<FileIdentity, std::shared_ptr<Image>> images_ PAGESERVER_GUARDED_BY(mutex_);
  std::map<NameKey, std::shared_ptr<Name>> names_ PAGESERVER_GUARDED_BY(mutex_);
};

/// That of this process: a child after fork(2) has none of its parent's stores, and its mutexes may be locked for ever.
Registry& registry() {
  struct Made {
    std::uint64_t process;
    Made* before;  // reachable, so that a leak checker sees no leak
    Registry registry;
  };
  static std::atomic<Made*> newest{nullptr};
  const std::uint64_t process = process_mark();
  Made* made = newest.load();
  while (made == nullptr || made->process != process) {
    auto* const fresh = new Made{process, made, {}};  // never destroyed: sessions may outlive static objects
    if (newest.compare_exchange_strong(made, fresh)) return fresh->registry;
    delete fresh;
  }
  return made->registry;
}

/// A session's part in a store that it shares.
class Share {
public:
  Share(FileSystem& file_system, const std::string& path, const EmbeddedOptions& options) {
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
      store_ = open(file_system, path, options);
      if (store_->image() == *there) {
        note(name);
        return;
      }
    } else {
      store_ = open(file_system, path, options);
    }
    // It was made just now, or took the place of what was there.
    image_ = registry().image(store_->image());
    const Lock lock{image_->mutex};
    note(name);
  }
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;
  ~Share() {
    const Lock lock{image_->mutex};
    store_.reset();
  }
  Store& operator*() { return **store_; }
  Store* operator->() { return &**store_; }
  void close_files() noexcept { store_->close_files(); }

private:
  static Registry::NameKey name_key(FileSystem& file_system, const std::string& resolved) {
    FileStatus folder;
    std::string path;
    // A folder that can't be looked at has no image that could be opened.
    if (retried([&] { return file_system.real_path(parent_folder(resolved), path); }).ok())
      static_cast<void>(retried([&] { return file_system.status_of(path, folder); }));
    return {identity_of(folder), file_name(resolved)};
  }

  static std::optional<FileIdentity> image_at(FileSystem& file_system, const std::string& resolved) {
    FileStatus status;
    if (!retried([&] { return file_system.status_of(resolved, status); }).ok()) return std::nullopt;
    return identity_of(status);
  }

  /// The log of a store lies beside the name that it was opened by, so that there can't be two.
  static void refuse_if_replaced(const Registry::Name& name, const std::optional<FileIdentity>& there,
                                 const std::string& path) PAGESERVER_REQUIRES(name.mutex) {
    const auto image = name.image.lock();
    if (!image) return;
    const Lock lock{image->mutex};  // or it may just be closing
    const auto store = image->store.lock();
    if (!store || (there && store->image() == *there)) return;
    throw MemoryError{Errc::busy, "open " + quoted(path) +
                                      ": this process has a store open whose image had this name, and was renamed or "
                                      "removed meanwhile; its log is still here, so end its sessions first"};
  }

  void note(const std::shared_ptr<Registry::Name>& name) noexcept PAGESERVER_REQUIRES(name->mutex, image_->mutex) {
    store_->keep(name);
    image_->store = store_;
    name->image = image_;
  }

  static std::shared_ptr<OpenStore> open(FileSystem& file_system, const std::string& path,
                                         const EmbeddedOptions& asked) {
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

  std::shared_ptr<Registry::Image> image_;
  std::shared_ptr<OpenStore> store_;
};

/// Something that another thread says once.
class Signal {
public:
  void set() {
    const Lock lock{mutex_};
    set_ = true;
    changed_.notify_all();
  }
  void wait() {
    Lock lock{mutex_};
    changed_.wait(lock, [this]() PAGESERVER_REQUIRES(mutex_) { return set_; });
  }
  bool wait_for(std::chrono::milliseconds time) {
    Lock lock{mutex_};
    return changed_.wait_for(lock, time, [this]() PAGESERVER_REQUIRES(mutex_) { return set_; });
  }

private:
  Mutex mutex_;
  CondVar changed_;
  bool set_ PAGESERVER_GUARDED_BY(mutex_) = false;
};

std::unique_ptr<StoreSession> open_store_session(Store& store, const EmbeddedOptions& options) {
  struct Answer {
    Signal given;
    std::unique_ptr<StoreSession> session;
    std::exception_ptr error;
  };
  const auto answer = std::make_shared<Answer>();
  SessionRequest request;
  request.access = options.access;
  request.view = options.view;
  request.publish = options.publish;
  request.name = options.name;
  request.address = "pid " + std::to_string(getpid());
  request.opened_unix_ms = base::unix_ms();
  request.opened_ms = base::monotonic_ms();
  request.wait_in_line = options.wait_ms != 0 && options.access == Access::write;
  const std::uint64_t place =
      store.open_session(std::move(request), [answer](std::unique_ptr<StoreSession> session, std::exception_ptr error) {
        answer->session = std::move(session);
        answer->error = std::move(error);
        answer->given.set();
      });
  if (place != 0 && !answer->given.wait_for(std::chrono::milliseconds{options.wait_ms})) store.cancel_wait(place);
  answer->given.wait();
  if (answer->error) std::rethrow_exception(answer->error);
  return std::move(answer->session);
}

class EmbeddedSession final : public Session {
public:
  EmbeddedSession(FileSystem& file_system, const std::string& path, const EmbeddedOptions& options)
      : path_{path}, process_{process_mark()}, own_{std::make_unique<Own>(file_system, path, options)} {}
  EmbeddedSession(const EmbeddedSession&) = delete;
  EmbeddedSession& operator=(const EmbeddedSession&) = delete;
  ~EmbeddedSession() override {
    if (process_mark() == process_) return;
    // The store is the parent's, with its log and its threads.
    own_->share.close_files();
    keep_for_ever(own_.release());
  }

  std::uint64_t size() override { return pages() * page_size; }
  std::uint64_t pages() override {
    return in_turn("pages", [](StoreSession& session) { return session.pages(); });
  }
  Version version() override {
    return in_turn("version", [](StoreSession& session) { return session.version(); });
  }
  Refreshed refresh() override {
    return in_turn("refresh", [](StoreSession& session) { return session.refresh(); });
  }
  void discard() override {
    in_turn("discard", [](StoreSession& session) { session.discard(); });
  }
  Stat stat() override {
    return in_turn("stat", [](StoreSession& session) { return session.stat(base::monotonic_ms()); });
  }

  void read(std::uint64_t offset, std::span<std::byte> buffer) override {
    in_turn("read", [&](StoreSession& session) { session.read(offset, buffer); });
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) override {
    changing("write", [&](StoreSession& session) { session.write(offset, data); });
  }
  void zero(std::uint64_t offset, std::uint64_t length) override {
    changing("zero", [&](StoreSession& session) { session.zero(offset, length); });
  }
  std::uint64_t grow(std::uint64_t new_pages) override {
    return changing("grow", [&](StoreSession& session) { return session.grow(new_pages); });
  }

  void flush() override {
    struct Answer {
      Signal given;
      std::exception_ptr error;
    };
    check_process("flush");
    const auto answer = std::make_shared<Answer>();
    const Lock lock{own_->mutex};
    own_->session->note_request(base::monotonic_ms());
    own_->session->flush([answer](std::exception_ptr error, const Version&) {
      answer->error = std::move(error);
      answer->given.set();
    });
    answer->given.wait();
    if (answer->error) std::rethrow_exception(answer->error);
  }

  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length) override {
    constexpr std::size_t ranges_at_once = 4096;
    return in_turn("data_ranges", [&](StoreSession& session) {
      std::vector<ByteRange> ranges;
      const std::uint64_t end = offset + length;
      for (std::uint64_t at = offset;;) {
        std::uint64_t until = at;
        for (const ByteRange& range : session.data_ranges(at, end - at, ranges_at_once, until)) {
          if (!ranges.empty() && ranges.back().offset + ranges.back().length == range.offset)
            ranges.back().length += range.length;
          else
            ranges.push_back(range);
        }
        if (until >= end || until == at) return ranges;
        at = until;
      }
    });
  }

private:
  /// What only the process that opened the session may touch.
  struct Own {
    Own(FileSystem& file_system, const std::string& path, const EmbeddedOptions& options)
        : share{file_system, path, options}, session{open_store_session(*share, options)} {}

    Share share;
    Mutex mutex;
    const std::unique_ptr<StoreSession> session PAGESERVER_PT_GUARDED_BY(mutex);
  };

  void check_process(std::string_view action) const {
    if (process_mark() == process_) return;
    throw MemoryError{
        Errc::connection_lost,
        std::string{action} + " " + quoted(path_) + ": the session belongs to process " +
            std::to_string(process_id_of(process_)) +
            ": sessions do not survive fork(2); end it here, and open one when that process has ended its own"};
  }

  template <class Call>
  auto in_turn(std::string_view action, const Call& call) -> decltype(call(std::declval<StoreSession&>())) {
    check_process(action);
    const Lock lock{own_->mutex};
    own_->session->note_request(base::monotonic_ms());
    return call(*own_->session);
  }

  /// As in_turn(), once the log has room.
  template <class Call>
  auto changing(std::string_view action, const Call& call) -> decltype(call(std::declval<StoreSession&>())) {
    check_process(action);
    const Lock lock{own_->mutex};
    own_->session->note_request(base::monotonic_ms());
    for (;;) {
      const auto room = std::make_shared<Signal>();
      if (own_->session->may_write([room] { room->set(); })) {
        try {
          return call(*own_->session);
        } catch (const MemoryError&) {
          if (!own_->session->room_may_come([room] { room->set(); })) throw;
        }
      }
      room->wait();
    }
  }

  const std::string path_;
  const std::uint64_t process_;
  std::unique_ptr<Own> own_;
};

}  // namespace

std::unique_ptr<Session> open_embedded_store(const std::string& path, const EmbeddedOptions& options) {
  FileSystem& file_system = options.file_system != nullptr ? *options.file_system : posix_file_system();
  return std::make_unique<EmbeddedSession>(file_system, path, options);
}

}  // namespace pageserver::storage
