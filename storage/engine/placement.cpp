// Looks whether image and log are still where the next opening looks for them. A flush is answered only then: bytes in
// a file without a name are gone with the process. While all is in place, a look takes no memory.
#include <optional>
#include <utility>

#include "storage/engine/engine.hpp"

namespace pageserver::storage {

std::string Engine::look_at_log(bool at_places_too) {
  const auto is_needed = [this](const LogSegment& segment) PAGESERVER_REQUIRES(mutex_) {
    return segment.end_position > bound_.checkpointed().position ||
           segment.number == published().segments.back()->number;
  };
  for (std::uint64_t from = 0;;) {
    LogSegmentRef segment;
    {
      const Lock lock{mutex_};
      for (const LogSegmentRef& one : published().segments) {
        if (one->first_position < from || !is_needed(*one)) continue;
        segment = one;
        break;
      }
    }
    if (!segment) return {};
    from = segment->first_position + 1;
    const std::optional<std::uint64_t> held_bytes = look_for_cut(*segment);
    if (!held_bytes) continue;
    if (!segment->cut) {
      const auto is_gone = [&] {
        FileStatus held;
        return retried([&] { return segment->file.file_system().status(segment->file.descriptor(), held); }).ok() &&
               is_elsewhere(image_.folder(), segment->name, held);
      };
      if (!at_places_too || !is_gone()) continue;
    }
    // A checkpoint may have ended meanwhile and removed the file.
    const Lock lock{mutex_};
    if (published().segments.empty() || !is_needed(*segment)) continue;
    const std::string file = "the file " + quoted(image_.folder().path_of(segment->name)) + " of its log ";
    if (!segment->cut)
      return file +
             "was removed or replaced, so that a crash would lose what it holds; put it back if it was renamed, or "
             "stop the store in order: that brings everything into the image";
    return file + "has " + std::to_string(*held_bytes) + " bytes and should have " +
           std::to_string(segment->file_bytes) +
           ": somebody emptied or cut it, and what it held and the image lacks is lost; reads of that fail. The log is "
           "kept as it is, and `pagectl recover --drop-log` goes on without it";
  }
}

std::string Engine::log_misplaced() { return look_at_log(true); }

void Engine::check_log_whole() {
  const std::string cut = look_at_log(false);
  if (!cut.empty()) throw MemoryError{Errc::damaged, quoted(image_.shown_path()) + ": " + cut};
}

std::string Engine::find_misplaced() {
  const std::int64_t moment = image_.names().now();
  const bool known = image_.names().is_known(moment);
  std::string found = image_.misplaced(!known);
  if (found.empty()) found = look_at_log(!known);
  if (found.empty()) image_.names().found_in_place(moment);
  return found;
}

void Engine::note_placement(const std::string& found) {
  // Another may have the store by now, and that removes files of the log: the loss of the store is what is told then.
  if (!found.empty() && !home_.may_answer()) return;
  std::string warning = faults_.note_placement(found);
  if (!warning.empty()) image_changes_.warn(std::move(warning));
}

void Engine::check_placement(std::string_view action) {
  const std::string found = find_misplaced();
  const Lock lock{mutex_};
  note_placement(found);
  if (!found.empty()) throw faults_.misplaced_error(action, found);
}

}  // namespace pageserver::storage
