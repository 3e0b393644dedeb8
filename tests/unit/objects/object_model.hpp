// A pool of objects in memory, with several clients: what one of them hands over can be held back and let go later, as
// by a machine that stands still or a network that is slow.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "storage/objects/object_names.hpp"
#include "storage/objects/object_pool.hpp"

namespace pageserver::test {

/// As an OSD compares values: byte by byte, each with its sign.
inline bool is_less(const std::string& one, const std::string& other) {
  return std::lexicographical_compare(one.begin(), one.end(), other.begin(), other.end(), [](char a, char b) {
    return static_cast<signed char>(a) < static_cast<signed char>(b);
  });
}

/// All that the clients share.
class ObjectCluster {
public:
  struct Object {
    std::vector<std::byte> bytes;
    std::map<std::string, std::string> keys;
    struct Holder {
      bool exclusive = false;
      std::chrono::steady_clock::time_point until;
    };
    std::map<std::string, Holder> holders;
  };

  std::mutex mutex;
  std::map<std::string, Object> objects;
  struct Watch final : storage::ObjectWatch {
    bool works() override { return true; }
    std::string object;
    std::function<void(const std::string&)> heard;
  };
  std::vector<std::weak_ptr<Watch>> watches;
  std::uint64_t changes = 0;  ///< that were made
  bool full = false;
  std::uint64_t reads = 0;  ///< of bytes
  std::uint64_t bytes_written = 0;
  std::uint64_t epochs_set = 0;  ///< changes of runs that set the epoch of their writer

  std::uint64_t count(std::uint64_t ObjectCluster::*counter) {
    const std::lock_guard lock{mutex};
    return this->*counter;
  }

  int apply(const std::string& name, const storage::ObjectChange& change, const std::vector<std::byte>& bytes) {
    const std::lock_guard lock{mutex};
    const auto found = objects.find(name);
    if (found == objects.end() && (!change.compares.empty() || !change.create)) return ENOENT;
    for (const auto& compare : change.compares) {
      const auto key = found->second.keys.find(compare.key);
      const std::string stored = key == found->second.keys.end() ? std::string{} : key->second;
      const bool holds = compare.kind == storage::ObjectCompare::Kind::equal ? stored == compare.value
                                                                             : is_less(stored, compare.value);
      if (!holds) return ECANCELED;
    }
    if (full && !bytes.empty()) return ENOSPC;
    ++changes;
    if (change.remove) {
      objects.erase(name);
      return 0;
    }
    Object& object = objects[name];
    for (const auto& [key, value] : change.set) {
      object.keys[key] = value;
      if (key == storage::run_epoch_key) ++epochs_set;
    }
    bytes_written += bytes.size();
    for (const auto& key : change.unset) object.keys.erase(key);
    if (!bytes.empty()) {
      object.bytes.resize(std::max<std::size_t>(object.bytes.size(), change.offset + bytes.size()));
      std::copy(bytes.begin(), bytes.end(), object.bytes.begin() + static_cast<std::ptrdiff_t>(change.offset));
    }
    if (change.truncate) object.bytes.resize(change.offset);
    for (std::uint64_t at = change.offset;
         at < std::min<std::uint64_t>(object.bytes.size(), change.offset + change.zero_bytes); ++at)
      object.bytes[at] = std::byte{0};
    return 0;
  }

  /// All bytes of all objects: two pictures that are the same were not written to in between.
  std::map<std::string, std::vector<std::byte>> picture() {
    const std::lock_guard lock{mutex};
    std::map<std::string, std::vector<std::byte>> all;
    for (const auto& [name, object] : objects) all[name] = object.bytes;
    return all;
  }
};

/// One client: a process on some machine. Its operations are carried out in order by a thread of its own.
class ObjectClient final : public storage::ObjectPools {
public:
  explicit ObjectClient(ObjectCluster& cluster) : cluster_{cluster}, thread_{[this] { run(); }} {}
  ~ObjectClient() override {
    {
      const std::lock_guard lock{mutex_};
      ended_ = true;
      held_ = nullptr;
    }
    changed_.notify_all();
    thread_.join();
  }

  std::shared_ptr<storage::ObjectPool> open(const storage::PoolName& name, int& error) override {
    error = name.pool == "missing" ? ENOENT : 0;
    return error == 0 ? std::make_shared<Pool>(*this) : nullptr;
  }

  /// From now on nothing arrives, until let_go(); renewals of leases do neither.
  void hold() {
    hold([](const std::string&) { return true; });
  }
  /// The same of these objects alone, as where one of several OSDs stands still.
  void hold(std::function<bool(const std::string& object)> which) {
    const std::lock_guard lock{mutex_};
    held_ = std::move(which);
  }
  void let_go() {
    {
      const std::lock_guard lock{mutex_};
      held_ = nullptr;
    }
    changed_.notify_all();
  }
  /// Operations that are held; where none are, all that have not been carried out.
  std::size_t waiting() {
    const std::lock_guard lock{mutex_};
    if (!held_) return queue_.size();
    return static_cast<std::size_t>(
        std::count_if(queue_.begin(), queue_.end(), [&](const auto& one) { return held_(one.first); }));
  }
  /// The most that ever were.
  std::size_t waiting_most() {
    const std::lock_guard lock{mutex_};
    return waiting_most_;
  }
  /// From now on each change fails within the call that hands it over; 0: none does.
  void fail_at_once(int error) { fails_at_once_ = error; }
  /// The process is killed: what it handed over and did not arrive never will.
  void kill() {
    const std::lock_guard lock{mutex_};
    killed_ = true;
  }

private:
  class Pool final : public storage::ObjectPool {
  public:
    explicit Pool(ObjectClient& client) : client_{client} {}

    void change(const std::string& object, const storage::ObjectChange& change, Done done) override {
      if (const int error = client_.fails_at_once_) return done(error);
      std::vector<std::byte> bytes;
      for (const auto& part : change.bytes) bytes.insert(bytes.end(), part.begin(), part.end());
      client_.submit(object, [&client = client_, object, change, bytes = std::move(bytes), done = std::move(done)](
                                 bool arrives) { done(arrives ? client.cluster_.apply(object, change, bytes) : EIO); });
    }
    void read(const std::string& object, std::uint64_t offset, const std::vector<std::span<std::byte>>& buffers,
              Found found) override {
      client_.submit(object, [&client = client_, object, offset, buffers, found = std::move(found)](bool arrives) {
        std::uint64_t bytes = 0;
        int error = arrives ? 0 : EIO;
        if (error == 0) {
          const std::lock_guard lock{client.cluster_.mutex};
          ++client.cluster_.reads;
          const auto there = client.cluster_.objects.find(object);
          if (there == client.cluster_.objects.end()) error = ENOENT;
          for (const auto& buffer : buffers) {
            const std::uint64_t at = offset + bytes;
            if (error != 0 || at >= there->second.bytes.size()) break;
            const auto now = std::min<std::uint64_t>(buffer.size(), there->second.bytes.size() - at);
            std::memcpy(buffer.data(), there->second.bytes.data() + at, now);
            bytes += now;
          }
        }
        found(error, bytes);
      });
    }
    void look(const std::string& object, Found found) override {
      client_.submit(object, [&client = client_, object, found = std::move(found)](bool arrives) {
        std::uint64_t bytes = 0;
        int error = arrives ? 0 : EIO;
        if (error == 0) {
          const std::lock_guard lock{client.cluster_.mutex};
          const auto there = client.cluster_.objects.find(object);
          error = there == client.cluster_.objects.end() ? ENOENT : 0;
          if (error == 0) bytes = there->second.bytes.size();
        }
        found(error, bytes);
      });
    }
    int list(const std::string& object, const std::string& prefix, std::map<std::string, std::string>& keys) override {
      return client_.wait_for(object, [&] {
        keys.clear();
        for (const auto& [key, value] : client_.cluster_.objects[object].keys)
          if (key.starts_with(prefix)) keys[key] = value;
      });
    }
    int get(const std::string& object, const std::vector<std::string>& wanted,
            std::map<std::string, std::string>& values) override {
      return client_.wait_for(object, [&] {
        values.clear();
        const auto there = client_.cluster_.objects.find(object);
        if (there == client_.cluster_.objects.end()) return;
        for (const auto& key : wanted)
          if (const auto found = there->second.keys.find(key); found != there->second.keys.end())
            values[key] = found->second;
      });
    }
    void take_lock(const std::string& object, bool exclusive, const std::string& cookie, const std::string&,
                   std::uint32_t duration_ms, Done done) override {
      client_.submit(object,
                     [&client = client_, object, exclusive, cookie, duration_ms, done = std::move(done)](bool arrives) {
                       int error = arrives ? 0 : EIO;
                       if (error == 0) {
                         const std::lock_guard lock{client.cluster_.mutex};
                         auto& holders = client.cluster_.objects[object].holders;
                         const auto now = std::chrono::steady_clock::now();
                         std::erase_if(holders, [&](const auto& one) { return one.second.until <= now; });
                         for (const auto& [other, holder] : holders)
                           if (other != cookie && (exclusive || holder.exclusive)) error = EBUSY;
                         if (error == 0) holders[cookie] = {exclusive, now + std::chrono::milliseconds{duration_ms}};
                       }
                       done(error);
                     });
    }
    void drop_lock(const std::string& object, const std::string& cookie, Done done) override {
      client_.submit(object, [&client = client_, object, cookie, done = std::move(done)](bool arrives) {
        if (arrives) {
          const std::lock_guard lock{client.cluster_.mutex};
          client.cluster_.objects[object].holders.erase(cookie);
        }
        done(arrives ? 0 : EIO);
      });
    }
    int holders(const std::string& object, std::vector<storage::ObjectHolder>& holders) override {
      return client_.wait_for(object, [&] {
        holders.clear();
        for (const auto& [cookie, holder] : client_.cluster_.objects[object].holders)
          if (holder.until > std::chrono::steady_clock::now()) holders.push_back({cookie, "a"});
      });
    }
    int break_lock(const std::string& object, const storage::ObjectHolder& holder) override {
      bool there = false;
      const int error =
          client_.wait_for(object, [&] { there = client_.cluster_.objects[object].holders.erase(holder.cookie) != 0; });
      return error != 0 || there ? error : ENOENT;
    }
    std::shared_ptr<storage::ObjectWatch> watch(const std::string& object,
                                                std::function<void(const std::string& message)> heard) override {
      auto watch = std::make_shared<ObjectCluster::Watch>();
      watch->object = object;
      watch->heard = std::move(heard);
      const std::lock_guard lock{client_.cluster_.mutex};
      client_.cluster_.watches.push_back(watch);
      return watch;
    }
    void tell(const std::string& object, const std::string& message) override {
      client_.submit(object, [&client = client_, object, message](bool arrives) {
        if (!arrives) return;
        std::vector<std::shared_ptr<ObjectCluster::Watch>> hearing;
        {
          const std::lock_guard lock{client.cluster_.mutex};
          for (const auto& one : client.cluster_.watches)
            if (auto watch = one.lock(); watch && watch->object == object) hearing.push_back(std::move(watch));
        }
        for (const auto& watch : hearing) watch->heard(message);
      });
    }

  private:
    ObjectClient& client_;  ///< outlives what is handed over, which may outlive this
  };

  using Operation = std::function<void(bool arrives)>;

  void submit(const std::string& object, Operation operation) {
    {
      const std::lock_guard lock{mutex_};
      queue_.push_back({object, std::move(operation)});
      waiting_most_ = std::max(waiting_most_, queue_.size());
    }
    changed_.notify_all();
  }

  template <class Call>
  int wait_for(const std::string& object, const Call& call) {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    int error = 0;
    submit(object, [&](bool arrives) {
      if (arrives) {
        const std::lock_guard lock{cluster_.mutex};
        call();
      }
      const std::lock_guard lock{mutex};
      error = arrives ? 0 : EIO;
      done = true;
      changed.notify_all();
    });
    std::unique_lock lock{mutex};
    changed.wait(lock, [&] { return done; });
    return error;
  }

  void run() {
    std::unique_lock lock{mutex_};
    for (;;) {
      auto next = queue_.end();
      changed_.wait(lock, [&] {
        next = std::find_if(queue_.begin(), queue_.end(), [&](const auto& one) { return !held_ || !held_(one.first); });
        return ended_ || next != queue_.end();
      });
      if (queue_.empty()) return;
      const Operation operation = std::move(next->second);
      queue_.erase(next);
      const bool arrives = !killed_;
      lock.unlock();
      operation(arrives);
      lock.lock();
    }
  }

  ObjectCluster& cluster_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<std::string, Operation>> queue_;
  std::function<bool(const std::string&)> held_;  ///< null: nothing is
  std::size_t waiting_most_ = 0;
  std::atomic<int> fails_at_once_{0};
  bool killed_ = false;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace pageserver::test
