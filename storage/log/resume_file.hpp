// A resume entry as bytes, and the file beside an image that keeps it where there is no log to do so.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "storage/file/file_system.hpp"
#include "storage/file/folder.hpp"
#include "storage/log/log_codec.hpp"
#include "storage/resume_entry.hpp"

namespace pageserver::storage {

/// Of more than ResumeEntry::outcomes_max outcomes: none.
EntryBytes encode_entry(const ResumeEntry& entry) noexcept;
/// Nothing where there is none, or none that can be.
std::optional<ResumeEntry> decode_entry(std::span<const std::byte> bytes);

/// Writes the file, over the one that is there, and makes it durable. `image` is the image file's status, which changes
/// no more. To be called while a log still holds the entry: a kill may leave half of the file.
void write_resume_file(const Folder& folder, const std::string& image_name, const EntryBytes& entry,
                       const FileStatus& image, std::uint32_t mode);
/// What the file holds, if it is whole, and the image is the one that it was written for and was not changed since.
EntryBytes read_resume_file(const Folder& folder, const std::string& image_name, const FileStatus& image);
/// Whether there is such a file, whatever it holds.
bool has_resume_file(const Folder& folder, const std::string& image_name);
/// Removes it, if it is there. What became of the name is durable with the folder's next sync.
void remove_resume_file(const Folder& folder, const std::string& image_name);

}  // namespace pageserver::storage
