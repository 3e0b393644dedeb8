#include "tests/crash/reference_store.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "storage/file/folder.hpp"

namespace pageserver::test {
namespace {

using storage::Background;
using storage::EngineOptions;
using storage::FileSystem;
using storage::IoResult;
using storage::SessionRequest;
using storage::StoreSession;

std::int64_t must(IoResult result, const char* what) {
  if (!result.ok()) {
    throw MemoryError(result.error == ENOSPC ? Errc::no_space : Errc::provider_error,
                      std::string(what) + ": errno " + std::to_string(result.error));
  }
  return result.value;
}

class Session;

/// Shared by the store, its sessions and the tasks of the lane.
struct Shared : std::enable_shared_from_this<Shared> {
  Shared(FileSystem& file_system, Background& sync_lane, std::string image_path, const EngineOptions& engine_options,
         ReferenceFault built_in)
      : files(file_system), lane(sync_lane), path(std::move(image_path)), options(engine_options), fault(built_in) {}

  FileSystem& files;
  Background& lane;
  std::string path;
  EngineOptions options;
  ReferenceFault fault;
  BlockBytes image{};
  std::uint64_t number = 1;
  std::uint64_t epoch = 0;
  std::uint64_t place = 0;
  bool writer = false;      ///< the lease is held, by the session with `epoch`
  bool committing = false;  ///< a transaction is under way: the lease is granted to nobody else meanwhile
  HolderStat holder{};
  std::set<Session*> sessions{};
  struct Waiting {
    std::uint64_t place;
    SessionRequest request;
    storage::Store::Opened opened;
  };
  std::vector<Waiting> line{};
  std::string sync_error{};

  void sync_folder() {
    if (fault == ReferenceFault::no_directory_sync) return;
    const int folder =
        static_cast<int>(must(files.open(path.substr(0, path.rfind('/')), O_RDONLY | O_DIRECTORY, 0), "open folder"));
    const IoResult result = files.sync(folder);
    files.close(folder);
    if (!result.ok()) sync_error = "sync failed";
    must(result, "sync folder");
  }

  void write_file(int file, const BlockBytes& content) {
    must(files.truncate(file, content.size()), "truncate");
    std::vector<std::byte> bytes(static_cast<std::size_t>(content.size()));
    content.read(0, bytes);
    for (std::size_t done = 0; done < bytes.size();) {
      const IoResult result = files.write_at(file, done, std::span(bytes).subspan(done));
      if (result.error == EINTR) continue;
      done += static_cast<std::size_t>(must(result, "write"));
    }
    if (fault == ReferenceFault::no_sync_before_rename) return;
    const IoResult synced = files.sync_data(file);
    if (fault == ReferenceFault::ignores_failed_sync) return;
    if (!synced.ok()) sync_error = "sync failed";
    must(synced, "sync");
  }

  void store_image(const BlockBytes& content) {
    if (!sync_error.empty()) throw MemoryError(Errc::provider_error, "not durable since a sync failed: restart");
    const bool in_place = fault == ReferenceFault::write_in_place;
    const std::string target = in_place ? path : path + ".new";
    const int file = static_cast<int>(must(files.open(target, O_RDWR | O_CREAT, 0640), "create"));
    try {
      write_file(file, content);
    } catch (...) {
      files.close(file);
      throw;
    }
    files.close(file);
    if (!in_place) {
      const auto folder = storage::Folder::open(files, storage::parent_folder(path));
      must(folder.try_rename(storage::file_name(target), storage::file_name(path)), "rename");
    }
  }

  void publish(BlockBytes content) {
    if (fault == ReferenceFault::visible_before_written) {
      image = content;
      ++number;
      store_image(content);
      return;
    }
    store_image(content);
    image = std::move(content);
    ++number;
  }

  Stat stat() const;
  std::optional<HolderStat> break_lease(std::uint64_t wanted);
  void grant_next();
};

class Session final : public StoreSession {
public:
  Session(std::shared_ptr<Shared> shared, SessionRequest request)
      : shared_(std::move(shared)),
        request_(std::move(request)),
        base_(shared_->image),
        number_(shared_->number),
        opened_{{1, number_}, base_.size() / page_size} {
    shared_->sessions.insert(this);
    if (request_.access != Access::write) return;
    epoch_ = ++shared_->epoch;
    shared_->writer = true;
    shared_->holder.epoch = epoch_;
  }
  ~Session() override {
    *alive_ = false;
    shared_->sessions.erase(this);
    if (request_.access == Access::write && shared_->writer && shared_->epoch == epoch_) {
      shared_->writer = false;
      shared_->grant_next();
    }
  }

  const SessionRequest& request() const { return request_; }
  void lost() {
    lost_ = true;
    if (notice_) notice_(MemoryError(Errc::lease_lost, "the lease was broken"));
  }

  const storage::SessionView& opened() const noexcept override { return opened_; }
  storage::SessionView view() override { return {{1, holds() ? number_ : shared_->number}, seen().size() / page_size}; }
  std::uint64_t epoch() const override { return epoch_; }

  std::uint64_t grow(std::uint64_t more) override {
    BlockBytes next = changed();
    const std::uint64_t before = next.size() / page_size;
    if (next.size() + more * page_size > shared_->options.size_bytes_max) {
      throw MemoryError(Errc::limit_exceeded, "size_bytes_max");
    }
    if (more == 0) return before;
    next.resize(next.size() + more * page_size);
    keep(std::move(next));
    return before;
  }
  void read(std::uint64_t offset, std::span<std::byte> buffer) override {
    check(offset, buffer.size());
    seen().read(offset, buffer);
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) override {
    BlockBytes next = changed();
    check(offset, data.size());
    if (data.empty()) return;
    next.write(offset, data);
    keep(std::move(next));
  }
  bool write_together(std::span<const Write> writes) override {
    if (request_.access != Access::write || request_.publish != Publish::on_write) return false;
    BlockBytes next = changed();
    for (const Write& one : writes) {
      check(one.offset, one.data.size());
      next.write(one.offset, one.data);
    }
    keep(std::move(next));
    return true;
  }
  void zero(std::uint64_t offset, std::uint64_t length) override {
    write(offset, std::vector<std::byte>(static_cast<std::size_t>(length)));
  }
  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length, std::size_t,
                                     std::uint64_t& described_until) override {
    check(offset, length);
    described_until = offset + length;
    if (length == 0) return {};
    return {{offset, length}};
  }
  void flush(Done done) override {
    check(0, 0);
    if (request_.access != Access::write) return done(nullptr, version());
    shared_->lane.submit([this, alive = alive_, done = std::move(done)] {
      if (!*alive) return;
      std::exception_ptr error;
      try {
        if (request_.publish == Publish::on_flush && own_) {
          commit();
        } else {
          if (!shared_->sync_error.empty()) throw MemoryError(Errc::provider_error, "a sync failed: restart");
          shared_->sync_folder();
        }
      } catch (const MemoryError&) {
        error = std::current_exception();
      }
      if (*alive) done(error, {1, shared_->number});
    });
  }
  storage::SessionView discard() override {
    check(0, 0);
    own_.reset();
    return view();
  }
  Refreshed refresh() override {
    check(0, 0);
    if (request_.access == Access::write) throw MemoryError(Errc::unsupported, "refresh of a writer");
    if (own_) throw MemoryError(Errc::invalid_argument, "private bytes");
    base_ = shared_->image;
    number_ = shared_->number;
    return {version(), base_.size() / page_size, true, {}};
  }
  Stat stat(std::int64_t now_ms) override;
  std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string& reason, std::int64_t) override;
  bool may_write(std::function<void()>) override { return true; }
  void on_notice(Notice notice) override { notice_ = std::move(notice); }
  void note_request(std::int64_t) noexcept override {}

private:
  bool holds() const { return request_.access == Access::fork || request_.view == View::pinned; }
  const BlockBytes& seen() const {
    if (own_) return *own_;
    return holds() && shared_->fault != ReferenceFault::pins_move ? base_ : shared_->image;
  }
  void check(std::uint64_t offset, std::uint64_t length) const {
    if (lost_ && shared_->fault != ReferenceFault::lost_writer_writes) {
      throw MemoryError(Errc::lease_lost, "the lease was broken");
    }
    const std::uint64_t size = seen().size();
    if (length > size || offset > size - length) throw MemoryError(Errc::out_of_bounds, "past the end");
  }
  BlockBytes changed() const {
    check(0, 0);
    if (request_.access == Access::read) throw MemoryError(Errc::read_only, "a reader");
    return seen();
  }
  void commit() {
    changed();
    const auto shared = shared_;  // the session may be closed during the sync
    BlockBytes image = std::move(*own_);
    const auto alive = alive_;
    shared->committing = true;
    std::exception_ptr error;
    try {
      shared->store_image(image);
      shared->sync_folder();
      shared->image = image;
      ++shared->number;
    } catch (const MemoryError&) {
      error = std::current_exception();
    }
    shared->committing = false;
    if (*alive) own_ = error ? std::optional<BlockBytes>(std::move(image)) : std::nullopt;
    shared->grant_next();
    if (error) std::rethrow_exception(error);
  }
  void keep(BlockBytes next) {
    if (request_.access == Access::write && request_.publish == Publish::on_write) {
      shared_->publish(std::move(next));
    } else {
      own_ = std::move(next);
    }
  }

  std::shared_ptr<Shared> shared_;
  SessionRequest request_;
  BlockBytes base_;
  std::uint64_t number_;
  const storage::SessionView opened_;
  std::optional<BlockBytes> own_;
  std::uint64_t epoch_ = 0;
  bool lost_ = false;
  Notice notice_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

void Shared::grant_next() {
  if (writer || committing || line.empty()) return;
  Waiting next = std::move(line.front());
  line.erase(line.begin());
  next.opened(std::make_unique<Session>(shared_from_this(), next.request), nullptr);
}

Stat Shared::stat() const {
  Stat stat;
  stat.pages = image.size() / page_size;
  stat.version = {1, number};
  stat.last_sync_error = sync_error;
  if (writer) stat.writer = holder;
  for (const Session* session : sessions) {
    const SessionRequest& request = session->request();
    stat.sessions_fork += request.access == Access::fork;
    stat.sessions_pinned += request.access == Access::read && request.view == View::pinned;
    stat.sessions_live += request.access == Access::read && request.view == View::live;
  }
  return stat;
}

std::optional<HolderStat> Shared::break_lease(std::uint64_t wanted) {
  if (!writer || (wanted != 0 && wanted != epoch)) return std::nullopt;
  const HolderStat lost = holder;
  writer = false;
  for (Session* session : std::set<Session*>(sessions)) {
    if (session->epoch() == lost.epoch) session->lost();
  }
  grant_next();
  return lost;
}

Stat Session::stat(std::int64_t) {
  check(0, 0);
  return shared_->stat();
}

std::optional<HolderStat> Session::break_lease(std::uint64_t epoch, const std::string&, std::int64_t) {
  check(0, 0);
  return shared_->break_lease(epoch);
}

class ReferenceStore final : public storage::Store {
public:
  explicit ReferenceStore(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {
    IoResult opened = shared_->files.open(shared_->path, O_RDONLY, 0);
    try {
      storage::remove_file(shared_->files, shared_->path + ".new");
    } catch (const MemoryError&) {
      // Its removal is tried again at the close.
    }
    if (opened.error == ENOENT) {
      shared_->store_image({});
      shared_->sync_folder();
      return;
    }
    const int file = static_cast<int>(must(opened, "open"));
    storage::FileStatus status;
    const IoResult stated = shared_->files.status(file, status);
    std::vector<std::byte> bytes(static_cast<std::size_t>(status.size_bytes));
    for (std::size_t done = 0; done < bytes.size();) {
      const IoResult result = shared_->files.read_at(file, done, std::span(bytes).subspan(done));
      if (result.error == EINTR) continue;
      if (!result.ok()) shared_->files.close(file);
      done += static_cast<std::size_t>(must(result, "read"));
    }
    shared_->files.close(file);
    must(stated, "status");
    shared_->image.resize(bytes.size());
    shared_->image.write(0, bytes);
  }

  std::uint64_t open_session(SessionRequest request, Opened opened) override {
    if (request.access == Access::write && (shared_->writer || shared_->committing)) {
      if (!request.wait_in_line) {
        opened(nullptr, std::make_exception_ptr(MemoryError(Errc::busy, "there is a writer")));
        return 0;
      }
      shared_->line.push_back({++shared_->place, std::move(request), std::move(opened)});
      return shared_->place;
    }
    opened(std::make_unique<Session>(shared_, std::move(request)), nullptr);
    return 0;
  }
  void cancel_wait(std::uint64_t place) override {
    const auto at = std::find_if(shared_->line.begin(), shared_->line.end(),
                                 [&](const Shared::Waiting& one) { return one.place == place; });
    if (at == shared_->line.end()) return;
    const Opened opened = std::move(at->opened);
    shared_->line.erase(at);
    opened(nullptr, std::make_exception_ptr(MemoryError(Errc::busy, "gave up waiting")));
  }
  Stat stat(std::int64_t) override { return shared_->stat(); }
  std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string&) override {
    return shared_->break_lease(epoch);
  }
  std::optional<HolderStat> break_idle_lease(std::int64_t, std::uint64_t, const std::string&) override {
    return std::nullopt;  // nobody is idle here
  }
  bool read_only() const override { return false; }
  std::uint64_t pages() override { return stat(0).pages; }
  void close() override {
    if (!shared_->sync_error.empty()) throw MemoryError(Errc::provider_error, "a sync failed: restart");
    storage::remove_file(shared_->files, shared_->path + ".new");  // there when a publish failed
    shared_->sync_folder();
  }

private:
  std::shared_ptr<Shared> shared_;
};

}  // namespace

OpenStore reference_store(ReferenceFault fault) {
  return [fault](FileSystem& files, const std::string& path, Background& sync_lane, Background&,
                 const EngineOptions& options) -> std::unique_ptr<storage::Store> {
    return std::make_unique<ReferenceStore>(std::make_shared<Shared>(files, sync_lane, path, options, fault));
  };
}

}  // namespace pageserver::test
