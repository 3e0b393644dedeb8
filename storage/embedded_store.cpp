#include "storage/embedded_store.hpp"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <utility>

#include "storage/image_file.hpp"
#include "storage/thread_background.hpp"

namespace pageserver::storage {
namespace {

std::int64_t now_unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::int64_t monotonic_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::uint64_t random_salt() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) ^ device();
}

/// A store with its lanes.
class OpenStore {
public:
  OpenStore(FileSystem& file_system, const std::string& path, const EngineOptions& options)
      : store_{open_engine(file_system, path, sync_lane_, checkpoint_lane_, options)} {}
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

private:
  ThreadBackground sync_lane_;
  ThreadBackground checkpoint_lane_;
  std::unique_ptr<Store> store_;
};

/// The stores of this process by path. A path's own mutex is held while its store opens or closes, so that who opens
/// it again waits for the file's lock to be free.
class Registry {
public:
  struct Entry {
    std::mutex mutex;
    std::weak_ptr<OpenStore> store;
  };

  std::shared_ptr<Entry> entry(const std::string& path) {
    const std::lock_guard lock{mutex_};
    std::erase_if(entries_, [](const auto& one) { return one.second.use_count() == 1; });
    auto& found = entries_[path];
    if (!found) found = std::make_shared<Entry>();
    return found;
  }

private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Entry>> entries_;
};

Registry& registry() {
  static auto* const the_registry = new Registry;  // never destroyed: sessions may outlive static objects
  return *the_registry;
}

/// A session's part in a store that it shares.
class Share {
public:
  Share(FileSystem& file_system, const std::string& path, const EmbeddedOptions& options)
      : entry_{registry().entry(resolved_image_path(file_system, path))} {
    const std::lock_guard lock{entry_->mutex};
    store_ = entry_->store.lock();
    if (store_) return;
    EngineOptions engine = options.engine;
    if (engine.salt == 0) engine.salt = random_salt();
    if (options.access != Access::write) engine.create = false;
    store_ = open(file_system, path, engine, options.access);
    entry_->store = store_;
  }
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;
  ~Share() {
    const std::lock_guard lock{entry_->mutex};
    store_.reset();
  }
  Store& operator*() { return **store_; }
  Store* operator->() { return &**store_; }

private:
  static std::shared_ptr<OpenStore> open(FileSystem& file_system, const std::string& path, EngineOptions options,
                                         Access access) {
    try {
      return std::make_shared<OpenStore>(file_system, path, options);
    } catch (const MemoryError& error) {
      const bool unwritable = error.errc() == Errc::permission_denied || error.errc() == Errc::read_only;
      if (access == Access::write || options.read_only || !unwritable) throw;
    }
    options.read_only = true;
    return std::make_shared<OpenStore>(file_system, path, options);
  }

  std::shared_ptr<Registry::Entry> entry_;
  std::shared_ptr<OpenStore> store_;
};

/// Something that another thread says once.
class Signal {
public:
  void set() {
    const std::lock_guard lock{mutex_};
    set_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [this] { return set_; });
  }
  bool wait_for(std::chrono::milliseconds time) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, time, [this] { return set_; });
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
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
  request.opened_unix_ms = now_unix_ms();
  request.opened_ms = monotonic_ms();
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
      : share_{file_system, path, options}, session_{open_store_session(*share_, options)} {}

  std::uint64_t size() override { return pages() * page_size; }
  std::uint64_t pages() override {
    return in_turn([&] { return session_->pages(); });
  }
  Version version() override {
    return in_turn([&] { return session_->version(); });
  }
  Refreshed refresh() override {
    return in_turn([&] { return session_->refresh(); });
  }
  void discard() override {
    in_turn([&] { session_->discard(); });
  }
  Stat stat() override {
    return in_turn([&] { return session_->stat(monotonic_ms()); });
  }

  void read(std::uint64_t offset, std::span<std::byte> buffer) override {
    in_turn([&] { session_->read(offset, buffer); });
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) override {
    changing([&] { session_->write(offset, data); });
  }
  void zero(std::uint64_t offset, std::uint64_t length) override {
    changing([&] { session_->zero(offset, length); });
  }
  std::uint64_t grow(std::uint64_t new_pages) override {
    return changing([&] { return session_->grow(new_pages); });
  }

  void flush() override {
    struct Answer {
      Signal given;
      std::exception_ptr error;
    };
    const auto answer = std::make_shared<Answer>();
    const std::lock_guard lock{mutex_};
    session_->note_request(monotonic_ms());
    session_->flush([answer](std::exception_ptr error, const Version&) {
      answer->error = std::move(error);
      answer->given.set();
    });
    answer->given.wait();
    if (answer->error) std::rethrow_exception(answer->error);
  }

  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length) override {
    constexpr std::size_t ranges_at_once = 4096;
    return in_turn([&] {
      std::vector<ByteRange> ranges;
      const std::uint64_t end = offset + length;
      for (std::uint64_t at = offset;;) {
        std::uint64_t until = at;
        for (const ByteRange& range : session_->data_ranges(at, end - at, ranges_at_once, until)) {
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
  template <class Call>
  auto in_turn(const Call& call) -> decltype(call()) {
    const std::lock_guard lock{mutex_};
    session_->note_request(monotonic_ms());
    return call();
  }

  /// As in_turn(), once the log has room.
  template <class Call>
  auto changing(const Call& call) -> decltype(call()) {
    const std::lock_guard lock{mutex_};
    session_->note_request(monotonic_ms());
    for (;;) {
      const auto room = std::make_shared<Signal>();
      if (session_->may_write([room] { room->set(); })) return call();
      room->wait();
    }
  }

  Share share_;
  std::mutex mutex_;
  std::unique_ptr<StoreSession> session_;
};

}  // namespace

std::unique_ptr<Session> open_embedded_store(const std::string& path, const EmbeddedOptions& options) {
  FileSystem& file_system = options.file_system != nullptr ? *options.file_system : posix_file_system();
  return std::make_unique<EmbeddedSession>(file_system, path, options);
}

}  // namespace pageserver::storage
