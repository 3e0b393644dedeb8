// The files that a store keeps beside an image: their names, and how they are told from files of others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/file/folder.hpp"

namespace pageserver::storage {

/// A store knows its files by their exact names: that of the image, one of five words, and ten decimal digits. A file
/// of another name, or one that is not regular, belongs to somebody else: a store never removes it or writes to it.
enum class Sibling : std::uint8_t {
  log,      ///< `.log.`: a file of the redo log, numbered from 1
  spare,    ///< `.spare.`: a former file of the log that waits to become one again, or a copy that a recovery makes
  spill,    ///< `.spill.`: private bytes of the session of that number; 0 is a probe
  removed,  ///< `.removed.0000000001`: an image that is being removed or created, see image_lifecycle.hpp
  resume,   ///< `.resume.0000000001`: which session may go on, see resume_file.hpp; also after a clean stop
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

/// The longest name that a store needs beside an image: check_room_for_siblings() looks whether the file system takes
/// it.
std::string longest_sibling_name(const std::string& image_name);

struct SiblingName {
  Sibling sibling = Sibling::log;
  std::uint64_t number = 0;
  std::string_view image_name;  ///< points into the parsed name
};
/// Which sibling has this name; nothing when no store makes such a name.
std::optional<SiblingName> parse_sibling_name(std::string_view name) noexcept;

/// Whether people, scripts or an older release could take a file of this name for one that a store made beside an image
/// `*.img`.
bool resembles_sibling(std::string_view name) noexcept;

/// The siblings that lie beside an image, by name.
struct SiblingFiles {
  std::vector<std::string> log;      ///< oldest first
  std::vector<std::string> scratch;  ///< spare and spill: an open store alone needs them
  std::vector<std::string> removed;
  std::vector<std::string> resume;
};

/// Lists them. Throws provider_error when something that is no regular file has the name of a file of the log, and the
/// error of the file system where the folder can't be listed.
SiblingFiles list_siblings(const Folder& folder, const std::string& image_name);
/// The same, but nothing where the folder may be entered and not read.
SiblingFiles list_visible_siblings(const Folder& folder, const std::string& image_name);

/// Checks a name under which an image is to be opened, made or replaced. Providers, stores, recoveries and copies all
/// call it. Throws invalid_argument when the name is that of a sibling. Where there is no image, throws `damaged` when
/// its log is there, and what list_siblings() throws. `action`, `shown_path` and `remedy` are for the text.
void check_image_place(const Folder& folder, const std::string& name, std::string_view action,
                       const std::string& shown_path,
                       std::string_view remedy = "put the image back beside it, or move the log away");

/// Throws invalid_argument when the file system does not take the names of an image's siblings, which are longer than
/// its own. `action` and `shown_path` are for the text.
void check_room_for_siblings(const Folder& folder, const std::string& name, std::string_view action,
                             const std::string& shown_path);

/// Removes the scratch files that a killed process left. Removes all it can, and then throws the first error.
void remove_scratch_files(const Folder& folder, const SiblingFiles& siblings);
void remove_scratch_files(const Folder& folder, const std::string& image_name);

}  // namespace pageserver::storage
