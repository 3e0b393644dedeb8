#include "storage/log/image_note.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <utility>

#include "base/mutation.hpp"

namespace pageserver::storage {
namespace {

using namespace log_format;

constexpr std::int64_t second_ns = 1'000'000'000;

/// A file system may keep whole seconds only, or every second one, and forget the rest when it is mounted again.
bool same_time(std::int64_t a, std::int64_t b) noexcept {
  if (a == b) return true;
  // A file may say any time, also one that is too far away for the difference to be signed.
  const std::uint64_t apart = static_cast<std::uint64_t>(std::max(a, b)) - static_cast<std::uint64_t>(std::min(a, b));
  const auto whole = [&](std::int64_t unit) { return a % unit == 0 || b % unit == 0; };
  return (whole(second_ns) && apart < 2'000'000'000u) || (whole(1000) && apart < 1000);
}

std::string changed_text(std::int64_t modified_ns) { return ", and this one was changed at " + time_text(modified_ns); }

/// The page cache was never lost since: the note is our last word.
std::optional<std::string> exact_contradiction(const ImageNote& note, const FileStatus& image) {
  if (note.state == ImageNote::State::settled) {
    if (image.size_bytes != note.size_bytes)
      return std::to_string(note.size_bytes) + " bytes, and this one has " + std::to_string(image.size_bytes);
    if (same_time(image.modified_ns, note.modified_ns)) return std::nullopt;
    return "the modification time " + time_text(note.modified_ns) + changed_text(image.modified_ns);
  }
  if (image.modified_ns < note.modified_ns && !same_time(image.modified_ns, note.modified_ns))
    return "a modification time from " + time_text(note.modified_ns) + " on" + changed_text(image.modified_ns);
  if (note.until_ns != 0 && image.modified_ns > note.until_ns)
    return "a modification time of " + time_text(note.until_ns) + " at the latest" + changed_text(image.modified_ns);
  return std::nullopt;
}

/// Of note and image the last changes may be lost, each by itself.
std::optional<std::string> rough_contradiction(const ImageNote& note, const FileStatus& image, const Boot& boot) {
  if (image.modified_ns < note.durable_ns && !same_time(image.modified_ns, note.durable_ns))
    return "a modification time from " + time_text(note.durable_ns) + " on" + changed_text(image.modified_ns);
  const std::int64_t newest = std::max({note.written_ns, note.until_ns, note.modified_ns});
  // Unless the clock went back meanwhile.
  if (boot.started_ns != 0 && note.written_ns < boot.started_ns &&
      image.modified_ns > std::max(newest, boot.started_ns + boot_slack_ns))
    return "a modification time before this machine started, at " + time_text(boot.started_ns) +
           changed_text(image.modified_ns);
  if (image.modified_ns > newest + note_lost_ns)
    return "a modification time near " + time_text(note.written_ns) + changed_text(image.modified_ns);
  return std::nullopt;
}

std::uint64_t slot_of(const ImageNote& note) noexcept {
  return note_in_segment_at + note.sequence % note_slots * note_slot_bytes;
}

}  // namespace

std::string time_text(std::int64_t ns) {
  std::int64_t seconds = ns / second_ns, rest = ns % second_ns;
  if (rest < 0) rest += second_ns, --seconds;
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
  const bool same_boot = boot.id != 0 && note.boot_id == boot.id;
  return same_boot ? exact_contradiction(note, image) : rough_contradiction(note, image, boot);
}

std::optional<ImageNote> read_note(const LogSegment& segment) {
  if (segment.layout.note_at == 0) return std::nullopt;
  std::optional<ImageNote> newest;
  for (std::uint64_t slot = 0; slot < note_slots; ++slot) {
    std::array<std::byte, note_bytes> encoded{};
    const std::size_t there = segment.file.read_up_to(segment.layout.note_at + slot * note_slot_bytes, encoded);
    ImageNote note;
    if (decode_note(std::span{encoded}.first(there), note) != Decoded::valid || note.salt != segment.salt) continue;
    if (!newest || newest->sequence < note.sequence) newest = note;
  }
  return newest;
}

ImageNotes::ImageNotes(FileSystem& file_system, std::uint64_t salt, const FileStatus& image)
    : file_system_{file_system}, boot_{file_system.boot()} {
  note_.salt = salt;
  note_.state = ImageNote::State::settled;
  note_.size_bytes = image.size_bytes;
  note_.modified_ns = note_.durable_ns = image.modified_ns;
  note_.written_ns = file_system.now_ns();
  note_.boot_id = boot_.id;
}

void ImageNotes::resume(LogSegmentRef segment, const std::optional<ImageNote>& was, const FileStatus& image) {
  if (segment->layout.note_at == 0) return;
  ImageNote note = note_;
  note.sequence = 0;
  note.salt = segment->salt;
  note.durable_ns = was ? std::min(was->durable_ns, image.modified_ns) : 0;
  note.size_bytes = image.size_bytes;
  note.modified_ns = image.modified_ns;
  next_sequence_ = was ? was->sequence + 1 : 1;
  current_ = std::move(segment);
  write(note);
}

void ImageNotes::write_to(const LogSegment& segment, const ImageNote& note) const {
  std::array<std::byte, note_bytes> encoded;
  encode_note(note, encoded);
  segment.file.write(slot_of(note), encoded);
}

void ImageNotes::write(ImageNote note) {
  note.written_ns = file_system_.now_ns();
  std::array<LogSegmentRef, 2> written;  // a segment that began meanwhile needs it too
  Lock lock{mutex_};
  if (note.sequence == 0) note.sequence = next_sequence_++;
  for (;;) {
    const LogSegmentRef& missing = std::count(written.begin(), written.end(), beginning_) == 0 ? beginning_ : current_;
    if (!missing || std::count(written.begin(), written.end(), missing) != 0) break;
    const LogSegmentRef segment = missing;
    lock.unlock();
    write_to(*segment, note);
    written[0].swap(written[1]);
    written[0] = segment;
    lock.lock();
  }
  if (note_.sequence < note.sequence) {
    note.durable_ns = std::min(note.durable_ns, note_.durable_ns);
    note_ = note;
  }
}

/// A clock that went back has gone before the note, or will be once the note's time is long past.
bool ImageNotes::lasts(std::int64_t now_ns) const noexcept {
  return note_.state == ImageNote::State::changing && now_ns >= note_.written_ns &&
         now_ns + note_rest_ns <= note_.until_ns;
}

void ImageNotes::begin_change() {
  constexpr int attempts_max = 8;  // a disk may take long for each; what is there then has to do
  Lock lock{mutex_};
  ++changes_;
  ++changes_begun_;
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    const std::int64_t now = file_system_.now_ns();
    // One that is just being noted as settled holds from then on.
    if ((lasts(now) && !settling_) || mutated(Mutation::drop_image_note)) return;
    ImageNote changing = note_;
    changing.state = ImageNote::State::changing;
    changing.sequence = 0;
    if (now < changing.modified_ns) changing.modified_ns = now - 2 * second_ns;
    changing.durable_ns = std::min(changing.durable_ns, changing.modified_ns);
    changing.until_ns = now + note_lease_ns;
    lock.unlock();
    try {
      write(changing);
    } catch (...) {
      end_change();
      throw;
    }
    lock.lock();
  }
}

void ImageNotes::end_change() noexcept {
  const Lock lock{mutex_};
  --changes_;
}

void ImageNotes::settle(const File& image) noexcept {
  std::uint64_t changes_begun = 0;
  ImageNote settled;
  {
    const Lock lock{mutex_};
    if (changes_ != 0 || settling_ || note_.state == ImageNote::State::settled) return;
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
    settled.until_ns = 0;
    bool quiet = false;
    {
      const Lock lock{mutex_};
      quiet = changes_begun == changes_begun_;
      if (quiet) settled.sequence = next_sequence_++;  // whoever changes it from now on has a higher one
    }
    if (quiet) write(settled);
  } catch (const std::exception&) {
    // It stays as it is: the image may have changed.
  }
  const Lock lock{mutex_};
  settling_ = false;
}

void ImageNotes::repeat() noexcept {
  ImageNote note;
  {
    const Lock lock{mutex_};
    note = note_;
    note.sequence = next_sequence_++;
    if (changes_ != 0) {
      // Its own note may be on the way, with a lower sequence.
      note.state = ImageNote::State::changing;
      note.until_ns = 0;
    }
  }
  try {
    write(note);
  } catch (const std::exception&) {
    // The disk fails, which is said already.
  }
}

void ImageNotes::note_durable(std::int64_t modified_ns) noexcept {
  const Lock lock{mutex_};
  note_.durable_ns = modified_ns;
}

void ImageNotes::begin_segment(const LogSegmentRef& segment, std::span<std::byte> start) {
  ImageNote note;
  {
    const Lock lock{mutex_};
    note = note_;
  }
  encode_note(note, start.subspan(slot_of(note)).first<note_bytes>());
  segment->file.write(0, start);
  ImageNote later;
  {
    const Lock lock{mutex_};
    beginning_ = segment;
    later = note_;
  }
  // What was noted meanwhile went to the segment before alone, unless it is still being written.
  if (later.sequence > note.sequence) write_to(*segment, later);
}

void ImageNotes::forget_segment() noexcept {
  const Lock lock{mutex_};
  beginning_.reset();
}

void ImageNotes::keep_segment() noexcept {
  const Lock lock{mutex_};
  if (beginning_) current_ = std::move(beginning_);
  beginning_.reset();
}

void ImageNotes::close() noexcept {
  const Lock lock{mutex_};
  current_.reset();
  beginning_.reset();
}

}  // namespace pageserver::storage
