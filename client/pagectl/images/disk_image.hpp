// Images of block devices in a Ceph pool (RBD): read as an image, and made from one.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "client/pagectl/images/image.hpp"
#include "storage/file/block_images.hpp"

namespace pageserver::pagectl {

/// rbd:POOL/IMAGE[@SNAPSHOT][?conf=FILE&id=CLIENT&namespace=NAME]
inline bool is_disk(std::string_view text) { return text.starts_with(storage::block_prefix); }

/// For reading. Where its size is no multiple of a page the last page is filled up with zeros.
std::unique_ptr<Image> open_disk_image(const std::string& uri);

/// A new one that gets its name only when it is whole: written under a temporary name in the same pool, then renamed.
class ReplacementDisk {
public:
  /// Refuses a target that is there unless `overwrite`, and always one that somebody has open or that has snapshots.
  ReplacementDisk(const std::string& uri, bool overwrite);
  ReplacementDisk(const ReplacementDisk&) = delete;
  ReplacementDisk& operator=(const ReplacementDisk&) = delete;
  ~ReplacementDisk();

  /// The one to write, empty at first. Once.
  std::unique_ptr<Image> take_image() { return std::move(image_); }
  /// Once the image is flushed and gone.
  void replace_target();

private:
  void check_target() const;
  void remove_leftovers() const;

  const std::string target_;
  const bool overwrite_;
  storage::BlockImages& images_;
  std::string temporary_;
  std::unique_ptr<Image> image_;
  bool replaced_ = false;
};

}  // namespace pageserver::pagectl
