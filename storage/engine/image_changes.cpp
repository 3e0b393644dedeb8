#include "storage/engine/image_changes.hpp"

#include <utility>

#include "storage/file/mutation.hpp"

namespace pageserver::storage {

ImageChanges::ImageChanges(ServedImage& image, std::uint64_t salt)
    : ImageChanges{image, salt, image->file().status()} {}

ImageChanges::ImageChanges(ServedImage& image, std::uint64_t salt, const FileStatus& status)
    : image_{image}, notes_{image.folder(), salt, status}, watch_{status.modified_ns} {}

void ImageChanges::sync() {
  const ImageNotes::Sync sync = notes_.begin_sync(image_->file());
  // fsync, which includes the image's times.
  if (!mutated(Mutation::drop_image_sync)) image_->file().sync();
  notes_.end_sync(sync);
}

ImageChanges::Look ImageChanges::begin_look() noexcept {
  Look look;
  look.watch = watch_.begin_look();
  settle();
  FileStatus status;
  if (image_.file_system().status(image_->file().descriptor(), status).ok()) look.modified_ns = status.modified_ns;
  return look;
}

std::string ImageChanges::end_look(const Look& look, std::string found) {
  return watch_.end_look(look.watch, look.modified_ns, std::move(found), image_.shown_path());
}

std::string ImageChanges::foreign() const {
  const auto foreign = notes_.foreign_ns();
  if (!foreign) return {};
  return "the file " + quoted(image_.shown_path()) + " was written to from outside while the store wrote nothing, at " +
         time_text(*foreign) +
         "; stop the store in order, and compare the image with a copy: after a crash its log is not replayed unless "
         "`pagectl recover --adopt` says so";
}

}  // namespace pageserver::storage
