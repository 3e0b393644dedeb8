// The part of a process's memory that one kind of things may have, whoever they belong to.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

namespace pageserver::base {

/// Counts; what is to be done where there is none left is up to who asks. Thread-safe.
class MemoryShare {
public:
  /// `name`: how messages call the limit that this is a part of, "limits.memory_bytes=1073741824".
  MemoryShare(std::uint64_t bytes_max, std::string name) : bytes_max_{bytes_max}, name_{std::move(name)} {}
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;

  /// False, and nothing is taken: there would be more than `bytes_max`, which may be less than all of it.
  bool take(std::uint64_t bytes, std::uint64_t bytes_max) noexcept {
    if (used_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= bytes_max) return true;
    give_back(bytes);
    return false;
  }
  /// For what is there already.
  void add(std::uint64_t bytes) noexcept { used_.fetch_add(bytes, std::memory_order_relaxed); }
  void give_back(std::uint64_t bytes) noexcept { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  std::uint64_t used() const noexcept { return used_.load(std::memory_order_relaxed); }
  std::uint64_t bytes_max() const noexcept { return bytes_max_; }
  bool is_exceeded() const noexcept { return used() > bytes_max_; }
  std::uint64_t parts() const noexcept { return parts_.load(std::memory_order_relaxed); }
  const std::string& name() const noexcept { return name_; }
  /// "5000 of 4096 bytes that limits.memory_bytes=16384 leaves them"
  std::string text() const {
    return std::to_string(used()) + " of " + std::to_string(bytes_max_) + " bytes that " + name_ + " leaves them";
  }

private:
  friend class MemoryPart;
  std::atomic<std::uint64_t> used_{0};
  std::atomic<std::uint64_t> parts_{0};
  const std::uint64_t bytes_max_;
  const std::string name_;
};

/// What one user of a share, or of none, has of it.
class MemoryPart {
public:
  explicit MemoryPart(MemoryShare* share) noexcept : share_{share} {
    if (share_ != nullptr) ++share_->parts_;
  }
  MemoryPart(const MemoryPart&) = delete;
  MemoryPart& operator=(const MemoryPart&) = delete;
  ~MemoryPart() {
    set(0);
    if (share_ != nullptr) --share_->parts_;
  }

  void set(std::uint64_t bytes) noexcept {
    if (share_ != nullptr && bytes > bytes_) share_->add(bytes - bytes_);
    if (share_ != nullptr && bytes < bytes_) share_->give_back(bytes_ - bytes);
    bytes_ = bytes;
  }
  std::uint64_t bytes() const noexcept { return bytes_; }
  /// There is too much of it in all, and of that this part is not among the small ones.
  bool is_to_shrink() const noexcept {
    if (share_ == nullptr || !share_->is_exceeded()) return false;
    const std::uint64_t used = share_->used();
    return bytes_ * share_->parts() >= used || used > share_->bytes_max() + share_->bytes_max() / 4;
  }

private:
  MemoryShare* share_;
  std::uint64_t bytes_ = 0;
};

}  // namespace pageserver::base
