// Tells that somebody else writes to the image file: its time moves while nothing of ours does.
//
// Our own changes move the time too. So only two looks with none of ours before, between and after them prove anything:
//
//   look A        nothing of ours        look B        the times differ: somebody else's
//   look A        Change                 look B        the times may differ; B is what the next look is compared with
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace pageserver::storage {

/// Changes come from any thread. All else is called under a lock of the caller, but for begin_look().
class ImageWatch {
public:
  /// `modified_ns`: the file's time now.
  explicit ImageWatch(std::int64_t modified_ns) noexcept : baseline_modified_ns_{modified_ns} {}

  /// Marks a change to the file as ours while it lives.
  class Change {
  public:
    explicit Change(ImageWatch& watch) noexcept : watch_{watch} { ++watch_.changing_, ++watch_.changes_; }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change() { ++watch_.changes_, --watch_.changing_; }

  private:
    ImageWatch& watch_;
  };

  /// Before somebody looks at the file.
  class Look {
    friend class ImageWatch;
    std::uint64_t changing_ = 0;
    std::uint64_t changes_ = 0;
  };
  Look begin_look() const noexcept;
  /// After it. `modified_ns`: the file's time, where it could be had. `found`: what else is wrong with it, or nothing.
  /// Returns what there is to warn of, now or from an earlier look; `path` is how the warning calls the file.
  const std::string& end_look(const Look& look, std::optional<std::int64_t> modified_ns, std::string found,
                              const std::string& path);

  void warn(std::string warning) { warning_ = std::move(warning); }

private:
  std::atomic<std::uint64_t> changing_{0};  // of ours, under way
  std::atomic<std::uint64_t> changes_{0};   // of ours, begun and ended
  std::uint64_t baseline_changes_ = 0;
  std::int64_t baseline_modified_ns_;
  std::string warning_;
};

}  // namespace pageserver::storage
