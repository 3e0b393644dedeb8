// Many stores lie in one folder, and each opening looks for its files among all that are there.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "storage/file/forwarding_file_system.hpp"

namespace pageserver::server {

/// Reads a folder once for as long as nothing is made, renamed or removed in it, so that to open all stores of a folder
/// takes time in proportion to their number, and not to its square. What tells is the folder's time of change, which
/// nobody can set but with the clock; where that is coarse or not to be relied on (on a network) each look reads the
/// folder.
///
/// Threads: any.
class SharedListings final : public storage::ForwardingFileSystem {
public:
  /// `below` outlives this.
  explicit SharedListings(storage::FileSystem& below) : ForwardingFileSystem(below) {}

  storage::IoResult list(int directory, const std::string& prefix, std::vector<std::string>& names) override;

private:
  struct Listing {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t changed_ns = 0;
    std::int64_t clock_ns = 0;       ///< see clock_offset_ns()
    std::vector<std::string> names;  ///< sorted
  };

  static constexpr std::size_t folders_max = 8;

  /// How far the clock that times of change come from is ahead of one that nobody sets. It falls where that is set
  /// back: then the folder may change once more at the very time at which it did before.
  std::int64_t clock_offset_ns();
  /// Whether a listing of the folder can be told to be old later.
  bool may_keep(int directory, const storage::FileStatus& folder);
  std::shared_ptr<const Listing> find(const storage::FileStatus& folder);
  void keep(std::shared_ptr<const Listing> listing);

  Mutex mutex_;
  std::list<std::shared_ptr<const Listing>> listings_
      PAGESERVER_GUARDED_BY(mutex_);  ///< the one that was used last first
};

}  // namespace pageserver::server
