#include "storage/file/file_system_warning.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "storage/file/file_io.hpp"
#include "storage/file/home.hpp"

namespace pageserver::storage {
namespace {

struct Kind {
  std::uint64_t magic;
  std::string_view name;
};

// From linux/magic.h and the sources of those that are not in it.
constexpr std::array<Kind, 11> remote_kinds{{
    {0x6969, "NFS"},
    {0x517B, "SMB"},
    {0xFF534D42, "CIFS"},
    {0xFE534D42, "SMB2"},
    {0x65735546, "FUSE"},
    {0x01021997, "9p (a folder of a virtual machine's host)"},
    {0x00C36400, "Ceph"},
    {0x0BD00BD0, "Lustre"},
    {0x5346414F, "AFS"},
    {0x786F4256, "VirtualBox's shared folders"},
    {0x47504653, "GPFS"},
}};

// tmpfs, ramfs and hugetlbfs.
constexpr std::array<std::uint64_t, 3> memory_kinds{0x01021994, 0x858458F6, 0x958458F6};

}  // namespace

std::string file_system_warning(std::uint64_t magic) {
  const auto* const found = std::find_if(remote_kinds.begin(), remote_kinds.end(),
                                         [&](const Kind& kind) { return kind.magic == (magic & 0xFFFFFFFF); });
  if (found == remote_kinds.end()) return {};
  return "it lies on a network or FUSE file system (" + std::string{found->name} +
         "): its lock may not keep another host out, a sync may return before the bytes are safe, and an error may "
         "show "
         "late; keep images on a disk of this machine";
}

std::string file_system_warning_of(const Folder& folder) {
  const IoResult type = retried([&] { return folder.file_system().file_system_type(folder.descriptor()); });
  return type.ok() ? file_system_warning(static_cast<std::uint64_t>(type.value)) : std::string{};
}

bool is_good_to_map(const Folder& folder) {
  const IoResult type = retried([&] { return folder.file_system().file_system_type(folder.descriptor()); });
  if (!type.ok()) return false;
  const auto magic = static_cast<std::uint64_t>(type.value);
  return file_system_warning(magic).empty() && type.value != objects_magic &&
         std::find(memory_kinds.begin(), memory_kinds.end(), magic) == memory_kinds.end();
}

std::string file_system_warning_of(FileSystem& file_system, const std::string& path) {
  Folder folder;
  return Folder::try_open(file_system, parent_folder(path), folder).ok() ? file_system_warning_of(folder)
                                                                         : std::string{};
}

}  // namespace pageserver::storage
