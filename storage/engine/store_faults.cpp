#include "storage/engine/store_faults.hpp"

#include <new>

#include "base/text.hpp"

namespace pageserver::storage {
namespace {

std::string checkpoint_text(const std::string& shown_path, std::string_view reason) {
  return "the log of " + base::quoted(shown_path) +
         " can't be copied into the image, so that nothing more is accepted; what was flushed is safe in the log. " +
         std::string{reason};
}

}  // namespace

StoreFaults::StoreFaults(std::string shown_path)
    : shown_path_{std::move(shown_path)},
      checkpoint_memory_error_{std::make_shared<MemoryError>(
          Errc::limit_exceeded, checkpoint_text(shown_path_, "Memory ran out; try again once there is more"))} {}

void StoreFaults::note_failed_sync() noexcept {
  if (sync_failed()) return;
  try {
    try {
      throw;
    } catch (const MemoryError& error) {
      sync_error_ = error.what();
    }
  } catch (...) {
    sync_error_ = "out of memory";  // few enough letters to take none
  }
}

MemoryError StoreFaults::not_durable_error() const {
  return {Errc::provider_error, "flush of " + base::quoted(shown_path_) + ": nothing is durable since a sync failed (" +
                                    sync_error_ + "); restart to recover from the log, and look after the disk"};
}

// A file that was renamed, and is the same when it is back, has all that was written meanwhile.
std::string StoreFaults::note_placement(const std::string& found) {
  std::string warning;
  if (found.empty() && !misplaced_.empty())
    warning = "image and log of " + base::quoted(shown_path_) +
              " are where they were again, and flushes go on; before: " + misplaced_;
  misplaced_ = found;
  is_misplaced_ = !found.empty();
  return warning;
}

MemoryError StoreFaults::misplaced_error(std::string_view action, const std::string& found) const {
  return {Errc::provider_error, std::string{action} + " " + base::quoted(shown_path_) + ": " + found +
                                    "; until then nothing is durable, and nothing more is accepted"};
}

void StoreFaults::note_failed_checkpoint() noexcept {
  try {
    throw;
  } catch (const MemoryError& error) {
    try {
      checkpoint_error_ = std::make_shared<MemoryError>(error.errc(), checkpoint_text(shown_path_, error.what()));
    } catch (const std::bad_alloc&) {
      checkpoint_error_ = checkpoint_memory_error_;
    }
  } catch (...) {
    checkpoint_error_ = checkpoint_memory_error_;
  }
}

}  // namespace pageserver::storage
