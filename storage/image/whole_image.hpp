// Images that come and go as a whole, with all that a store keeps beside them, whatever a crash in the middle leaves of
// the folder's entries.
#pragma once

#include <cstdint>
#include <string>

#include "storage/file/folder.hpp"

namespace pageserver::storage {

/// What is not yet an image, or not any more, has the name of Sibling::removed: first the file is renamed, and that is
/// made to last; what lies beside it goes before it does. Who finds such a name carries on. A file of that name is
/// locked by whoever works on it, so that two never do.

/// Makes an image of zeros, durable when this returns. Throws already_exists when something has the name, busy when
/// another program is removing or making it, and what the file system says; then there is none. `shown_path` is for the
/// text.
void create_image(const Folder& folder, const std::string& name, std::uint64_t pages, std::uint32_t mode,
                  const std::string& shown_path);

/// Removes the image with its log and all else, for good when this returns; also what is left of it when it is gone
/// itself. False when there was nothing. Throws busy when another program has it open. When it throws anything, the
/// image is whole, or gone and a further call removes the rest.
bool remove_image(const Folder& folder, const std::string& name, const std::string& shown_path);

/// Carries on with a removal, or an image that never became one, which a crash left. False when there is none. Throws
/// busy when another program is at it.
bool finish_removal(const Folder& folder, const std::string& name, const std::string& shown_path);

}  // namespace pageserver::storage
