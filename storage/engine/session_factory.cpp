#include "storage/engine/session_factory.hpp"

#include <algorithm>
#include <utility>

#include "storage/file/siblings.hpp"

namespace pageserver::storage {

SessionFactory::SessionFactory(const EngineOptions& options, const ServedImage& image, ReadBelow read_below)
    : options_{options}, image_{image}, read_below_{std::move(read_below)} {}

SessionRef SessionFactory::make(SessionRequest request) {
  auto state = std::make_shared<SessionState>();
  state->last_request_ms = request.opened_ms;
  state->request = std::move(request);
  state->id = next_id_++;
  const bool keeps = state->request.access == Access::fork || state->request.publish == Publish::on_flush;
  if (keeps) state->bytes = make_private_bytes(*state);
  return state;
}

std::unique_ptr<PrivateBytes> SessionFactory::make_private_bytes(const SessionState& state) {
  PrivateBytes::Options bytes;
  bytes.base = [this, &state](std::uint64_t offset, std::span<std::byte> buffer) {
    read_below_(state, offset, buffer);
  };
  bytes.spill_folder = image_.folder();
  bytes.spill_name = sibling_name(image_.name(), Sibling::spill, state.id % (sibling_number_max + 1));
  bytes.memory_bytes_max = options_.private_memory_bytes;
  bytes.memory_share = options_.private_memory;
  bytes.descriptors_kept = open_files_of_store(options_);
  bytes.ranges_max = options_.private_ranges;
  bytes.ranges_max_name = "limits.private_ranges";
  // Only the writer's: there is one writer, and any number of forks.
  if (state.request.access == Access::write) {
    bytes.spare_bytes_max = std::min(options_.private_memory_bytes, 2 * options_.inline_commit_bytes);
    bytes.bytes_max = options_.transaction_bytes;
    bytes.bytes_max_name = "limits.transaction_bytes";
    bytes.remedy = "flush or discard what there is";
  }
  if (state.request.access == Access::fork) {
    bytes.bytes_max = options_.fork_bytes;
    bytes.bytes_max_name = "limits.fork_bytes";
    bytes.total_bytes = options_.forks_bytes_used != nullptr ? options_.forks_bytes_used : &fork_bytes_;
    bytes.part_bytes = options_.forks_bytes_used != nullptr ? &fork_bytes_ : nullptr;
    bytes.total_bytes_max = options_.forks_bytes;
    bytes.total_bytes_max_name = "limits.forks_bytes";
    bytes.owner_bytes = state.request.owner_fork_bytes;
    bytes.owner_bytes_max = options_.owner_fork_bytes;
    bytes.owner_bytes_max_name = options_.owner_fork_bytes_name;
  }
  return std::make_unique<PrivateBytes>(std::move(bytes));
}

}  // namespace pageserver::storage
