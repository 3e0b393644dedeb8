// What an engine says of its own work while it goes on, for who counts and times it: an engine has no clock.
#pragma once

#include <cstdint>

namespace pageserver::storage {

/// Calls come from any thread, some of them with the engine's mutex held: they may neither wait nor call the store. Of
/// one kind of work at most one is under way, so that an end belongs to the last beginning.
class EngineEvents {
public:
  EngineEvents() = default;
  EngineEvents(const EngineEvents&) = delete;
  EngineEvents& operator=(const EngineEvents&) = delete;
  virtual ~EngineEvents() = default;

  virtual void log_sync_begins() noexcept {}
  virtual void log_sync_ended() noexcept {}
  /// Of the log or of the image: the store takes no more writes.
  virtual void sync_failed() noexcept {}
  /// A transaction; one that is refused has no end.
  virtual void commit_begins() noexcept {}
  virtual void commit_ended() noexcept {}
  virtual void checkpoint_begins() noexcept {}
  virtual void checkpoint_ended() noexcept {}
  virtual void checkpoint_failed() noexcept {}
  /// A pin or a fork lost its version, since what it held back passed the bound.
  virtual void version_given_up() noexcept {}
  /// While the store is opened after a crash: so much of the log is read; then so far it is in the image.
  virtual void recovery_read(std::uint64_t /*bytes*/) noexcept {}
  virtual void recovery_copied(std::uint64_t /*page*/, std::uint64_t /*pages*/) noexcept {}
};

/// Says nothing to nobody.
EngineEvents& no_engine_events() noexcept;

}  // namespace pageserver::storage
