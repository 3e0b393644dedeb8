// Where the image of an open store is kept, as far as that decides whether the store is still this process's.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <pageserver/error.hpp>
#include <pageserver/session.hpp>

#include "base/memory_share.hpp"
#include "storage/engine/home_calls.hpp"
#include "storage/file/file_system.hpp"
#include "storage/file/home.hpp"

namespace pageserver::storage {

/// A file of this machine stays ours while it is locked. A home that other machines reach gives a lease, which runs
/// out: nothing is answered beyond it. Threads: any.
class StoreHome {
public:
  /// `shown_path`: how the texts call the image. `timeout`: of await_verdict().
  StoreHome(FileHome home, std::string shown_path, std::chrono::milliseconds timeout);

  /// What is read of the image stays in memory, as far as `share` has room; where the image lies on this machine, the
  /// system sees to that.
  void keep_in_memory(base::MemoryShare& share);

  /// These bytes of the image will be read soon. Waits for nothing; does nothing for an image of this machine.
  void will_read(std::span<const FileRange> ranges) const noexcept {
    if (calls_ != nullptr && home_.control != nullptr) home_.control->will_read(ranges);
  }

  bool may_answer() const noexcept { return home_.lease == nullptr || home_.lease->may_answer(); }
  /// Throws lost_error() when nothing may be answered.
  void check_may_answer() const {
    if (!may_answer()) throw lost_error();
  }
  /// Where the lease ran out, as on a machine that stood still: waits until it is renewed or known to be lost, but not
  /// for ever. To be called without a lock, before check_may_answer().
  void await_verdict() const {
    if (!may_answer()) home_.lease->await_verdict(timeout_);
  }
  /// Another has the store, for good.
  bool lost() const noexcept { return home_.lease != nullptr && home_.lease->lost(); }
  /// Says lease_lost where that is so, and timed_out where it may be so.
  MemoryError lost_error() const;

  /// Null for files of this machine. Else calls that may wait for the home go by it.
  HomeCalls* calls() const noexcept { return calls_.get(); }
  /// What a call is told whose outcome is not known in time. Where the lease has run out, that of an owner that stood
  /// still maybe, this waits a little for the verdict, and says lease_lost if it comes.
  MemoryError late_error(std::string_view action) const;

  /// See Store::taken_over(), Store::wanted_by() and Store::give_up().
  std::string taken_over() const { return lost() ? home_.lease->why() : std::string{}; }
  std::string wanted_by() const { return home_.lease != nullptr ? home_.lease->wanted_by() : std::string{}; }
  void give_up(const std::string& why, FileSystem& file_system);

  HomeStat report() const;

private:
  const FileHome home_;
  const std::string shown_path_;
  const std::chrono::milliseconds timeout_;
  const std::unique_ptr<HomeCalls> calls_;
};

}  // namespace pageserver::storage
