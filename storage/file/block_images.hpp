// Images of block devices in a pool (RBD), which are copied into images and back. What speaks to them is a module,
// storage/rados/rbd_images.cpp, which is loaded once somebody names one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pageserver::storage {

struct IoResult;

/// An open one. Calls return an errno, 0: done; how long they wait is the cluster's to say.
///
/// Threads: one, but for `Done`.
class BlockImage {
public:
  /// Runs once, on a thread of the module. Throws nothing, and waits for nothing.
  using Done = std::function<void(int error)>;

  BlockImage() = default;
  BlockImage(const BlockImage&) = delete;
  BlockImage& operator=(const BlockImage&) = delete;
  /// Everything that was begun must have ended.
  virtual ~BlockImage() = default;

  virtual int size(std::uint64_t& bytes) = 0;
  virtual int resize(std::uint64_t bytes) = 0;
  /// The bytes stay until `done`.
  virtual void read(std::uint64_t offset, std::span<std::byte> buffer, Done done) = 0;
  virtual void write(std::uint64_t offset, std::span<const std::byte> data, Done done) = 0;
  virtual int flush() = 0;
  /// (offset, length) of what may hold something other than zeros in [offset, offset + length), in rising order. What
  /// was written counts once it is flushed.
  virtual int data_ranges(std::uint64_t offset, std::uint64_t length,
                          std::vector<std::pair<std::uint64_t, std::uint64_t>>& ranges) = 0;
  /// Addresses of those who have it open to write, but for whoever calls.
  virtual int others(std::vector<std::string>& addresses) = 0;
};

/// A path is rbd:POOL/IMAGE[@SNAPSHOT][?KEYS], with the keys of a home's path.
class BlockImages {
public:
  BlockImages() = default;
  BlockImages(const BlockImages&) = delete;
  BlockImages& operator=(const BlockImages&) = delete;
  virtual ~BlockImages() = default;

  /// Null, with the errno, where it can't be had: EINVAL, this is no such path.
  virtual std::unique_ptr<BlockImage> open_to_read(const std::string& path, int& error) = 0;
  /// Makes it, empty. EEXIST: it is there.
  virtual std::unique_ptr<BlockImage> make(const std::string& path, int& error) = 0;
  /// Whether remove() would succeed: ENOENT, it is not there; EBUSY, somebody has it open; ENOTEMPTY, it has snapshots.
  virtual int removable(const std::string& path) = 0;
  virtual int remove(const std::string& path) = 0;
  /// To another name in the same pool.
  virtual int rename(const std::string& path, const std::string& to) = 0;
  /// The names of all images there.
  virtual int names(const std::string& path, std::vector<std::string>& names) = 0;
};

inline constexpr const char* block_prefix = "rbd:";

/// The module's one symbol, `pageserver_block_module`; as HomeModule.
using BlockModule = BlockImages* (*)(const char* interface) noexcept;

/// Loads the module the first time, and then stays. ELIBACC: there is none; ELIBBAD: it is of another release, or can't
/// be loaded.
IoResult load_block_images(BlockImages*& images);

}  // namespace pageserver::storage
