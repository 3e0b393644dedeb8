// What others do beside the store of a simulation: processes that want its image, and a disk that damages its log.
#include <algorithm>

#include "storage/engine/recovery.hpp"
#include "storage/file/siblings.hpp"
#include "storage/image/file_provider_access.hpp"
#include "storage/log/log_codec.hpp"
#include "tests/crash/in_call.hpp"
#include "tests/crash/simulation.hpp"

namespace pageserver::test {

using storage::Decoded;

namespace {

struct FoundRecord {
  std::string path;
  std::uint64_t offset = 0;
  storage::RecordHeader header;
  std::uint64_t end() const { return header.position + storage::record_bytes(header.payload_bytes); }
};

std::vector<std::byte> bytes_of(const SimulatedInode& file) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.size()));
  file.content().read(0, bytes);
  return bytes;
}

/// The records of one segment that are where they say. Old ones of a file that is used again are not.
void find_records(const SimulatedInode& file, const std::string& path, std::vector<FoundRecord>& records) {
  const std::vector<std::byte> bytes = bytes_of(file);
  storage::SegmentHeader segment;
  std::uint32_t other_version = 0;
  if (decode_segment_header(bytes, segment, other_version) != Decoded::valid) return;
  // Just renamed to be used again, and its header not written yet.
  if (path.substr(path.rfind('/') + 1) != storage::segment_name("store.img", segment.number)) return;
  constexpr std::size_t header_bytes = storage::log_format::record_header_bytes;
  std::size_t at = static_cast<std::size_t>(storage::segment_layout(segment.format).records_at);
  for (; at + header_bytes <= bytes.size(); at += storage::log_format::record_alignment) {
    FoundRecord found{path, at, {}};
    if (decode_record_header(std::span(bytes).subspan(at, header_bytes), found.header) != Decoded::valid) continue;
    const bool here = found.header.salt == segment.salt && found.header.position == segment.first_position + at;
    if (here) records.push_back(std::move(found));
  }
}

}  // namespace

// The first one has the lock, or has not asked for it yet.
void Simulation::open_second() {
  const InCall in_second(in_second_);
  if (!disk_->locked(image_path())) return opening_ && !faulted_life() ? come_before() : void();
  ++counters_.second_openings;
  const auto names = disk_->names(folder_);
  const std::uint64_t way = crash_random_.below(5);
  try {
    try_second(way);
    fail("a second process is let in, way " + std::to_string(way));
  } catch (const MemoryError& error) {
    if (error.errc() != Errc::busy) fail(std::string("a second process is told: ") + error.what());
  }
  if (disk_->names(folder_) != names) fail("a second process changes the names in the folder");
}

void Simulation::try_second(std::uint64_t way) {
  SteppedBackground sync_lane, checkpoint_lane;
  storage::EngineOptions options = engine_options_;
  options.salt = crash_random_.next();
  switch (way) {
    case 0: options.read_only = true; [[fallthrough]];
    case 1: static_cast<void>(options_.open_store(*disk_, image_path(), sync_lane, checkpoint_lane, options)); break;
    case 2: static_cast<void>(storage::FileProviderAccess::open(*disk_, image_path(), Access::write)); break;
    case 3: static_cast<void>(storage::recover_log(*disk_, image_path(), true)); break;
    default: static_cast<void>(storage::inspect_log(*disk_, image_path()));
  }
}

/// Another one has the image before the first asks for the lock, and stops, or dies.
void Simulation::come_before() {
  const InCall may_change(second_may_change_);
  SteppedBackground sync_lane, checkpoint_lane;
  storage::EngineOptions options = engine_options_;
  options.salt = crash_random_.next();
  try {
    const auto store = options_.open_store(*disk_, image_path(), sync_lane, checkpoint_lane, options);
    if (crash_random_.one_in(2)) store->close();
    ++counters_.others_before;
    trace("another process had the image");
  } catch (const MemoryError& error) {
    fail(std::string("another process can't open the image: ") + error.what());
  }
}

/// A byte of a record that a later one says was synced is changed: an opening must find it, and change nothing.
void Simulation::check_damage(const SimulatedFileSystem& from) {
  const auto disk = from.after(Crash::kill, crash_random_.next());
  std::vector<FoundRecord> records;
  const auto log_hash = [&] {
    std::uint64_t sum = disk->find(image_path())->content().hash();
    for (const std::string& name : disk->names(folder_)) {
      if (name.find(".log.") != std::string::npos) sum = sum * 31 + disk->find(folder_ + "/" + name)->content().hash();
    }
    return sum;
  };
  for (const std::string& name : disk->names(folder_)) {
    const std::string path = folder_ + "/" + name;
    if (name.find(".log.") != std::string::npos) find_records(*disk->find(path), path, records);
  }
  std::uint64_t synced = 0;
  for (const FoundRecord& one : records) synced = std::max(synced, one.header.synced_position);
  std::erase_if(records, [&](const FoundRecord& one) { return one.end() > synced; });
  if (records.empty()) return;
  const FoundRecord& one = crash_random_.one_in(2) ? records.back() : records[crash_random_.below(records.size())];
  SimulatedInode& file = *disk->find(one.path);
  const std::uint64_t length = storage::log_format::record_header_bytes + one.header.payload_bytes;
  const std::uint64_t at = one.offset + crash_random_.below(length);
  std::byte damaged[1];
  file.content().read(at, damaged);
  damaged[0] ^= static_cast<std::byte>(1u << crash_random_.below(8));
  file.write(at, damaged, 1);
  const std::uint64_t before = log_hash();
  ++counters_.damages;
  SteppedBackground sync_lane, checkpoint_lane;
  try {
    const auto store = options_.open_store(*disk, image_path(), sync_lane, checkpoint_lane, engine_options_);
    fail("a log with a changed byte " + std::to_string(at) + " of " + one.path + " is taken for whole");
  } catch (const MemoryError& error) {
    if (error.errc() != Errc::damaged) fail(std::string("a damaged log is called: ") + error.what());
  }
  if (log_hash() != before) fail("a damaged log, or its image, is changed");
}

}  // namespace pageserver::test
