// What is known of the pages, for people: in steps that hold up neither readers nor the writer.
#include "storage/page_map.hpp"

#include <algorithm>

#include "storage/engine/engine.hpp"
#include "storage/file/mutation.hpp"

namespace pageserver::storage {
namespace {

// A step looks at so many pieces of the index, and at so many ranges of the image.
constexpr std::size_t pieces_at_once = 4096;
constexpr std::size_t ranges_at_once = 256;
// What one call looks at in all; the last tile is finished all the same.
constexpr std::size_t work_max = 65536;

struct PageState {
  bool data : 1;
  bool zeros : 1;
  bool logged : 1;
  bool held : 1;
  bool recent : 1;
};

}  // namespace

PageMap Engine::page_map(const PageMapRequest& request) {
  PageMap map;
  RecentWrites::View recent;
  RecentWrites::Versions room = RecentWrites::make_room();
  {
    const Lock lock{mutex_};
    check_open(published());
    if (!published().recent.watched()) {
      const ReadGate::Change change{gate_};
      published_.recent.watch(std::move(room));
    }
    recent = published().recent.view();
    map.pages = published().pages;
    map.version = {incarnation_, published().version};
  }
  map.next_page = request.first_page;
  std::vector<PageState> states;
  std::size_t work = 0;
  while (map.next_page < map.pages && map.tiles.size() < request.tiles_max && work < work_max) {
    const std::uint64_t first = map.next_page;
    const std::uint64_t end = first + std::min(request.pages_per_tile, map.pages - first);
    states.assign(end - first, PageState{});
    work += (end - first) / 64;
    for (std::uint64_t page = first; page < end; ++page)
      states[page - first].recent = recent.newest(page) > request.since_version;
    // The log before the image: what a checkpoint copies meanwhile is seen twice then, and not missed.
    for (std::uint64_t page = first; page < end; work += pieces_at_once / 4) {
      const ReadGate::Look look{gate_};
      page = published_.index.survey(page, end, pieces_at_once, [&](const LogIndex::Surveyed& seen) {
        for (std::uint64_t one = seen.first; one < seen.end; ++one) {
          PageState& state = states[one - first];
          state.data = seen.data;
          state.zeros = seen.zeros;
          state.logged = seen.live;
          state.held = seen.old;
          if (seen.newest > request.since_version) state.recent = true;
        }
      });
    }
    for (std::uint64_t offset = first * page_size; offset < end * page_size; ++work) {
      std::uint64_t until = end * page_size;
      for (const ByteRange& range : data_in_image(offset, until)) {
        const std::uint64_t last = (range.offset + range.length - 1) / page_size;
        for (std::uint64_t page = range.offset / page_size; page <= last; ++page)
          if (PageState& state = states[page - first]; !state.zeros) state.data = true;
        ++work;
      }
      offset = until;
    }
    PageTile tile;
    tile.pages = end - first;
    for (const PageState& state : states) {
      tile.data += state.data;
      tile.logged += state.logged;
      tile.held += state.held;
      tile.recent += state.recent;
    }
    map.tiles.push_back(tile);
    map.next_page = end;
  }
  return map;
}

std::vector<ByteRange> Engine::data_in_image(std::uint64_t offset, std::uint64_t& until) {
  std::uint64_t image_bytes = 0;
  ReadGate::Read read;
  {
    const ReadGate::Look look{gate_};
    check_open(published_);
    image_bytes = published_.image_bytes;
    read = gate_.begin_read(look);
  }
  const std::uint64_t in_file = std::min(until, image_bytes);
  std::vector<ByteRange> ranges;
  if (offset < in_file) {
    struct EndOfRead {
      Engine& engine;
      const ReadGate::Read& read;
      ~EndOfRead() { engine.end_read(read); }
    };
    const EndOfRead end{*this, read};
    run_read_planned();
    std::uint64_t described = in_file;
    ranges = image_->file().data_ranges(offset, in_file, ranges_at_once, described);
    if (described < in_file) until = std::max(described, offset + 1);
  } else {
    end_read(read);
  }
  return ranges;
}

}  // namespace pageserver::storage
