#include "storage/file_store_core.hpp"

#include <algorithm>
#include <random>
#include <utility>

#include "storage/lease_text.hpp"

namespace pageserver::storage {
namespace {

std::uint64_t random_incarnation() {
  std::random_device device;
  // 0 stays free for "no version".
  return (static_cast<std::uint64_t>(device()) << 32 | device()) | 1;
}

MemoryError unsupported_error(const std::string& path, const char* what, const char* instead) {
  return {Errc::unsupported,
          "open " + quoted(path) + " with " + what + ": not by this store, which is a plain file; " + instead};
}

}  // namespace

FileStoreCore::FileStoreCore(ImageFile image, const FileStoreOptions& options, Background& sync_lane)
    : path_{image.path()},
      options_{options},
      incarnation_{random_incarnation()},
      sync_lane_{sync_lane},
      image_{std::move(image)} {}

ImageFile& FileStoreCore::open_image() {
  if (!image_) throw closed_error();
  return *image_;
}

MemoryError FileStoreCore::closed_error() const {
  return {Errc::provider_error, "the store " + quoted(path_) + " was closed; open it again"};
}

MemoryError FileStoreCore::busy_error() const { return lease_busy_error(path_, writer_->who, line_.size()); }

std::optional<MemoryError> FileStoreCore::refusal(const SessionRequest& request) const {
  if (request.access == Access::fork) {
    return unsupported_error(path_, "access=fork", "use access=read or access=write");
  }
  if (request.access == Access::read) {
    if (request.view == View::pinned) return unsupported_error(path_, "view=pinned", "use view=live");
    return std::nullopt;
  }
  if (request.publish == Publish::on_flush) {
    return unsupported_error(path_, "publish=on_flush", "use publish=on_write");
  }
  if (options_.read_only) {
    return MemoryError{Errc::read_only,
                       "open " + quoted(path_) + " for writing: the store is read-only; open with access=read"};
  }
  return std::nullopt;
}

// Under the lease lock.
std::unique_ptr<StoreSession> FileStoreCore::make_session(const SessionRequest& request) {
  auto state = std::make_shared<FileSessionState>();
  state->who.name = request.name;
  state->who.address = request.address;
  state->who.since_unix_ms = request.opened_unix_ms;
  state->who.access = request.access;
  state->who.view = request.view;
  state->who.publish = request.publish;
  state->last_request_ms = request.opened_unix_ms;
  if (request.access == Access::write) state->who.epoch = last_epoch_ + 1;
  auto session = make_file_session(shared_from_this(), state);
  // From here on nothing throws, so that a session that could not be made holds nothing.
  if (request.access == Access::write) {
    ++last_epoch_;
    writer_ = std::move(state);
  } else {
    ++readers_;
  }
  return session;
}

std::uint64_t FileStoreCore::open_session(SessionRequest request, Store::Opened opened) {
  auto error = refusal(request);
  std::unique_ptr<StoreSession> session;
  if (!error) {
    const std::lock_guard lock{lease_mutex_};
    if (ended_) {
      error = closed_error();
    } else if (request.access == Access::read || !writer_) {
      session = make_session(request);
    } else if (request.wait_in_line) {
      line_.push_back({++last_place_, std::move(request), std::move(opened)});
      return last_place_;
    } else {
      error = busy_error();
    }
  }
  opened(std::move(session), error ? std::make_exception_ptr(*error) : nullptr);
  return 0;
}

void FileStoreCore::cancel_wait(std::uint64_t place) {
  Store::Opened opened;
  std::exception_ptr error;
  {
    const std::lock_guard lock{lease_mutex_};
    const auto found = std::find_if(line_.begin(), line_.end(), [&](const Waiter& w) { return w.place == place; });
    if (found == line_.end()) return;
    opened = std::move(found->opened);
    line_.erase(found);
    error = std::make_exception_ptr(busy_error());
  }
  opened(nullptr, error);
}

// Under the lease lock, with the lease free.
FileStoreCore::Granted FileStoreCore::grant_next() {
  if (line_.empty()) return std::nullopt;
  auto session = make_session(line_.front().request);
  auto opened = std::move(line_.front().opened);
  line_.pop_front();
  return std::pair{std::move(opened), std::move(session)};
}

// On the lane and not here: here is whoever ended or broke the session before, under locks of its own.
void FileStoreCore::announce(Granted granted) {
  if (!granted) return;
  const auto shared = std::make_shared<Granted>(std::move(granted));
  sync_lane_.submit([shared] { (*shared)->first(std::move((*shared)->second), nullptr); });
}

void FileStoreCore::announce_loss(std::shared_ptr<FileSessionState> state, StoreSession::Notice notice) {
  if (!notice) return;
  sync_lane_.submit(
      [state = std::move(state), notice = std::move(notice)] { state->gate.run([&] { notice(*state->lost); }); });
}

void FileStoreCore::set_notice(const std::shared_ptr<FileSessionState>& state, StoreSession::Notice notice) {
  {
    const std::lock_guard lock{lease_mutex_};
    if (!state->lost) {
      state->notice = std::move(notice);
      return;
    }
  }
  announce_loss(state, std::move(notice));
}

void FileStoreCore::release(const std::shared_ptr<FileSessionState>& state) {
  Granted granted;
  {
    const std::lock_guard lock{lease_mutex_};
    if (state->who.access == Access::read) {
      --readers_;
    } else if (writer_ == state) {
      writer_ = nullptr;
      granted = grant_next();
    }
  }
  announce(std::move(granted));
}

std::optional<HolderStat> FileStoreCore::break_lease(std::uint64_t epoch, const std::string& reason) {
  std::shared_ptr<FileSessionState> loser;
  StoreSession::Notice notice;
  Granted granted;
  {
    const std::lock_guard lease_lock{lease_mutex_};
    if (!writer_ || (epoch != 0 && writer_->who.epoch != epoch)) return std::nullopt;
    {
      // Waits for the write that is being applied; the next one finds the lease gone.
      const std::unique_lock image_lock{image_mutex_};
      writer_->lost = lease_lost_error(path_, writer_->who.epoch, reason);
    }
    loser = std::exchange(writer_, nullptr);
    notice = std::exchange(loser->notice, nullptr);
    granted = grant_next();
  }
  announce_loss(loser, std::move(notice));
  announce(std::move(granted));
  return loser->who;
}

Stat FileStoreCore::stat(std::int64_t now_unix_ms) {
  Stat stat;
  stat.store = path_;
  stat.read_only = options_.read_only;
  stat.size_bytes_max = options_.size_bytes_max;
  {
    const std::lock_guard lock{lease_mutex_};
    if (writer_) {
      stat.writer = writer_->who;
      stat.writer->idle_ms =
          static_cast<std::uint64_t>(std::max<std::int64_t>(0, now_unix_ms - writer_->last_request_ms));
    }
    stat.writers_waiting = line_.size();
    stat.sessions_live = readers_;
    stat.sessions_write = writer_ ? 1 : 0;
  }
  {
    const std::lock_guard lock{sync_mutex_};
    if (sync_error_) stat.last_sync_error = sync_error_->what();
  }
  const std::shared_lock lock{image_mutex_};
  const auto& image = open_image();
  stat.pages = image.pages();
  stat.version = version();
  stat.image_warning = image.outside_change();
  return stat;
}

bool FileStoreCore::is_durable(std::uint64_t number) {
  const std::lock_guard lock{sync_mutex_};
  return !sync_error_ && durable_number_ >= number;
}

void FileStoreCore::sync_to(std::uint64_t number) {
  std::unique_lock lock{sync_mutex_};
  sync_idle_.wait(lock, [this] { return !syncing_; });
  if (sync_error_) throw *sync_error_;
  if (sync_ended_) throw closed_error();
  if (durable_number_ >= number) return;
  syncing_ = true;
  lock.unlock();
  // Counted before the sync: what is published while it runs may be in the file too late for it.
  const auto covered = number_.load(std::memory_order_acquire);
  std::optional<MemoryError> failed;
  try {
    image_->sync();  // end() waits for it: the image stays
  } catch (const MemoryError& error) {
    failed = error;
  }
  lock.lock();
  syncing_ = false;
  if (failed) {
    sync_error_ = failed;
  } else {
    durable_number_ = covered;
  }
  sync_idle_.notify_all();
  if (failed) throw *failed;
}

void FileStoreCore::sync_later(std::uint64_t number, std::shared_ptr<FileSessionState> state, StoreSession::Done done) {
  sync_lane_.submit([self = shared_from_this(), number, state = std::move(state), done = std::move(done)] {
    if (state->gate.ended()) return;
    std::exception_ptr error;
    try {
      self->sync_to(number);
    } catch (...) {
      error = std::current_exception();
    }
    state->gate.run([&] { done(error); });
  });
}

void FileStoreCore::close() {
  std::exception_ptr error;
  try {
    const auto changed = [this] {
      const std::shared_lock lock{image_mutex_};
      if (!image_ || options_.read_only) return false;
      if (number_ == 1 && image_->entry_durable()) return false;
      image_->check_size("close");
      return true;
    }();
    if (changed) sync_to(number_);
  } catch (const MemoryError&) {
    error = std::current_exception();
  }
  end();
  if (error) std::rethrow_exception(error);
}

void FileStoreCore::end() {
  std::deque<Waiter> waiting;
  {
    const std::lock_guard lock{lease_mutex_};
    ended_ = true;
    waiting.swap(line_);
  }
  for (auto& waiter : waiting) {
    sync_lane_.submit([opened = std::move(waiter.opened), error = std::make_exception_ptr(closed_error())] {
      opened(nullptr, error);
    });
  }
  {
    std::unique_lock lock{sync_mutex_};
    sync_ended_ = true;
    sync_idle_.wait(lock, [this] { return !syncing_; });
  }
  const std::unique_lock lock{image_mutex_};
  image_.reset();
}

}  // namespace pageserver::storage
