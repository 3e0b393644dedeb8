// mount: an image as a file, for programs that know nothing else.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>
#include <pageserver/file_provider.hpp>
#include <pageserver/heap_provider.hpp>
#include <pageserver/remote_provider.hpp>

#include "base/access.hpp"
#include "base/mutex.hpp"
#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "base/units.hpp"
#include "client/open_uri.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/images/remote.hpp"
#include "client/pagectl/mount/fuse_server.hpp"
#include "client/pagectl/mount/mount_point.hpp"
#include "client/pagectl/mount/mounted_image.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/terminal/progress.hpp"
#include "client/pagectl/terminal/signals.hpp"
#include "client/uri/uri.hpp"

namespace pageserver::pagectl {
namespace {

/// In the environment of the process that goes on in the background.
constexpr const char* detached_variable = "PAGECTL_MOUNT_DETACHED";

[[noreturn]] void refuse_option(const std::string& what) {
  throw MemoryError(Errc::invalid_argument, "mount: " + what);
}

/// What is told while the mount is served: on standard error, or to the system's log when there is none; and to a file.
class MountLog {
public:
  MountLog(std::string subject, const std::string& file) : subject_(std::move(subject)) {
    if (file.empty()) return;
    file_ = UniqueFd{::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
    if (!file_.is_open())
      refuse_option("the log " + base::quoted(file) + " can't be opened: " + std::generic_category().message(errno));
  }

  void tell(const std::string& text) {
    const Lock lock(mutex_);
    const std::string line = "mount of " + subject_ + ": " + text;
    if (detached_)
      ::syslog(LOG_ERR, "%s", shown(line).c_str());
    else
      complain(line);
    if (!file_.is_open()) return;
    const std::string whole = shown(line) + "\n";
    static_cast<void>(!::write(file_.get(), whole.data(), whole.size()));
  }

  void detach() {
    const Lock lock(mutex_);
    ::openlog("pagectl", LOG_PID, LOG_DAEMON);
    detached_ = true;
  }

private:
  const std::string subject_;
  Mutex mutex_;
  UniqueFd file_ PAGESERVER_GUARDED_BY(mutex_);
  bool detached_ PAGESERVER_GUARDED_BY(mutex_) = false;
};

std::chrono::milliseconds duration_of(const std::string& key, const std::string& value) {
  const auto parsed = base::parse_duration(value);
  if (!parsed) refuse_option("-o " + key + "=" + base::quoted(value) + " is no duration: such as 500ms, 10s, 2m or 1h");
  return *parsed;
}

void take_option(const std::string& word, bool& read_only, FuseOptions& fuse) {
  const auto equals = word.find('=');
  const std::string key = word.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
  constexpr std::array<std::string_view, 4> of_kernel{"noatime", "nodev", "noexec", "nosuid"};
  if (key == "flush_every") {
    fuse.flush_every = duration_of(key, value);
    if (fuse.flush_every == std::chrono::milliseconds(0)) refuse_option("-o flush_every=0 flushes never: leave it out");
  } else if (key == "attr_timeout") {
    fuse.attributes_timeout = duration_of(key, value);
  } else if (key == "threads") {
    const auto number = parse_number(value);
    if (!number || *number == 0 || *number > 64)
      refuse_option("-o threads=" + base::quoted(value) + " is not from 1 to 64");
    fuse.threads = static_cast<unsigned>(*number);
  } else if (word == "flush_at_close") {
    fuse.flush_at_close = true;
  } else if (word == "direct_io") {
    fuse.direct_io = true;
  } else if (word == "writeback") {
    fuse.gathers_writes = true;
  } else if (word == "allow_other") {
    fuse.allow_other = true;
  } else if (word == "ro") {
    read_only = true;
  } else if (std::find(of_kernel.begin(), of_kernel.end(), word) != of_kernel.end()) {
    fuse.kernel_options.push_back(word);
  } else if (word != "rw") {
    refuse_option("there is no option -o " + base::quoted(word) +
                  "; there are flush_every=DURATION, flush_at_close, writeback, direct_io, attr_timeout=DURATION, "
                  "threads=NUMBER, ro, allow_other, noatime, nodev, noexec, nosuid");
  }
}

FuseOptions fuse_options(const MountOptions& options, bool& read_only) {
  FuseOptions fuse;
  read_only = options.read_only;
  fuse.allow_other = options.allow_other;
  for (const std::string& words : options.mount_options) {
    for (std::size_t at = 0; at <= words.size();) {
      const auto end = std::min(words.find(',', at), words.size());
      if (end > at) take_option(words.substr(at, end - at), read_only, fuse);
      at = end + 1;
    }
  }
  return fuse;
}

/// Memory for pages where the URI does not say how much: of a live image none is kept.
constexpr std::uint64_t usual_cache_bytes = 64ull << 20;

std::unique_ptr<MemoryProvider> open_provider(const client::Uri& uri, const std::string& text) {
  switch (uri.scheme) {
    case client::Scheme::heap: return std::make_unique<HeapProvider>();
    case client::Scheme::file: return std::make_unique<FileProvider>(uri.path, uri.access);
    case client::Scheme::store: return client::open_embedded(uri);
    case client::Scheme::tcp:
    case client::Scheme::unix_socket: break;
  }
  auto remote = client::remote_options(uri);
  remote.client_name = "pagectl " PAGECTL_VERSION;
  if (text.find("cache_bytes=") == std::string::npos) remote.cache_bytes = usual_cache_bytes;
  return opened_session(remote, [&] { return std::make_unique<RemoteProvider>(remote); });
}

MountedImage::Kind kind_of(const client::Uri& uri) {
  if (uri.access == Access::write) return MountedImage::Kind::writer;
  if (uri.access == Access::fork) return MountedImage::Kind::fork;
  return uri.is_remote() && uri.view == View::live ? MountedImage::Kind::live : MountedImage::Kind::fixed;
}

/// What `mount` and `df` show: the URI without its keys, in characters that options are not made of.
std::string source_of(const std::string& uri) {
  std::string source = uri.substr(0, uri.find('?'));
  std::replace_if(
      source.begin(), source.end(), [](char sign) { return sign == ',' || sign == '\\' || sign == ' '; }, '_');
  return source;
}

void write_ready(int descriptor) {
  constexpr std::string_view line = "ready\n";
  static_cast<void>(!::write(descriptor, line.data(), line.size()));
  ::close(descriptor);
}

/// Whether a path in it leads elsewhere from another folder. Those of a daemon are followed anew at each resumption.
bool names_files_from_here(const client::Uri& uri) {
  if (!uri.is_remote()) return true;
  const client::Endpoint& to = uri.endpoint;
  const std::array<const std::string*, 5> paths{&to.socket_path, &to.tls_ca, &to.tls_certificate, &to.tls_key,
                                                &uri.token_file};
  return std::any_of(paths.begin(), paths.end(),
                     [](const std::string* path) { return !path->empty() && path->front() != '/'; });
}

/// Who maps the file gets an errno and no text, so it is said here which mode would allow it.
std::string_view words_on_maps(MountedImage::Kind kind, const FuseOptions& fuse) {
  if (kind == MountedImage::Kind::live) return "; shared maps are refused, view=pinned allows them";
  if (fuse.direct_io) return "; shared maps are refused, a mount without -o direct_io allows them";
  return {};
}

/// From here on nobody reads what this process prints.
void let_go_of_streams() {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, stream);
  ::close(null);
}

int serve(Context& context, const MountOptions& options) {
  bool read_only = false;
  FuseOptions fuse = fuse_options(options, read_only);
  client::Uri uri = client::parse_uri(options.uri, read_only ? Access::read : Access::write);
  if (read_only && uri.access != Access::read)
    refuse_option("read-only, and access=" + std::string(base::name_of(uri.access)) +
                  " in the URI: leave one of them out");
  fuse.publishes_whole = uri.access == Access::fork || uri.publish == Publish::on_flush;
  if (fuse.gathers_writes && !fuse.publishes_whole)
    refuse_option(
        "-o writeback lets the kernel hold back what is written, and here others are to see it at once: add "
        "publish=on_flush or access=fork to the URI");
  if (fuse.gathers_writes && fuse.direct_io)
    refuse_option("-o direct_io keeps the kernel from what -o writeback wants");
  const bool detached = std::getenv(detached_variable) != nullptr;
  MountPoint point(options.file);
  fuse.file = point.path();
  fuse.source = source_of(options.uri);
  if (uri.name.empty()) uri.name = "pagectl mount " + point.path() + " pid " + std::to_string(::getpid());
  MountLog log(options.uri + " at " + base::quoted(point.path()), options.log);
  int status = exit_done;
  try {
    // Before the session is open, so that a signal that comes early has a mount to end.
    handle_signal([] { stop_mount(); });
    MountedImage image(open_provider(uri, options.uri), kind_of(uri),
                       [&log](const std::string& text) { log.tell(text); });
    const std::uint64_t pages = image.facts().size_bytes / page_size;
    const MountEnd end = serve_mount(image, fuse, [&] {
      const auto access = base::name_of(uri.access);
      if (context.json)
        context.out.json({{"uri", options.uri},
                          {"file", point.path()},
                          {"pages", pages},
                          {"access", access},
                          {"pid", static_cast<std::int64_t>(::getpid())}});
      context.note(point.path() + ": " + options.uri + ", " + pages_text(pages) + ", access=" + std::string(access) +
                   std::string(words_on_maps(image.kind(), fuse)));
      context.out.flush();
      if (detached) {
        log.detach();
        let_go_of_streams();
        // No folder is kept busy.
        if (!names_files_from_here(uri)) static_cast<void>(!::chdir("/"));
      }
      if (options.ready_fd) write_ready(static_cast<int>(*options.ready_fd));
    });
    if (end == MountEnd::lost) {
      status = context.try_again_status;
    } else {
      try {
        if (image.kind() == MountedImage::Kind::writer) image.flush_changes();
        image.close();
      } catch (const MemoryError& error) {
        if (!detached) throw;
        log.tell(std::string("at the end: ") + error.what());
        status = context.failed_status;
      }
    }
    // Last: who sees it gone knows that all was flushed, and that the lease is free.
    point.remove();
  } catch (...) {
    point.remove();
    throw;
  }
  return status;
}

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    throw MemoryError(Errc::provider_error, "mount: pipe: " + std::generic_category().message(errno));
  return {UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

std::vector<std::string> words_of(const Context& context, const MountOptions& options, int ready) {
  std::vector<std::string> words{"pagectl", "mount", "--foreground", "--ready-fd", std::to_string(ready)};
  if (context.json) words.emplace_back("--json");
  if (context.quiet) words.emplace_back("--quiet");
  if (options.read_only) words.emplace_back("--read-only");
  if (options.allow_other) words.emplace_back("--allow-other");
  if (!options.log.empty()) words.insert(words.end(), {"--log", options.log});
  for (const std::string& option : options.mount_options) words.insert(words.end(), {"-o", option});
  words.insert(words.end(), {"--", options.uri, options.file});
  return words;
}

/// The same command once more, as a process of its own: a session does not outlive a fork. Returns once that one has
/// mounted, or with its exit status; it has told by itself why.
int serve_in_background(const Context& context, const MountOptions& options) {
  Pipe ready = make_pipe();
  ::fcntl(ready.write.get(), F_SETFD, 0);
  ::setenv(detached_variable, "1", 1);
  std::vector<std::string> words = words_of(context, options, ready.write.get());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  sigset_t none;
  sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, "/proc/self/exe", nullptr, &attributes, pointers.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  if (failed != 0)
    throw MemoryError(Errc::provider_error,
                      "mount: a process for the background: " + std::generic_category().message(failed));
  // A signal meanwhile is for both.
  handle_signal([child] { ::kill(child, SIGTERM); });
  ready.write = UniqueFd{};
  char sign = 0;
  ssize_t got = 0;
  do got = ::read(ready.read.get(), &sign, 1);
  while (got < 0 && errno == EINTR);
  if (got == 1) {
    if (options.ready_fd) write_ready(static_cast<int>(*options.ready_fd));
    return exit_done;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : context.failed_status;
}

}  // namespace

int run_mount(Context& context, const MountOptions& options) {
  if (const std::string why = why_no_mount(); !why.empty()) throw MemoryError(Errc::unsupported, "mount: " + why);
  if (options.ready_fd && ::fcntl(static_cast<int>(*options.ready_fd), F_GETFD) < 0)
    refuse_option("--ready-fd " + std::to_string(*options.ready_fd) + " is no open descriptor");
  return options.foreground ? serve(context, options) : serve_in_background(context, options);
}

}  // namespace pageserver::pagectl
