// nbdkit's plugin `pageserver`: an image as a disk for every NBD client, over the C interface.
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <pageserver/pageserver.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>

namespace {

/// An open image, which all connections share: a flush by one of them covers what the others wrote, and readers see one
/// version.
struct Image {
  ps_session* session = nullptr;
  std::uint64_t size_bytes = 0;
  bool writable = false;
  bool knows_data = false;  ///< of the schemes that have sessions

  Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() { ps_session_close(session); }
};

struct Plugin {
  std::string uri;
  std::mutex mutex;
  std::weak_ptr<Image> open;    ///< as long as somebody is connected
  std::shared_ptr<Image> kept;  ///< a fork: as long as nbdkit runs, since it is gone with its session
};

/// Never destroyed: nbdkit unloads the plugin while the process ends.
Plugin& plugin() {
  static auto* const instance = new Plugin;
  return *instance;
}

int errno_of(int code) {
  switch (code) {
    case PS_READ_ONLY: return EROFS;
    case PS_NO_SPACE:
    case PS_LIMIT_EXCEEDED: return ENOSPC;
    case PS_OUT_OF_BOUNDS:
    case PS_INVALID_ARGUMENT: return EINVAL;
    case PS_UNSUPPORTED: return ENOTSUP;
    case PS_NO_MEMORY: return ENOMEM;
    case PS_BUSY:
    case PS_PERMISSION_DENIED: return EPERM;
    default: return EIO;
  }
}

/// 0, or -1 when `code` says that it failed.
int answer(int code, const ps_error& error) {
  if (code == PS_OK) return 0;
  nbdkit_error("%s", error.text);
  nbdkit_set_error(errno_of(code));
  return -1;
}

/// What stands behind `key=` in the URI; empty: nothing.
std::string_view key_of(std::string_view uri, std::string_view key) {
  const auto query = uri.find('?');
  for (auto at = query; at != std::string_view::npos; at = uri.find('&', at)) {
    ++at;
    const auto word = uri.substr(at, uri.find('&', at) - at);
    if (word.size() > key.size() && word.starts_with(key) && word[key.size()] == '=')
      return word.substr(key.size() + 1);
  }
  return {};
}

bool is_letter(char sign) { return (sign >= 'a' && sign <= 'z') || (sign >= 'A' && sign <= 'Z'); }
bool is_digit(char sign) { return sign >= '0' && sign <= '9'; }

/// With its colon; empty: it is a path.
std::string_view scheme_of(std::string_view uri) {
  const auto* const end = std::find_if_not(uri.begin(), uri.end(), [](char sign) {
    return is_letter(sign) || is_digit(sign) || sign == '+' || sign == '-' || sign == '.';
  });
  if (end == uri.end() || *end != ':' || !is_letter(uri.front())) return {};
  return uri.substr(0, static_cast<std::size_t>(end - uri.begin()) + 1);
}

bool is_remote(std::string_view uri) { return uri.starts_with("pageserver"); }
bool has_sessions(std::string_view uri) { return is_remote(uri) || uri.starts_with("store:"); }

/// `path` as a part of a URI, from the root: nbdkit leaves the folder in which it was started. Empty: it was said why.
std::string from_root(std::string_view path) {
  const std::unique_ptr<char, decltype(&std::free)> folder(::realpath(".", nullptr), &std::free);
  if (!folder) {
    nbdkit_error("the folder that the relative path %.*s is in: %m", static_cast<int>(path.size()), path.data());
    return {};
  }
  std::string whole;
  for (const char sign : std::string_view(folder.get())) {
    const bool is_plain =
        is_letter(sign) || is_digit(sign) || std::string_view("/-._~").find(sign) != std::string_view::npos;
    constexpr std::string_view digits = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(sign);
    if (is_plain)
      whole += sign;
    else
      whole.append({'%', digits[byte >> 4], digits[byte & 15]});
  }
  return whole.append("/").append(path);
}

bool is_relative(std::string_view path) {
  return !path.empty() && !path.starts_with("/") && !path.starts_with("%2F") && !path.starts_with("%2f") &&
         !path.starts_with("ceph:");
}

/// With each relative path in it made absolute. Empty: it was said why.
std::string with_paths_from_root(std::string_view uri) {
  const auto scheme = scheme_of(uri);
  if (scheme == "file:" || scheme == "store:") {
    const auto path = uri.substr(scheme.size());
    if (!is_relative(path)) return std::string(uri);
    const std::string whole = from_root(path);
    return whole.empty() ? whole : std::string(scheme) + whole;
  }
  if (scheme.empty()) {
    const std::unique_ptr<char, decltype(&std::free)> whole(nbdkit_absolute_path(std::string(uri).c_str()), &std::free);
    return whole ? std::string(whole.get()) : std::string();
  }
  std::string made(uri.substr(0, uri.find('?')));
  for (auto at = uri.find('?'); at != std::string_view::npos; at = uri.find('&', at + 1)) {
    const auto word = uri.substr(at + 1, uri.find('&', at + 1) - at - 1);
    const auto key = word.substr(0, word.find('='));
    const bool names_file =
        key == "socket" || key == "token_file" || key == "tls_ca" || key == "tls_certificate" || key == "tls_key";
    made += uri[at];
    if (!names_file || key.size() == word.size() || !is_relative(word.substr(key.size() + 1))) {
      made += word;
      continue;
    }
    const std::string whole = from_root(word.substr(key.size() + 1));
    if (whole.empty()) return {};
    made.append(key).append("=").append(whole);
  }
  return made;
}

constexpr const char* client_name = "nbdkit-pageserver-plugin " PS_VERSION;

/// Null: it was said why.
std::shared_ptr<Image> open_image(bool read_only) {
  const std::string& uri = plugin().uri;
  const auto access = key_of(uri, "access");
  ps_options options = PS_OPTIONS_INIT;
  options.client_name = client_name;
  auto image = std::make_shared<Image>();
  image->knows_data = has_sessions(uri);
  image->writable = !read_only && (access == "write" || access == "fork");
  if (!image->writable) {
    if (uri != "heap:") options.access = PS_ACCESS_READ;
    // Size and bytes of a disk stay as they are while it is in use.
    if (image->knows_data) options.view = PS_VIEW_PINNED;
  }
  if (!is_remote(uri)) options.client_name = nullptr;
  ps_error error = PS_ERROR_INIT;
  int code = ps_session_open(uri.c_str(), &options, &image->session, &error);
  if (code == PS_OK) code = ps_session_size(image->session, &image->size_bytes, &error);
  if (answer(code, error) != 0) return nullptr;
  return image;
}

/// Whether disks are read-only and the daemon is on this machine. Requests of a connection are carried out one after
/// the other then: threads that wake each other for each answer cost more than to wait for it, which is short there,
/// and where requests come in a row the next answers are on their way already.
bool takes_turns(std::string_view uri) {
  const auto access = key_of(uri, "access");
  return uri.starts_with("pageserver+unix:") && access != "write" && access != "fork";
}

/// A second session, which reads ahead where a connection's reads go forward. It has to see the same version.
///
/// Threads: one at a time; any number where requests do not take turns, since nothing is done then.
class ReadAhead {
public:
  explicit ReadAhead(const Image& image)
      : image_(image),
        wanted_(takes_turns(plugin().uri) && !image.writable && key_of(plugin().uri, "cache_bytes").empty()) {}
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;
  ~ReadAhead() { ps_session_close(session_); }

  /// Whether it has read; else nobody has.
  bool read(std::uint64_t offset, void* buffer, std::uint32_t count) {
    if (!wanted_) return false;
    in_a_row_ = offset == expected_ ? in_a_row_ + 1 : 0;
    expected_ = offset + count;
    if (in_a_row_ < in_a_row_min || count > count_max) return false;
    if (session_ == nullptr && !open()) return false;
    ps_error error = PS_ERROR_INIT;
    if (ps_session_read(session_, offset, buffer, count, &error) == PS_OK) return true;
    give_up();
    return false;
  }

private:
  // Of one that reads once and here and there another session would be more than it saves.
  static constexpr unsigned in_a_row_min = 3;
  // Larger ones are worth a request of their own, and would not stay in so small a cache.
  static constexpr std::uint32_t count_max = 2 * PS_PAGE_BYTES;
  // What is on its way, and no more: it stays in the processor's cache.
  static constexpr std::uint64_t cache_bytes = 1u << 20;

  bool open() {
    ps_options options = PS_OPTIONS_INIT;
    options.client_name = client_name;
    options.access = PS_ACCESS_READ;
    options.view = PS_VIEW_PINNED;
    options.cache_bytes = cache_bytes;
    ps_image_version mine{};
    ps_image_version theirs{};
    const bool same = ps_session_open(plugin().uri.c_str(), &options, &session_, nullptr) == PS_OK &&
                      ps_session_version(session_, &mine, nullptr) == PS_OK &&
                      ps_session_version(image_.session, &theirs, nullptr) == PS_OK &&
                      mine.incarnation == theirs.incarnation && mine.number == theirs.number;
    if (!same) give_up();
    return same;
  }
  /// The image's own session goes on, and has the words where something is wrong.
  void give_up() {
    ps_session_close(session_);
    session_ = nullptr;
    wanted_ = false;
  }

  const Image& image_;
  bool wanted_;
  ps_session* session_ = nullptr;
  std::uint64_t expected_ = 0;
  unsigned in_a_row_ = 0;
};

/// A connection.
struct Handle {
  explicit Handle(std::shared_ptr<Image> of) : image(std::move(of)), ahead(*image) {}

  std::shared_ptr<Image> image;
  ReadAhead ahead;  ///< where requests take turns
};

Handle& handle_of(void* handle) { return *static_cast<Handle*>(handle); }
Image& image_of(void* handle) { return *handle_of(handle).image; }

int config(const char* key, const char* value) {
  if (std::string_view(key) != "uri") {
    nbdkit_error("unknown parameter '%s': the plugin pageserver takes uri=URI", key);
    return -1;
  }
  std::string& uri = plugin().uri;
  uri = value;
  // Schemes are the same in capitals.
  const auto scheme = uri.begin() + static_cast<std::ptrdiff_t>(scheme_of(uri).size());
  std::transform(uri.begin(), scheme, uri.begin(),
                 [](char sign) { return sign >= 'A' && sign <= 'Z' ? char(sign + 32) : sign; });
  return 0;
}

int config_complete() {
  const std::string& uri = plugin().uri;
  if (uri.empty()) {
    nbdkit_error("uri=URI is missing, such as uri=pageserver://127.0.0.1/demo");
    return -1;
  }
  if (key_of(uri, "view") == "live") {
    nbdkit_error("view=live in the URI: the size and the bytes of a disk stay as they are, so leave it out");
    return -1;
  }
  plugin().uri = with_paths_from_root(uri);
  return plugin().uri.empty() ? -1 : 0;
}

void* open(int read_only) {
  try {
    Plugin& shared = plugin();
    const std::lock_guard lock(shared.mutex);
    auto image = shared.open.lock();
    // One that has lost its daemon is for those who have it.
    if (image && image->knows_data && ps_session_lost(image->session, nullptr) != PS_OK) image.reset();
    if (!image) {
      shared.kept.reset();
      image = open_image(read_only != 0);
      if (!image) return nullptr;
      shared.open = image;
      if (image->writable && key_of(shared.uri, "access") == "fork") shared.kept = image;
    }
    return new Handle(std::move(image));
  } catch (const std::bad_alloc&) {
    nbdkit_error("no memory for a connection");
    nbdkit_set_error(ENOMEM);
    return nullptr;
  }
}

void close(void* handle) {
  const std::lock_guard lock(plugin().mutex);
  delete static_cast<Handle*>(handle);
}

void cleanup() {
  Plugin& shared = plugin();
  const std::lock_guard lock(shared.mutex);
  // nbdkit that is told to stop may leave out the close of the last connection: the lease is freed, and a store closed,
  // all the same.
  if (const auto image = shared.open.lock()) {
    ps_error error = PS_ERROR_INIT;
    if (ps_session_end(image->session, &error) != PS_OK) nbdkit_error("%s", error.text);
  }
  shared.kept.reset();
}

std::int64_t get_size(void* handle) { return static_cast<std::int64_t>(image_of(handle).size_bytes); }
int can_write(void* handle) { return image_of(handle).writable ? 1 : 0; }
int can_extents(void* handle) { return image_of(handle).knows_data ? 1 : 0; }
int is_true(void*) { return 1; }
int fua_by_flush(void*) { return NBDKIT_FUA_EMULATE; }
int cache_by_read(void*) { return NBDKIT_CACHE_EMULATE; }

int block_size(void*, std::uint32_t* minimum, std::uint32_t* preferred, std::uint32_t* maximum) {
  *minimum = 1;
  *preferred = PS_PAGE_BYTES;
  *maximum = UINT32_MAX;
  return 0;
}

int pread(void* handle, void* buffer, std::uint32_t count, std::uint64_t offset, std::uint32_t) {
  if (handle_of(handle).ahead.read(offset, buffer, count)) return 0;
  ps_error error = PS_ERROR_INIT;
  return answer(ps_session_read(image_of(handle).session, offset, buffer, count, &error), error);
}

int pwrite(void* handle, const void* buffer, std::uint32_t count, std::uint64_t offset, std::uint32_t) {
  ps_error error = PS_ERROR_INIT;
  return answer(ps_session_write(image_of(handle).session, offset, buffer, count, &error), error);
}

int zero(void* handle, std::uint32_t count, std::uint64_t offset, std::uint32_t) {
  const Image& image = image_of(handle);
  if (!image.knows_data) {
    nbdkit_set_error(EOPNOTSUPP);  // then nbdkit writes zeros
    return -1;
  }
  ps_error error = PS_ERROR_INIT;
  return answer(ps_session_zero(image.session, offset, count, &error), error);
}

int can_fast_zero(void* handle) { return can_extents(handle); }

/// What is trimmed reads as zeros.
int trim(void* handle, std::uint32_t count, std::uint64_t offset, std::uint32_t flags) {
  return zero(handle, count, offset, flags);
}

int flush(void* handle, std::uint32_t) {
  ps_error error = PS_ERROR_INIT;
  return answer(ps_session_flush(image_of(handle).session, &error), error);
}

int add_extent(nbdkit_extents* extents, std::uint64_t from, std::uint64_t to, bool data) {
  return nbdkit_add_extent(extents, from, to - from, data ? 0 : NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO);
}

int extents(void* handle, std::uint32_t count, std::uint64_t offset, std::uint32_t flags, nbdkit_extents* found) {
  const Image& image = image_of(handle);
  const bool only_one = (flags & NBDKIT_FLAG_REQ_ONE) != 0;
  const std::uint64_t end = std::min<std::uint64_t>(image.size_bytes, offset + count);
  // Who wants one run only asks again for each: looking at all of it each time would be the square of the runs.
  std::uint64_t window = only_one ? 64ull * PS_PAGE_BYTES : 1ull << 30;
  std::uint64_t runs = 0;
  bool last_is_data = false;
  const auto add = [&](std::uint64_t to, bool data) {
    if (to == offset) return 0;
    if (runs == 0 || data != last_is_data) ++runs;
    last_is_data = data;
    const int result = add_extent(found, offset, to, data);
    offset = to;
    return result;
  };
  while (offset < end && !(only_one && runs > 1)) {
    const ps_ranges* ranges = nullptr;
    ps_error error = PS_ERROR_INIT;
    const int code = ps_session_data_ranges(image.session, offset, std::min(window, end - offset), &ranges, &error);
    if (answer(code, error) != 0) return -1;
    int failed = 0;
    for (std::size_t i = 0; i < ranges->count && failed == 0; ++i) {
      failed = add(ranges->ranges[i].offset, false);
      if (failed == 0) failed = add(ranges->ranges[i].offset + ranges->ranges[i].length, true);
    }
    if (failed == 0) failed = add(ranges->described_until, false);
    ps_ranges_free(ranges);
    if (failed != 0) return -1;
    window *= 2;
  }
  return 0;
}

nbdkit_plugin make_plugin() {
  nbdkit_plugin made{};
  made.name = "pageserver";
  made.longname = "pageserver images";
  made.version = PS_VERSION;
  made.description = "Serves an image of pageserver: a pinned version, a fork, or a store for its one writer.";
  made.config = config;
  made.config_complete = config_complete;
  made.config_help =
      "uri=URI      (required) The image: pageserver://HOST[:PORT]/STORE[?access=read|write|fork&...],\n"
      "             pageserver+unix:///STORE?socket=PATH, store:PATH or a file. Without access=, or\n"
      "             with -r, one version is read, pinned while anybody is connected.";
  made.magic_config_key = "uri";
  made.thread_model = [] {
    return takes_turns(plugin().uri) ? NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS : NBDKIT_THREAD_MODEL_PARALLEL;
  };
  made.cleanup = cleanup;
  made.open = open;
  made.close = close;
  made.get_size = get_size;
  made.block_size = block_size;
  made.can_write = can_write;
  made.can_flush = is_true;
  made.can_trim = can_fast_zero;
  made.can_zero = is_true;
  made.can_fast_zero = can_fast_zero;
  made.can_extents = can_extents;
  made.can_fua = fua_by_flush;
  made.can_multi_conn = is_true;
  made.can_cache = cache_by_read;
  made.pread = pread;
  made.pwrite = pwrite;
  made.zero = zero;
  made.trim = trim;
  made.flush = flush;
  made.extents = extents;
  return made;
}

nbdkit_plugin the_plugin = make_plugin();

}  // namespace

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
NBDKIT_REGISTER_PLUGIN(the_plugin)
