// Stores that are made and removed on the simulated disk, with a crash at each of its calls: what is left is the whole
// store or none, and whoever comes next can make and remove it again.
#pragma once

#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "storage/engine/open_engine.hpp"
#include "tests/crash/simulated_file_system.hpp"
#include "tests/crash/stepped_background.hpp"

namespace pageserver::test {

/// What is done with a store `x`, whose image is /data/x.img. Each throws MemoryError as the code under test does.
struct StoreCalls {
  /// What a start of whoever serves the directory does before anybody asks for anything.
  std::function<void(SimulatedFileSystem&)> start;
  std::function<void(SimulatedFileSystem&, std::uint64_t pages)> create;
  std::function<void(SimulatedFileSystem&)> remove;
  /// All bytes of the store, or nothing when there is none.
  std::function<std::optional<std::vector<std::byte>>(SimulatedFileSystem&)> read;
};

using Content = std::optional<std::vector<std::byte>>;

/// A disk with the store as a kill left it: all of its bytes are in a log of several files.
inline std::unique_ptr<SimulatedFileSystem> disk_with_killed_store(std::uint64_t seed, Content& content) {
  SimulatedFileSystem disk(seed);
  disk.make_directory("/data");
  storage::EngineOptions options;
  options.salt = seed;
  options.log_bytes = 96 << 10;
  options.segment_bytes = 24 << 10;
  SteppedBackground sync_lane, checkpoint_lane;
  const auto store = storage::open_engine(disk, "/data/x.img", sync_lane, checkpoint_lane, options);
  storage::SessionRequest request;
  request.access = Access::write;
  std::unique_ptr<storage::StoreSession> session;
  store->open_session(
      request, [&](std::unique_ptr<storage::StoreSession> opened, std::exception_ptr) { session = std::move(opened); });
  session->grow(2);
  content.emplace(static_cast<std::size_t>(2 * page_size));
  for (std::size_t i = 0; i < 4; ++i) {
    const std::vector<std::byte> bytes(9000, static_cast<std::byte>(i + 1));
    session->write(i * 20'000, bytes);
    std::copy(bytes.begin(), bytes.end(), content->begin() + static_cast<std::ptrdiff_t>(i * 20'000));
  }
  bool flushed = false;
  session->flush([&](std::exception_ptr error, const Version&) { flushed = !error; });
  while (sync_lane.step()) {
  }
  if (!flushed) throw std::runtime_error("the store that is to be removed could not be made");
  return disk.after(Crash::kill, seed);
}

class ImageLifecycleCheck {
public:
  /// `again`: of the crashes one in so many has a second one at each call of what carries on after it; 0: none.
  ImageLifecycleCheck(StoreCalls calls, std::uint64_t again) : calls_(std::move(calls)), again_(again) {}

  /// Runs `call` on the disk, with crashes at each of its calls. The store was `before`, and is `after` once it is
  /// answered. Throws std::runtime_error when it is neither.
  void run(SimulatedFileSystem& disk, const std::function<void(SimulatedFileSystem&)>& call, const Content& before,
           const Content& after) {
    disk.observe = [&](const CallInfo& info) { crash(disk, info, {before, after}, 0); };
    call(disk);
    disk.observe = nullptr;
    throw_failure();
    for (const Crash kind : kinds) check(*disk.after(kind, ++seed_), {after}, 1, "once it is answered");
  }
  std::uint64_t crashes() const { return crashes_; }

private:
  static constexpr Crash kinds[] = {Crash::kill,  Crash::power_lost, Crash::power_kept, Crash::power,
                                    Crash::power, Crash::power,      Crash::power};

  void crash(SimulatedFileSystem& disk, const CallInfo& info, const std::vector<Content>& allowed, int depth) {
    if (info.call == Call::status || info.call == Call::read) return;
    const std::string where =
        std::string(depth == 0 ? "" : "again ") + "before " + to_string(info.call) + " of " + info.path;
    // It may be within a call that takes every error for its own.
    try {
      for (const Crash kind : kinds)
        if (!failure_) check(*disk.after(kind, ++seed_), allowed, depth + 1, where);
    } catch (const std::runtime_error&) {
      failure_ = std::current_exception();
    }
  }
  void throw_failure() const {
    if (failure_) std::rethrow_exception(failure_);
  }

  void check(SimulatedFileSystem& disk, const std::vector<Content>& allowed, int depth, const std::string& where) {
    ++crashes_;
    const auto fail = [&](const std::string& what) {
      std::string text = "after a crash " + where + ": " + what + "; there are";
      for (const std::string& name : disk.names("/data")) text += " " + name;
      throw std::runtime_error(text);
    };
    try {
      // What carries on with the rest may meet a crash as well.
      if (depth < 2 && again_ != 0 && crashes_ % again_ == 0)
        disk.observe = [&](const CallInfo& info) { crash(disk, info, allowed, depth); };
      calls_.start(disk);
      disk.observe = nullptr;
      throw_failure();
      const Content found = calls_.read(disk);
      if (std::find(allowed.begin(), allowed.end(), found) == allowed.end())
        fail(found ? "a store of " + std::to_string(found->size()) + " bytes that never was" : "the store is gone");
      if (found) calls_.remove(disk);
      if (!disk.names("/data").empty()) fail("something is left of a store that is gone");
      calls_.create(disk, 2);
      if (calls_.read(disk) != Content{std::vector<std::byte>(static_cast<std::size_t>(2 * page_size))})
        fail("a new store is not empty");
      calls_.remove(disk);
      if (calls_.read(disk) || !disk.names("/data").empty()) fail("it can't be made and removed again");
    } catch (const MemoryError& error) {
      fail(error.what());
    }
  }

  StoreCalls calls_;
  const std::uint64_t again_;
  std::exception_ptr failure_;
  std::uint64_t seed_ = 0;
  std::uint64_t crashes_ = 0;
};

/// All of it: a store that a kill left is removed, an empty place gets one, and that is removed.
inline std::uint64_t check_image_lifecycle(const StoreCalls& calls, std::uint64_t again) {
  ImageLifecycleCheck check(calls, again);
  Content killed;
  const auto disk = disk_with_killed_store(11, killed);
  check.run(*disk, calls.remove, killed, {});
  const auto create = [&](SimulatedFileSystem& on) { calls.create(on, 3); };
  const Content zeros{std::vector<std::byte>(static_cast<std::size_t>(3 * page_size))};
  check.run(*disk, create, {}, zeros);
  check.run(*disk, calls.remove, zeros, {});
  return check.crashes();
}

}  // namespace pageserver::test
