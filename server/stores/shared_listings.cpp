#include "server/stores/shared_listings.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "storage/file/file_system_warning.hpp"
#include "storage/file/home.hpp"

namespace pageserver::server {

namespace {

using storage::FileStatus;
using storage::IoResult;

// File systems note times in steps, some in seconds: what changed twice within one looks as if it had once.
constexpr std::int64_t time_step_max_ns = 2'100'000'000;
// Less than a folder must not have changed for, so that a clock that is set back by no more leads to no time that was.
constexpr std::int64_t clock_step_ns = 1'000'000'000;

}  // namespace

std::shared_ptr<const SharedListings::Listing> SharedListings::find(const FileStatus& folder) {
  const Lock lock{mutex_};
  const auto found = std::find_if(listings_.begin(), listings_.end(), [&](const auto& one) {
    return one->inode == folder.inode && one->device == folder.device;
  });
  if (found == listings_.end()) return nullptr;
  if ((*found)->changed_ns != folder.changed_ns || clock_offset_ns() < (*found)->clock_ns - clock_step_ns) {
    listings_.erase(found);
    return nullptr;
  }
  listings_.splice(listings_.begin(), listings_, found);
  return listings_.front();
}

void SharedListings::keep(std::shared_ptr<const Listing> listing) {
  const Lock lock{mutex_};
  listings_.remove_if([&](const auto& one) { return one->inode == listing->inode && one->device == listing->device; });
  listings_.push_front(std::move(listing));
  if (listings_.size() > folders_max) listings_.pop_back();
}

std::int64_t SharedListings::clock_offset_ns() {
  const auto steady = std::chrono::steady_clock::now().time_since_epoch();
  return below().now_ns() - std::chrono::duration_cast<std::chrono::nanoseconds>(steady).count();
}

bool SharedListings::may_keep(int directory, const FileStatus& folder) {
  // Times of whole seconds: too coarse to tell two changes apart, should the clock be set back between them.
  if (folder.changed_ns % 1'000'000'000 == 0) return false;
  if (below().now_ns() - folder.changed_ns <= time_step_max_ns) return false;
  const IoResult type = below().file_system_type(directory);
  return type.ok() && type.value != storage::objects_magic &&
         storage::file_system_warning(static_cast<std::uint64_t>(type.value)).empty();
}

IoResult SharedListings::list(int directory, const std::string& prefix, std::vector<std::string>& names) {
  FileStatus before;
  // Who wants all names gains nothing from what is kept.
  if (prefix.empty() || !below().status(directory, before).ok()) return below().list(directory, prefix, names);
  std::shared_ptr<const Listing> listing = find(before);
  if (listing == nullptr) {
    if (!may_keep(directory, before)) return below().list(directory, prefix, names);
    const auto fresh = std::make_shared<Listing>();
    const std::int64_t clock = clock_offset_ns();
    if (const IoResult listed = below().list(directory, {}, fresh->names); !listed.ok()) return listed;
    std::sort(fresh->names.begin(), fresh->names.end());
    fresh->clock_ns = clock;
    FileStatus after;
    if (below().status(directory, after).ok() && after.changed_ns == before.changed_ns) {
      fresh->device = before.device;
      fresh->inode = before.inode;
      fresh->changed_ns = before.changed_ns;
      keep(fresh);
    }
    listing = fresh;
  }
  names.clear();
  auto name = std::lower_bound(listing->names.begin(), listing->names.end(), prefix);
  for (; name != listing->names.end() && name->starts_with(prefix); ++name) names.push_back(*name);
  return {0, 0};
}

}  // namespace pageserver::server
