// Creating and removing images. A crash at any moment leaves a whole image with all its siblings, or something that the
// next call finishes: never half of it.
//
//   create:  make IMAGE.removed.0000000001 --> size, sync --> rename to IMAGE --> sync the folder
//   remove:  rename IMAGE to IMAGE.removed.0000000001 --> sync the folder --> remove the siblings --> sync the folder
//            --> remove the marker
//
// That name is the marker of a file that is not yet an image, or not any more. A process that finds one finishes the
// removal. Each process locks the marker's file while it works on it, so that no two do.
#pragma once

#include <cstdint>
#include <string>

#include "storage/file/folder.hpp"

namespace pageserver::storage {

/// Makes an image of zeros, durable when this returns. Throws already_exists when something has the name, busy when
/// another program is removing or creating it, and file_error(); in all these cases it leaves no image. `shown_path` is
/// for the text.
void create_image(const Folder& folder, const std::string& name, std::uint64_t pages, std::uint32_t mode,
                  const std::string& shown_path);

/// Removes the image with its siblings, durably when this returns. Siblings that an image left behind are removed as
/// well. False when there was nothing. Throws busy when another program has the image open. When it throws anything,
/// the image is still whole, or it is gone and a further call removes the rest.
bool remove_image(const Folder& folder, const std::string& name, const std::string& shown_path);

/// Finishes a removal, or drops a file that never became an image, where a crash left a marker. False when there is no
/// marker. Throws busy when another program is working on it.
bool finish_removal(const Folder& folder, const std::string& name, const std::string& shown_path);

}  // namespace pageserver::storage
