// Notices that somebody else writes to the image file: its modification time moves although the store changes nothing.
//
// The store's own changes move the time, too. So two looks at the file prove something only when no change of the store
// was under way during them or came between them:
//
//   look A        no change       look B        the times differ: somebody else changed the file
//   look A        a Change        look B        the times may differ; look C is compared with B
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/mutex.hpp"

namespace pageserver::storage {

/// Threads: any.
class ImageWatch {
public:
  /// `modified_ns`: the file's time now.
  explicit ImageWatch(std::int64_t modified_ns) noexcept : baseline_modified_ns_{modified_ns} {}

  /// Marks a change to the file as the store's own while it lives.
  class Change {
  public:
    explicit Change(ImageWatch& watch) noexcept : watch_{watch} { ++watch_.changing_, ++watch_.changes_; }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change() { ++watch_.changes_, --watch_.changing_; }

  private:
    ImageWatch& watch_;
  };

  /// begin_look() comes before a look at the file, and end_look() after it.
  class Look {
    friend class ImageWatch;
    std::uint64_t changing_ = 0;
    std::uint64_t changes_ = 0;
  };
  Look begin_look() const noexcept;
  /// `modified_ns`: the file's time, where it could be had. `found`: another fault of the file, or nothing. Returns the
  /// warning of this look or an earlier one; empty: there is none. `path`: the file's name in the warning.
  std::string end_look(const Look& look, std::optional<std::int64_t> modified_ns, std::string found,
                       const std::string& path);

  void warn(std::string warning) {
    const Lock lock{mutex_};
    warning_ = std::move(warning);
  }

private:
  std::atomic<std::uint64_t> changing_{0};  // changes of the store under way
  std::atomic<std::uint64_t> changes_{0};   // beginnings and ends of such changes
  Mutex mutex_;
  std::uint64_t baseline_changes_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  std::int64_t baseline_modified_ns_ PAGESERVER_GUARDED_BY(mutex_);
  std::string warning_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::storage
