// Where two images differ.
#pragma once

#include <cstdint>
#include <functional>

#include "client/pagectl/images/image.hpp"
#include "client/pagectl/terminal/progress.hpp"

namespace pageserver::pagectl {

/// `count` pages from page `first`.
struct PageRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

/// Calls `differs` with the runs of pages that differ, each as long as it can be, in rising order. Pages that only
/// one of the images has differ. Returns their number.
std::uint64_t compare_images(Image& a, Image& b, Progress& progress,
                             const std::function<void(const PageRun&)>& differs);

/// Says on standard error when others published while a live view was read: the bytes read then mix versions. Returns
/// true when it is of one version.
bool check_one_version(Image& image, const std::optional<Version>& version_before);

}  // namespace pageserver::pagectl
