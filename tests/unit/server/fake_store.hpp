// A session in memory, whose calls can be made to fail, for tests of dispatch; and a store of which tests say how it
// is, for those of its host.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/store.hpp"

namespace pageserver::test {

class FakeSession final : public storage::StoreSession {
public:
  const storage::SessionView& opened() const noexcept override { return first; }
  storage::SessionView view() override {
    ++views;
    return {{77, number}, image.size() / page_size};
  }
  std::uint64_t epoch() const override { return 5; }
  std::uint64_t grow(std::uint64_t new_pages) override {
    fail_if_told();
    const std::uint64_t before = image.size() / page_size;
    image.resize(image.size() + new_pages * page_size);
    return before;
  }
  void read(std::uint64_t offset, std::span<std::byte> buffer) override {
    fail_if_told();
    check(offset, buffer.size());
    std::copy_n(image.begin() + static_cast<std::ptrdiff_t>(offset), buffer.size(), buffer.begin());
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) override {
    fail_if_told();
    check(offset, data.size());
    std::copy(data.begin(), data.end(), image.begin() + static_cast<std::ptrdiff_t>(offset));
    ++number;
  }
  void zero(std::uint64_t offset, std::uint64_t length) override {
    fail_if_told();
    check(offset, length);
    std::fill_n(image.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{});
  }
  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length, std::size_t,
                                     std::uint64_t& described_until) override {
    fail_if_told();
    described_until = offset + length;
    return {{offset, length}};
  }
  void flush(Done done) override { done(nullptr, {77, number}); }
  storage::SessionView discard() override {
    fail_if_told();
    return {{77, number}, image.size() / page_size};
  }
  Refreshed refresh() override {
    fail_if_told();
    return refreshed;
  }
  Stat stat(std::int64_t now) override {
    fail_if_told();
    stat_asked_at = now;
    return report;
  }
  std::optional<HolderStat> break_lease(std::uint64_t epoch, const std::string& reason, std::int64_t now) override {
    fail_if_told();
    broken_epoch = epoch;
    broken_reason = reason;
    broken_at = now;
    return report.writer;
  }
  bool may_write(std::function<void()> room) override {
    if (has_room) return true;
    waiting = std::move(room);
    return false;
  }
  void on_notice(Notice) override {}
  void note_request(std::int64_t) noexcept override {}

  std::vector<std::byte> image;
  std::uint64_t number = 1;
  std::optional<MemoryError> error;  ///< thrown by the next call
  bool out_of_memory = false;
  bool has_room = true;
  std::function<void()> waiting;
  Refreshed refreshed;
  storage::SessionView first;
  int views = 0;  ///< how often what it sees was asked for

  Stat report;
  std::int64_t stat_asked_at = 0;
  std::uint64_t broken_epoch = 0;
  std::string broken_reason;
  std::int64_t broken_at = 0;

private:
  void fail_if_told() const {
    if (error) throw *error;
    if (out_of_memory) throw std::bad_alloc();
  }
  void check(std::uint64_t offset, std::uint64_t length) const {
    if (length <= image.size() && offset <= image.size() - length) return;
    throw MemoryError(Errc::out_of_bounds, "past the end");
  }
};

class FakeStore final : public storage::Store {
public:
  std::uint64_t open_session(storage::SessionRequest, Opened opened) override {
    opened(std::make_unique<FakeSession>(), nullptr);
    return 0;
  }
  void cancel_wait(std::uint64_t) override {}
  Stat stat(std::int64_t) override { return report; }
  std::optional<HolderStat> break_lease(std::uint64_t, const std::string& reason) override {
    broken.push_back(reason);
    return std::nullopt;
  }
  std::optional<HolderStat> break_idle_lease(std::int64_t, std::uint64_t, const std::string&) override {
    return std::nullopt;
  }
  bool read_only() const override { return false; }
  std::uint64_t pages() override { return report.pages; }
  std::string taken_over() const override { return taken; }
  std::string wanted_by() const override { return wanted; }
  void begin_checkpoint() noexcept override { ++checkpoints; }
  void give_up(const std::string& why) override { taken = why; }
  void close() override { ++closed; }

  Stat report;
  std::string taken;   ///< what taken_over() says
  std::string wanted;  ///< the same of wanted_by()
  std::vector<std::string> broken;
  int checkpoints = 0;
  int closed = 0;
};

}  // namespace pageserver::test
