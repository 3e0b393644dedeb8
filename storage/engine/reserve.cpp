// Reserves the image's blocks for a publish before it is answered, and gives them back when it is refused.
#include <algorithm>
#include <utility>

#include "storage/engine/engine.hpp"

namespace pageserver::storage {

void Engine::reserve_blocks(Publishing& publishing, std::span<const LogRange> ranges, std::vector<PageRun>& reserved) {
  constexpr std::size_t runs_at_once = 256;
  std::vector<PageRun> wanted = pages_with_data(ranges);
  const std::size_t count = wanted.size();
  std::vector<PageRun> missing;
  std::size_t at = 0;
  {
    // From now on a checkpoint makes no hole of these pages, or reserves their blocks again.
    const Lock lock{mutex_};
    if (!reservations_.possible()) return;
    reservations_.begin_publish(std::move(wanted));
    at = reservations_.missing(at, runs_at_once, missing);
  }
  bool changed = false;
  for (;;) {
    if (missing.empty()) {
      if (at == count) break;
      const Lock lock{mutex_};
      at = reservations_.missing(at, runs_at_once, missing);
      continue;
    }
    reserved.reserve(reserved.size() + missing.size());
    for (const PageRun& run : missing) {
      if (has_blocks(run)) continue;
      reserved.push_back(run);  // before the call: one that fails may have reserved a part
      changed = true;
      const ImageChanges::Change change = change_image();
      if (image_->file().reserve(run.first * page_size, (run.end - run.first) * page_size)) continue;
      publishing.unreservable = true;
      return;
    }
    const Lock lock{mutex_};
    reservations_.add(missing);
    missing.clear();
  }
  if (changed) consider_settling();
}

bool Engine::has_blocks(const PageRun& run) const {
  const std::uint64_t end = run.end * page_size;
  if (end > image_->size()) return false;
  const IoResult hole =
      retried([&] { return image_.file_system().seek_hole(image_->file().descriptor(), run.first * page_size); });
  return hole.ok() && static_cast<std::uint64_t>(hole.value) >= end;
}

// Gives back blocks only of pages that are a hole for the file system and have no piece in the index: those hold no
// data, and belong to no publish that took effect. (Blocks that another program has reserved without writing to them
// may go as well.) Nobody else publishes meanwhile, and a checkpoint writes only pages that the index has.
void Engine::give_back_blocks(std::span<const PageRun> reserved) noexcept {
  constexpr std::size_t ranges_max = 1024;
  if (reserved.empty()) return;
  try {
    std::vector<PageRun> unused;
    {
      const Lock lock{mutex_};
      for (const PageRun& run : reserved) {
        for (std::uint64_t page = run.first; page < run.end; ++page) {
          const std::uint64_t used = std::min(published().index.next_page(page), run.end);
          if (page < used) unused.push_back({page, used});
          page = used;
        }
      }
      reservations_.remove(unused);
    }
    for (const PageRun& run : unused) {
      const std::uint64_t end = std::min(run.end, image_->pages()) * page_size;
      for (std::uint64_t at = run.first * page_size; at < end;) {
        std::uint64_t until = at;
        for (const ByteRange& data : image_->data_ranges(at, end - at, ranges_max, until)) {
          give_back_hole(at, data.offset);
          at = data.offset + data.length;
        }
        give_back_hole(at, until);
        at = until;
      }
    }
    if (!unused.empty()) give_back_past_end(unused.back().end);
  } catch (const std::exception&) {
    // The blocks stay reserved: a later publish of these pages uses them.
  }
}

void Engine::give_back_hole(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  const ImageChanges::Change change = change_image();
  static_cast<void>(image_->file().punch_hole(begin, end - begin));
}

// Gives back blocks past the file's end. That takes a truncation, which frees all of them. While a round is under way,
// which may make the file longer, they stay.
void Engine::give_back_past_end(std::uint64_t end_page) {
  std::uint64_t pages = 0;
  {
    const Lock lock{mutex_};
    pages = image_->pages();
    if (!round_.idle() || end_page <= pages || reservations_.any_from(pages)) return;
    round_.hold_off(true);
  }
  const File& file = image_->file();
  FileStatus status;
  try {
    const ImageChanges::Change change = change_image();
    // If the file has another size, somebody else has set it: then it is left alone.
    if (image_.file_system().status(file.descriptor(), status).ok() && status.size_bytes == pages * page_size)
      static_cast<void>(image_.file_system().truncate(file.descriptor(), pages * page_size));
  } catch (const MemoryError&) {
    // The change can't be noted in the log: the blocks stay.
  }
  const Lock lock{mutex_};
  round_.hold_off(false);
  consider_checkpoint();
}

}  // namespace pageserver::storage
