// Whether image and log are still where the next opening looks for them. What a flush answers rests on that: bytes in a
// file that has no name any more are gone with the process.
#include <cerrno>
#include <utility>
#include <vector>

#include "storage/engine/core.hpp"
#include "storage/file/siblings.hpp"

namespace pageserver::storage {
namespace {

/// Whether the name leads elsewhere now. Where nothing can be learned, it does not.
bool is_elsewhere(const Folder& folder, const std::string& name, const File& file) noexcept {
  FileSystem& files = folder.file_system();
  FileStatus held, named;
  if (!retried([&] { return files.status(file.descriptor(), held); }).ok()) return false;
  const IoResult found = retried([&] { return files.status_beneath(folder.descriptor(), name, named); });
  if (!found.ok()) return found.error == ENOENT;
  return named.inode != held.inode || named.device != held.device;
}

}  // namespace

std::string Engine::image_misplaced() const {
  if (!is_elsewhere(folder_, image_name_, image_->file())) return {};
  const std::string change = image_->outside_change();
  return change.empty() ? "the path " + quoted(shown_path_) + " does not lead to the image any more" : change;
}

std::string Engine::log_misplaced() {
  std::vector<LogSegmentRef> needed;
  const auto is_needed = [this](const LogSegment& segment) PAGESERVER_REQUIRES(mutex_) {
    return segment.end_position > checkpointed_.position || segment.number == published().segments.back()->number;
  };
  {
    const Lock lock{mutex_};
    for (const LogSegmentRef& segment : published().segments)
      if (is_needed(*segment)) needed.push_back(segment);
  }
  for (const LogSegmentRef& segment : needed) {
    const std::string name = segment_name(image_name_, segment->number);
    if (!is_elsewhere(folder_, name, segment->file)) continue;
    // A checkpoint may have ended meanwhile, after which it goes by itself.
    const Lock lock{mutex_};
    if (published().segments.empty() || !is_needed(*segment)) continue;
    return "the file " + quoted(folder_.path_of(name)) +
           " of its log was removed or replaced, so that a crash would lose what it holds; put it back if it was "
           "renamed, or stop the store in order: that brings everything into the image";
  }
  return {};
}

void Engine::check_placement() {
  std::string found = image_misplaced();
  if (found.empty()) found = log_misplaced();
  if (found.empty()) return;
  const Lock lock{mutex_};
  if (stopping_) return;  // everything goes into the image, and finish_log() looks at that
  if (sync_error_.empty()) misplaced_ = true;
  throw MemoryError{Errc::provider_error, found};
}

void Engine::check_image_stays() const {
  FileStatus held;
  if (!retried([&] { return file_system_.status(image_->file().descriptor(), held); }).ok() || held.links != 0) return;
  throw MemoryError{Errc::provider_error,
                    "the image " + quoted(shown_path_) +
                        " was removed or replaced while it was served, and what it held is gone with this process; put "
                        "a copy in its place, and `pagectl recover` says what to do with the log"};
}

/// The names of files are wrong, and what is in them is right: the syncs themselves went well.
void Engine::forgive_misplaced() {
  const Lock lock{mutex_};
  if (std::exchange(misplaced_, false)) sync_error_.clear();
}

}  // namespace pageserver::storage
