// Images of block devices by librbd, and the module's one symbol.
#include <rados/librados.h>
#include <rbd/librbd.h>

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "base/home_paths.hpp"
#include "base/mutex.hpp"
#include "storage/file/block_images.hpp"
#include "storage/file/home_module.hpp"
#include "storage/objects/home_path.hpp"
#include "storage/rados/rados_connection.hpp"

namespace pageserver::storage {
namespace {

int errno_of(long result) noexcept { return result < 0 ? static_cast<int>(-result) : 0; }

struct BlockPath {
  PoolName pool;
  std::string image;
  std::string snapshot;
};

std::optional<BlockPath> parse(const std::string& path) {
  if (!path.starts_with(block_prefix)) return std::nullopt;
  auto home = parse_home_path(std::string{base::home_prefix} + path.substr(std::strlen(block_prefix)));
  if (!home) return std::nullopt;
  BlockPath found{std::move(home->pool), std::move(home->name), {}};
  if (const auto at = found.image.rfind('@'); at != std::string::npos) {
    found.snapshot = found.image.substr(at + 1);
    found.image.erase(at);
    if (found.snapshot.empty()) return std::nullopt;
  }
  if (found.image.empty()) return std::nullopt;
  return found;
}

/// librbd begins threads in many of its calls: signals are for the program's own.
class SignalsBlocked {
public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

private:
  sigset_t before_;
};

/// A pool that is open. The connection stays.
struct Pool {
  rados_t cluster = nullptr;
  rados_ioctx_t io = nullptr;

  Pool() = default;
  Pool(Pool&& other) noexcept : cluster(other.cluster), io(std::exchange(other.io, nullptr)) {}
  Pool& operator=(Pool&&) = delete;
  ~Pool() {
    if (io != nullptr) rados_ioctx_destroy(io);
  }
};

struct Flight {
  BlockImage::Done done;

  static void landed(rbd_completion_t completion, void* argument) {
    const std::unique_ptr<Flight> flight{static_cast<Flight*>(argument)};
    const long result = static_cast<long>(rbd_aio_get_return_value(completion));
    rbd_aio_release(completion);
    flight->done(errno_of(result));
  }
};

class RbdImage final : public BlockImage {
public:
  RbdImage(Pool pool, rbd_image_t image) : pool_{std::move(pool)}, image_{image} {}
  ~RbdImage() override { rbd_close(image_); }

  int size(std::uint64_t& bytes) override { return errno_of(rbd_get_size(image_, &bytes)); }
  int resize(std::uint64_t bytes) override { return errno_of(rbd_resize(image_, bytes)); }
  void read(std::uint64_t offset, std::span<std::byte> buffer, Done done) override {
    begin(std::move(done), [&](rbd_completion_t completion) {
      return rbd_aio_read(image_, offset, buffer.size(), reinterpret_cast<char*>(buffer.data()), completion);
    });
  }
  void write(std::uint64_t offset, std::span<const std::byte> data, Done done) override {
    begin(std::move(done), [&](rbd_completion_t completion) {
      return rbd_aio_write(image_, offset, data.size(), reinterpret_cast<const char*>(data.data()), completion);
    });
  }
  int flush() override { return errno_of(rbd_flush(image_)); }

  int data_ranges(std::uint64_t offset, std::uint64_t length,
                  std::vector<std::pair<std::uint64_t, std::uint64_t>>& ranges) override {
    ranges.clear();
    const auto take = [](std::uint64_t at, std::size_t bytes, int is_there, void* argument) {
      auto& found = *static_cast<std::vector<std::pair<std::uint64_t, std::uint64_t>>*>(argument);
      try {
        if (is_there != 0) found.emplace_back(at, bytes);
      } catch (const std::bad_alloc&) {
        return -ENOMEM;
      }
      return 0;
    };
    constexpr std::uint8_t with_parent = 1, exact = 0;
    return errno_of(rbd_diff_iterate2(image_, nullptr, offset, length, with_parent, exact, take, &ranges));
  }

  int others(std::vector<std::string>& addresses) override {
    addresses.clear();
    std::vector<rbd_image_watcher_t> watchers(16);
    std::size_t count = watchers.size();
    int result = rbd_watchers_list(image_, watchers.data(), &count);
    while (result == -ERANGE) {
      watchers.resize(count);
      result = rbd_watchers_list(image_, watchers.data(), &count);
    }
    if (result < 0) return -result;
    const auto ours = static_cast<std::int64_t>(rados_get_instance_id(pool_.cluster));
    for (std::size_t i = 0; i < count; ++i)
      if (watchers[i].id != ours) addresses.emplace_back(watchers[i].addr);
    rbd_watchers_list_cleanup(watchers.data(), count);
    return 0;
  }

  int snapshots(int& count) {
    // Where it has no room it says how much that is, and one more.
    int places = 0;
    const int result = rbd_snap_list(image_, nullptr, &places);
    count = std::max(0, places - 1);
    return result == -ERANGE ? 0 : errno_of(result);
  }

private:
  template <class Start>
  static void begin(Done done, const Start& start) {
    auto flight = std::make_unique<Flight>();
    flight->done = std::move(done);
    rbd_completion_t completion = nullptr;
    if (rbd_aio_create_completion(flight.get(), &Flight::landed, &completion) < 0) throw std::bad_alloc{};
    const int begun = start(completion);
    if (begun >= 0) {
      static_cast<void>(flight.release());  // landed() has it
      return;
    }
    rbd_aio_release(completion);
    flight->done(-begun);
  }

  const Pool pool_;
  const rbd_image_t image_;
};

class RbdImages final : public BlockImages {
public:
  std::unique_ptr<BlockImage> open_to_read(const std::string& path, int& error) override {
    return opened(path, error, [](const Pool& pool, const BlockPath& found, rbd_image_t& image) {
      return rbd_open_read_only(pool.io, found.image.c_str(), &image,
                                found.snapshot.empty() ? nullptr : found.snapshot.c_str());
    });
  }

  std::unique_ptr<BlockImage> make(const std::string& path, int& error) override {
    return opened(path, error, [](const Pool& pool, const BlockPath& found, rbd_image_t& image) {
      if (!found.snapshot.empty()) return -EINVAL;
      rbd_image_options_t options = nullptr;
      rbd_image_options_create(&options);
      const int made = rbd_create4(pool.io, found.image.c_str(), 0, options);
      rbd_image_options_destroy(options);
      return made < 0 ? made : rbd_open(pool.io, found.image.c_str(), &image, nullptr);
    });
  }

  int removable(const std::string& path) override {
    int error = 0;
    const auto image = open_to_read(path, error);
    if (!image) return error;
    std::vector<std::string> others;
    if (error = image->others(others); error != 0) return error;
    if (!others.empty()) return EBUSY;
    int snapshots = 0;
    if (error = static_cast<RbdImage&>(*image).snapshots(snapshots); error != 0) return error;
    return snapshots != 0 ? ENOTEMPTY : 0;
  }

  int remove(const std::string& path) override {
    return in_pool(path, [](const Pool& pool, const BlockPath& found) {
      return found.snapshot.empty() ? rbd_remove(pool.io, found.image.c_str()) : -EINVAL;
    });
  }

  int rename(const std::string& path, const std::string& to) override {
    return in_pool(path, [&](const Pool& pool, const BlockPath& found) {
      return rbd_rename(pool.io, found.image.c_str(), to.c_str());
    });
  }

  int names(const std::string& path, std::vector<std::string>& names) override {
    names.clear();
    return in_pool(path, [&](const Pool& pool, const BlockPath&) {
      std::vector<rbd_image_spec_t> images(64);
      std::size_t count = images.size();
      int result = rbd_list2(pool.io, images.data(), &count);
      while (result == -ERANGE) {
        images.resize(count);
        result = rbd_list2(pool.io, images.data(), &count);
      }
      if (result < 0) return result;
      for (std::size_t i = 0; i < count; ++i) names.emplace_back(images[i].name);
      rbd_image_spec_list_cleanup(images.data(), count);
      return 0;
    });
  }

private:
  int open_pool(const PoolName& name, Pool& pool) {
    const Lock lock{mutex_};
    rados_t& cluster = clusters_[{name.configuration, name.client}];
    if (cluster == nullptr)
      if (const int error = connect_rados(name, cluster); error != 0) return error;
    pool.cluster = cluster;
    if (const int result = rados_ioctx_create(cluster, name.pool.c_str(), &pool.io); result < 0) return -result;
    rados_ioctx_set_namespace(pool.io, name.name_space.c_str());
    // Else what is written waits for ever where the pool is full, and so does an opening.
    rados_set_pool_full_try(pool.io);
    return 0;
  }

  template <class Call>
  int in_pool(const std::string& path, const Call& call) {
    const auto found = parse(path);
    if (!found) return EINVAL;
    Pool pool;
    if (const int error = open_pool(found->pool, pool); error != 0) return error;
    const SignalsBlocked blocked;
    return errno_of(call(pool, *found));
  }

  template <class Open>
  std::unique_ptr<BlockImage> opened(const std::string& path, int& error, const Open& open) {
    const auto found = parse(path);
    error = EINVAL;
    if (!found) return nullptr;
    Pool pool;
    if (error = open_pool(found->pool, pool); error != 0) return nullptr;
    const SignalsBlocked blocked;
    rbd_image_t image = nullptr;
    if (error = errno_of(open(pool, *found, image)); error != 0) return nullptr;
    return std::make_unique<RbdImage>(std::move(pool), image);
  }

  Mutex mutex_;
  std::map<std::pair<std::string, std::string>, rados_t> clusters_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace
}  // namespace pageserver::storage

extern "C" __attribute__((visibility("default"))) pageserver::storage::BlockImages* pageserver_block_module(
    const char* interface) noexcept {
  using namespace pageserver::storage;
  if (std::strcmp(interface, home_interface) != 0) return nullptr;
  try {
    // Never destroyed: librados has threads.
    static auto* const images = new RbdImages;
    return images;
  } catch (...) {
    return nullptr;
  }
}
