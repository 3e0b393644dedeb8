// A file in runs of a pool's objects, and who has the right to change it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/memory_share.hpp"
#include "base/mutex.hpp"
#include "storage/file/file_system.hpp"
#include "storage/file/home.hpp"
#include "storage/objects/object_names.hpp"
#include "storage/objects/object_pool.hpp"
#include "storage/objects/object_waits.hpp"

namespace pageserver::storage {

/// A file that this process has locked, and with it the files beside it.
struct ObjectOwner {
  std::uint64_t image = 0;
  std::string image_name;
  std::uint64_t epoch = 0;  ///< 0: locked for reading
  std::string cookie;
  bool exclusive = false;
  bool guards = true;  ///< changes are made under its epoch; false for the tests' control
  /// Whoever had it before did not give it back: its changes may still arrive.
  bool taken_over = false;
  std::shared_ptr<HomeLease> lease = std::make_shared<HomeLease>();

  /// It changes files, and its epoch is compared.
  bool guarded() const noexcept { return exclusive && guards; }
  /// What has to hold for names to be changed.
  ObjectCompare names_guard() const;
  /// What has to hold for a run to be changed: nobody with a later epoch has written to it.
  ObjectCompare run_guard() const;
};
using ObjectOwnerRef = std::shared_ptr<ObjectOwner>;

/// The result of a call that failed.
constexpr IoResult error_result(int error) noexcept { return {-1, error}; }

/// A pool's files that are open in this process, and their owners.
class ObjectFile;
struct ObjectFolder {
  ObjectFolder(std::shared_ptr<ObjectPool> of, PoolName of_name, std::uint64_t number);

  const std::shared_ptr<ObjectPool> pool;
  const PoolName pool_name;
  const std::uint64_t device;
  ObjectRoom room;
  std::atomic<std::int64_t> changed_ns{0};  ///< when a name was changed from here

  Mutex mutex;
  std::map<std::uint64_t, std::weak_ptr<ObjectFile>> files PAGESERVER_GUARDED_BY(mutex);
  std::map<std::string, ObjectOwnerRef> owners PAGESERVER_GUARDED_BY(mutex);  ///< by the image's name

  ObjectOwnerRef owner_of(const std::string& name);
  /// Changes names, by one operation. ECANCELED: a compare did not hold. `owner`, where there is one, has to be it
  /// still: else it is told that it is not, and the answer is taken_over_error.
  int change_names(ObjectChange change, const ObjectOwnerRef& owner);
  int entry_of(const std::string& name, std::optional<ObjectEntry>& entry, std::string* value = nullptr);
  /// Removes the runs of a file that has no name any more, and then forgets it. Waits for nothing.
  void remove_runs(std::uint64_t file, const RemovedEntry& removed);
};

/// One open file, however many descriptors lead to it. Calls are those of FileSystem; errors of writes come at the next
/// sync, and stay.
///
/// Threads: any. Writes that overlap, truncate() and punch_hole() are the caller's to order.
class ObjectFile : public std::enable_shared_from_this<ObjectFile> {
public:
  /// `made`: by this process just now, so that no run of it is there.
  ObjectFile(std::shared_ptr<ObjectFolder> folder, std::string name, const ObjectEntry& entry, bool made);

  std::uint64_t number() const noexcept { return number_; }
  std::uint64_t run_bytes() const noexcept { return run_bytes_; }
  std::uint64_t size() const noexcept { return size_.load(std::memory_order_acquire); }
  std::uint32_t mode() const noexcept { return mode_; }
  std::int64_t birth_ns() const noexcept { return birth_ns_; }
  ObjectEntry entry();
  bool removed();
  /// Nobody else changes it: what is known of it here is true.
  bool is_ours();

  ObjectOwnerRef owner();
  void set_owner(ObjectOwnerRef owner);
  /// Looks how large it is, where its entry was just read.
  int load(const ObjectEntry& entry);
  /// Reads its entry anew, and then as load(). ENOENT: its name is another file's, or nobody's.
  int look_again();
  /// Sets the owner's epoch on each run that is there: what an earlier owner has under way is refused from then on.
  int touch_all(const ObjectOwnerRef& owner);
  std::string name();
  void set_name(const std::string& name);
  /// It has no name any more.
  void note_removed();

  using Moment = ObjectWaits::Moment;
  /// `deadline`: see FileSystem::read_until().
  IoResult read(std::uint64_t offset, std::span<std::byte> buffer, const std::optional<Moment>& deadline = {});
  /// Begins to read these bytes into the cache, all at the same time, as far as they have room there. Waits for
  /// nothing.
  void will_read(std::span<const FileRange> ranges);
  IoResult write(std::uint64_t offset, std::span<const std::span<const std::byte>> parts);
  IoResult truncate(std::uint64_t size_bytes);
  IoResult reserve(std::uint64_t offset, std::uint64_t length);
  IoResult punch_hole(std::uint64_t offset, std::uint64_t length);
  IoResult seek(std::uint64_t offset, bool data);
  IoResult sync();
  /// What is read stays in memory, as far as `share` has room, until drop_cache(); only of a file that is locked here.
  void begin_cache(base::MemoryShare& share);
  void drop_cache();
  /// Once the owner's lease is lost: from the end of this call on nothing more is handed over, and all that was has
  /// ended.
  void settle();
  /// Of what was written nothing is under way any more.
  bool is_quiet() { return queue_.empty(); }
  /// What was gathered goes to the pool now, before whatever the caller hands over next.
  void hand_over_all();

  /// How many descriptors lead to it.
  std::atomic<int> opens{0};

private:
  /// ours: it is there with the owner's epoch, which no operation need set again.
  enum class Run : std::uint8_t { unknown, absent, there, ours };
  struct Ahead;
  struct Cached;
  /// A write that was taken: its place in the queue, and its bytes of the room.
  struct Taken {
    std::uint64_t turn = 0;
    std::uint64_t bytes = 0;
  };
  using AllTaken = std::vector<Taken>;
  /// Of one run, while an operation that compares is under way there. An OSD would begin others only after that, each
  /// by itself: so the writes that come meanwhile, where they adjoin, become one operation, which follows it.
  struct Gathered {
    std::size_t under_way = 0;
    ObjectOwnerRef owner;
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;
    AllTaken taken;
  };

  int lost_error(const ObjectOwnerRef& owner) const noexcept;
  int usable(const ObjectOwnerRef& owner);
  Run run(std::uint64_t number) PAGESERVER_REQUIRES(mutex_);
  void set_run(std::uint64_t number, Run what) PAGESERVER_REQUIRES(mutex_);
  void note_run(std::uint64_t number, Run what);
  /// Changes a run under the guard; an absent one is made before, in the same order.
  void change_run(std::uint64_t run, ObjectChange change, const ObjectOwnerRef& owner, std::uint64_t bytes);
  /// False: it has to go by itself, and what was gathered before it.
  bool gather(std::uint64_t run, const ObjectChange& change, const ObjectOwnerRef& owner, Taken taken)
      PAGESERVER_REQUIRES(mutex_);
  void hand_over_gathered(std::uint64_t run) noexcept PAGESERVER_REQUIRES(mutex_);
  /// What fails here is told at the next sync.
  void hand_over(std::uint64_t run, ObjectChange change, const ObjectOwnerRef& owner, AllTaken taken) noexcept
      PAGESERVER_REQUIRES(mutex_);
  void ended(std::uint64_t run, int error, const ObjectOwnerRef& owner,
             bool sets_epoch) noexcept PAGESERVER_NO_THREAD_SAFETY_ANALYSIS;
  void go_on(std::uint64_t run, const ObjectOwnerRef& owner, bool epoch_set) noexcept PAGESERVER_REQUIRES(mutex_);
  void landed(const AllTaken& taken, int error, const ObjectOwnerRef& owner) noexcept;
  int ensure_extent(std::uint64_t end);
  int make_runs(std::uint64_t from_bytes, std::uint64_t until_bytes);
  int change_entry(ObjectEntry entry) PAGESERVER_REQUIRES(entry_mutex_);
  int look_at_runs(std::uint64_t first, std::vector<std::uint64_t>& sizes);
  /// Forgets what is kept of these bytes.
  void forget(std::uint64_t offset, std::uint64_t length) PAGESERVER_REQUIRES(ahead_mutex_);
  void keep_tail(std::uint64_t end, std::span<const std::byte> last) PAGESERVER_REQUIRES(ahead_mutex_);
  bool read_from_tail(std::uint64_t offset, std::span<std::byte> buffer);
  /// False: it is not there. Else `error` says how it went.
  bool read_from_ahead(std::uint64_t offset, std::span<std::byte> buffer, const std::optional<Moment>& deadline,
                       int& error);
  /// False: nothing is cached. Else `error` says how it went.
  bool read_from_cache(std::uint64_t offset, std::span<std::byte> buffer, bool runs_on,
                       const std::optional<Moment>& deadline, int& error);
  using Pages = std::vector<std::pair<std::uint64_t, std::shared_ptr<Cached>>>;
  std::shared_ptr<Cached> cached_page(std::uint64_t page, Pages& added) PAGESERVER_REQUIRES(ahead_mutex_);
  template <class Add>
  void add_pages(const Add& add) PAGESERVER_REQUIRES(ahead_mutex_);
  void begin_pages(const Pages& pages) PAGESERVER_REQUIRES(ahead_mutex_);
  void begin_adjacent(const Pages& pages) PAGESERVER_REQUIRES(ahead_mutex_);
  /// Pages behind `last`, as far as they are worth it.
  void read_ahead(std::uint64_t last, Pages& added) PAGESERVER_REQUIRES(ahead_mutex_);
  bool make_room_in_cache() PAGESERVER_REQUIRES(ahead_mutex_);
  void uncache(std::uint64_t page) PAGESERVER_REQUIRES(ahead_mutex_);
  void begin_ahead(std::uint64_t offset);
  void begin_read(std::uint64_t offset, std::span<std::byte> buffer, const std::shared_ptr<ObjectWaits>& waits,
                  const std::shared_ptr<void>& keeps);

  const std::shared_ptr<ObjectFolder> folder_;
  const std::uint64_t number_;
  const std::uint32_t mode_;
  const std::int64_t birth_ns_;
  const std::uint64_t run_bytes_;
  std::atomic<std::uint64_t> size_{0};
  std::atomic<std::uint64_t> extent_{0};
  std::atomic<int> error_{0};
  const bool fenced_;
  ObjectQueue queue_;
  ObjectRoom::Part under_way_;

  Mutex entry_mutex_;  ///< held while the entry is changed, which waits
  ObjectEntry entry_ PAGESERVER_GUARDED_BY(entry_mutex_);
  std::string name_ PAGESERVER_GUARDED_BY(entry_mutex_);
  bool removed_ PAGESERVER_GUARDED_BY(entry_mutex_) = false;

  Mutex mutex_;  ///< held while an operation is handed over, and during nothing that waits
  ObjectOwnerRef owner_ PAGESERVER_GUARDED_BY(mutex_);
  const bool made_;
  std::vector<Run> runs_ PAGESERVER_GUARDED_BY(mutex_);
  std::map<std::uint64_t, Gathered> gathered_ PAGESERVER_GUARDED_BY(mutex_);
  /// The thread that is in a call of the pool with the mutex: what the pool refuses at once ends within that call.
  std::atomic<std::thread::id> hands_over_{};

  Mutex ahead_mutex_;
  std::uint64_t next_read_ PAGESERVER_GUARDED_BY(ahead_mutex_) = ~0ull;
  std::vector<std::shared_ptr<Ahead>> ahead_ PAGESERVER_GUARDED_BY(ahead_mutex_);
  /// The ends of the last writes: a log looks at the last byte before each record, and must not wait for it.
  struct Tail {
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;
  };
  std::array<Tail, 4> tails_ PAGESERVER_GUARDED_BY(ahead_mutex_);
  std::size_t next_tail_ PAGESERVER_GUARDED_BY(ahead_mutex_) = 0;
  base::MemoryShare* cache_share_ PAGESERVER_GUARDED_BY(ahead_mutex_) = nullptr;
  std::unordered_map<std::uint64_t, std::shared_ptr<Cached>> cache_ PAGESERVER_GUARDED_BY(ahead_mutex_);
  std::list<std::uint64_t> cache_order_ PAGESERVER_GUARDED_BY(ahead_mutex_);  ///< the one read longest ago first
};

}  // namespace pageserver::storage
