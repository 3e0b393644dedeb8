// The served directory: which images are in it, and how one is made and removed.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <pageserver/error.hpp>

#include "base/mutex.hpp"
#include "server/config/config.hpp"
#include "server/runtime/log.hpp"
#include "storage/file/file_system.hpp"
#include "storage/file/folder.hpp"

namespace pageserver::server {

/// A directory's image files by name: "demo" is "demo.img".
inline constexpr std::string_view image_suffix = ".img";

/// What a name gets that no store here has.
MemoryError not_served(const std::string& name);
/// Throws invalid_argument.
void check_store_name(const std::string& name);

/// Each call may take as long as the disk does. Thread-safe; but create() and remove() of one name come one at a time,
/// and none while the store is open.
class StoreDirectory {
public:
  /// Opens it, and removes what a crash left of stores that were being removed or created. Throws what is in the way.
  /// `file_system`, `config` and `log` outlive it.
  StoreDirectory(storage::FileSystem& file_system, const DirectoryConfig& config, Log& log);

  /// A file system that can't leave the directory, for its stores.
  const std::shared_ptr<storage::FileSystem>& files() const noexcept { return files_; }
  std::string path_of(const std::string& name) const;

  /// Throws not_found, or why there is no such store.
  void require(const std::string& name) const;
  /// Size of the image; nothing where there is none.
  std::optional<std::uint64_t> pages_of(const std::string& name) const;
  /// At most `count` names greater than `after`, in rising byte order. Not each needs to have an image: pages_of()
  /// says. Whoever asks with an empty `after` gets what is there now; a list that goes on may be some seconds old.
  std::vector<std::string> names(const std::string& after, std::size_t count);
  /// How often the directory was read for names().
  std::uint64_t readings() const;
  /// Throws already_exists and what is in the way.
  void create(const std::string& name, std::uint64_t pages);
  /// Takes along what lies beside the image. Throws not_found and what is in the way.
  void remove(const std::string& name);

private:
  struct Listing {
    std::vector<std::string> names;  ///< sorted
    std::int64_t modified_ns = 0;    ///< the directory, when it was read
    bool stable = false;             ///< long before that: what changes it later is seen in its time
    std::chrono::steady_clock::time_point read;
  };

  bool has(const std::string& name) const;
  /// Empty, or that the directory's path leads elsewhere since the start; said in the log once.
  std::string look_at_path() const;
  std::vector<std::string> file_names() const;
  std::shared_ptr<const Listing> listing(bool from_the_beginning);
  void forget_listing() noexcept;
  void finish_removals() noexcept;

  storage::FileSystem& file_system_;
  const DirectoryConfig& config_;
  Log& log_;
  storage::Folder folder_;
  std::string path_;  ///< resolved, without links
  std::shared_ptr<storage::FileSystem> files_;
  mutable Mutex mutex_;
  std::shared_ptr<const Listing> listing_ PAGESERVER_GUARDED_BY(mutex_);
  std::uint64_t readings_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  mutable std::string said_of_path_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
