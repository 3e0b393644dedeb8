#include "storage/engine/log_check.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <list>
#include <optional>

#include "base/mutex.hpp"
#include "storage/file/disk_compare.hpp"

namespace pageserver::storage {

struct LogCheck::State {
  enum class Step : std::uint8_t { waiting, running, done };
  struct Job {
    LogSegmentRef segment;
    Step step = Step::waiting;
    std::atomic<std::uint64_t> limit{std::numeric_limits<std::uint64_t>::max()};  // more of the file is not needed
    std::optional<std::uint64_t> same_until = 0;  // nothing: the file could not be synced
  };

  explicit State(const Folder& in) : folder{in} {}

  void run() {
    while (Job* const job = next()) {
      const std::optional<std::uint64_t> same_until = measured(*job);
      const Lock lock{mutex};
      job->same_until = same_until;
      job->step = Step::done;
      changed.notify_all();
    }
  }

  void end() {
    const Lock lock{mutex};
    ended = true;
  }

  /// Null once there is nothing more to do.
  Job* next() {
    const Lock lock{mutex};
    const auto job = std::find_if(jobs.begin(), jobs.end(), [](const Job& each) { return each.step == Step::waiting; });
    if (ended || job == jobs.end()) return nullptr;
    job->step = Step::running;
    return &*job;
  }

  std::optional<std::uint64_t> measured(const Job& job) const noexcept {
    try {
      const LogSegment& segment = *job.segment;
      return disk_prefix(folder, file_name(segment.file.path()), segment.file, job.limit, segment.mapped());
    } catch (const std::exception&) {
      return 0;
    }
  }

  /// How far the segment's job came. Waits for it; a job that nobody has begun is none.
  std::optional<std::uint64_t> finished(const LogSegment& segment, std::uint64_t until) {
    Lock lock{mutex};
    const auto job =
        std::find_if(jobs.begin(), jobs.end(), [&](const Job& each) { return each.segment.get() == &segment; });
    if (job == jobs.end()) return 0;
    job->limit = until;
    if (job->step == Step::waiting) job->step = Step::done;
    changed.wait(lock, [&] { return job->step == Step::done; });
    return job->same_until;
  }

  const Folder& folder;
  Mutex mutex;
  CondVar changed;
  std::list<Job> jobs PAGESERVER_GUARDED_BY(mutex);
  bool ended PAGESERVER_GUARDED_BY(mutex) = false;
};

LogCheck::LogCheck(const Folder& folder) : state_{std::make_shared<State>(folder)} {}

LogCheck::~LogCheck() {
  state_->end();
  keep_only({});  // no file is kept open for a lane that comes late
}

void LogCheck::begin(const std::vector<LogSegmentRef>& segments, Background* lane) {
  if (lane == nullptr || segments.empty()) return;
  {
    const Lock lock{state_->mutex};
    for (const LogSegmentRef& segment : segments) state_->jobs.emplace_back().segment = segment;
  }
  lane->submit([state = state_] { state->run(); });
}

void LogCheck::keep_only(const std::vector<LogSegmentRef>& segments) {
  State& state = *state_;
  const auto kept = [&](const State::Job& job) {
    return std::find(segments.begin(), segments.end(), job.segment) != segments.end();
  };
  Lock lock{state.mutex};
  for (State::Job& job : state.jobs)
    if (!kept(job)) job.limit = 0;
  state.changed.wait(lock, [&] {
    state.mutex.assert_held();
    return std::none_of(state.jobs.begin(), state.jobs.end(),
                        [&](const State::Job& job) { return job.step == State::Step::running && !kept(job); });
  });
  state.jobs.remove_if([&](const State::Job& job) { return !kept(job); });
}

bool LogCheck::has(const LogSegment& segment, std::uint64_t until) {
  const std::optional<std::uint64_t> same_until = state_->finished(segment, until);
  // The next sync would say that all is well, although what this one could not write may be lost.
  if (!same_until) return false;
  if (*same_until >= until) return true;
  // Looked at anew: the lane may have met what lies behind `until`, where the log's end was being cut meanwhile.
  const std::atomic<std::uint64_t> limit{until};
  return disk_prefix(state_->folder, file_name(segment.file.path()), segment.file, limit, segment.mapped()) >= until;
}

}  // namespace pageserver::storage
