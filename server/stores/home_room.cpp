#include "server/stores/home_room.hpp"

#include <fcntl.h>

#include <cstddef>
#include <vector>

#include <pageserver/error.hpp>

#include "storage/file/folder.hpp"
#include "storage/file/siblings.hpp"
#include "storage/image/image_file.hpp"

namespace pageserver::server {

bool HomeRoom::has_come(storage::FileSystem& file_system, const std::string& path, std::uint32_t file_mode,
                        Clock::time_point now) {
  if (now - looked_ < look_interval) return false;
  looked_ = now;
  const std::string image = storage::resolved_image_path(file_system, path);
  const auto folder = storage::Folder::open(file_system, storage::parent_folder(image));
  const std::string name = storage::sibling_name(storage::file_name(image), storage::Sibling::spill, 0);
  const auto tried = [](const auto& call) {
    try {
      call();
      return true;
    } catch (const MemoryError&) {
      return false;
    }
  };
  const bool written = tried([&] {
    const storage::File file = folder.open_file(name, O_RDWR | O_CREAT, file_mode, "create");
    const std::vector<std::byte> bytes(64 << 10);
    file.write(0, bytes);
    file.sync_data();
  });
  return tried([&] { folder.remove(name); }) && written;
}

}  // namespace pageserver::server
