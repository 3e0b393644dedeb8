#include "client/pagectl/work/compare.hpp"

#include <algorithm>
#include <cstring>

#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/work/block_reader.hpp"

namespace pageserver::pagectl {
namespace {

/// Joins pages, which come in rising order and may come twice, into ranges.
class RangeJoiner {
public:
  explicit RangeJoiner(const std::function<void(const PageRun&)>& out) : out_(out) {}
  void add(std::uint64_t first, std::uint64_t count = 1) {
    const std::uint64_t end = first + count;
    if (range_.count > 0 && first <= range_.first + range_.count) {
      if (end <= range_.first + range_.count) return;
      total_ += end - (range_.first + range_.count);
      range_.count = end - range_.first;
      return;
    }
    finish();
    range_ = {first, count};
    total_ += count;
  }
  std::uint64_t finish() {
    if (range_.count > 0) out_(range_);
    range_ = {};
    return total_;
  }

private:
  const std::function<void(const PageRun&)>& out_;
  PageRun range_;
  std::uint64_t total_ = 0;
};

void compare_block(const Block& block, RangeJoiner& joiner) {
  const std::byte* const a = block.bytes[0].data();
  const std::byte* const b = block.bytes[1].data();
  for (std::uint32_t at = 0; at < block.length;) {
    const std::uint64_t offset = block.offset + at;
    const auto part =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(block.length - at, page_size - offset % page_size));
    if (std::memcmp(a + at, b + at, part) != 0) joiner.add(offset / page_size);
    at += part;
  }
}

}  // namespace

std::uint64_t compare_images(Image& a, Image& b, Progress& progress,
                             const std::function<void(const PageRun&)>& differs) {
  const std::uint64_t pages_a = a.pages();
  const std::uint64_t pages_b = b.pages();
  const std::uint64_t common = std::min(pages_a, pages_b);
  DataScan scan({&a, &b}, 0, common * page_size);
  BlockReader reader({&a, &b}, [&] { return scan.next(); });
  RangeJoiner joiner(differs);
  while (const auto block = reader.next()) {
    compare_block(*block, joiner);
    progress.update(block->offset + block->length);
  }
  progress.update(common * page_size);
  const std::uint64_t longer = std::max(pages_a, pages_b);
  if (longer > common) joiner.add(common, longer - common);
  return joiner.finish();
}

bool check_one_version(Image& image, const std::optional<Version>& version_before) {
  if (const std::string why = image.why_unstable(); !why.empty()) {
    complain("warning: " + image.name() + " " + why + ", and what was read may be a mixture");
    return false;
  }
  if (image.is_stable()) return true;
  const auto now = image.version();
  if (now == version_before) return true;
  complain("warning: " + image.name() + " was changed while it was read: version " +
           (version_before ? version_text(*version_before) : "?") + " became " + (now ? version_text(*now) : "?") +
           ", and what was read may be a mixture");
  return false;
}

}  // namespace pageserver::pagectl
