#include "storage/engine/names_look.hpp"

#include "storage/file/file_io.hpp"
#include "storage/file/file_system_warning.hpp"

namespace pageserver::storage {
namespace {

// Of file systems that keep whole seconds, and of those that keep even ones.
constexpr std::int64_t whole_seconds_ns = 1'000'000'000;
constexpr std::int64_t coarsest_step_ns = 2 * whole_seconds_ns;

}  // namespace

NamesLook::NamesLook(const Folder& folder)
    : folder_{folder}, local_{is_good_to_map(folder) || is_beyond_this_machine(folder)} {}

std::int64_t NamesLook::now() const noexcept {
  if (!local_) return 0;
  FileSystem& files = folder_.file_system();
  const std::int64_t moment = files.file_clock_ns();
  FileStatus status;
  if (!retried([&] { return files.status(folder_.descriptor(), status); }).ok()) return 0;
  const std::int64_t step = status.changed_ns % whole_seconds_ns == 0 ? coarsest_step_ns : 0;
  return moment - status.changed_ns > step ? status.changed_ns : 0;
}

}  // namespace pageserver::storage
