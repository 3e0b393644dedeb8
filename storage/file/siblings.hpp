// The files that a store keeps beside an image: their names, and who else may have something there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/file/folder.hpp"

namespace pageserver::storage {

/// A file is ours by its exact name: that of the image, one of four words, and ten decimal digits. Whatever has another
/// name, or is no regular file, is somebody else's: it is never removed, written to or taken for one of ours.
enum class Sibling : std::uint8_t {
  log,      ///< `.log.`: a file of the redo log, numbered from 1
  spare,    ///< `.spare.`: was one and waits to be another; or a copy of one that a recovery makes
  spill,    ///< `.spill.`: private bytes of the session of that number; 0 is a probe
  removed,  ///< `.removed.0000000001`: an image that is being removed, or one that is not yet whole
};

inline constexpr std::uint64_t sibling_number_max = 9'999'999'999;

/// `number` is one that parse_sibling_name() takes.
std::string sibling_name(const std::string& image_name, Sibling sibling, std::uint64_t number);
inline std::string segment_name(const std::string& image_name, std::uint64_t number) {
  return sibling_name(image_name, Sibling::log, number);
}
inline std::string spare_name(const std::string& image_name, std::uint64_t number) {
  return sibling_name(image_name, Sibling::spare, number);
}

/// `IMAGE.kept-20261128T040102Z.0000000003`, for file 3 of the log at that time, where such a name fits; in the short
/// form, which is no longer than sibling_name(), `IMAGE.kept-1795838462`. No store takes either for one of its own.
std::string kept_name(const std::string& image_name, std::uint64_t number, std::int64_t now_ns, bool short_form);

/// The longest name that a store can't do without beside an image: check_room_for_siblings() looks whether it fits.
std::string longest_name_beside(const std::string& image_name);

struct SiblingName {
  Sibling sibling = Sibling::log;
  std::uint64_t number = 0;
  std::string_view image_name;  ///< a part of what was parsed
};
/// What a file of this name is; nothing when no store makes such a name.
std::optional<SiblingName> parse_sibling_name(std::string_view name) noexcept;

/// Whether people, scripts or an older release could take a file of this name for one that a store made beside an image
/// `*.img`.
bool resembles_sibling(std::string_view name) noexcept;

/// What lies beside an image.
struct Beside {
  std::vector<std::string> log;      ///< oldest first
  std::vector<std::string> scratch;  ///< spare and spilled: of no worth to anybody but an open store
  std::vector<std::string> removed;
};

/// Throws provider_error when something that is no regular file has the name of a file of the log: it can't be told
/// what that is. Throws what the file system says, too.
Beside look_beside(const Folder& folder, const std::string& image_name);
/// The same, and nothing in a folder that may be entered and not read, which is legal.
Beside visible_beside(const Folder& folder, const std::string& image_name);

/// The one judgement of a name under which an image is opened, made or replaced: by a provider, a store, a recovery, a
/// copy. Throws invalid_argument when it is that of a file beside an image; and where there is no image, what
/// look_beside() throws, and `damaged` when there is a log. `action` and `shown_path` are for the text, and so is
/// `remedy`.
void check_image_place(const Folder& folder, const std::string& name, std::string_view action,
                       const std::string& shown_path,
                       std::string_view remedy = "put the image back beside it, or move the log away");

/// Throws invalid_argument when a store could not make its files beside an image of this name, since theirs are longer
/// and the file system takes no such names. `action` and `shown_path` are for the text.
void check_room_for_siblings(const Folder& folder, const std::string& name, std::string_view action,
                             const std::string& shown_path);

/// Removes what a killed process left beside the log.
void remove_scratch_files(const Folder& folder, const Beside& beside);
void remove_scratch_files(const Folder& folder, const std::string& image_name);

}  // namespace pageserver::storage
