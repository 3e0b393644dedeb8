#include <pageserver/file_provider.hpp>

#include <cstdint>
#include <ostream>
#include <utility>

#include "base/process_mark.hpp"
#include "storage/image/file_provider_access.hpp"
#include "storage/image/image_file.hpp"

namespace pageserver {

struct FileProvider::State {
  std::filesystem::path path;
  storage::ImageFile image;
  std::uint64_t process = base::process_mark();

  void check_process() const {
    if (process == base::process_mark()) return;
    throw MemoryError{Errc::connection_lost,
                      "use of " + storage::quoted(path.native()) + ": the provider belongs to process " +
                          std::to_string(base::process_id_of(process)) +
                          ", which has the file locked; open it in this process when that one has closed it"};
  }
};

namespace {

storage::ImageFile open_image(storage::FileSystem& file_system, const std::filesystem::path& path, Access access) {
  if (access == Access::fork) {
    throw MemoryError{Errc::unsupported,
                      "open " + storage::quoted(path.native()) +
                          " with access=fork: a plain file has no forks; use store:PATH or a daemon"};
  }
  storage::ImageFileOptions options;
  options.read_only = access == Access::read;
  // As other programs create files: the umask decides.
  options.file_mode = 0666;
  return storage::ImageFile::open(file_system, path.native(), options);
}

}  // namespace

FileProvider::FileProvider(std::unique_ptr<State> state) noexcept : state_{std::move(state)} {}

FileProvider::FileProvider(const std::filesystem::path& path, Access access)
    : FileProvider{storage::FileProviderAccess::open(storage::all_file_systems(), path, access)} {}

FileProvider storage::FileProviderAccess::open(FileSystem& file_system, const std::filesystem::path& path,
                                               Access access) {
  return FileProvider{std::make_unique<FileProvider::State>(
      FileProvider::State{path, open_image(file_system, path, access), base::process_mark()})};
}

FileProvider::FileProvider(FileProvider&&) noexcept = default;
FileProvider& FileProvider::operator=(FileProvider&&) noexcept = default;
FileProvider::~FileProvider() = default;

FileProvider::State& FileProvider::state() const {
  if (!state_)
    throw MemoryError{Errc::invalid_argument,
                      "use of a FileProvider that was closed, or moved from; open another, or use the one it moved to"};
  state_->check_process();
  return *state_;
}

std::uint64_t FileProvider::size() { return state().image.size(); }
std::uint64_t FileProvider::pages() { return state().image.pages(); }
std::uint64_t FileProvider::grow(std::uint64_t new_pages) { return state().image.grow(new_pages, UINT64_MAX); }
void FileProvider::read(std::uint64_t offset, std::span<std::byte> buffer) { state().image.read(offset, buffer); }
void FileProvider::write(std::uint64_t offset, std::span<const std::byte> data) { state().image.write(offset, data); }

std::uint64_t FileProvider::atomic_write_bytes() {
  (void)state();
  return 1;
}

void FileProvider::flush() {
  auto& image = state().image;
  if (!image.read_only()) image.check_size("flush");
  image.sync();
}

void FileProvider::close() {
  if (!state_) return;
  state_->check_process();
  const auto closing = std::move(state_);
  closing->image.close();
}

const std::filesystem::path& FileProvider::path() const noexcept {
  static const std::filesystem::path none;
  return state_ ? state_->path : none;
}

std::ostream& operator<<(std::ostream& out, const FileProvider& provider) {
  const auto pages = provider.state_ ? provider.state_->image.pages() : 0;
  return out << "FileProvider(" << provider.path() << ", " << pages << " pages)";
}

}  // namespace pageserver
