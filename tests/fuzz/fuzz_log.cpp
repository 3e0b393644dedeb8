// The redo log: whatever lies beside an image, reading it ends, harms nothing and means one thing; what can be replayed
// is replayed whole and then gone.
//
// An input is: one byte of flags, a first segment number, two lengths, and then the segments' bytes.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/engine/recovery.hpp"
#include "storage/file/siblings.hpp"
#include "storage/log/log_checksum.hpp"
#include "storage/log/log_scan.hpp"
#include "tests/fuzz/require.hpp"

using namespace pageserver;
using namespace pageserver::storage;
using namespace pageserver::storage::log_format;

namespace {

using LogBytes = std::vector<std::byte>;

const std::string folder = "/f";
const std::string image_name = "a.img";
const std::string image_path = folder + "/" + image_name;
const std::string spare_path = image_path + ".spare.";
const std::string resume_path = image_path + ".resume.";
const std::string kept_path = image_path + ".kept-";
const std::string log_path = image_path + ".log.";
constexpr std::uint64_t inode = 7;

/// An image of which only the size is kept, and its log.
class MemoryFiles final : public FileSystem {
public:
  std::uint64_t image_bytes = 0;
  std::map<std::string, std::shared_ptr<LogBytes>> logs;
  bool copies_fail = false;

  IoResult open(const std::string& path, int flags, std::uint32_t) override {
    if (path == folder || path == image_path) return opened(nullptr, path == folder);
    if ((flags & O_CREAT) != 0) {
      fuzz::require(path.starts_with(spare_path) || path.starts_with(kept_path) || path.starts_with(resume_path),
                    "only a copy is made, and what is known of a writer");
      if (copies_fail) return {-1, ENOSPC};
      logs[path] = std::make_shared<LogBytes>();
    }
    const auto found = logs.find(path);
    return found == logs.end() ? IoResult{-1, ENOENT} : opened(found->second, false);
  }
  IoResult open_beneath(int, const std::string& name, int flags, std::uint32_t mode) override {
    return open(folder + "/" + name, flags, mode);
  }
  int close(int file) noexcept override {
    open_.erase(file);
    return 0;
  }
  IoResult read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) override {
    const auto& log = open_.at(file).log;
    const std::uint64_t size = log ? log->size() : image_bytes;
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(size - std::min(size, offset), buffer.size()));
    std::fill_n(buffer.begin(), count, std::byte{0});
    if (log && count != 0) std::memcpy(buffer.data(), log->data() + offset, count);
    return {static_cast<std::int64_t>(count), 0};
  }
  IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) override {
    if (const auto& log = open_.at(file).log) {
      const bool copy = std::any_of(logs.begin(), logs.end(), [&](const auto& one) {
        return one.second == log && (one.first.starts_with(spare_path) || one.first.starts_with(kept_path) ||
                                     one.first.starts_with(resume_path));
      });
      // A note may be where a torn segment already ends.
      const bool note = offset + data.size() <= segment_records_at;
      if (copy || note) log->resize(std::max<std::size_t>(log->size(), offset + data.size()));
      fuzz::require(offset <= log->size() && data.size() <= log->size() - offset, "a log is never made longer");
      std::copy(data.begin(), data.end(), log->begin() + static_cast<std::ptrdiff_t>(offset));
    } else {
      fuzz::require(offset <= image_bytes && data.size() <= image_bytes - offset, "a write is within the image");
    }
    return {static_cast<std::int64_t>(data.size()), 0};
  }
  IoResult write_parts_at(int file, std::uint64_t offset, std::span<const std::span<const std::byte>> parts) override {
    return write_at(file, offset, parts.front());
  }
  IoResult truncate(int file, std::uint64_t size) override {
    fuzz::require(!open_.at(file).log && size >= image_bytes, "only the image is resized, and never made shorter");
    image_bytes = size;
    return {};
  }
  IoResult reserve(int, std::uint64_t, std::uint64_t) override { return {}; }
  IoResult punch_hole(int, std::uint64_t, std::uint64_t) override { return {}; }
  IoResult seek_data(int, std::uint64_t) override { return {-1, ENXIO}; }
  IoResult seek_hole(int, std::uint64_t offset) override { return {static_cast<std::int64_t>(offset), 0}; }
  void start_writeback(int, std::uint64_t, std::uint64_t) noexcept override {}
  void drop_from_memory(int, std::uint64_t, std::uint64_t) noexcept override {}
  IoResult sync_data(int) override { return {}; }
  IoResult sync(int) override { return {}; }
  IoResult size(int file) override {
    const auto& log = open_.at(file).log;
    return {static_cast<std::int64_t>(log ? log->size() : image_bytes), 0};
  }
  IoResult status(int file, FileStatus& status) override {
    const auto& log = open_.at(file).log;
    describe(log ? log->size() : image_bytes, log ? inode + 1 : inode, status);
    return {};
  }
  IoResult status_of(const std::string& path, FileStatus& status) override {
    if (const auto log = logs.find(path); log != logs.end()) {
      describe(log->second->size(), inode + 1, status);
      return {};
    }
    if (path != image_path) return {-1, ENOENT};
    describe(image_bytes, inode, status);
    return {};
  }
  IoResult status_beneath(int, const std::string& name, FileStatus& status) override {
    return status_of(folder + "/" + name, status);
  }
  IoResult real_path(const std::string& path, std::string& resolved) override {
    resolved = path;
    return {};
  }
  IoResult file_system_type(int) override { return {}; }
  IoResult lock(int, LockKind) override { return {}; }
  void unlock(int) noexcept override {}
  IoResult home_of(int, FileHome&) override { return {-1, ENOTSUP}; }
  IoResult map(int, std::uint64_t, const std::byte*&) override { return {-1, ENOTSUP}; }
  void unmap(const std::byte*, std::uint64_t) noexcept override {}
  IoResult rename_beneath(int, const std::string& from_name, const std::string& to_name) override {
    const std::string from = folder + "/" + from_name, to = folder + "/" + to_name;
    fuzz::require(logs.contains(from) && logs.contains(to), "a copy replaces what it is a copy of");
    logs[to] = logs[from];
    logs.erase(from);
    return {};
  }
  IoResult rename_new_beneath(int, const std::string& from_name, const std::string& to_name) override {
    const std::string from = folder + "/" + from_name, to = folder + "/" + to_name;
    fuzz::require(from.starts_with(log_path) && to.starts_with(kept_path), "only a file of the log is kept");
    if (logs.contains(to)) return {-1, EEXIST};
    logs[to] = logs.at(from);
    logs.erase(from);
    return {};
  }
  std::int64_t now_ns() noexcept override { return 1; }
  std::int64_t file_clock_ns() noexcept override { return 1; }
  Boot boot() noexcept override { return {}; }
  IoResult remove_beneath(int, const std::string& name) override {
    return logs.erase(folder + "/" + name) == 0 ? IoResult{-1, ENOENT} : IoResult{};
  }
  IoResult list(int, const std::string& prefix, std::vector<std::string>& names) override {
    names = {"a.img"};
    for (const auto& [path, bytes] : logs) names.push_back(path.substr(folder.size() + 1));
    std::erase_if(names, [&](const std::string& name) { return !name.starts_with(prefix); });
    return {};
  }

private:
  struct Open {
    std::shared_ptr<LogBytes> log;  // null: the image, or the folder
    bool folder = false;
  };
  IoResult opened(std::shared_ptr<LogBytes> log, bool is_folder) {
    open_[next_] = {std::move(log), is_folder};
    return {next_++, 0};
  }
  static void describe(std::uint64_t size, std::uint64_t number, FileStatus& status) {
    status = {};
    status.size_bytes = size;
    status.inode = number;
    status.mode = S_IFREG | 0640;
  }
  std::map<int, Open> open_;
  int next_ = 3;
};

/// Makes the checksums of a segment right, so that changed fields reach what looks at them.
void repair(LogBytes& bytes, std::uint64_t number) {
  if (bytes.size() < format_1_records_at) return;
  const auto put = [&](std::size_t at, std::uint64_t value) {
    for (std::size_t i = 0; i < 8; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
  };
  const auto get = [&](std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i) value |= static_cast<std::uint64_t>(bytes[at + i]) << (8 * i);
    return value;
  };
  const std::span<std::byte> all{bytes};
  put(segment_number_at, number);
  put(segment_checksum_at, log_checksum(all.first(segment_checksum_at)));
  const SegmentLayout layout = segment_layout(static_cast<std::uint32_t>(get(segment_format_at)));
  if (bytes.size() < layout.records_at) return;
  put(layout.mark_at + mark_checksum_at, log_checksum(all.subspan(layout.mark_at, mark_checksum_at)));
  for (std::size_t at = layout.records_at; bytes.size() - at >= record_header_bytes;) {
    const std::uint64_t payload = get(at + record_payload_bytes_at);
    const std::uint64_t room = bytes.size() - at - record_header_bytes;
    if (payload <= room)
      put(at + record_payload_checksum_at, log_checksum(all.subspan(at + record_header_bytes, payload)));
    put(at + record_checksum_at, log_checksum(all.subspan(at, record_checksum_at)));
    if (payload > room || record_bytes(payload) > bytes.size() - at) return;
    at += record_bytes(payload);
  }
}

struct Seen {
  std::uint64_t records = 0, end_position = 0, synced_position = 0, version = 0, pages = 0;
  std::string problem;
  friend bool operator==(const Seen&, const Seen&) = default;
};

Seen scanned(MemoryFiles& files) {
  Seen seen;
  std::uint64_t version = 0, pages = 0;
  const Folder opened = Folder::open(files, folder);
  const LogScan scan =
      scan_log(opened, image_name, list_siblings(opened, image_name).log, O_RDONLY, [&](const ScannedRecord& record) {
        fuzz::require(seen.records == 0 || record.header.version == version + 1, "versions rise by one");
        fuzz::require(seen.records == 0 || record.header.pages >= pages, "an image never shrinks");
        version = record.header.version;
        pages = record.header.pages;
        ++seen.records;
        for (const LogRange& range : record.ranges)
          fuzz::require(range.length / page_size <= pages && range.offset / page_size <= pages,
                        "ranges are in the image");
      });
  fuzz::require(scan.records == seen.records, "each record that counts is handed out");
  if (!scan.segments.empty() && !scan.problem)
    fuzz::require(scan.synced_position <= scan.end_position, "what was synced is there, or it is said");
  seen.end_position = scan.end_position;
  seen.synced_position = scan.synced_position;
  seen.version = scan.version;
  seen.pages = scan.pages;
  if (scan.problem) seen.problem = scan.problem->what();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t prefix = 6;
  if (size < prefix) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(prefix);
  const bool repairs = (data[0] & 1) != 0;
  const std::uint64_t first_number = 1 + data[1] % 3;
  MemoryFiles files;
  files.image_bytes = (data[0] >> 4) * page_size;
  files.copies_fail = (data[0] & 2) != 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < 3 && at < bytes.size(); ++i) {
    const std::size_t asked = i == 2 ? bytes.size() : data[2 + 2 * i] | static_cast<std::size_t>(data[3 + 2 * i]) << 8;
    const std::size_t length = std::min(asked, bytes.size() - at);
    auto log = std::make_shared<LogBytes>(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                          bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
    if (repairs) repair(*log, first_number + i);
    files.logs[folder + "/" + segment_name(image_name, first_number + i)] = std::move(log);
    at += length;
  }
  const Seen seen = scanned(files);
  fuzz::require(scanned(files) == seen, "looking again sees the same");
  std::map<std::string, LogBytes> before;
  for (const auto& [path, log] : files.logs) before[path] = *log;
  const std::uint64_t image_before = files.image_bytes;
  try {
    recover_log(files, image_path, true);
  } catch (const MemoryError& error) {
    if (!seen.problem.empty()) {
      fuzz::require(error.what() == seen.problem, "a log that can't be trusted is refused for that");
      fuzz::require(files.logs.size() == before.size() && files.image_bytes == image_before,
                    "a refusal removes nothing");
      for (const auto& [path, log] : files.logs) fuzz::require(*log == before[path], "a refusal changes nothing");
    }
    return 0;
  }
  fuzz::require(seen.problem.empty(), "a log that can't be trusted is refused");
  for (const auto& [path, log] : files.logs)
    fuzz::require(path.starts_with(kept_path), "what was replayed is gone, and what was not is kept aside");
  return 0;
}
