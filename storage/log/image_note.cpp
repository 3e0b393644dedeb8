#include "storage/log/image_note.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "storage/file/mutation.hpp"

namespace pageserver::storage {
namespace {

using namespace log_format;

constexpr std::int64_t ns_per_second = 1'000'000'000;

/// The latest time in the note, with the time when it was written.
std::int64_t newest_of(const ImageNote& note) noexcept {
  if (note.state == ImageNote::State::changing && note.until_ns == 0) return any_time_ns;
  return std::max({note.written_ns, note.until_ns, note.modified_ns});
}

std::string changed_text(std::int64_t modified_ns) { return ", and this one was changed at " + time_text(modified_ns); }

/// For the same run of the system: the page cache was not lost, so the note is the newest that was written.
std::optional<std::string> exact_contradiction(const ImageNote& note, const FileStatus& image) {
  if (note.state == ImageNote::State::settled) {
    if (image.size_bytes != note.size_bytes)
      return std::to_string(note.size_bytes) + " bytes, and this one has " + std::to_string(image.size_bytes);
    if (is_same_file_time(image.modified_ns, note.modified_ns)) return std::nullopt;
    return "the modification time " + time_text(note.modified_ns) + changed_text(image.modified_ns);
  }
  if (image.modified_ns == 0) return std::nullopt;  // nobody else can change it there
  if (image.modified_ns < note.modified_ns && !is_same_file_time(image.modified_ns, note.modified_ns))
    return "a modification time from " + time_text(note.modified_ns) + " on" + changed_text(image.modified_ns);
  if (note.until_ns != 0 && image.modified_ns > note.until_ns)
    return "a modification time of " + time_text(note.until_ns) + " at the latest" + changed_text(image.modified_ns);
  return std::nullopt;
}

/// For a later run of the system: the newest notes may be lost, and the image's newest changes, each without the other.
std::optional<std::string> rough_contradiction(const ImageNote& note, const FileStatus& image, const Boot& boot) {
  if (image.modified_ns == 0) return std::nullopt;
  if (image.modified_ns < note.durable_ns - clock_slack_ns)
    return "a modification time from " + time_text(note.durable_ns) + " on" + changed_text(image.modified_ns);
  const std::int64_t newest = newest_of(note);
  // A time after this start can't be the store's. But the store's last changes may have a time from before the clock
  // was set back: so the note's own times are allowed as well.
  if (boot.started_ns != 0 && note.written_ns < boot.started_ns &&
      image.modified_ns > std::max(newest + note_writeback_ns, boot.started_ns + boot_slack_ns))
    return "a modification time before this machine started, at " + time_text(boot.started_ns) +
           changed_text(image.modified_ns);
  if (image.modified_ns > newest + note_lost_ns)
    return "a modification time near " + time_text(note.written_ns) + changed_text(image.modified_ns);
  return std::nullopt;
}

}  // namespace

// Some keep whole seconds, or every second one, and
/// forget the rest when they are mounted again.
bool is_same_file_time(std::int64_t a, std::int64_t b) noexcept {
  if (a == b) return true;
  // Unsigned: a file may have any time, and a signed difference could overflow.
  const std::uint64_t apart = static_cast<std::uint64_t>(std::max(a, b)) - static_cast<std::uint64_t>(std::min(a, b));
  const auto whole = [&](std::int64_t unit) { return a % unit == 0 || b % unit == 0; };
  return (whole(ns_per_second) && apart < 2'000'000'000u) || (whole(1000) && apart < 1000);
}

std::string time_text(std::int64_t ns) {
  std::int64_t seconds = ns / ns_per_second, rest = ns % ns_per_second;
  if (rest < 0) rest += ns_per_second, --seconds;
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  std::array<char, 64> date{};
  if (::gmtime_r(&time, &parts) == nullptr || std::strftime(date.data(), date.size(), "%Y-%m-%d %H:%M:%S", &parts) == 0)
    return std::to_string(ns) + " ns";
  std::array<char, 32> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%09lld UTC", static_cast<long long>(rest));
  return std::string{date.data()} + fraction.data();
}

std::optional<std::string> note_contradicts(const ImageNote& note, const FileStatus& image, const Boot& boot) {
  if (note.state == ImageNote::State::foreign)
    return "the modification time " + time_text(note.modified_ns) +
           ", which somebody else changed while it was served" + changed_text(image.modified_ns);
  const bool same_boot = boot.id != 0 && note.boot_id == boot.id;
  return same_boot ? exact_contradiction(note, image) : rough_contradiction(note, image, boot);
}

std::optional<ImageNote> read_note(const LogSegment& segment) {
  const SegmentLayout& layout = segment.layout;
  std::optional<ImageNote> newest;
  for (std::uint64_t place = 0; place < layout.note_blocks * note_slots; ++place) {
    std::array<std::byte, note_bytes> encoded{};
    const std::size_t there = segment.file.read_up_to(layout.note_place(place), encoded);
    ImageNote note;
    if (decode_note(std::span{encoded}.first(there), note) != Decoded::valid || note.salt != segment.salt) continue;
    // A file that is used again may still have notes of an earlier segment.
    if (note.number != (layout.note_blocks == 1 ? 0 : segment.number)) continue;
    if (!newest || newest->sequence < note.sequence) newest = note;
  }
  return newest;
}

ImageNotes::ImageNotes(const Folder& folder, std::uint64_t salt, const FileStatus& image)
    : folder_{folder},
      file_system_{folder.file_system()},
      has_boot_{!is_beyond_this_machine(folder)},
      boot_id_{boot().id},
      started_ns_{boot().started_ns} {
  note_.salt = salt;
  note_.state = ImageNote::State::settled;
  note_.size_bytes = image.size_bytes;
  note_.modified_ns = note_.durable_ns = image.modified_ns;
  note_.written_ns = file_system_.now_ns();
  note_.boot_id = boot_id_;
  explained_earliest_ns_ = note_.durable_ns;
  explained_latest_ns_ = newest_of(note_);
}

bool ImageNotes::resume(LogSegmentRef segment, const std::optional<ImageNote>& was, std::uint64_t last_sequence,
                        const FileStatus& image) {
  if (segment->layout.note_blocks == 0) return true;
  ImageNote note;
  {
    const Lock lock{mutex_};
    note = note_;
    note.sequence = 0;
    note.salt = segment->salt;
    note.durable_ns = was ? std::min(was->durable_ns, image.modified_ns) : 0;
    note.size_bytes = image.size_bytes;
    note.modified_ns = image.modified_ns;
    // After a kill the disk may still have an earlier time of the image.
    const bool known = was && (was->state != ImageNote::State::changing || was->until_ns != 0);
    latest_ns_ = note.until_ns = known ? std::max({was->until_ns, was->modified_ns, image.modified_ns}) : any_time_ns;
    next_sequence_ = last_sequence + 1;
    current_ = std::move(segment);
  }
  // Synced, so that no earlier note holds once the image changes.
  try {
    write(note, true);
    return true;
  } catch (const NoteSyncError&) {
    {
      const Lock lock{mutex_};
      explained_latest_ns_ = 0;  // so the first change syncs another note
    }
    write(note);
    return false;
  }
}

void ImageNotes::write_to(const LogSegment& segment, ImageNote note) const {
  std::array<std::byte, note_bytes> encoded;
  note.number = segment.layout.note_blocks == 1 ? 0 : segment.number;
  encode_note(note, encoded);
  segment.file.write(segment.layout.note_place(note.sequence), encoded);
}

void ImageNotes::write(ImageNote note, bool lasting) {
  const std::int64_t started_ns = boot().started_ns;
  note.written_ns = file_system_.now_ns();
  std::array<LogSegmentRef, 2> written;  // a segment that was begun meanwhile needs the note, too
  Lock lock{mutex_};
  if (note.sequence == 0) {
    note.sequence = next_sequence_;
    next_sequence_ += lasting ? 2 : 1;
  }
  const std::uint64_t next_sequence = next_sequence_;
  explained_earliest_ns_ = std::max(explained_earliest_ns_, note.durable_ns);
  explained_latest_ns_ = std::min(explained_latest_ns_, newest_of(note));
  for (;;) {
    const LogSegmentRef& missing = std::count(written.begin(), written.end(), beginning_) == 0 ? beginning_ : current_;
    if (!missing || std::count(written.begin(), written.end(), missing) != 0) break;
    const LogSegmentRef segment = missing;
    if (segment == current_) write_lost_header();
    lock.unlock();
    write_to(*segment, note);
    if (lasting) {
      ImageNote other = note;
      ++other.sequence;
      write_to(*segment, other);
      try {
        // The folder as well: if the new segment's name were lost, the older note in the segment before would hold.
        segment->file.sync_data();
        folder_.sync();
      } catch (const MemoryError& error) {
        throw NoteSyncError{error};
      }
    }
    written[0].swap(written[1]);
    written[0] = segment;
    lock.lock();
    if (lasting && segment == current_) header_lasts_ = true;
  }
  if (lasting) ++note.sequence;
  if (note_.sequence >= note.sequence) return;
  note.durable_ns = std::min(note.durable_ns, note_.durable_ns);
  note_ = note;
  if (!lasting || next_sequence != next_sequence_) return;
  explained_earliest_ns_ = note.durable_ns;
  explained_latest_ns_ = newest_of(note);
  started_ns_ = started_ns;
}

/// Whether the note allows a change that begins now. A clock that was set back is before the time when the note was
/// written.
bool ImageNotes::lasts(std::int64_t now_ns) const noexcept {
  return note_.state == ImageNote::State::changing && now_ns >= note_.written_ns &&
         now_ns + note_rest_ns <= note_.until_ns;
}

bool ImageNotes::is_explained(std::int64_t now_ns) const noexcept {
  if (mutated(Mutation::skip_note_sync)) return true;
  const std::int64_t clock_moved = boot().started_ns - started_ns_;
  return now_ns <= explained_latest_ns_ + note_age_ns && now_ns >= explained_earliest_ns_ - clock_slack_ns &&
         std::abs(clock_moved) <= clock_slack_ns;
}

// `until_ns` is not earlier than the image's own time: the clock may have been set back since the last change.
ImageNote ImageNotes::changing(std::int64_t now_ns) noexcept {
  ImageNote note = note_;
  note.state = ImageNote::State::changing;
  note.sequence = 0;
  note.until_ns = now_ns + note_lease_ns;
  if (!mutated(Mutation::forget_future_note)) {
    const std::int64_t left_ns = note_.state == ImageNote::State::settled ? note_.modified_ns : 0;
    note.until_ns = latest_ns_ = std::max({note.until_ns, left_ns, latest_ns_});
  }
  note.modified_ns = std::min(note_.modified_ns, now_ns - clock_slack_ns);
  if (now_ns < note.durable_ns) note.durable_ns = note.modified_ns;
  return note;
}

void ImageNotes::begin_change(const File& image) {
  constexpr int attempts_max =
      8;  // on a slow disk a note may be out of date once it is written: the last one has to do
  Lock lock{mutex_};
  ++changes_begun_;
  if (++changes_ == 1) look(image);
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    const std::int64_t now = file_system_.now_ns();
    if (note_.state == ImageNote::State::foreign || mutated(Mutation::drop_image_note)) return;
    // While settle() writes its note, which will hold, a new one is needed in any case.
    const bool explained = is_explained(now);
    if (lasts(now) && explained && !settling_) {
      latest_ns_ = std::max(latest_ns_, note_.until_ns);
      return;
    }
    const ImageNote next = changing(now);
    lock.unlock();
    try {
      write(next, !explained);
    } catch (...) {
      lock.lock();
      --changes_;
      throw;
    }
    lock.lock();
  }
}

void ImageNotes::end_change() noexcept {
  Lock lock{mutex_};
  const std::int64_t now = file_system_.now_ns();
  const bool holds =
      note_.state != ImageNote::State::changing || (now >= note_.written_ns - clock_slack_ns && now <= note_.until_ns);
  if (!holds) {
    // The clock was set during the change, or the change took long: the image's time may be outside of the note's.
    const ImageNote next = changing(now);
    lock.unlock();
    try {
      write(next);
    } catch (const std::exception&) {
      // The disk fails: the next change throws that.
    }
    lock.lock();
  }
  --changes_;
}

void ImageNotes::look(const File& image) noexcept {
  if (note_.state != ImageNote::State::settled) return;
  const std::uint64_t sequence = note_.sequence, changes_begun = changes_begun_;
  FileStatus status;
  bool seen = false;
  {
    const Unlocked unlocked{mutex_};
    seen = retried([&] { return file_system_.status(image.descriptor(), status); }).ok();
  }
  if (!seen || note_.sequence != sequence || changes_begun_ != changes_begun) return;
  if (status.size_bytes == note_.size_bytes && is_same_file_time(status.modified_ns, note_.modified_ns)) return;
  note_foreign(status);
}

void ImageNotes::note_foreign(const FileStatus& found) noexcept {
  note_.state = ImageNote::State::foreign;
  note_.until_ns = latest_ns_;
  foreign_ns_ = found.modified_ns;
  ImageNote note = note_;
  note.sequence = 0;
  const Unlocked unlocked{mutex_};
  try {
    write(note);
  } catch (const std::exception&) {
    // The note before stays, and says what the image was.
  }
}

std::optional<std::int64_t> ImageNotes::foreign_ns() const {
  const Lock lock{mutex_};
  return foreign_ns_;
}

bool ImageNotes::wants_to_settle() noexcept {
  constexpr std::int64_t pause_ns = 100'000'000;
  const Lock lock{mutex_};
  const std::int64_t now = file_system_.now_ns();
  if (now < settle_from_ns_ && settle_from_ns_ - now <= pause_ns) return false;
  settle_from_ns_ = now + pause_ns;
  return true;
}

void ImageNotes::settle(const File& image) noexcept {
  std::uint64_t changes_begun = 0;
  ImageNote settled;
  {
    Lock lock{mutex_};
    if (changes_ != 0 || settling_ || note_.state == ImageNote::State::foreign) return;
    if (note_.state == ImageNote::State::settled) return look(image);
    settling_ = true;
    changes_begun = changes_begun_;
    settled = note_;
  }
  try {
    const FileStatus status = image.status();
    settled.state = ImageNote::State::settled;
    settled.size_bytes = status.size_bytes;
    settled.modified_ns = status.modified_ns;
    settled.durable_ns = std::min(settled.durable_ns, settled.modified_ns);
    bool quiet = false;
    {
      Lock lock{mutex_};
      quiet = changes_begun == changes_begun_;
      const bool ours = !exact_contradiction(note_, status);
      if (quiet && !ours) note_foreign(status);
      quiet = quiet && ours;
      settled.until_ns = latest_ns_;
      if (quiet) settled.sequence = next_sequence_++;  // now, so that a later change has a higher one
    }
    if (quiet) write(settled);
  } catch (const std::exception&) {
    // The note stays: the image may have changed.
  }
  const Lock lock{mutex_};
  settling_ = false;
}

// Not a header that is durable: it would be torn if power failed.
void ImageNotes::write_lost_header() {
  if (!header_lost_) return;
  const LogSegmentRef segment = current_;
  const Header header = current_header_;
  {
    const Unlocked unlocked{mutex_};
    segment->file.write(0, header);
  }
  if (segment == current_) header_lost_ = false;
}

void ImageNotes::header_synced(const LogSegment& segment) noexcept {
  const Lock lock{mutex_};
  if (current_.get() == &segment) header_lasts_ = true;
}

void ImageNotes::repeat(bool with_header) noexcept {
  ImageNote note;
  {
    const Lock lock{mutex_};
    if (with_header && current_ && !header_lasts_) header_lost_ = true;
    // A change under way may just be writing its note, with a lower sequence: this one must allow it, too.
    note = changes_ != 0 && note_.state != ImageNote::State::foreign ? changing(file_system_.now_ns()) : note_;
    note.sequence = next_sequence_++;
  }
  try {
    write(note);
  } catch (const std::exception&) {
    // The disk fails: the failed sync has said so.
  }
}

ImageNotes::Sync ImageNotes::begin_sync(const File& image) {
  Sync sync;
  {
    const Lock lock{mutex_};
    sync.changes_begun = changes_begun_;
    sync.quiet = changes_ == 0;
  }
  sync.modified_ns = image.status().modified_ns;
  return sync;
}

// A change during the sync may have a time that the sync did not cover: then `latest_ns_` stays.
void ImageNotes::end_sync(const Sync& sync) noexcept {
  const Lock lock{mutex_};
  if (sync.quiet && sync.changes_begun == changes_begun_) latest_ns_ = 0;
  if (note_.state != ImageNote::State::foreign) note_.durable_ns = sync.modified_ns;
}

void ImageNotes::begin_segment(const LogSegmentRef& segment, std::span<std::byte> start) {
  ImageNote note;
  {
    const Lock lock{mutex_};
    note = note_;
  }
  note.number = segment->number;
  note.written_ns = file_system_.now_ns();
  encode_note(note, start.subspan(segment->layout.note_place(note.sequence)).first<note_bytes>());
  segment->file.write(0, start);
  ImageNote later;
  {
    const Lock lock{mutex_};
    beginning_ = segment;
    std::copy_n(start.begin(), beginning_header_.size(), beginning_header_.begin());
    later = note_;
  }
  // A note that was written meanwhile went to the old segment alone.
  if (later.sequence > note.sequence) write_to(*segment, later);
}

void ImageNotes::forget_segment() noexcept {
  const Lock lock{mutex_};
  beginning_.reset();
}

void ImageNotes::keep_segment() noexcept {
  const Lock lock{mutex_};
  if (beginning_) {
    current_ = std::move(beginning_);
    current_header_ = beginning_header_;
    header_lost_ = header_lasts_ = false;
  }
  beginning_.reset();
}

void ImageNotes::close() noexcept {
  const Lock lock{mutex_};
  current_.reset();
  beginning_.reset();
}

}  // namespace pageserver::storage
