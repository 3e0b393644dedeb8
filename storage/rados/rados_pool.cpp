// Pools of objects by librados, and the module's one symbol.
#include <rados/librados.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "base/process_mark.hpp"
#include "storage/file/home_module.hpp"
#include "storage/objects/object_file_system.hpp"
#include "storage/objects/object_pool.hpp"
#include "storage/rados/cluster_health.hpp"
#include "storage/rados/rados_connection.hpp"

namespace pageserver::storage {
namespace {

constexpr const char* lock_name = "pageserver";
constexpr std::uint64_t keys_at_once = 1000;

int errno_of(int result) noexcept { return result < 0 ? -result : 0; }

/// Bytes in the form in which RADOS encodes structures: little-endian, texts with their length before them.
class Encoded {
public:
  void number8(std::uint8_t value) { bytes_ += static_cast<char>(value); }
  void number32(std::uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) number8(static_cast<std::uint8_t>(value >> shift));
  }
  void text(const std::string& value) {
    number32(static_cast<std::uint32_t>(value.size()));
    bytes_ += value;
  }
  /// ENCODE_START(1, 1): version, the oldest that can read it, and the length of what follows.
  static Encoded versioned(const Encoded& content) {
    Encoded whole;
    whole.number8(1);
    whole.number8(1);
    whole.text(content.bytes_);
    return whole;
  }
  const std::string& bytes() const noexcept { return bytes_; }

private:
  std::string bytes_;
};

/// cls_lock_lock_op of src/cls/lock.
Encoded lock_request(bool exclusive, const std::string& cookie, const std::string& about, std::uint32_t duration_ms) {
  constexpr std::uint8_t lock_exclusive = 1, lock_shared = 2, may_renew = 1;
  Encoded request;
  request.text(lock_name);
  request.number8(exclusive ? lock_exclusive : lock_shared);
  request.text(cookie);
  request.text({});  // the tag
  request.text(about);
  request.number32(duration_ms / 1000);
  request.number32(duration_ms % 1000 * 1'000'000);
  request.number8(may_renew);
  return Encoded::versioned(request);
}

/// cls_lock_unlock_op.
Encoded unlock_request(const std::string& cookie) {
  Encoded request;
  request.text(lock_name);
  request.text(cookie);
  return Encoded::versioned(request);
}

struct WriteOpDelete {
  void operator()(void* op) const noexcept { rados_release_write_op(op); }
};
using WriteOp = std::unique_ptr<void, WriteOpDelete>;
struct ReadOpDelete {
  void operator()(void* op) const noexcept { rados_release_read_op(op); }
};
using ReadOp = std::unique_ptr<void, ReadOpDelete>;

/// One operation under way. It deletes itself once its callback ran.
struct Flight {
  ObjectPool::Done done;
  ObjectPool::Found found;
  std::uint64_t size = 0;
  time_t modified = 0;
  std::vector<std::size_t> filled;  ///< of a read into several buffers

  std::uint64_t found_bytes(int result) const noexcept {
    if (!filled.empty()) return result < 0 ? 0 : std::accumulate(filled.begin(), filled.end(), std::uint64_t{0});
    return size != 0 || result < 0 ? size : static_cast<unsigned>(result);
  }

  static void landed(rados_completion_t completion, void* argument) {
    const std::unique_ptr<Flight> flight{static_cast<Flight*>(argument)};
    const int result = rados_aio_get_return_value(completion);
    rados_aio_release(completion);
    if (flight->done) flight->done(errno_of(result));
    if (flight->found) flight->found(errno_of(result), flight->found_bytes(result));
  }
};

rados_completion_t completion_of(void* argument, rados_callback_t landed) {
  rados_completion_t completion = nullptr;
  if (rados_aio_create_completion2(argument, landed, &completion) < 0) throw std::bad_alloc{};
  return completion;
}
rados_completion_t completion_of(Flight* flight) { return completion_of(flight, &Flight::landed); }

/// librados may call back while a watch is taken back, and later: what it calls with is a number, by which it finds
/// the watch, or nobody.
class RadosWatch final : public ObjectWatch {
public:
  using Heard = std::function<void(const std::string& message)>;

  RadosWatch(rados_ioctx_t io, const std::string& object, Heard heard) : state_{std::make_shared<State>()} {
    state_->io = io;
    state_->object = object;
    state_->heard = std::move(heard);
    {
      const Lock lock{all().mutex};
      number_ = ++all().last;
      all().states.emplace(number_, state_);
    }
    // Never followed: librados hands the number back. NOLINTNEXTLINE(performance-no-int-to-ptr)
    void* const argument = reinterpret_cast<void*>(number_);
    const rados_completion_t completion = completion_of(argument, &RadosWatch::begun);
    constexpr std::uint32_t default_timeout = 0;
    const int result = rados_aio_watch2(io, object.c_str(), completion, &state_->handle, &RadosWatch::told,
                                        &RadosWatch::failed, default_timeout, argument);
    rados_aio_release(completion);
    if (result < 0) ended(number_, false);
  }
  ~RadosWatch() override {
    bool ends = false;
    {
      const Lock lock{all().mutex};
      state_->dropped = true;
      ends = state_->begun;
      if (ends) all().states.erase(number_);
    }
    if (ends && state_->stands) unwatch(*state_);
  }
  bool works() override { return state_->works; }

private:
  struct State {
    rados_ioctx_t io = nullptr;  ///< of a pool, which stays for as long as the process lives
    std::string object;
    Heard heard;
    std::uint64_t handle = 0;
    std::atomic<bool> works{true};
    // Under the mutex of all:
    bool begun = false;   ///< the OSD has answered
    bool stands = false;  ///< with yes
    bool dropped = false;
  };
  struct All {
    Mutex mutex;
    std::uintptr_t last PAGESERVER_GUARDED_BY(mutex) = 0;
    std::map<std::uintptr_t, std::shared_ptr<State>> states PAGESERVER_GUARDED_BY(mutex);
  };
  static All& all() {
    static auto* const watches = new All;  // never destroyed: librados calls at any time
    return *watches;
  }
  static std::shared_ptr<State> find(void* argument) {
    const Lock lock{all().mutex};
    const auto found = all().states.find(reinterpret_cast<std::uintptr_t>(argument));
    return found == all().states.end() || found->second->dropped ? nullptr : found->second;
  }
  static void unwatch(const State& state) noexcept {
    rados_completion_t completion = nullptr;
    if (rados_aio_create_completion2(
            nullptr, [](rados_completion_t, void*) {}, &completion) < 0)
      return;
    rados_aio_unwatch(state.io, state.handle, completion);
    rados_aio_release(completion);
  }
  static void ended(std::uintptr_t number, bool stands) {
    std::shared_ptr<State> gone;
    {
      const Lock lock{all().mutex};
      const auto found = all().states.find(number);
      if (found == all().states.end()) return;
      State& state = *found->second;
      state.begun = true;
      state.stands = stands;
      if (!stands) state.works = false;
      if (!state.dropped) return;
      gone = std::move(found->second);
      all().states.erase(found);
    }
    if (stands) unwatch(*gone);
  }
  static void begun(rados_completion_t completion, void* argument) {
    ended(reinterpret_cast<std::uintptr_t>(argument), rados_aio_get_return_value(completion) == 0);
  }
  static void told(void* argument, std::uint64_t notify_id, std::uint64_t handle, std::uint64_t, void* data,
                   std::size_t bytes) {
    const std::shared_ptr<State> state = find(argument);
    if (!state) return;
    rados_notify_ack(state->io, state->object.c_str(), notify_id, handle, nullptr, 0);
    try {
      state->heard(std::string{static_cast<const char*>(data), bytes});
    } catch (const std::bad_alloc&) {
      // As if it had not been heard.
    }
  }
  static void failed(void* argument, std::uint64_t, int) {
    if (const std::shared_ptr<State> state = find(argument)) state->works = false;
  }

  const std::shared_ptr<State> state_;
  std::uintptr_t number_ = 0;
};

class RadosPool final : public ObjectPool {
public:
  RadosPool(rados_ioctx_t io, ClusterHealth& health) : io_{io}, health_{health} {}
  ~RadosPool() override { rados_ioctx_destroy(io_); }

  void change(const std::string& object, const ObjectChange& change, Done done) override {
    const WriteOp op{rados_create_write_op()};
    for (const ObjectCompare& compare : change.compares)
      rados_write_op_omap_cmp2(
          op.get(), compare.key.data(),
          compare.kind == ObjectCompare::Kind::equal ? LIBRADOS_CMPXATTR_OP_EQ : LIBRADOS_CMPXATTR_OP_LT,
          compare.value.data(), compare.key.size(), compare.value.size(), nullptr);
    if (change.create) rados_write_op_create(op.get(), LIBRADOS_CREATE_IDEMPOTENT, nullptr);
    set_keys(op.get(), change.set);
    unset_keys(op.get(), change.unset);
    if (!change.bytes.empty()) write_bytes(op.get(), change);
    if (change.zero_bytes != 0) rados_write_op_zero(op.get(), change.offset, change.zero_bytes);
    if (change.truncate) rados_write_op_truncate(op.get(), change.offset);
    if (change.remove) rados_write_op_remove(op.get());
    submit(object, op.get(), std::move(done));
  }

  void read(const std::string& object, std::uint64_t offset, const std::vector<std::span<std::byte>>& buffers,
            Found found) override {
    auto flight = std::make_unique<Flight>();
    flight->found = std::move(found);
    const rados_completion_t completion = completion_of(flight.get());
    if (buffers.size() == 1) {
      const auto& buffer = buffers.front();
      const int begun = rados_aio_read(io_, object.c_str(), completion, reinterpret_cast<char*>(buffer.data()),
                                       buffer.size(), offset);
      return begun_or_failed(begun, completion, std::move(flight));
    }
    const ReadOp op{rados_create_read_op()};
    flight->filled.resize(buffers.size());
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      rados_read_op_read(op.get(), offset, buffers[i].size(), reinterpret_cast<char*>(buffers[i].data()),
                         &flight->filled[i], nullptr);
      offset += buffers[i].size();
    }
    const int begun = rados_aio_read_op_operate(op.get(), io_, completion, object.c_str(), LIBRADOS_OPERATION_NOFLAG);
    begun_or_failed(begun, completion, std::move(flight));
  }

  void look(const std::string& object, Found found) override {
    auto flight = std::make_unique<Flight>();
    flight->found = std::move(found);
    const rados_completion_t completion = completion_of(flight.get());
    const int begun = rados_aio_stat(io_, object.c_str(), completion, &flight->size, &flight->modified);
    begun_or_failed(begun, completion, std::move(flight));
  }

  int list(const std::string& object, const std::string& prefix, std::map<std::string, std::string>& keys) override {
    keys.clear();
    std::string after;
    for (;;) {
      const ReadOp op{rados_create_read_op()};
      rados_omap_iter_t found = nullptr;
      unsigned char more = 0;
      rados_read_op_omap_get_vals2(op.get(), after.c_str(), prefix.c_str(), keys_at_once, &found, &more, nullptr);
      const int result = rados_read_op_operate(op.get(), io_, object.c_str(), LIBRADOS_OPERATION_NOFLAG);
      if (result == 0) take_keys(found, keys);
      rados_omap_get_end(found);
      if (result == -ENOENT) return 0;
      if (result < 0) return -result;
      if (more == 0 || keys.empty() || keys.rbegin()->first == after) return 0;
      after = keys.rbegin()->first;
    }
  }

  int get(const std::string& object, const std::vector<std::string>& keys,
          std::map<std::string, std::string>& values) override {
    values.clear();
    const ReadOp op{rados_create_read_op()};
    std::vector<const char*> names;
    std::vector<std::size_t> lengths;
    for (const std::string& key : keys) {
      names.push_back(key.data());
      lengths.push_back(key.size());
    }
    rados_omap_iter_t found = nullptr;
    rados_read_op_omap_get_vals_by_keys2(op.get(), names.data(), names.size(), lengths.data(), &found, nullptr);
    const int result = rados_read_op_operate(op.get(), io_, object.c_str(), LIBRADOS_OPERATION_NOFLAG);
    if (result == 0) take_keys(found, values);
    rados_omap_get_end(found);
    return result == -ENOENT ? 0 : errno_of(result);
  }

  void take_lock(const std::string& object, bool exclusive, const std::string& cookie, const std::string& about,
                 std::uint32_t duration_ms, Done done) override {
    const WriteOp op{rados_create_write_op()};
    const std::string request = lock_request(exclusive, cookie, about, duration_ms).bytes();
    rados_write_op_exec(op.get(), "lock", "lock", request.data(), request.size(), nullptr);
    submit(object, op.get(), std::move(done));
  }

  void drop_lock(const std::string& object, const std::string& cookie, Done done) override {
    const WriteOp op{rados_create_write_op()};
    const std::string request = unlock_request(cookie).bytes();
    rados_write_op_exec(op.get(), "lock", "unlock", request.data(), request.size(), nullptr);
    submit(object, op.get(), std::move(done));
  }

  int break_lock(const std::string& object, const ObjectHolder& holder) override {
    return errno_of(rados_break_lock(io_, object.c_str(), lock_name, holder.client.c_str(), holder.cookie.c_str()));
  }

  std::shared_ptr<ObjectWatch> watch(const std::string& object,
                                     std::function<void(const std::string& message)> heard) override {
    return std::make_shared<RadosWatch>(io_, object, std::move(heard));
  }

  void tell(const std::string& object, const std::string& message) override {
    // One of those who watch may be dead: so long an OSD waits for its word.
    constexpr std::uint64_t wait_ms = 2000;
    const rados_completion_t completion = completion_of(nullptr, [](rados_completion_t, void*) {});
    rados_aio_notify(io_, object.c_str(), completion, message.data(), static_cast<int>(message.size()), wait_ms,
                     nullptr, nullptr);
    rados_aio_release(completion);
  }

  std::string health(std::chrono::milliseconds time) override { return health_.text(time); }

  int holders(const std::string& object, std::vector<ObjectHolder>& holders) override {
    std::vector<char> tag(256), clients(4096), cookies(4096), addresses(4096);
    int exclusive = 0;
    std::size_t tag_bytes = tag.size(), clients_bytes = clients.size(), cookies_bytes = cookies.size(),
                addresses_bytes = addresses.size();
    const ssize_t count =
        rados_list_lockers(io_, object.c_str(), lock_name, &exclusive, tag.data(), &tag_bytes, clients.data(),
                           &clients_bytes, cookies.data(), &cookies_bytes, addresses.data(), &addresses_bytes);
    holders.clear();
    if (count < 0) return static_cast<int>(-count);
    const char* cookie = cookies.data();
    const char* client = clients.data();
    for (ssize_t i = 0; i < count; ++i) {
      holders.push_back({cookie, client});
      cookie += std::strlen(cookie) + 1;
      client += std::strlen(client) + 1;
    }
    return 0;
  }

private:
  // One write, whatever parts it has: an OSD carries out each write of an operation by itself, which costs it more than
  // this copy.
  static void write_bytes(void* op, const ObjectChange& change) {
    if (change.bytes.size() == 1) {
      const auto& part = change.bytes.front();
      rados_write_op_write(op, reinterpret_cast<const char*>(part.data()), part.size(), change.offset);
      return;
    }
    std::size_t total = 0;
    for (const auto& part : change.bytes) total += part.size();
    const auto whole = std::make_unique_for_overwrite<char[]>(total);
    char* at = whole.get();
    for (const auto& part : change.bytes) {
      std::memcpy(at, part.data(), part.size());
      at += part.size();
    }
    rados_write_op_write(op, whole.get(), total, change.offset);
  }

  static void set_keys(void* op, const std::vector<std::pair<std::string, std::string>>& set) {
    if (set.empty()) return;
    std::vector<const char*> keys, values;
    std::vector<std::size_t> key_lengths, value_lengths;
    for (const auto& [key, value] : set) {
      keys.push_back(key.data());
      key_lengths.push_back(key.size());
      values.push_back(value.data());
      value_lengths.push_back(value.size());
    }
    rados_write_op_omap_set2(op, keys.data(), values.data(), key_lengths.data(), value_lengths.data(), keys.size());
  }

  static void unset_keys(void* op, const std::vector<std::string>& unset) {
    if (unset.empty()) return;
    std::vector<const char*> keys;
    std::vector<std::size_t> lengths;
    for (const std::string& key : unset) {
      keys.push_back(key.data());
      lengths.push_back(key.size());
    }
    rados_write_op_omap_rm_keys2(op, keys.data(), lengths.data(), keys.size());
  }

  static void take_keys(rados_omap_iter_t found, std::map<std::string, std::string>& keys) {
    for (;;) {
      char *key = nullptr, *value = nullptr;
      std::size_t key_bytes = 0, value_bytes = 0;
      if (rados_omap_get_next2(found, &key, &value, &key_bytes, &value_bytes) < 0 || key == nullptr) return;
      keys.emplace(std::string{key, key_bytes}, std::string{value, value_bytes});
    }
  }

  void submit(const std::string& object, void* op, Done done) {
    auto flight = std::make_unique<Flight>();
    flight->done = std::move(done);
    const rados_completion_t completion = completion_of(flight.get());
    // Without FULL_TRY a write or a removal waits for ever where the pool is full.
    const int begun =
        rados_aio_write_op_operate(op, io_, completion, object.c_str(), nullptr, LIBRADOS_OPERATION_FULL_TRY);
    begun_or_failed(begun, completion, std::move(flight));
  }

  static void begun_or_failed(int begun, rados_completion_t completion, std::unique_ptr<Flight> flight) {
    if (begun >= 0) {
      static_cast<void>(flight.release());  // landed() has it
      return;
    }
    rados_aio_release(completion);
    if (flight->done) flight->done(-begun);
    if (flight->found) flight->found(-begun, 0);
  }

  rados_ioctx_t io_;
  ClusterHealth& health_;
};

/// One connection for each configuration and client, for as long as the process lives: librados has its threads, and
/// ends them neither quickly nor in a child after fork(2).
class RadosPools final : public ObjectPools {
public:
  std::shared_ptr<ObjectPool> open(const PoolName& name, int& error) override {
    const Lock lock{mutex_};
    Cluster& cluster = clusters_[{name.configuration, name.client, base::process_mark()}];
    if (cluster.handle == nullptr) {
      // One that did not answer just now does not within another 10 s either: an opening asks several times.
      const auto now = std::chrono::steady_clock::now();
      error = ETIMEDOUT;
      if (cluster.silent_until > now) return nullptr;
      error = connect_rados(name, cluster.handle);
      if (error == ETIMEDOUT) cluster.silent_until = std::chrono::steady_clock::now() + silence;
      if (error != 0) return nullptr;
    }
    if (cluster.health == nullptr) cluster.health = std::make_shared<ClusterHealth>(cluster.handle);
    rados_ioctx_t io = nullptr;
    error = errno_of(rados_ioctx_create(cluster.handle, name.pool.c_str(), &io));
    if (error != 0) return nullptr;
    rados_ioctx_set_namespace(io, name.name_space.c_str());
    return std::make_shared<RadosPool>(io, *cluster.health);
  }

private:
  struct Key {
    std::string configuration;
    std::string client;
    std::uint64_t process;
    auto operator<=>(const Key&) const = default;
  };
  struct Cluster {
    rados_t handle = nullptr;
    std::shared_ptr<ClusterHealth> health;
    std::chrono::steady_clock::time_point silent_until{};
  };
  static constexpr std::chrono::seconds silence{1};
  Mutex mutex_;
  std::map<Key, Cluster> clusters_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace
}  // namespace pageserver::storage

extern "C" __attribute__((visibility("default"))) pageserver::storage::FileSystem* pageserver_home_module(
    const char* interface) noexcept {
  using namespace pageserver::storage;
  if (std::strcmp(interface, home_interface) != 0) return nullptr;
  try {
    // Never destroyed, as posix_file_system().
    static auto* const pools = new RadosPools;
    static auto* const files = new ObjectFileSystem{*pools};
    return files;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
