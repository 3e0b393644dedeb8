#include "storage/engine/names_look.hpp"

#include "storage/file/file_io.hpp"
#include "storage/file/file_system_warning.hpp"

namespace pageserver::storage {
namespace {

constexpr std::int64_t clock_step_ns_max = 100'000'000;

}  // namespace

NamesLook::NamesLook(const Folder& folder) : folder_{folder}, local_{is_good_to_map(folder)} {}

std::int64_t NamesLook::now() const noexcept {
  if (!local_) return 0;
  FileSystem& files = folder_.file_system();
  FileStatus status;
  if (!retried([&] { return files.status(folder_.descriptor(), status); }).ok()) return 0;
  const std::int64_t since = files.now_ns() - status.changed_ns;
  return since > clock_step_ns_max ? status.changed_ns : 0;
}

}  // namespace pageserver::storage
