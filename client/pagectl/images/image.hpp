// What pagectl works on: an image somewhere, with requests that may be in flight together.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <pageserver/remote_provider.hpp>
#include <pageserver/session.hpp>

#include "client/pagectl/images/found_data.hpp"
#include "client/pagectl/terminal/progress.hpp"
#include "client/uri/uri.hpp"

namespace pageserver::pagectl {

/// An open image: a file, the heap, an embedded store, or a store of a daemon. Calls throw MemoryError.
///
/// Threads: one.
class Image {
public:
  /// `error` is null on success. Runs inside start_*(), advance(), wait() or a blocking call, exactly once, unless the
  /// image is destroyed first: then never. It starts nothing and throws nothing.
  using Done = std::function<void(std::exception_ptr error)>;

  Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  virtual ~Image() = default;

  /// What the user called it.
  virtual const std::string& name() const = 0;
  /// Pages as the session sees them now. Costs no round trip on a session that writes.
  virtual std::uint64_t pages() = 0;
  std::uint64_t size_bytes() { return pages() * page_size; }

  // Blocking, of any length. They take effect after everything started before.
  virtual std::uint64_t grow(std::uint64_t new_pages) = 0;
  virtual void read(std::uint64_t offset, std::span<std::byte> buffer) = 0;
  virtual void write(std::uint64_t offset, std::span<const std::byte> data) = 0;
  virtual void flush() = 0;
  /// As MemoryProvider::close(), where closing can fail in a way that concerns the image; else the destructor does.
  virtual void close() {}

  /// The most bytes of one started read or write.
  virtual std::uint32_t request_bytes_max() const { return 1u << 20; }
  /// Requests take effect in the order they were started. The caller leaves the buffer alone until `done`.
  virtual void start_read(std::uint64_t offset, std::span<std::byte> buffer, Done done) = 0;
  virtual void start_write(std::uint64_t offset, std::span<const std::byte> data, Done done) = 0;
  virtual void start_zero(std::uint64_t offset, std::uint64_t length, Done done) = 0;

  /// Whether something that was started has not ended.
  virtual bool has_pending() const { return false; }
  /// Moves bytes without waiting.
  virtual void advance() {}
  /// Blocks until at least one started request has ended; returns at once when nothing is pending.
  virtual void wait() {}
  /// The descriptor, events and deadline for a wait on several images; only while has_pending().
  struct Poll {
    int descriptor = -1;
    short events = 0;
    std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  };
  virtual Poll poll_request() const { return {}; }

  /// Where `[offset, offset + length)` may hold something other than zeros. May be called while requests are in flight.
  virtual FoundData find_data(std::uint64_t offset, std::uint64_t length) = 0;

  /// The version that reads see; nothing where images have no versions. May be called while requests are in flight.
  virtual std::optional<Version> version() { return std::nullopt; }
  /// True when every read sees the same version, whatever others publish meanwhile.
  virtual bool is_stable() const { return true; }
  /// Where it has no versions, and may have been changed while it was read: why, and what to do, for people.
  virtual std::string why_unstable() { return {}; }
  /// True when nothing is published before flush(): what was written until then goes with the session.
  virtual bool publishes_on_flush() const { return false; }
  /// Nothing where images have no sessions.
  virtual std::optional<Stat> stat() { return std::nullopt; }
  /// Where it lies, of an image without a stat() that lies somewhere.
  virtual std::optional<HomeStat> home() { return std::nullopt; }
  /// What it has cost so far; nothing but for a session with a cache.
  virtual std::optional<RemoteTraffic> traffic() { return std::nullopt; }
  /// Takes the lease from the writer with this epoch.
  virtual std::optional<HolderStat> break_lease(std::uint64_t epoch);

protected:
  /// A request of an image that has none in flight: it ends where it starts.
  template <class Work>
  static void run_inline(const Done& done, Work work) {
    std::exception_ptr error;
    try {
      work();
    } catch (...) {
      error = std::current_exception();
    }
    done(error);
  }
};

/// Blocks until something that was started on one of the two has ended; returns at once when nothing is pending.
void wait_for_either(Image& first, Image& second);

/// How a command opens what the user named. What the URI itself says (`access=`, `view=`, `publish=`, `name=`) wins.
struct OpenMode {
  Access access = Access::read;
  bool one_version = false;      ///< all reads see one version where the store can pin; else live
  bool one_transaction = false;  ///< published whole at flush() where the store can; else with each write
  bool create_file = false;      ///< a plain file that is missing is made when it is opened for writing
  std::string session_name;
  ProgressKind progress = ProgressKind::nothing;  ///< how it is shown that an embedded store's log is replayed
};

std::unique_ptr<Image> open_image(const std::string& uri, const OpenMode& mode);

/// A store of a daemon, through the asynchronous connection.
std::unique_ptr<Image> open_remote_image(const std::string& name, const client::Uri& uri, const OpenMode& mode);

/// A file, with the holes that its file system knows of; and the heap.
std::unique_ptr<Image> make_file_image(const std::string& name, const std::string& path, Access access);
std::unique_ptr<Image> make_heap_image(const std::string& name);

}  // namespace pageserver::pagectl
