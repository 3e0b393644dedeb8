// Spares a flush the looks at names which nobody can have changed.
#pragma once

#include <atomic>
#include <cstdint>

#include "storage/file/folder.hpp"

namespace pageserver::storage {

/// Whether names in a folder may have been changed since all of them were found where they belong. It works like this:
/// whoever makes, renames or removes a file sets the change time of its folder, which nobody can set otherwise. It
/// proves something once the clock that it was taken from has gone on, which stands still for some ms: the next change
/// has a later one then. Only on file systems of this machine, since others may answer from a cache, and in homes whose
/// names only who has the image locked can change. A file system mounted over a name is left to looks that ask nothing
/// here.
///
/// Threads: any.
class NamesLook {
public:
  explicit NamesLook(const Folder& folder);

  /// To be asked before the names are looked at: the moment of that look, for found_in_place().
  std::int64_t now() const noexcept;
  /// The names need not be looked at.
  bool is_known(std::int64_t moment) const noexcept { return moment != 0 && moment == known_; }
  /// All of them are where they belong.
  void found_in_place(std::int64_t moment) noexcept { known_ = moment; }
  void forget() noexcept { known_ = 0; }

private:
  const Folder folder_;
  const bool local_;
  std::atomic<std::int64_t> known_{0};  ///< the folder's change time at that look; 0: unknown
};

}  // namespace pageserver::storage
