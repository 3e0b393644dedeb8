// A daemon that is killed in the middle of a record, on order: of one that was started with --allow-faults alone.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "storage/file/forwarding_file_system.hpp"
#include "storage/file/siblings.hpp"
#include "storage/log/log_format.hpp"

namespace pageserver::server {

/// Any thread.
class LogWriteFaults final : public storage::ForwardingFileSystem {
public:
  using ForwardingFileSystem::ForwardingFileSystem;

  /// The next record that goes into the log of an image of this name is written up to its middle, and the process is
  /// killed.
  void kill_in_next_record_of(std::string image_name) {
    const Lock lock{mutex_};
    struck_image_ = std::move(image_name);
    is_ordered_ = true;
  }

  storage::IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    const storage::IoResult opened = below().open_beneath(directory, name, flags, mode);
    const auto sibling = storage::parse_sibling_name(name);
    // A spare file becomes one of the log.
    const bool is_log =
        sibling && (sibling->sibling == storage::Sibling::log || sibling->sibling == storage::Sibling::spare);
    if (!opened.ok() || !is_log) return opened;
    const Lock lock{mutex_};
    images_of_logs_[static_cast<int>(opened.value)] = sibling->image_name;
    return opened;
  }
  int close(int file) noexcept override {
    {
      const Lock lock{mutex_};
      images_of_logs_.erase(file);
    }
    return below().close(file);
  }
  storage::IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) override {
    if (is_struck(file, data)) strike(file, offset, {&data, 1});
    return below().write_at(file, offset, data);
  }
  storage::IoResult write_parts_at(int file, std::uint64_t offset,
                                   std::span<const std::span<const std::byte>> parts) override {
    if (!parts.empty() && is_struck(file, parts.front())) strike(file, offset, parts);
    return below().write_parts_at(file, offset, parts);
  }

private:
  /// Notes, marks and zeros that are written ahead don't begin as a record does.
  bool is_struck(int file, std::span<const std::byte> begin) {
    if (!is_ordered_) return false;
    std::uint32_t magic = 0;
    if (begin.size() < storage::log_format::record_header_bytes) return false;
    std::memcpy(&magic, begin.data(), sizeof magic);
    const Lock lock{mutex_};
    const auto log = images_of_logs_.find(file);
    return magic == storage::log_format::record_magic && log != images_of_logs_.end() && log->second == struck_image_;
  }
  /// Of a record in several writes the header is the last of them.
  void strike(int file, std::uint64_t offset, std::span<const std::span<const std::byte>> parts) {
    std::vector<std::byte> record;
    for (const auto part : parts) record.insert(record.end(), part.begin(), part.end());
    (void)below().write_at(file, offset, std::span{record}.first(record.size() / 2));
    ::kill(::getpid(), SIGKILL);
  }

  std::atomic<bool> is_ordered_{false};
  Mutex mutex_;
  std::string struck_image_ PAGESERVER_GUARDED_BY(mutex_);
  std::map<int, std::string> images_of_logs_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
