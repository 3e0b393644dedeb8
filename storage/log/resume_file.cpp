#include "storage/log/resume_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <pageserver/error.hpp>

#include "storage/file/siblings.hpp"
#include "storage/log/image_note.hpp"
#include "storage/log/log_checksum.hpp"
#include "storage/log/log_numbers.hpp"

namespace pageserver::storage {

using namespace log_format;

static_assert(ResumeEntry::outcomes_max == outcomes_max);

namespace {

constexpr std::uint32_t file_version = 1;

std::string resume_name(const std::string& image_name) { return sibling_name(image_name, Sibling::resume, 1); }

bool is_same_image(std::span<const std::byte> file, const FileStatus& image) noexcept {
  const auto birth_ns = get<std::int64_t>(file, resume_file_birth_ns_at);
  const auto generation = get<std::uint64_t>(file, resume_file_generation_at);
  return get<std::uint64_t>(file, resume_file_inode_at) == image.inode &&
         (birth_ns == image.birth_ns || birth_ns == 0 || image.birth_ns == 0) &&
         (generation == image.generation || generation == 0 || image.generation == 0) &&
         get<std::uint64_t>(file, resume_file_size_bytes_at) == image.size_bytes &&
         is_same_file_time(get<std::int64_t>(file, resume_file_modified_ns_at), image.modified_ns);
}

}  // namespace

EntryBytes encode_entry(const ResumeEntry& entry) noexcept {
  EntryBytes encoded;
  if (entry.outcomes.size() > outcomes_max) return encoded;
  const std::span<std::byte> bytes{encoded.bytes};
  std::copy_n(entry.token_hash.begin(), entry_token_hash_bytes, bytes.begin() + entry_token_hash_at);
  put(bytes, entry_owner_at, entry.owner);
  put(bytes, entry_request_id_at, entry.last_request_id);
  put(bytes, entry_mode_at, static_cast<std::uint32_t>(entry.publish));
  put(bytes, entry_outcomes_at, static_cast<std::uint32_t>(entry.outcomes.size()));
  std::size_t at = entry_fixed_bytes;
  for (const ResumeEntry::Outcome& outcome : entry.outcomes) {
    put(bytes, at + outcome_request_id_at, outcome.request_id);
    put(bytes, at + outcome_value_at, outcome.value);
    put(bytes, at + outcome_status_at, outcome.status);
    at += outcome_bytes;
  }
  encoded.size = static_cast<std::uint32_t>(at);
  return encoded;
}

std::optional<ResumeEntry> decode_entry(std::span<const std::byte> bytes) {
  if (bytes.size() < entry_fixed_bytes) return std::nullopt;
  const auto outcomes = get<std::uint32_t>(bytes, entry_outcomes_at);
  const auto mode = get<std::uint32_t>(bytes, entry_mode_at);
  if (outcomes > outcomes_max || bytes.size() != entry_fixed_bytes + outcomes * outcome_bytes ||
      mode > static_cast<std::uint32_t>(Publish::on_flush))
    return std::nullopt;
  ResumeEntry entry;
  std::copy_n(bytes.begin() + entry_token_hash_at, entry_token_hash_bytes, entry.token_hash.begin());
  entry.owner = get<std::uint64_t>(bytes, entry_owner_at);
  entry.last_request_id = get<std::uint64_t>(bytes, entry_request_id_at);
  entry.publish = static_cast<Publish>(mode);
  for (std::size_t at = entry_fixed_bytes; at < bytes.size(); at += outcome_bytes)
    entry.outcomes.push_back({get<std::uint64_t>(bytes, at + outcome_request_id_at),
                              get<std::uint64_t>(bytes, at + outcome_value_at),
                              get<std::uint32_t>(bytes, at + outcome_status_at)});
  return entry;
}

void write_resume_file(const Folder& folder, const std::string& image_name, const EntryBytes& entry,
                       const FileStatus& image, std::uint32_t mode) {
  std::array<std::byte, resume_file_bytes> bytes{};
  const std::span<std::byte> all{bytes};
  put(all, resume_file_magic_at, resume_file_magic);
  put(all, resume_file_version_at, file_version);
  put(all, resume_file_entry_bytes_at, entry.size);
  put(all, resume_file_inode_at, image.inode);
  put(all, resume_file_birth_ns_at, image.birth_ns);
  put(all, resume_file_generation_at, image.generation);
  put(all, resume_file_size_bytes_at, image.size_bytes);
  put(all, resume_file_modified_ns_at, image.modified_ns);
  std::copy_n(entry.bytes.begin(), entry.size, bytes.begin() + resume_file_entry_at);
  put(all, resume_file_checksum_at, log_checksum(all.first(resume_file_checksum_at)));
  const File file = folder.create_file(resume_name(image_name), mode, "create the resume file");
  file.write(0, bytes);
  file.sync_data();
  folder.sync();
}

EntryBytes read_resume_file(const Folder& folder, const std::string& image_name, const FileStatus& image) {
  const std::string name = resume_name(image_name);
  EntryBytes entry;
  FileStatus status;
  if (!folder.has(name, status) || !S_ISREG(status.mode)) return entry;
  const File file = folder.open_file(name, O_RDONLY | O_NONBLOCK, 0, "open the resume file");
  std::array<std::byte, resume_file_bytes> bytes{};
  const std::span<const std::byte> all{bytes};
  if (file.read_up_to(0, bytes) != bytes.size() || get<std::uint64_t>(all, resume_file_magic_at) != resume_file_magic ||
      get<std::uint32_t>(all, resume_file_version_at) != file_version ||
      get<std::uint64_t>(all, resume_file_checksum_at) != log_checksum(all.first(resume_file_checksum_at)))
    return entry;
  const auto size = get<std::uint32_t>(all, resume_file_entry_bytes_at);
  if (size <= entry_bytes_max && is_same_image(all, image)) entry.assign(all.subspan(resume_file_entry_at, size));
  return entry;
}

bool has_resume_file(const Folder& folder, const std::string& image_name) {
  FileStatus status;
  return folder.has(resume_name(image_name), status) && S_ISREG(status.mode);
}

void remove_resume_file(const Folder& folder, const std::string& image_name) {
  if (has_resume_file(folder, image_name)) folder.remove(resume_name(image_name));
}

}  // namespace pageserver::storage
