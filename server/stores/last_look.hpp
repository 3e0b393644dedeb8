// What was seen of a store when it was last looked at: for those who ask while it can't be asked, or need not be.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include <pageserver/session.hpp>

#include <sys/statvfs.h>

#include "base/mutex.hpp"
#include "server/stores/recent_versions.hpp"

namespace pageserver::server {

/// Moments are those of base::monotonic_ms(). Threads: any.
class LastLook {
public:
  /// The store was opened: what was noted of its versions was another opening's.
  void begin_anew(const Stat& stat, std::int64_t now_ms) {
    pages_ = stat.pages;
    const Lock lock{mutex_};
    versions_.clear();
    versions_.note(now_ms, stat.version.number);
  }
  void note(const Stat& stat, std::int64_t now_ms) {
    pages_ = stat.pages;
    const Lock lock{mutex_};
    versions_.note(now_ms, stat.version.number);
  }
  void note_pages(std::uint64_t pages) noexcept { pages_ = pages; }
  /// Asks the file system; what it does not know stays as it was.
  void note_disk(const std::string& path) noexcept {
    struct statvfs disk {};
    if (::statvfs(path.c_str(), &disk) == 0)
      disk_available_bytes_ = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  }

  std::uint64_t pages() const noexcept { return pages_; }
  /// 0: that is not known.
  std::uint64_t disk_available_bytes() const noexcept { return disk_available_bytes_; }
  /// See RecentVersions.
  std::uint64_t newest_version_at(std::int64_t moment_ms) const {
    const Lock lock{mutex_};
    return versions_.newest_at(moment_ms);
  }

private:
  std::atomic<std::uint64_t> pages_{0};
  std::atomic<std::uint64_t> disk_available_bytes_{0};
  mutable Mutex mutex_;
  RecentVersions versions_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
