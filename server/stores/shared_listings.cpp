#include "server/stores/shared_listings.hpp"

#include <algorithm>
#include <utility>

#include "storage/file/file_system_warning.hpp"

namespace pageserver::server {

namespace {

using storage::FileStatus;
using storage::IoResult;

// File systems note times in steps, some in seconds: what changed twice within one looks as if it had once.
constexpr std::int64_t time_step_max_ns = 2'100'000'000;

bool begins(const std::string& name, const std::string& prefix) { return name.compare(0, prefix.size(), prefix) == 0; }

}  // namespace

std::shared_ptr<const SharedListings::Listing> SharedListings::find(const FileStatus& folder) {
  const Lock lock{mutex_};
  const auto found = std::find_if(listings_.begin(), listings_.end(), [&](const auto& one) {
    return one->inode == folder.inode && one->device == folder.device;
  });
  if (found == listings_.end()) return nullptr;
  if ((*found)->changed_ns != folder.changed_ns) {
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

bool SharedListings::may_keep(int directory, const FileStatus& folder) {
  // Times of whole seconds: too coarse to tell two changes apart, should the clock be set back between them.
  if (folder.changed_ns % 1'000'000'000 == 0) return false;
  if (below().now_ns() - folder.changed_ns <= time_step_max_ns) return false;
  const IoResult type = below().file_system_type(directory);
  return type.ok() && storage::file_system_warning(static_cast<std::uint64_t>(type.value)).empty();
}

IoResult SharedListings::list_beginning(int directory, const std::string& prefix, std::vector<std::string>& names) {
  FileStatus before;
  if (!below().status(directory, before).ok()) return below().list_beginning(directory, prefix, names);
  std::shared_ptr<const Listing> listing = find(before);
  if (listing == nullptr) {
    if (!may_keep(directory, before)) return below().list_beginning(directory, prefix, names);
    const auto fresh = std::make_shared<Listing>();
    if (const IoResult listed = below().list(directory, fresh->names); !listed.ok()) return listed;
    std::sort(fresh->names.begin(), fresh->names.end());
    FileStatus after;
    if (below().status(directory, after).ok() && after.changed_ns == before.changed_ns) {
      fresh->device = before.device;
      fresh->inode = before.inode;
      fresh->changed_ns = before.changed_ns;
      keep(fresh);
    }
    listing = fresh;
  }
  auto name = std::lower_bound(listing->names.begin(), listing->names.end(), prefix);
  for (; name != listing->names.end() && begins(*name, prefix); ++name) names.push_back(*name);
  return {0, 0};
}

}  // namespace pageserver::server
