// A daemon that is killed in the middle of a record, on order: of one that was started with --allow-faults alone.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/forwarding_file_system.hpp"
#include "storage/file/siblings.hpp"
#include "storage/log/log_format.hpp"

namespace pageserver::server {

/// Any thread.
class LogWriteFaults final : public storage::ForwardingFileSystem {
public:
  /// `kill` ends the process, and says that an order did it to a store.
  LogWriteFaults(storage::FileSystem& below,
                 std::function<void(const std::string& order, const std::string& store)> kill)
      : ForwardingFileSystem(below), kill_(std::move(kill)) {}

  /// The next record that goes into the log of this image is written up to its middle, and the process is killed.
  void kill_in_next_record_of(const std::string& image_path, std::string order, std::string store) {
    storage::FileStatus folder;
    const auto slash = image_path.rfind('/');
    const std::string folder_path =
        slash == std::string::npos ? "." : image_path.substr(0, std::max<std::size_t>(slash, 1));
    const bool is_known = below().status_of(folder_path, folder).ok();
    const Lock lock{mutex_};
    struck_images_[place_of(is_known ? folder : storage::FileStatus{}, storage::file_name(image_path))] = {
        std::move(order), std::move(store)};
    is_ordered_ = true;
  }

  storage::IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    const storage::IoResult opened = below().open_beneath(directory, name, flags, mode);
    const auto sibling = storage::parse_sibling_name(name);
    // A spare file becomes one of the log.
    const bool is_log =
        sibling && (sibling->sibling == storage::Sibling::log || sibling->sibling == storage::Sibling::spare);
    if (!opened.ok() || !is_log) return opened;
    storage::FileStatus folder;
    if (!below().status(directory, folder).ok()) folder = {};
    const Lock lock{mutex_};
    images_of_logs_[static_cast<int>(opened.value)] = place_of(folder, sibling->image_name);
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
    if (const auto order = order_for(file, data)) strike(*order, file, offset, {&data, 1});
    return below().write_at(file, offset, data);
  }
  storage::IoResult write_parts_at(int file, std::uint64_t offset,
                                   std::span<const std::span<const std::byte>> parts) override {
    if (parts.empty()) return below().write_parts_at(file, offset, parts);
    if (const auto order = order_for(file, parts.front())) strike(*order, file, offset, parts);
    return below().write_parts_at(file, offset, parts);
  }

private:
  struct Order {
    std::string text, store;
  };
  /// Two stores may have images of one name, in two folders.
  static std::string place_of(const storage::FileStatus& folder, std::string_view image_name) {
    return std::to_string(folder.device) + ":" + std::to_string(folder.inode) + ":" + std::string(image_name);
  }
  /// Notes, marks and zeros that are written ahead don't begin as a record does.
  std::optional<Order> order_for(int file, std::span<const std::byte> begin) {
    if (!is_ordered_) return {};
    std::uint32_t magic = 0;
    if (begin.size() < storage::log_format::record_header_bytes) return {};
    std::memcpy(&magic, begin.data(), sizeof magic);
    if (magic != storage::log_format::record_magic) return {};
    const Lock lock{mutex_};
    const auto log = images_of_logs_.find(file);
    if (log == images_of_logs_.end()) return {};
    const auto order = struck_images_.find(log->second);
    return order == struck_images_.end() ? std::nullopt : std::optional{order->second};
  }
  /// Of a record in several writes the header is the last of them.
  void strike(const Order& order, int file, std::uint64_t offset, std::span<const std::span<const std::byte>> parts) {
    std::vector<std::byte> record;
    for (const auto part : parts) record.insert(record.end(), part.begin(), part.end());
    (void)below().write_at(file, offset, std::span{record}.first(record.size() / 2));
    kill_(order.text, order.store);
  }

  const std::function<void(const std::string& order, const std::string& store)> kill_;
  std::atomic<bool> is_ordered_{false};
  Mutex mutex_;
  std::map<std::string, Order> struck_images_ PAGESERVER_GUARDED_BY(mutex_);
  std::map<int, std::string> images_of_logs_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
