#include "storage/engine/last_session.hpp"

#include <exception>

#include "storage/log/resume_file.hpp"

namespace pageserver::storage {

LastSession::LastSession(const ServedImage& image, std::uint32_t file_mode, const EntryBytes& found) noexcept
    : image_{image}, file_mode_{file_mode}, resumable_{found}, has_file_{found.size != 0} {}

std::optional<ResumeEntry> LastSession::resumable() const {
  EntryBytes entry;
  {
    const Lock lock{mutex_};
    entry = resumable_;
  }
  return decode_entry(entry.view());
}

bool LastSession::is(const EntryBytes& claim) const noexcept {
  const Lock lock{mutex_};
  return claim.size != 0 && claim == resumable_;
}

void LastSession::forget() noexcept {
  const Lock lock{mutex_};
  resumable_.size = 0;
}

void LastSession::keep(bool keeps) noexcept {
  const Lock lock{mutex_};
  keeps_ = keeps;
}

bool LastSession::is_kept() const noexcept {
  const Lock lock{mutex_};
  return keeps_;
}

void LastSession::leave_file(const EntryBytes& last_entry) {
  bool keeps = false, may_go_on = false;
  {
    const Lock lock{mutex_};
    keeps = keeps_ && last_entry.size != 0;
    may_go_on = resumable_.size != 0;
  }
  const Folder& folder = image_.folder();
  if (!keeps) {
    if (may_go_on || !has_file_) return;
    remove_resume_file(folder, image_.name());
    folder.sync();
    return;
  }
  try {
    write_resume_file(folder, image_.name(), last_entry, image_->file().status(), file_mode_);
  } catch (const MemoryError& error) {
    // Nothing that was published is lost with it: a client that comes back is told that the session is over.
    remove_resume_file(folder, image_.name());
    if (error.errc() != Errc::no_space) throw;
  }
}

void LastSession::drop_file() noexcept {
  if (!has_file_.exchange(false)) return;
  try {
    remove_resume_file(image_.folder(), image_.name());
  } catch (const std::exception&) {
    has_file_ = true;
  }
}

}  // namespace pageserver::storage
