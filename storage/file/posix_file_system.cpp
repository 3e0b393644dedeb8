// The operating system behind FileSystem. Each call makes the system call that it is named after. It does more in two
// cases only: the kernel is too old for that call, or the call could end the process (SIGXFSZ). Callers handle EINTR,
// short transfers and messages (file_io.hpp), so that a test sees what the system would have said.
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "base/process_mark.hpp"
#include "storage/file/file_size_limit.hpp"
#include "storage/file/file_system.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pageserver::storage {
namespace {

template <class Value>
IoResult result_of(Value value) noexcept {
  if (value < 0) return {-1, errno};
  return {static_cast<std::int64_t>(value), 0};
}

constexpr IoResult failure(int error) noexcept { return {-1, error}; }

std::int64_t clock_ns(clockid_t clock) noexcept {
  struct timespec time {};
  ::clock_gettime(clock, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

std::int64_t nanoseconds(const struct statx_timestamp& time) noexcept {
  return time.tv_sec * 1'000'000'000 + static_cast<std::int64_t>(time.tv_nsec);
}

std::uint64_t boot_id() noexcept {
  const int file = ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  std::array<char, 64> text{};
  const ssize_t length = ::read(file, text.data(), text.size());
  ::close(file);
  return length > 0 ? XXH3_64bits(text.data(), static_cast<std::size_t>(length)) : 0;
}

IoResult status_at(int directory, const char* path, int flags, FileStatus& status) noexcept {
  struct statx found {};
#ifdef STATX_DIOALIGN
  constexpr unsigned direct = STATX_DIOALIGN;
#else
  constexpr unsigned direct = 0;
#endif
  if (::statx(directory, path, flags, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID | direct, &found) != 0)
    return failure(errno);
  status.size_bytes = found.stx_size;
  status.allocated_bytes = found.stx_blocks * 512;
  status.device = makedev(found.stx_dev_major, found.stx_dev_minor);
  status.inode = found.stx_ino;
  status.links = found.stx_nlink;
  status.mount = (found.stx_mask & STATX_MNT_ID) != 0 ? found.stx_mnt_id : 0;
  status.birth_ns = (found.stx_mask & STATX_BTIME) != 0 ? nanoseconds(found.stx_btime) : 0;
  status.modified_ns = nanoseconds(found.stx_mtime);
  status.changed_ns = nanoseconds(found.stx_ctime);
  status.direct_reads = std::nullopt;
#ifdef STATX_DIOALIGN
  if ((found.stx_mask & STATX_DIOALIGN) != 0) status.direct_reads = found.stx_dio_offset_align != 0;
#endif
  status.mode = found.stx_mode;
  status.uid = found.stx_uid;
  status.gid = found.stx_gid;
  return {};
}

bool is_one_component(const std::string& name) noexcept {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
}

class PosixFileSystem final : public FileSystem {
public:
  IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    return result_of(::open(path.c_str(), flags | O_CLOEXEC, mode));
  }

  IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    struct open_how how {};
    how.flags = static_cast<unsigned>(flags | O_CLOEXEC);
    how.mode = (flags & O_CREAT) != 0 ? mode : 0;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const auto opened = result_of(::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof how));
    if (opened.error != ENOSYS) return opened;
    // A kernel or a sandbox without openat2. A single component leaves the directory only if it is a link.
    if (!is_one_component(name) && name != ".") return failure(EXDEV);
    return result_of(::openat(directory, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode));
  }

  int close(int file) noexcept override { return ::close(file) == 0 ? 0 : errno; }

  IoResult read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) override {
    return result_of(::pread(file, buffer.data(), buffer.size(), static_cast<off_t>(offset)));
  }

  IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) override {
    if (past_limit(offset + data.size())) return failure(EFBIG);
    return result_of(::pwrite(file, data.data(), data.size(), static_cast<off_t>(offset)));
  }

  IoResult write_parts_at(int file, std::uint64_t offset, std::span<const std::span<const std::byte>> parts) override {
    std::array<iovec, IOV_MAX> vectors;
    const std::size_t count = std::min(parts.size(), vectors.size());
    std::uint64_t end = offset;
    for (std::size_t i = 0; i < count; ++i) {
      vectors[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};  // only read
      end += parts[i].size();
    }
    if (past_limit(end)) return failure(EFBIG);
    return result_of(::pwritev(file, vectors.data(), static_cast<int>(count), static_cast<off_t>(offset)));
  }

  IoResult truncate(int file, std::uint64_t size_bytes) override {
    if (past_limit(size_bytes)) return failure(EFBIG);
    return result_of(::ftruncate(file, static_cast<off_t>(size_bytes)));
  }

  IoResult reserve(int file, std::uint64_t offset, std::uint64_t length) override {
    if (past_limit(offset + length)) return failure(EFBIG);
    return result_of(::fallocate(file, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(length)));
  }

  IoResult punch_hole(int file, std::uint64_t offset, std::uint64_t length) override {
    return result_of(::fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                                 static_cast<off_t>(length)));
  }

  IoResult seek_data(int file, std::uint64_t offset) override {
    return result_of(::lseek(file, static_cast<off_t>(offset), SEEK_DATA));
  }

  IoResult seek_hole(int file, std::uint64_t offset) override {
    return result_of(::lseek(file, static_cast<off_t>(offset), SEEK_HOLE));
  }

  void start_writeback(int file, std::uint64_t offset, std::uint64_t length) noexcept override {
    static_cast<void>(
        ::sync_file_range(file, static_cast<off_t>(offset), static_cast<off_t>(length), SYNC_FILE_RANGE_WRITE));
  }
  void drop_from_memory(int file, std::uint64_t offset, std::uint64_t length) noexcept override {
    static_cast<void>(
        ::posix_fadvise(file, static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_DONTNEED));
  }
  IoResult sync_data(int file) override { return result_of(::fdatasync(file)); }
  IoResult sync(int file) override { return result_of(::fsync(file)); }

  // Nobody uses the descriptor's place in the file.
  IoResult size(int file) override { return result_of(::lseek(file, 0, SEEK_END)); }
  IoResult status(int file, FileStatus& status) override {
    const IoResult found = status_at(file, "", AT_EMPTY_PATH, status);
    long version = 0;
    if (found.ok() && status.birth_ns == 0 && S_ISREG(status.mode) && ::ioctl(file, FS_IOC_GETVERSION, &version) == 0)
      status.generation = static_cast<std::uint32_t>(version);
    return found;
  }

  IoResult status_of(const std::string& path, FileStatus& status) override {
    return status_at(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, status);
  }

  IoResult status_beneath(int directory, const std::string& name, FileStatus& status) override {
    if (!is_one_component(name)) return failure(EXDEV);
    return status_at(directory, name.c_str(), AT_SYMLINK_NOFOLLOW, status);
  }

  IoResult real_path(const std::string& path, std::string& resolved) override {
    const std::unique_ptr<char, decltype(&std::free)> found{::realpath(path.c_str(), nullptr), &std::free};
    if (!found) return failure(errno);
    resolved = found.get();
    return {};
  }

  IoResult file_system_type(int file) override {
    struct statfs found {};
    if (::fstatfs(file, &found) != 0) return failure(errno);
    return {static_cast<std::int64_t>(static_cast<std::uint32_t>(found.f_type)), 0};
  }

  IoResult lock(int file, LockKind lock) override {
    return result_of(::flock(file, (lock == LockKind::exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB));
  }

  void unlock(int file) noexcept override { static_cast<void>(::flock(file, LOCK_UN)); }

  IoResult home_of(int, FileHome&) override { return failure(ENOTSUP); }

  IoResult map(int file, std::uint64_t length, const std::byte*& address) override {
    void* const mapped = ::mmap(nullptr, length, PROT_READ, MAP_SHARED | MAP_NORESERVE, file, 0);
    if (mapped == MAP_FAILED) return failure(errno);
    address = static_cast<const std::byte*>(mapped);
    return {};
  }

  void unmap(const std::byte* address, std::uint64_t length) noexcept override {
    ::munmap(const_cast<std::byte*>(address), length);
  }

  std::int64_t now_ns() noexcept override { return clock_ns(CLOCK_REALTIME); }
  std::int64_t file_clock_ns() noexcept override { return clock_ns(CLOCK_REALTIME_COARSE); }

  Boot boot() noexcept override {
    static const std::uint64_t id = boot_id();
    Boot boot;
    boot.started_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
    boot.id = id;
    return boot;
  }

  IoResult rename_beneath(int directory, const std::string& from, const std::string& to) override {
    if (!is_one_component(from) || !is_one_component(to)) return failure(EXDEV);
    return result_of(::renameat(directory, from.c_str(), directory, to.c_str()));
  }

  IoResult rename_new_beneath(int directory, const std::string& from, const std::string& to) override {
    if (!is_one_component(from) || !is_one_component(to)) return failure(EXDEV);
    if (::renameat2(directory, from.c_str(), directory, to.c_str(), RENAME_NOREPLACE) == 0) return {};
    if (errno != EINVAL && errno != ENOSYS) return failure(errno);
    // link(2) does not replace a name that is taken either.
    if (::linkat(directory, from.c_str(), directory, to.c_str(), 0) != 0) return failure(errno);
    return result_of(::unlinkat(directory, from.c_str(), 0));
  }

  IoResult remove_beneath(int directory, const std::string& name) override {
    if (!is_one_component(name)) return failure(EXDEV);
    return result_of(::unlinkat(directory, name.c_str(), 0));
  }

  IoResult list(int directory, const std::string& prefix, std::vector<std::string>& names) override {
    // A descriptor of its own, since readdir(3) moves its position and other threads may be listing as well.
    const int reading = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (reading < 0) return failure(errno);
    const std::unique_ptr<DIR, int (*)(DIR*)> opened{::fdopendir(reading), &::closedir};
    if (!opened) {
      const int error = errno;
      ::close(reading);
      return failure(error);
    }
    names.clear();
    for (;;) {
      errno = 0;
      const auto* entry = ::readdir(opened.get());
      if (entry == nullptr) return errno == 0 ? IoResult{} : failure(errno);
      const std::string_view name = entry->d_name;
      if (name != "." && name != ".." && name.starts_with(prefix)) names.emplace_back(name);
    }
  }

private:
  // Past the process's file size limit the system call would also raise SIGXFSZ, which kills the process by default.
  // The limit is asked for only when a file becomes longer than the last answer allowed, and again in a child after
  // fork(2), which may have set its own.
  bool past_limit(std::uint64_t end) noexcept {
    const std::uint64_t process = base::process_mark();
    if (process == asked_in_.load(std::memory_order_acquire) && end <= allowed_bytes_.load(std::memory_order_relaxed))
      return false;
    const std::uint64_t limit = file_size_limit();
    if (end > limit) return true;
    allowed_bytes_.store(limit, std::memory_order_relaxed);
    asked_in_.store(process, std::memory_order_release);
    return false;
  }

  std::atomic<std::uint64_t> allowed_bytes_{0};  ///< the limit when it was asked for last
  std::atomic<std::uint64_t> asked_in_{0};       ///< by this process; see base::process_mark()
};

}  // namespace

FileSystem& posix_file_system() {
  // Never destroyed: providers with static storage may close their files after every destructor here ran.
  static auto* const file_system = new PosixFileSystem;
  return *file_system;
}

}  // namespace pageserver::storage
