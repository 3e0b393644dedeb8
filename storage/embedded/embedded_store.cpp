#include "storage/embedded/embedded_store.hpp"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "base/process_mark.hpp"
#include "base/refused_change.hpp"
#include "storage/embedded/shared_store.hpp"
#include "storage/file/file_io.hpp"

namespace pageserver::storage {
namespace {

/// An event that happens once, on another thread.
class OneShotEvent {
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
    OneShotEvent given;
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
      : path_{path}, process_{base::process_mark()}, own_{std::make_unique<Own>(file_system, path, options)} {}
  EmbeddedSession(const EmbeddedSession&) = delete;
  EmbeddedSession& operator=(const EmbeddedSession&) = delete;
  ~EmbeddedSession() override {
    if (!own_ || base::process_mark() == process_) return;
    // The store, its log and its threads belong to the parent.
    own_->share.close_files();
    base::keep_for_ever(own_.release());
  }

  void close() override {
    if (!own_) return;
    check_usable("close");
    const auto own = std::move(own_);
    own->session.reset();
    own->share.close();
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
    refused_.forget();
  }
  void commit() override {
    in_turn("commit", [](StoreSession& session) { session.view(); });  // a lease that is lost comes first
    refused_.check({});
    flush();
  }
  std::optional<HolderStat> break_lease(std::uint64_t epoch) override {
    return in_turn("break_lease", [epoch](StoreSession& session) {
      return session.break_lease(epoch, "broken by the session that had it", base::monotonic_ms());
    });
  }
  std::optional<MemoryError> lost() override PAGESERVER_NO_THREAD_SAFETY_ANALYSIS {
    try {
      check_usable("lost");
      // Nobody else is on the store: what another thread is in the middle of has taken nothing away.
      if (!own_->mutex.try_lock()) return {};
      const std::unique_lock lock{own_->mutex, std::adopt_lock};
      static_cast<void>(own_->session->view());
    } catch (const MemoryError& error) {
      return error;
    }
    return {};
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
  std::uint64_t atomic_write_bytes() override {
    check_usable("atomic_write_bytes");
    return UINT64_MAX;  // one record of the log
  }
  void zero(std::uint64_t offset, std::uint64_t length) override {
    changing("zero", [&](StoreSession& session) { session.zero(offset, length); });
  }
  std::uint64_t grow(std::uint64_t new_pages) override {
    return changing("grow", [&](StoreSession& session) { return session.grow(new_pages); });
  }

  void flush() override {
    struct Answer {
      OneShotEvent given;
      std::exception_ptr error;
    };
    check_usable("flush");
    const auto answer = std::make_shared<Answer>();
    const Lock lock{own_->mutex};
    own_->session->note_request(base::monotonic_ms());
    own_->session->flush([answer](std::exception_ptr error, const Version&) {
      answer->error = std::move(error);
      answer->given.set();
    });
    answer->given.wait();
    if (answer->error) std::rethrow_exception(answer->error);
    refused_.forget();
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
  /// The parts that only the process which opened the session may touch.
  struct Own {
    Own(FileSystem& file_system, const std::string& path, const EmbeddedOptions& options)
        : share{file_system, path, options}, session{open_store_session(*share, options)} {}

    SharedStore share;
    Mutex mutex;
    std::unique_ptr<StoreSession> session PAGESERVER_PT_GUARDED_BY(mutex);
  };

  void check_usable(std::string_view action) const {
    if (!own_)
      throw MemoryError{Errc::invalid_argument,
                        std::string{action} + " " + quoted(path_) + ": the session was closed; open another"};
    if (base::process_mark() == process_) return;
    throw MemoryError{
        Errc::connection_lost,
        std::string{action} + " " + quoted(path_) + ": the session belongs to process " +
            std::to_string(base::process_id_of(process_)) +
            ": sessions do not survive fork(2); end it here, and open one when that process has ended its own"};
  }

  template <class Call>
  auto in_turn(std::string_view action, const Call& call) -> decltype(call(std::declval<StoreSession&>())) {
    check_usable(action);
    const Lock lock{own_->mutex};
    own_->session->note_request(base::monotonic_ms());
    return call(*own_->session);
  }

  /// As in_turn(), and waits until the log has room: before the call, and again where the call found none and some may
  /// come.
  template <class Call>
  auto changing(std::string_view action, const Call& call) -> decltype(call(std::declval<StoreSession&>())) {
    check_usable(action);
    return refused_.watch(action, [&] { return once_there_is_room(call); });
  }
  template <class Call>
  auto once_there_is_room(const Call& call) -> decltype(call(std::declval<StoreSession&>())) {
    const Lock lock{own_->mutex};
    own_->session->note_request(base::monotonic_ms());
    for (;;) {
      const auto room = std::make_shared<OneShotEvent>();
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
  std::unique_ptr<Own> own_;  // null once closed
  base::RefusedChange refused_;
};

}  // namespace

std::unique_ptr<Session> open_embedded_store(const std::string& path, const EmbeddedOptions& options) {
  FileSystem& file_system = options.file_system != nullptr ? *options.file_system : all_file_systems();
  return std::make_unique<EmbeddedSession>(file_system, path, options);
}

}  // namespace pageserver::storage
