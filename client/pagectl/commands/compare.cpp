// diff and hash: what two images, or an image and a number, say about each other.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/commands/compare_layouts.hpp"
#include "client/pagectl/commands/describe.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/terminal/progress.hpp"
#include "client/pagectl/work/compare.hpp"
#include "client/pagectl/work/hash.hpp"

namespace pageserver::pagectl {
namespace {

using Json = nlohmann::ordered_json;

std::unique_ptr<Image> open_to_read(const Context& context, const std::string& uri, const std::string& command) {
  OpenMode mode;
  mode.progress = context.progress_kind();
  mode.one_version = true;
  mode.session_name = "pagectl " + command;
  return open_image(uri, mode);
}

Json side_json(Image& image, std::uint64_t pages, const std::optional<Version>& version) {
  return {
      {"uri", image.name()}, {"size_bytes", pages * page_size}, {"pages", pages}, {"version", version_json(version)}};
}

std::string range_text(const PageRun& range) {
  if (range.count == 1) return "page " + std::to_string(range.first);
  return "pages " + std::to_string(range.first) + "-" + std::to_string(range.first + range.count - 1);
}

}  // namespace

int run_diff(Context& context, const DiffOptions& options) {
  context.failed_status = exit_usage;  // as cmp(1) and diff(1): 1 says that they differ
  const auto a = open_to_read(context, options.first, "diff");
  const auto b = open_to_read(context, options.second, "diff");
  if (options.layout) return compare_layouts(context, *a, *b);
  const auto version_a = a->version();
  const auto version_b = b->version();
  const std::uint64_t pages_a = a->pages();
  const std::uint64_t pages_b = b->pages();
  auto ranges = Json::array();
  std::uint64_t differing = 0;
  {
    Progress progress(context.progress_kind(), "diff", std::min(pages_a, pages_b) * page_size);
    differing = compare_images(*a, *b, progress, [&](const PageRun& range) {
      if (context.json) {
        ranges.push_back({{"page", range.first}, {"pages", range.count}});
      } else {
        context.note(range_text(range));
      }
    });
  }
  const bool stable_a = check_one_version(*a, version_a);
  const bool stable_b = check_one_version(*b, version_b);
  if (context.json) {
    context.out.json({{"same", differing == 0},
                      {"a", side_json(*a, pages_a, version_a)},
                      {"b", side_json(*b, pages_b, version_b)},
                      {"consistent", stable_a && stable_b},
                      {"pages_differing", differing},
                      {"ranges", std::move(ranges)}});
  }
  if (pages_a != pages_b) {
    context.note("sizes differ: " + options.first + " has " + pages_text(pages_a) + ", " + options.second + " has " +
                 pages_text(pages_b));
  }
  return differing == 0 ? exit_done : exit_failed;
}

int run_hash(Context& context, const HashOptions& options) {
  const auto image = open_to_read(context, options.uri, "hash");
  const auto version = image->version();
  const std::uint64_t size_bytes = image->size_bytes();
  std::uint64_t hash = 0;
  {
    Progress progress(context.progress_kind(), "hash", size_bytes);
    hash = hash_image(*image, progress);
  }
  const bool consistent = check_one_version(*image, version);
  if (context.json) {
    context.out.json({{"store", options.uri},
                      {"hash", hex16(hash)},
                      {"algorithm", "XXH3-64"},
                      {"size_bytes", size_bytes},
                      {"version", version_json(version)},
                      {"consistent", consistent}});
  } else {
    context.result(hex16(hash));
  }
  return exit_done;
}

}  // namespace pageserver::pagectl
