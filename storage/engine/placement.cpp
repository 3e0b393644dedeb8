// Whether image and log are still where the next opening looks for them. What a flush answers rests on that: bytes in a
// file that has no name any more are gone with the process.
#include <sys/stat.h>

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

/// Whether the path leads to another file now, or to another folder without one: the next opening would take that. Not
/// when it leads nowhere: whoever moved the folder knows where image and log are.
bool leads_elsewhere(const Folder& folder, const File& file) noexcept {
  FileSystem& files = folder.file_system();
  FileStatus held, found;
  // One that is not absolute is another's by now if the program went to another folder.
  if (!file.path().starts_with('/')) return false;
  if (!retried([&] { return files.status(file.descriptor(), held); }).ok()) return false;
  const IoResult named = retried([&] { return files.status_of(file.path(), found); });
  if (named.ok()) return found.inode != held.inode || found.device != held.device;
  if (named.error != ENOENT || !retried([&] { return files.status(folder.descriptor(), held); }).ok()) return false;
  if (!retried([&] { return files.status_of(parent_folder(file.path()), found); }).ok()) return false;
  return S_ISDIR(found.mode) && (found.inode != held.inode || found.device != held.device);
}

}  // namespace

std::string Engine::image_misplaced() const {
  const File& file = image_->file();
  if (is_elsewhere(folder_, image_name_, file)) {
    const std::string change = image_->outside_change();
    return change.empty() ? "the path " + quoted(shown_path_) + " does not lead to the image any more" : change;
  }
  if (!leads_elsewhere(folder_, file)) return {};
  return "the folder of " + quoted(shown_path_) +
         " was replaced by another one, where the next start would look for the image: put the folder back, or stop "
         "the store in order, which brings everything into the image where it is now";
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

std::string Engine::find_misplaced() {
  const std::string found = image_misplaced();
  return found.empty() ? log_misplaced() : found;
}

// A file that was renamed, and is the same when it is back, has all that was written meanwhile.
void Engine::note_placement(const std::string& found) {
  if (found.empty() && !misplaced_.empty())
    watch_.warn("image and log of " + quoted(shown_path_) +
                " are where they were again, and flushes go on; before: " + misplaced_);
  misplaced_ = found;
  is_misplaced_ = !found.empty();
}

void Engine::check_placement(std::string_view action) {
  const std::string found = find_misplaced();
  const Lock lock{mutex_};
  note_placement(found);
  if (!found.empty()) throw misplaced_error(action, found);
}

MemoryError Engine::misplaced_error(std::string_view action, const std::string& found) const {
  return {Errc::provider_error, std::string{action} + " " + quoted(shown_path_) + ": " + found +
                                    "; until then nothing is durable, and nothing more is accepted"};
}

// Where a file system counts no names, a file that has its name is not gone.
void Engine::check_image_stays() const {
  FileStatus held;
  if (!retried([&] { return file_system_.status(image_->file().descriptor(), held); }).ok() || held.links != 0) return;
  if (!is_elsewhere(folder_, image_name_, image_->file())) return;
  throw MemoryError{Errc::provider_error,
                    "the image " + quoted(shown_path_) +
                        " was removed or replaced while it was served, and what it held is gone with this process; put "
                        "a copy in its place, and `pagectl recover` says what to do with the log"};
}

}  // namespace pageserver::storage
