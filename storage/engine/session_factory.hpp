// Makes the state of a session: its number, and for those who keep bytes private the room and the bounds for them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "storage/engine/open_engine.hpp"
#include "storage/engine/served_image.hpp"
#include "storage/engine/session_state.hpp"

namespace pageserver::storage {

/// Threads: any.
class SessionFactory {
public:
  /// Reads what a session sees below its private bytes.
  using ReadBelow = std::function<void(const SessionState& state, std::uint64_t offset, std::span<std::byte> buffer)>;
  /// `options` and `image` outlive this, and this outlives the private bytes of its sessions.
  SessionFactory(const EngineOptions& options, const ServedImage& image, ReadBelow read_below);

  SessionRef make(SessionRequest request);
  /// Private bytes of the forks of this store.
  std::uint64_t fork_bytes() const noexcept { return fork_bytes_; }

private:
  std::unique_ptr<PrivateBytes> make_private_bytes(const SessionState& state);

  const EngineOptions& options_;
  const ServedImage& image_;
  const ReadBelow read_below_;
  std::atomic<std::uint64_t> next_id_{1};
  std::atomic<std::uint64_t> fork_bytes_{0};
};

}  // namespace pageserver::storage
