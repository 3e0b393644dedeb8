// One session of the engine as the store interface shows it.
#pragma once

#include <memory>
#include <vector>

#include "storage/engine/engine.hpp"

namespace pageserver::storage {

class EngineSession final : public StoreSession {
public:
  EngineSession(std::shared_ptr<Engine> engine, SessionRef state);
  ~EngineSession() override;

  const SessionView& opened() const noexcept override { return state_->opened; }
  SessionView view() override;
  std::uint64_t epoch() const override { return state_->epoch; }
  std::uint64_t grow(std::uint64_t new_pages) override;
  void read(std::uint64_t offset, std::span<std::byte> buffer) override;
  bool wants_announcements() const noexcept override { return engine_->home().calls() != nullptr; }
  void will_read(std::span<const ByteRange> ranges) noexcept override { engine_->will_read(ranges); }
  void write(std::uint64_t offset, std::span<const std::byte> data) override;
  bool write_together(std::span<const Write> writes) override;
  void zero(std::uint64_t offset, std::uint64_t length) override;
  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length, std::size_t ranges_max,
                                     std::uint64_t& described_until) override;
  void flush(Done done) override;
  SessionView discard() override;
  Refreshed refresh() override;
  Stat stat(std::int64_t now_ms) override;
  std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string& reason, std::int64_t now_ms) override;
  bool may_write(std::function<void()> room) override;
  bool room_may_come(std::function<void()> room) override;
  void on_notice(Notice notice) override;
  std::uint64_t private_bytes() const noexcept override;
  void revoke(const std::string& reason) override { engine_->revoke(state_, reason); }
  void note_request(std::int64_t now_ms) noexcept override;
  void remember(const ResumeEntry* entry) override;
  void publish_remembered() override;
  void keep_for_reopening() noexcept override { engine_->keep_for_reopening(state_); }

private:
  /// The beginning of each call: what has to be known of the store's home, and of the calls before.
  void enter(std::string_view action);
  /// A call before goes on although it was answered, or a flush.
  bool is_busy() const noexcept;
  /// Runs `body`, which may wait for the home, by HomeCalls. It owns all that it uses but for the engine. Throws
  /// timed_out where that takes too long: then it goes on, and nothing else uses the session's state until its end.
  template <class Body>
  auto apart(std::string_view action, Body body);
  void check_writable(std::string_view action) const;
  static void read_over(Engine& engine, SessionState& state, std::uint64_t offset, std::span<std::byte> buffer);
  static std::vector<ByteRange> find_data_ranges(Engine& engine, SessionState& state, std::uint64_t offset,
                                                 std::uint64_t length, std::size_t ranges_max,
                                                 std::uint64_t& described_until);
  std::uint64_t grow_private(std::uint64_t new_pages);
  /// Changes what is private: a file of it that finds no room may find some behind a checkpoint.
  template <class Change>
  void change_private(std::uint64_t bytes, const Change& change);

  std::shared_ptr<Engine> engine_;
  SessionRef state_;
  HomeCalls::CallRef late_call_;  ///< null: the last one has ended in time
  bool waited_in_vain_ = false;
  mutable std::uint64_t private_bytes_ = 0;
};

}  // namespace pageserver::storage
