// What the sessions of one file store share: the image, the lease and its line, the state of syncs.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>

#include "storage/callback_gate.hpp"
#include "storage/fair_shared_mutex.hpp"
#include "storage/file_store.hpp"
#include "storage/image_file.hpp"

namespace pageserver::storage {

/// A session as the store knows it; shared with tasks that may outlive the session.
struct FileSessionState {
  HolderStat who;  ///< all but idle_ms; never changes
  std::atomic<std::int64_t> last_request_ms{0};
  CallbackGate gate;
  std::optional<MemoryError> lost;  ///< set under the lease lock and the image lock: read under either
  StoreSession::Notice notice;      ///< under the lease lock
};

/// Lock order: lease, then image. The sync lock is taken alone. No callback runs under any of them.
class FileStoreCore : public std::enable_shared_from_this<FileStoreCore> {
public:
  FileStoreCore(ImageFile image, const FileStoreOptions& options, Background& sync_lane);

  const std::string& path() const noexcept { return path_; }
  bool read_only() const noexcept { return options_.read_only; }
  const FileStoreOptions& options() const noexcept { return options_; }

  std::uint64_t open_session(SessionRequest request, Store::Opened opened);
  void cancel_wait(std::uint64_t place);
  std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string& reason);
  Stat stat(std::int64_t now_unix_ms);
  /// Makes everything durable, if anything changed, and ends.
  void close();
  /// Waiters get an error, sessions too from now on; waits for a running sync and unlocks the file. Idempotent.
  void end();

  /// `look(const ImageFile&)` with nothing published meanwhile.
  template <class Look>
  auto look(const FileSessionState& state, Look&& look) {
    const std::shared_lock lock{image_mutex_};
    refuse_lost(state);
    return look(open_image());
  }

  /// `change(ImageFile&)` with nobody else inside: a publish, unless it throws.
  template <class Change>
  auto publish(const FileSessionState& state, Change&& change) {
    const std::unique_lock lock{image_mutex_};
    refuse_lost(state);
    const auto result = change(open_image());
    number_.fetch_add(1, std::memory_order_release);
    return result;
  }

  Version version() const noexcept { return {incarnation_, number_.load(std::memory_order_acquire)}; }
  bool is_durable(std::uint64_t number);
  /// Runs `done` on the sync lane, unless the session ends before.
  void sync_later(std::uint64_t number, std::shared_ptr<FileSessionState> state, StoreSession::Done done);
  void release(const std::shared_ptr<FileSessionState>& state);
  void set_notice(const std::shared_ptr<FileSessionState>& state, StoreSession::Notice notice);

private:
  struct Waiter {
    std::uint64_t place;
    SessionRequest request;
    Store::Opened opened;
  };
  /// A waiter whose turn came: its callback runs on the lane.
  using Granted = std::optional<std::pair<Store::Opened, std::unique_ptr<StoreSession>>>;

  void refuse_lost(const FileSessionState& state) const {
    if (state.lost) throw *state.lost;
  }
  ImageFile& open_image();
  MemoryError closed_error() const;
  MemoryError busy_error() const;
  std::optional<MemoryError> refusal(const SessionRequest& request) const;
  std::unique_ptr<StoreSession> make_session(const SessionRequest& request);
  Granted grant_next();
  void announce(Granted granted);
  void announce_loss(std::shared_ptr<FileSessionState> state, StoreSession::Notice notice);
  void sync_to(std::uint64_t number);

  const std::string path_;
  const FileStoreOptions options_;
  const std::uint64_t incarnation_;
  Background& sync_lane_;

  FairSharedMutex image_mutex_;
  std::optional<ImageFile> image_;
  std::atomic<std::uint64_t> number_{1};

  std::mutex lease_mutex_;
  std::shared_ptr<FileSessionState> writer_;
  std::deque<Waiter> line_;
  std::uint64_t last_place_ = 0;
  std::uint64_t last_epoch_ = 0;
  std::uint64_t readers_ = 0;
  bool ended_ = false;

  std::mutex sync_mutex_;
  std::condition_variable sync_idle_;
  bool syncing_ = false;
  bool sync_ended_ = false;
  std::uint64_t durable_number_ = 0;
  std::optional<MemoryError> sync_error_;
};

/// One session of `core`.
std::unique_ptr<StoreSession> make_file_session(std::shared_ptr<FileStoreCore> core,
                                                std::shared_ptr<FileSessionState> state);

}  // namespace pageserver::storage
