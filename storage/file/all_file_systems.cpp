// Which file system a path belongs to: the operating system's, or the home that its beginning names.
#include <atomic>
#include <cerrno>
#include <new>
#include <string>

#include "base/home_paths.hpp"
#include "base/mutex.hpp"
#include "storage/file/forwarding_file_system.hpp"
#include "storage/file/home_module.hpp"
#include "storage/file/modules.hpp"

namespace pageserver::storage {
namespace {

IoResult load_home(FileSystem*& files) {
  const auto use = [](void* symbol, void* context) {
    auto*& made = *static_cast<FileSystem**>(context);
    made = reinterpret_cast<HomeModule>(symbol)(home_interface);
    return made != nullptr;
  };
  return load_module("pageserver-ceph.so", "pageserver_home_module", use, &files);
}

class AllFileSystems final : public ForwardingFileSystem {
public:
  AllFileSystems() : ForwardingFileSystem{posix_file_system()} {}

  IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    return at(path, [&](FileSystem& files) { return files.open(path, flags, mode); });
  }
  IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    return of(directory).open_beneath(directory, name, flags, mode);
  }
  int close(int file) noexcept override { return of(file).close(file); }
  IoResult read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) override {
    return of(file).read_at(file, offset, buffer);
  }
  IoResult read_until(int file, std::uint64_t offset, std::span<std::byte> buffer, Moment deadline) override {
    return of(file).read_until(file, offset, buffer, deadline);
  }
  IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) override {
    return of(file).write_at(file, offset, data);
  }
  IoResult write_parts_at(int file, std::uint64_t offset, std::span<const std::span<const std::byte>> parts) override {
    return of(file).write_parts_at(file, offset, parts);
  }
  IoResult truncate(int file, std::uint64_t size_bytes) override { return of(file).truncate(file, size_bytes); }
  IoResult reserve(int file, std::uint64_t offset, std::uint64_t length) override {
    return of(file).reserve(file, offset, length);
  }
  IoResult punch_hole(int file, std::uint64_t offset, std::uint64_t length) override {
    return of(file).punch_hole(file, offset, length);
  }
  IoResult seek_data(int file, std::uint64_t offset) override { return of(file).seek_data(file, offset); }
  IoResult seek_hole(int file, std::uint64_t offset) override { return of(file).seek_hole(file, offset); }
  void start_writeback(int file, std::uint64_t offset, std::uint64_t length) noexcept override {
    of(file).start_writeback(file, offset, length);
  }
  void drop_from_memory(int file, std::uint64_t offset, std::uint64_t length) noexcept override {
    of(file).drop_from_memory(file, offset, length);
  }
  IoResult sync_data(int file) override { return of(file).sync_data(file); }
  IoResult sync(int file) override { return of(file).sync(file); }
  IoResult size(int file) override { return of(file).size(file); }
  IoResult status(int file, FileStatus& status) override { return of(file).status(file, status); }
  IoResult status_of(const std::string& path, FileStatus& status) override {
    return at(path, [&](FileSystem& files) { return files.status_of(path, status); });
  }
  IoResult status_beneath(int directory, const std::string& name, FileStatus& status) override {
    return of(directory).status_beneath(directory, name, status);
  }
  IoResult real_path(const std::string& path, std::string& resolved) override {
    return at(path, [&](FileSystem& files) { return files.real_path(path, resolved); });
  }
  IoResult file_system_type(int file) override { return of(file).file_system_type(file); }
  IoResult lock(int file, LockKind lock) override { return of(file).lock(file, lock); }
  void unlock(int file) noexcept override { of(file).unlock(file); }
  IoResult home_of(int file, FileHome& home) override { return of(file).home_of(file, home); }
  IoResult map(int file, std::uint64_t length, const std::byte*& address) override {
    return of(file).map(file, length, address);
  }
  IoResult rename_new_beneath(int directory, const std::string& from, const std::string& to) override {
    return of(directory).rename_new_beneath(directory, from, to);
  }
  IoResult rename_beneath(int directory, const std::string& from, const std::string& to) override {
    return of(directory).rename_beneath(directory, from, to);
  }
  IoResult remove_beneath(int directory, const std::string& name) override {
    return of(directory).remove_beneath(directory, name);
  }
  IoResult list(int directory, const std::string& prefix, std::vector<std::string>& names) override {
    return of(directory).list(directory, prefix, names);
  }

private:
  FileSystem& of(int file) const noexcept {
    if (file < home_descriptors_begin) return below();
    return *home_.load(std::memory_order_acquire);  // it gave that number
  }

  template <class Call>
  IoResult at(const std::string& path, const Call& call) {
    if (!base::is_home_path(path)) return call(below());
    FileSystem* files = home_.load(std::memory_order_acquire);
    if (files == nullptr) {
      try {
        const Lock lock{mutex_};
        files = home_.load(std::memory_order_acquire);
        if (files == nullptr)
          if (const IoResult loaded = load_home(files); !loaded.ok()) return loaded;
        home_.store(files, std::memory_order_release);
      } catch (const std::bad_alloc&) {
        return {-1, ENOMEM};
      }
    }
    return call(*files);
  }

  Mutex mutex_;  ///< while the module is loaded
  std::atomic<FileSystem*> home_{nullptr};
};

}  // namespace

FileSystem& all_file_systems() {
  // Never destroyed, as posix_file_system().
  static auto* const file_systems = new AllFileSystems;
  return *file_systems;
}

}  // namespace pageserver::storage
