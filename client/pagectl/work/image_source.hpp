// An image, for what looks inside: layout/ knows nothing of how images are read.
#pragma once

#include "client/pagectl/images/image.hpp"
#include "client/pagectl/layout/source.hpp"
#include "client/pagectl/terminal/progress.hpp"

namespace pageserver::pagectl {

/// The pages that the image has now: one that is live may grow meanwhile, and what it grows by is not looked at.
class ImageSource final : public layout::Source {
public:
  ImageSource(Image& image, Progress& progress) : image_(image), progress_(progress), pages_(image.pages()) {}

  std::uint64_t pages() const override { return pages_; }
  void read(std::uint64_t offset, std::span<std::byte> buffer) override { image_.read(offset, buffer); }
  void read_pages(const Feed& feed, const Sink& sink) override;
  void read_data(std::uint64_t first, std::uint64_t end, const Sink& sink) override;

private:
  void read_ranges(std::function<std::optional<ByteRange>()> ranges, const Sink& sink);

  Image& image_;
  Progress& progress_;
  const std::uint64_t pages_;
  std::uint64_t read_bytes_ = 0;
};

}  // namespace pageserver::pagectl
