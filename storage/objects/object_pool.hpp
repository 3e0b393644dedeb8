// A pool of objects, as a home of files needs it: each has bytes, keys with values, and maybe a lock. RADOS is one, and
// so is the model that the tests have.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pageserver::storage {

/// What an object must be like before it is changed. A key that is not there counts as an empty value. Values are
/// compared byte by byte.
struct ObjectCompare {
  enum class Kind : std::uint8_t { equal, less };
  std::string key;
  Kind kind = Kind::equal;
  std::string value;  ///< what is stored must be equal to it, or less
};

/// A change of one object, all of it or nothing. Compares come first and see the object as it was; of an object that is
/// not there only `create` succeeds.
struct ObjectChange {
  std::vector<ObjectCompare> compares;
  bool create = false;  ///< make it where it is not there
  std::vector<std::pair<std::string, std::string>> set;
  std::vector<std::string> unset;
  std::uint64_t offset = 0;
  std::vector<std::span<const std::byte>> bytes;  ///< written at `offset`, one part after the other
  std::uint64_t zero_bytes = 0;                   ///< so many zeros from `offset` on, and no longer object
  bool truncate = false;                          ///< to `offset` bytes
  bool remove = false;
};

/// Who holds an object's lock.
struct ObjectHolder {
  std::string cookie;
  std::string client;  ///< in the pool's words
};

/// Somebody hears what is told at an object, while this lives.
class ObjectWatch {
public:
  ObjectWatch() = default;
  ObjectWatch(const ObjectWatch&) = delete;
  ObjectWatch& operator=(const ObjectWatch&) = delete;
  virtual ~ObjectWatch() = default;
  /// False: it hears nothing any more, and another one may.
  virtual bool works() = 0;
};

/// Errors are positive errnos: ENOENT, no such object; ECANCELED, a compare did not hold; EBUSY, another has the lock;
/// ENOSPC, the pool is full, at once. ETIMEDOUT and the like say nothing of whether the change was made.
///
/// Changes and reads of one pool object on one object take effect in the order in which they were handed over.
///
/// Threads: any. `done` runs once, and must not wait for anything: on a thread of the pool or, where the pool refuses a
/// call at once, within that call.
class ObjectPool {
public:
  using Done = std::function<void(int error)>;
  using Found = std::function<void(int error, std::uint64_t bytes)>;

  ObjectPool() = default;
  ObjectPool(const ObjectPool&) = delete;
  ObjectPool& operator=(const ObjectPool&) = delete;
  virtual ~ObjectPool() = default;

  /// The bytes of the change may go once this returns.
  virtual void change(const std::string& object, const ObjectChange& change, Done done) = 0;
  /// Fills one buffer after the other, from `offset` on. They stay until `found` ran, which gets how many bytes were
  /// filled in all.
  virtual void read(const std::string& object, std::uint64_t offset, const std::vector<std::span<std::byte>>& buffers,
                    Found found) = 0;
  /// `found` gets the object's size.
  virtual void look(const std::string& object, Found found) = 0;

  /// The keys that begin with `prefix`; waits for them. An object that is not there has none.
  virtual int list(const std::string& object, const std::string& prefix, std::map<std::string, std::string>& keys) = 0;
  /// Of these keys those that are there.
  virtual int get(const std::string& object, const std::vector<std::string>& keys,
                  std::map<std::string, std::string>& values) = 0;

  /// Takes the lock for `duration_ms`, by the pool's clock, or renews it for whoever has it with this cookie. Makes the
  /// object. `about` says who it is.
  virtual void take_lock(const std::string& object, bool exclusive, const std::string& cookie, const std::string& about,
                         std::uint32_t duration_ms, Done done) = 0;
  virtual void drop_lock(const std::string& object, const std::string& cookie, Done done) = 0;
  virtual int holders(const std::string& object, std::vector<ObjectHolder>& holders) = 0;
  /// Takes the lock from this holder. ENOENT: it does not have it.
  virtual int break_lock(const std::string& object, const ObjectHolder& holder) = 0;

  /// `heard` runs on a thread of the pool for each message, and maybe once more while the watch is dropped; it must not
  /// wait for anything. Waits for nothing; messages that are told before the pool knows of it are not heard.
  virtual std::shared_ptr<ObjectWatch> watch(const std::string& object,
                                             std::function<void(const std::string& message)> heard) = 0;
  /// Tells all who watch the object. Waits for nobody.
  virtual void tell(const std::string& object, const std::string& message) = 0;

  /// See HomeControl::health().
  virtual std::string health(std::chrono::milliseconds /*time*/) { return {}; }
};

/// Which pool.
struct PoolName {
  std::string pool;
  std::string name_space;
  std::string client;         ///< who this is for the pool; empty: the default
  std::string configuration;  ///< a file; empty: the default

  auto operator<=>(const PoolName&) const = default;
};

/// Opens pools. Threads: any.
class ObjectPools {
public:
  ObjectPools() = default;
  ObjectPools(const ObjectPools&) = delete;
  ObjectPools& operator=(const ObjectPools&) = delete;
  virtual ~ObjectPools() = default;

  /// Null, with the errno, where it can't be had. May take as long as a connection does.
  virtual std::shared_ptr<ObjectPool> open(const PoolName& name, int& error) = 0;
};

}  // namespace pageserver::storage
