#include "storage/file_store.hpp"

#include <utility>

#include "storage/bounds.hpp"
#include "storage/file_store_core.hpp"

namespace pageserver::storage {
namespace {

class FileStore final : public Store {
public:
  explicit FileStore(std::shared_ptr<FileStoreCore> core) : core_{std::move(core)} {}
  ~FileStore() override { core_->end(); }

  std::uint64_t open_session(SessionRequest request, Opened opened) override {
    return core_->open_session(std::move(request), std::move(opened));
  }
  void cancel_wait(std::uint64_t place) override { core_->cancel_wait(place); }
  Stat stat(std::int64_t now_unix_ms) override { return core_->stat(now_unix_ms); }
  std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string& reason) override {
    return core_->break_lease(epoch, reason);
  }
  bool read_only() const override { return core_->read_only(); }
  void close() override { core_->close(); }

private:
  // Shared with sessions and tasks that may outlive the store, and then find it closed.
  const std::shared_ptr<FileStoreCore> core_;
};

class FileStoreSession final : public StoreSession {
public:
  FileStoreSession(std::shared_ptr<FileStoreCore> core, std::shared_ptr<FileSessionState> state)
      : core_{std::move(core)}, state_{std::move(state)} {}

  ~FileStoreSession() override {
    state_->gate.end();
    core_->release(state_);
  }

  std::uint64_t pages() override {
    return core_->look(*state_, [](const ImageFile& image) { return image.pages(); });
  }

  Version version() override {
    return core_->look(*state_, [this](const ImageFile&) { return core_->version(); });
  }

  std::uint64_t epoch() const override { return state_->who.epoch; }

  std::uint64_t grow(std::uint64_t new_pages) override {
    refuse_reader("grow");
    if (new_pages == 0) return pages();
    return core_->publish(*state_,
                          [&](ImageFile& image) { return image.grow(new_pages, core_->options().size_bytes_max); });
  }

  void read(std::uint64_t offset, std::span<std::byte> buffer) override {
    core_->look(*state_, [&](const ImageFile& image) { image.read(offset, buffer); });
  }

  void write(std::uint64_t offset, std::span<const std::byte> data) override {
    refuse_reader("write");
    change(offset, data.size(), "write", [&](ImageFile& image) { image.write(offset, data); });
  }

  void zero(std::uint64_t offset, std::uint64_t length) override {
    refuse_reader("zero");
    change(offset, length, "zero", [&](ImageFile& image) { image.zero(offset, length); });
  }

  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length, std::size_t ranges_max,
                                     std::uint64_t& described_until) override {
    return core_->look(*state_, [&](const ImageFile& image) {
      return image.data_ranges(offset, length, ranges_max, described_until);
    });
  }

  void flush(Done done) override {
    const auto number = core_->look(*state_, [this](const ImageFile& image) {
      if (!image.read_only()) image.check_size("flush");
      return core_->version().number;
    });
    if (is_reader() || core_->is_durable(number)) return done(nullptr);
    core_->sync_later(number, state_, std::move(done));
  }

  // With on_write nothing is ever private.
  void discard() override {
    core_->look(*state_, [](const ImageFile&) {});
  }

  Refreshed refresh() override {
    if (!is_reader()) {
      throw MemoryError{Errc::unsupported, "refresh of " + quoted(core_->path()) +
                                               ": a writer always sees the newest version; there is nothing to move"};
    }
    return core_->look(*state_, [this](const ImageFile& image) {
      return Refreshed{core_->version(), image.pages(), true, {}};
    });
  }

  bool may_write(std::function<void()>) override { return true; }
  void on_notice(Notice notice) override { core_->set_notice(state_, std::move(notice)); }
  void note_request(std::int64_t unix_ms) noexcept override { state_->last_request_ms = unix_ms; }

private:
  bool is_reader() const noexcept { return state_->who.access == Access::read; }

  void refuse_reader(std::string_view action) const {
    if (!is_reader()) return;
    throw MemoryError{Errc::read_only, std::string{action} + " " + quoted(core_->path()) +
                                           ": the session was opened for reading; open one with access=write"};
  }

  // Nothing to change is no publish, but its bounds count all the same.
  template <class Change>
  void change(std::uint64_t offset, std::uint64_t length, std::string_view action, Change&& change) {
    if (length == 0) {
      core_->look(*state_, [&](const ImageFile& image) { check_bounds(action, offset, length, image.size()); });
      return;
    }
    core_->publish(*state_, [&](ImageFile& image) {
      change(image);
      return 0;
    });
  }

  const std::shared_ptr<FileStoreCore> core_;
  const std::shared_ptr<FileSessionState> state_;
};

}  // namespace

std::unique_ptr<StoreSession> make_file_session(std::shared_ptr<FileStoreCore> core,
                                                std::shared_ptr<FileSessionState> state) {
  return std::make_unique<FileStoreSession>(std::move(core), std::move(state));
}

std::unique_ptr<Store> open_file_store(FileSystem& file_system, const std::string& path,
                                       const FileStoreOptions& options, Background& sync_lane) {
  ImageFileOptions image_options;
  image_options.read_only = options.read_only;
  image_options.create = options.create;
  image_options.follow_symlinks = options.follow_symlinks;
  image_options.file_mode = options.file_mode;
  auto image = ImageFile::open(file_system, path, image_options);
  return std::make_unique<FileStore>(std::make_shared<FileStoreCore>(std::move(image), options, sync_lane));
}

}  // namespace pageserver::storage
