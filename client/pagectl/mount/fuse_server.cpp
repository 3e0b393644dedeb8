#define FUSE_USE_VERSION 34
#include "client/pagectl/mount/fuse_server.hpp"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <pageserver/error.hpp>

#include "base/io_memory.hpp"
#include "base/mutex.hpp"
#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "client/pagectl/mount/file_errors.hpp"

namespace pageserver::pagectl {
namespace {

using namespace std::chrono_literals;

constexpr double for_ever_s = 86'400;
/// Where the kernel gathers writes it asks nobody about them: so often it looks at least whether anybody still answers.
constexpr double gathering_s = 1;
/// At most what the kernel takes at once of what it keeps: one of its pages.
constexpr std::size_t kernel_page = 4096;
constexpr int wake_signal = SIGUSR1;

/// What libfuse says on its own, kept for the error that follows it.
class FuseWords {
public:
  static FuseWords& instance() {
    static auto* const words = new FuseWords;
    return *words;
  }
  void add(std::string text) {
    const Lock lock(mutex_);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (!text.empty()) text_ += (text_.empty() ? "" : "; ") + text;
  }
  std::string take() {
    const Lock lock(mutex_);
    return std::exchange(text_, {});
  }

private:
  Mutex mutex_;
  std::string text_ PAGESERVER_GUARDED_BY(mutex_);
};

void keep_words(fuse_log_level, const char* format, va_list arguments) {
  char text[512];
  std::vsnprintf(text, sizeof text, format, arguments);
  FuseWords::instance().add(text);
}

/// A process that takes away the mount which a killed one leaves behind. fusermount3 does that by its auto_unmount, but
/// only where it finds the mount dead: it looks as root, who may not look into a user's (before libfuse 3.15), and
/// while the kernel still has the file's attributes it answers as if the mount lived.
class Remover {
public:
  explicit Remover(std::string file) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
    word_ = UniqueFd{ends[0]};
    const UniqueFd theirs{ends[1]};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDIN_FILENO);
    for (const int stream : {STDOUT_FILENO, STDERR_FILENO})
      ::posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_WRONLY, 0);
    // fusermount3 waits until nobody has its socket any more.
    ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    // Ctrl-C is for the mount alone.
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    // Over without a word: the other end was killed. What can be opened is alive, or was unmounted already; to look at
    // it is not enough, since the kernel may answer that itself.
    std::string words[] = {"sh", "-c", R"(read -r over || true <"$1" || exec fusermount3 -u -q -z -- "$1")", "sh",
                           std::move(file)};
    char* const argv[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), words[4].data(), nullptr};
    if (::posix_spawn(&pid_, "/bin/sh", &actions, &attributes, argv, environ) != 0) pid_ = -1;
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  Remover(const Remover&) = delete;
  Remover& operator=(const Remover&) = delete;
  /// There is nothing left to take away.
  ~Remover() {
    if (pid_ < 0) return;
    static_cast<void>(!::send(word_.get(), "over\n", 5, MSG_NOSIGNAL));
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

private:
  UniqueFd word_;
  pid_t pid_ = -1;
};

class Server {
public:
  Server(MountedImage& image, const FuseOptions& options) : image_(image), options_(options) {
    quit_ = UniqueFd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!quit_.is_open())
      throw MemoryError(Errc::provider_error, "mount: eventfd: " + std::generic_category().message(errno));
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    if (session_ == nullptr) return;
    if (mounted_) ::fuse_session_unmount(session_);
    ::fuse_session_destroy(session_);
  }

  void mount();
  MountEnd serve(const std::function<void()>& ready);
  void stop();

  void getattr(fuse_req_t request);
  void setattr(fuse_req_t request, const struct stat& wanted, int what);
  void open(fuse_req_t request, fuse_file_info& file);
  void release(fuse_req_t request);
  void read(fuse_req_t request, std::size_t size, off_t offset);
  void write(fuse_req_t request, const char* bytes, std::size_t size, off_t offset, const fuse_file_info& file);
  void flush(fuse_req_t request);
  void fsync(fuse_req_t request);
  void allocate(fuse_req_t request, int mode, off_t offset, off_t length);
  void seek(fuse_req_t request, off_t offset, int whence);
  void retrieved(fuse_req_t request, void* cookie, std::size_t kept);
  void init(fuse_conn_info& connection) const;

private:
  /// Answers with the errno of what `work` throws, where it throws.
  template <class Work>
  void answered(fuse_req_t request, Work work) {
    try {
      work();
    } catch (...) {
      ::fuse_reply_err(request, errno_of(std::current_exception()));
      // A call may have taken from the connection what it had to say.
      if (image_.is_lost() && !lost_seen_) wake_watcher();
    }
  }
  struct stat attributes();
  void answer_attributes(fuse_req_t request);
  void tell_growth(std::uint64_t size_bytes);
  void learn_size();
  double attributes_timeout() const;
  bool is_direct() const { return options_.direct_io || image_.kind() == MountedImage::Kind::live; }
  void work();
  void watch();
  void wake_watcher() const {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(quit_.get(), &one, sizeof one));
  }

  MountedImage& image_;
  const FuseOptions& options_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  std::optional<Remover> remover_;
  UniqueFd quit_;
  std::atomic<std::uint64_t> open_handles_{0};
  std::atomic<unsigned> workers_{0};
  std::atomic<bool> ending_{false};
  std::atomic<bool> stop_wanted_{false};
  std::atomic<bool> lost_seen_{false};
};

Server& server_of(fuse_req_t request) { return *static_cast<Server*>(::fuse_req_userdata(request)); }

struct stat Server::attributes() {
  const auto facts = image_.facts();
  struct stat status {};
  status.st_ino = FUSE_ROOT_ID;
  const mode_t everybody = options_.allow_other ? 0444 : 0400;
  status.st_mode = S_IFREG | everybody | (image_.is_writable() ? everybody >> 1 : 0);
  status.st_nlink = 1;
  status.st_uid = ::getuid();
  status.st_gid = ::getgid();
  status.st_size = static_cast<off_t>(facts.size_bytes);
  status.st_blocks = static_cast<blkcnt_t>(facts.size_bytes / 512);
  status.st_blksize = page_size;
  status.st_atim = status.st_mtim = status.st_ctim = facts.changed;
  return status;
}

double Server::attributes_timeout() const {
  if (image_.kind() == MountedImage::Kind::live) return static_cast<double>(options_.attributes_timeout.count()) / 1000;
  // Nobody but this kernel changes anything; it asks again after each of its own writes.
  return options_.gathers_writes ? gathering_s : for_ever_s;
}

void Server::init(fuse_conn_info& connection) const {
  // Unless asked for: the kernel's own view of the size wins over the image's then.
  connection.want &= ~static_cast<unsigned>(FUSE_CAP_WRITEBACK_CACHE);
  if (options_.gathers_writes) connection.want |= FUSE_CAP_WRITEBACK_CACHE;
  // What the kernel keeps it keeps because nobody else can change it: its own writes are no reason to drop that.
  connection.want &= ~static_cast<unsigned>(FUSE_CAP_AUTO_INVAL_DATA);
  connection.max_background = 64;
  connection.congestion_threshold = 48;
}

void Server::answer_attributes(fuse_req_t request) {
  const struct stat status = attributes();
  ::fuse_reply_attr(request, &status, attributes_timeout());
}

void Server::getattr(fuse_req_t request) {
  answered(request, [&] { answer_attributes(request); });
}

/// A request that waits for what the kernel has of the last page behind a growth.
struct Growing {
  fuse_req_t request;
  std::uint64_t size_bytes;
};

/// Tells the kernel of a growth by zeros that it may keep. Without that it drops all that it has of the file when the
/// answer brings another size, and reads it again; what it has gathered it would write one page after the other.
void Server::tell_growth(std::uint64_t size_bytes) {
  static char zeros[kernel_page]{};
  fuse_bufvec bytes{};
  bytes.count = 1;
  bytes.buf[0].size = sizeof zeros;
  bytes.buf[0].mem = zeros;
  bytes.buf[0].fd = -1;
  // A kernel that can't take them does what it did without.
  static_cast<void>(::fuse_lowlevel_notify_store(session_, FUSE_ROOT_ID, static_cast<off_t>(size_bytes - kernel_page),
                                                 &bytes, fuse_buf_copy_flags{}));
}

/// The answer of the kernel, to which bytes of the last page it has: any are none of the image's zeros.
void Server::retrieved(fuse_req_t request, void* cookie, std::size_t kept) {
  const std::unique_ptr<Growing> growing(static_cast<Growing*>(cookie));
  if (kept == 0) tell_growth(growing->size_bytes);
  answered(growing->request, [&] { answer_attributes(growing->request); });
  ::fuse_reply_none(request);
}

void Server::setattr(fuse_req_t request, const struct stat& wanted, int what) {
  answered(request, [&] {
    image_.check_alive();
    if ((what & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) throw FileRefusal(EPERM);
    std::uint64_t grown_to = 0;
    if ((what & FUSE_SET_ATTR_SIZE) != 0) {
      if (!image_.is_writable()) throw FileRefusal(EROFS);
      if (image_.resize(static_cast<std::uint64_t>(wanted.st_size)))
        grown_to = static_cast<std::uint64_t>(wanted.st_size);
    }
    if ((what & FUSE_SET_ATTR_MTIME_NOW) != 0) {
      timespec time{};
      ::clock_gettime(CLOCK_REALTIME, &time);
      image_.set_changed(time);
    } else if ((what & FUSE_SET_ATTR_MTIME) != 0) {
      image_.set_changed(wanted.st_mtim);
    }
    if (grown_to != 0 && options_.gathers_writes) {
      // What it has gathered may reach further than the image did. It changes no size before this is answered.
      std::unique_ptr<Growing> growing(new Growing{request, grown_to});
      if (::fuse_lowlevel_notify_retrieve(session_, FUSE_ROOT_ID, kernel_page,
                                          static_cast<off_t>(grown_to - kernel_page), growing.get()) == 0) {
        static_cast<void>(growing.release());
        return;
      }
    } else if (grown_to != 0 && !is_direct()) {
      tell_growth(grown_to);
    }
    answer_attributes(request);
  });
}

void Server::open(fuse_req_t request, fuse_file_info& file) {
  answered(request, [&] {
    image_.check_alive();
    const bool writes = (file.flags & O_ACCMODE) != O_RDONLY;
    if (writes && !image_.is_writable()) throw FileRefusal(EROFS);
    // It comes here only, and would be forgotten: an image does not shrink.
    if ((file.flags & O_TRUNC) != 0 && image_.facts().size_bytes != 0) throw FileRefusal(EPERM);
    file.direct_io = is_direct();
    file.keep_cache = !is_direct();
    ++open_handles_;
    // An open that was interrupted meanwhile is closed by nobody.
    if (::fuse_reply_open(request, &file) == -ENOENT) --open_handles_;
  });
}

void Server::release(fuse_req_t request) {
  ::fuse_reply_err(request, 0);
  if (--open_handles_ == 0 && lost_seen_) wake_watcher();
}

void Server::read(fuse_req_t request, std::size_t size, off_t offset) {
  answered(request, [&] {
    thread_local base::IoBytes buffer;
    if (buffer.size() < size) buffer.resize(size);
    const std::size_t got = image_.read(static_cast<std::uint64_t>(offset), std::span(buffer).first(size));
    ::fuse_reply_buf(request, reinterpret_cast<const char*>(buffer.data()), got);
  });
}

void Server::write(fuse_req_t request, const char* bytes, std::size_t size, off_t offset, const fuse_file_info& file) {
  answered(request, [&] {
    try {
      image_.write(static_cast<std::uint64_t>(offset), std::as_bytes(std::span(bytes, size)),
                   (file.flags & O_APPEND) != 0);
    } catch (const std::exception& error) {
      // The kernel gives these bytes up, and a later flush would publish the others without them.
      if (file.writepage != 0 && options_.publishes_whole && !image_.is_lost())
        image_.lose(std::string("what programs had written can't be taken in any more: ") + error.what());
      throw;
    }
    // The kernel sends no FSYNC for it then.
    if (is_direct() && (file.flags & (O_DSYNC | O_SYNC)) != 0) image_.flush();
    ::fuse_reply_write(request, size);
  });
}

void Server::flush(fuse_req_t request) {
  answered(request, [&] {
    image_.check_alive();
    if (options_.flush_at_close) image_.flush_changes();
    ::fuse_reply_err(request, 0);
  });
}

void Server::fsync(fuse_req_t request) {
  answered(request, [&] {
    if (image_.is_writable())
      image_.flush();
    else
      image_.check_alive();
    ::fuse_reply_err(request, 0);
  });
}

void Server::allocate(fuse_req_t request, int mode, off_t offset, off_t length) {
  answered(request, [&] {
    image_.allocate(mode, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length));
    ::fuse_reply_err(request, 0);
  });
}

void Server::seek(fuse_req_t request, off_t offset, int whence) {
  answered(request, [&] {
    image_.check_alive();
    // The image does not know what the kernel has gathered: this leaves the answer to the kernel, to which all is data.
    if (options_.gathers_writes) throw FileRefusal(ENOSYS);
    if (whence != SEEK_DATA && whence != SEEK_HOLE) throw FileRefusal(EINVAL);
    const auto from = static_cast<std::uint64_t>(offset);
    ::fuse_reply_lseek(request,
                       static_cast<off_t>(whence == SEEK_DATA ? image_.find_data(from) : image_.find_hole(from)));
  });
}

fuse_lowlevel_ops operations() {
  fuse_lowlevel_ops ops{};
  ops.init = [](void* server, fuse_conn_info* connection) { static_cast<Server*>(server)->init(*connection); };
  ops.getattr = [](fuse_req_t request, fuse_ino_t, fuse_file_info*) { server_of(request).getattr(request); };
  ops.setattr = [](fuse_req_t request, fuse_ino_t, struct stat* wanted, int what, fuse_file_info*) {
    server_of(request).setattr(request, *wanted, what);
  };
  ops.open = [](fuse_req_t request, fuse_ino_t, fuse_file_info* file) { server_of(request).open(request, *file); };
  ops.release = [](fuse_req_t request, fuse_ino_t, fuse_file_info*) { server_of(request).release(request); };
  ops.read = [](fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info*) {
    server_of(request).read(request, size, offset);
  };
  ops.write = [](fuse_req_t request, fuse_ino_t, const char* bytes, std::size_t size, off_t offset,
                 fuse_file_info* file) { server_of(request).write(request, bytes, size, offset, *file); };
  ops.flush = [](fuse_req_t request, fuse_ino_t, fuse_file_info*) { server_of(request).flush(request); };
  ops.fsync = [](fuse_req_t request, fuse_ino_t, int, fuse_file_info*) { server_of(request).fsync(request); };
  ops.fallocate = [](fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length, fuse_file_info*) {
    server_of(request).allocate(request, mode, offset, length);
  };
  ops.lseek = [](fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info*) {
    server_of(request).seek(request, offset, whence);
  };
  ops.retrieve_reply = [](fuse_req_t request, void* cookie, fuse_ino_t, off_t, fuse_bufvec* bytes) {
    server_of(request).retrieved(request, cookie, ::fuse_buf_size(bytes));
  };
  return ops;
}

/// Where libfuse looks for it.
bool has_fusermount() {
  if (::access("/usr/bin/fusermount3", X_OK) == 0) return true;
  const char* const path = std::getenv("PATH");
  std::string folders = path == nullptr ? "" : path;
  for (std::size_t at = 0; at <= folders.size();) {
    const auto end = std::min(folders.find(':', at), folders.size());
    if (::access((folders.substr(at, end - at) + "/fusermount3").c_str(), X_OK) == 0) return true;
    at = end + 1;
  }
  return false;
}

void Server::mount() {
  static const fuse_lowlevel_ops ops = operations();
  std::string list = "fsname=" + options_.source + ",subtype=pageserver,default_permissions";
  if (!image_.is_writable()) list += ",ro";
  if (options_.allow_other) list += ",allow_other";
  // Whoever kills this process finds no dead mount. Root can mount without it, in a container that has /dev/fuse only.
  if (has_fusermount()) list += ",auto_unmount";
  for (const std::string& option : options_.kernel_options) list += "," + option;
  std::vector<std::string> words{"pagectl", "-o", list};
  std::vector<char*> pointers;
  pointers.reserve(words.size());
  for (std::string& word : words) pointers.push_back(word.data());
  fuse_args arguments = FUSE_ARGS_INIT(static_cast<int>(pointers.size()), pointers.data());
  session_ = ::fuse_session_new(&arguments, &ops, sizeof ops, this);
  ::fuse_opt_free_args(&arguments);
  if (session_ == nullptr)
    throw MemoryError(Errc::invalid_argument, "mount: the options are refused: " + FuseWords::instance().take());
  if (::fuse_session_mount(session_, options_.file.c_str()) != 0) {
    const std::string words_said = FuseWords::instance().take();
    throw MemoryError(Errc::permission_denied,
                      "mount: the system refuses to mount at " + base::quoted(options_.file) +
                          (words_said.empty() ? " (fusermount3 says why above)" : ": " + words_said));
  }
  mounted_ = true;
  const int device = ::fuse_session_fd(session_);
  ::fcntl(device, F_SETFD, FD_CLOEXEC);
  if (has_fusermount()) remover_.emplace(options_.file);
}

void Server::work() {
  fuse_buf buffer{};
  while (!ending_) {
    const int got = ::fuse_session_receive_buf(session_, &buffer);
    if (got == -EINTR) continue;
    if (got <= 0) break;  // unmounted
    ::fuse_session_process_buf(session_, &buffer);
  }
  std::free(buffer.mem);
  ending_ = true;
  --workers_;
  wake_watcher();
}

void Server::stop() {
  stop_wanted_ = true;
  wake_watcher();
}

/// What the kernel still has of maps comes as writes, and its fsync.
void take_in_maps(const std::string& file) {
  const UniqueFd opened{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  if (opened.is_open()) ::fsync(opened.get());
}

/// What the kernel has gathered comes as writes, each of which is answered when this returns. Flushes nothing, unless
/// each close does.
void take_in_writes(const std::string& file) { const UniqueFd opened{::open(file.c_str(), O_RDONLY | O_CLOEXEC)}; }

/// A kernel that gathers writes takes a size from a change of size only, and times from programs: before that the file
/// is empty to it.
void Server::learn_size() {
  const auto size = static_cast<off_t>(image_.facts().size_bytes);
  if (::truncate(options_.file.c_str(), size) != 0 || ::utimensat(AT_FDCWD, options_.file.c_str(), nullptr, 0) != 0)
    throw MemoryError(Errc::provider_error, "mount: the kernel does not take the size of " +
                                                base::quoted(options_.file) + ": " +
                                                std::generic_category().message(errno));
}

/// Flushes by the clock, and ends a mount whose image is lost or that is to stop.
void Server::watch() {
  using Clock = std::chrono::steady_clock;
  auto flush_at = Clock::now() + options_.flush_every;
  int socket = image_.socket();
  while (!ending_) {
    const bool flushes = options_.flush_every > 0ms && !lost_seen_;
    int wait_ms = -1;
    if (flushes)
      wait_ms = static_cast<int>(std::clamp<std::int64_t>(
          std::chrono::ceil<std::chrono::milliseconds>(flush_at - Clock::now()).count(), 0, 3'600'000));
    pollfd polled[2] = {{quit_.get(), POLLIN, 0}, {lost_seen_ ? -1 : socket, POLLIN, 0}};
    ::poll(polled, 2, wait_ms);
    std::uint64_t count = 0;
    static_cast<void>(!::read(quit_.get(), &count, sizeof count));
    if (flushes && Clock::now() >= flush_at) {
      try {
        if (options_.gathers_writes) take_in_writes(options_.file);
        image_.flush_changes();
      } catch (const std::exception&) {
        // It was reported; what was not flushed is tried again, and the next fsync tells.
      }
      flush_at = Clock::now() + options_.flush_every;
    }
    if (!lost_seen_ && image_.lost()) {
      lost_seen_ = true;
      // What the kernel has kept is not served any more either.
      ::fuse_lowlevel_notify_inval_inode(session_, FUSE_ROOT_ID, 0, 0);
    }
    if (lost_seen_ && open_handles_ == 0) break;
    if (stop_wanted_) {
      if (!lost_seen_ && image_.is_writable()) take_in_maps(options_.file);
      break;
    }
    // Answers to calls make the socket readable too: they are not looked at more often than that.
    if (polled[1].revents != 0) {
      pollfd quit{quit_.get(), POLLIN, 0};
      ::poll(&quit, 1, 100);
    }
  }
  ending_ = true;
  ::fuse_session_exit(session_);
}

MountEnd Server::serve(const std::function<void()>& ready) {
  struct sigaction wake {};
  wake.sa_handler = [](int) {};
  ::sigaction(wake_signal, &wake, nullptr);
  std::vector<std::thread> workers;
  const auto add_worker = [&] {
    ++workers_;
    try {
      workers.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      --workers_;
      if (workers.empty()) throw;
    }
  };
  // Few where there are few processors: the kernel hands requests to all of them in turn.
  const unsigned chosen = std::clamp(2 * std::thread::hardware_concurrency(), 4u, 16u);
  for (unsigned i = 0; i < (options_.threads > 0 ? options_.threads : chosen); ++i) add_worker();
  // The kernel learns the size here: it takes a mapped file that nobody looked at for empty.
  struct stat status {};
  const bool answers = ::stat(options_.file.c_str(), &status) == 0;
  std::exception_ptr failure;
  try {
    if (!answers) image_.check_alive();
    if (options_.gathers_writes) learn_size();
    ready();
    watch();
  } catch (...) {
    failure = std::current_exception();
    ending_ = true;
  }
  ::fuse_session_exit(session_);
  // Every answer is out before the mount goes, and nothing is answered that comes too late to be flushed.
  while (workers_ > 0) {
    for (auto& worker : workers) ::pthread_kill(worker.native_handle(), wake_signal);
    pollfd quit{quit_.get(), POLLIN, 0};
    ::poll(&quit, 1, 10);
    std::uint64_t count = 0;
    static_cast<void>(!::read(quit_.get(), &count, sizeof count));
  }
  for (auto& worker : workers) worker.join();
  ::fuse_session_unmount(session_);
  mounted_ = false;
  remover_.reset();
  if (failure) std::rethrow_exception(failure);
  return lost_seen_ || image_.lost() ? MountEnd::lost : MountEnd::unmounted;
}

Mutex serving_mutex;
Server* serving PAGESERVER_GUARDED_BY(serving_mutex) = nullptr;
bool stop_asked PAGESERVER_GUARDED_BY(serving_mutex) = false;

struct Serving {
  explicit Serving(Server& server) {
    const Lock lock(serving_mutex);
    serving = &server;
    if (stop_asked) server.stop();
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;
  ~Serving() {
    const Lock lock(serving_mutex);
    serving = nullptr;
  }
};

}  // namespace

MountEnd serve_mount(MountedImage& image, const FuseOptions& options, const std::function<void()>& ready) {
  ::fuse_set_log_func(keep_words);
  Server server(image, options);
  server.mount();
  const Serving known(server);
  return server.serve(ready);
}

void stop_mount() {
  const Lock lock(serving_mutex);
  stop_asked = true;
  if (serving != nullptr) serving->stop();
}

std::string why_no_mount() {
  const UniqueFd device{::open("/dev/fuse", O_RDWR | O_CLOEXEC)};
  if (!device.is_open()) {
    return "FUSE can't be used here: /dev/fuse: " + std::generic_category().message(errno) +
           "; a container needs `--device /dev/fuse --cap-add SYS_ADMIN`, a machine the kernel's module fuse";
  }
  if (::geteuid() != 0 && !has_fusermount())
    return "a user who is not root mounts by fusermount3, which is not there; install the package fuse3";
  return {};
}

}  // namespace pageserver::pagectl
