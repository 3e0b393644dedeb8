#include "server/runtime/loops.hpp"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <string>
#include <system_error>

namespace pageserver::server {

BlockingPool::Options pool_options(std::size_t processors, std::size_t threads_max) noexcept {
  BlockingPool::Options options;
  options.threads_max = threads_max;
  options.threads_at_once = std::min(std::max<std::size_t>(4, 2 * processors), threads_max);
  // With the loops, all threads of a daemon whose disks are slow and not stuck are some 4 x processors + 16.
  options.threads_slow = std::min(2 * processors + 11, threads_max);
  return options;
}

SharedThreads::SharedThreads(std::size_t readers_max, BlockingPool::Options options, Log& log, bool one_processor) try
    : ticker(std::chrono::milliseconds(1)),
      disk(ticker, options),
      loops(readers_max, ticker, disk, log, one_processor) {
} catch (const std::system_error& error) {
  if (error.code() != std::errc::resource_unavailable_try_again) throw;
  throw std::runtime_error("the daemon needs " + std::to_string(2 * readers_max + 2) +
                           " threads beside some for itself, and the system gives it fewer (" + error.code().message() +
                           "); lower threads, or raise the limit of threads: pids_limit of a container, TasksMax of a "
                           "service, ulimit -u");
}

Loops::Loops(std::size_t each, Ticker& ticker, BlockingPool& pool, Log& log, bool one_processor)
    : ticker_{ticker}, pool_{pool}, each_{each} {
  for (std::size_t i = 0; i < 2 * each; ++i) {
    const std::string name = i < each ? "readers " + std::to_string(i) : "writers " + std::to_string(i - each);
    workers_.push_back(std::make_shared<Worker>(name, log, i));
    workers_.back()->be_looked_after(ticker);
    workers_.back()->share_processor(i < each        ? Worker::Haste::prompt
                                     : one_processor ? Worker::Haste::patient
                                                     : Worker::Haste::usual);
  }
  for (const auto& worker : workers_) worker->start();
  ticker_.add(*this);
}

Loops::~Loops() {
  ticker_.remove(*this);
  for (const auto& worker : workers_) worker->stop();
  begin_waiting();
  helpers_.clear();  // each ends, or does not begin any more
  for (const auto& worker : workers_) worker->join();
  // One may have posted to another that was done already.
  for (const auto& worker : workers_) worker->drain();
}

void GiveBackCalls::operator()(StuckCalls* calls) const noexcept { loops->give_back(*calls); }

Loops::Disk& Loops::disk(std::uint64_t device) {
  const Lock lock{calls_mutex_};
  const auto [found, is_new] = disks_.try_emplace(device);
  if (is_new) pool_.note_group();
  return found->second;
}

HeldCalls Loops::take_calls(Disk* disk) {
  const Lock lock{calls_mutex_};
  if (calls_unused_.empty()) calls_unused_.emplace_back();
  calls_.splice(calls_.end(), calls_unused_, calls_unused_.begin());
  calls_.back().place = std::prev(calls_.end());
  calls_.back().disk_ = disk == nullptr ? nullptr : &disk->calls;
  return {&calls_.back(), GiveBackCalls{this}};
}

void Loops::give_back(StuckCalls& calls) noexcept {
  const Lock lock{calls_mutex_};
  calls_unused_.splice(calls_unused_.end(), calls_, static_cast<Calls&>(calls).place);
}

bool Loops::may_begin(const StuckCalls& calls, std::size_t more) const noexcept {
  const std::size_t stuck = calls.count() + more;
  if (stuck != 0) return stuck < pool_.room();
  return calls.disk_ == nullptr || calls.disk_->count() == 0 || pool_.room() > pool_.kept_for_others() ||
         pool_.kept_for_others() == 0;
}

bool Loops::wait_for_calls(StuckCalls& calls, Wait& wait) noexcept {
  if (may_begin(calls, 0)) return false;
  const Lock lock{calls_mutex_};
  if (ending_) return false;
  auto& mine = static_cast<Calls&>(calls);
  wait.front().calls = &calls;
  if (mine.waiting.empty()) with_waiting_.splice(with_waiting_.end(), calls_, mine.place);
  mine.waiting.splice(mine.waiting.end(), wait);
  any_wait_ = true;
  ticker_.wake();
  return true;
}

Stuck Loops::stuck(const StuckCalls* calls) const noexcept {
  Stuck found;
  for (const auto& worker : workers_) found.add(worker->stuck(calls));
  return found;
}

std::size_t Loops::waiting(const StuckCalls* calls) noexcept {
  const Lock lock{calls_mutex_};
  if (calls != nullptr) return static_cast<const Calls*>(calls)->waiting.size();
  std::size_t all = 0;
  for (const Calls& one : with_waiting_) all += one.waiting.size();
  return all;
}

void Loops::begin_each(Wait due) noexcept {
  while (!due.empty()) {
    Wait node;
    node.splice(node.end(), due, due.begin());
    const auto begin = node.front().begin;
    begin(std::move(node));
  }
}

// Nothing is stuck any more once the threads have ended.
void Loops::begin_waiting() noexcept {
  Wait due;
  {
    const Lock lock{calls_mutex_};
    ending_ = true;
    for (Calls& calls : with_waiting_) due.splice(due.end(), calls.waiting);
    calls_.splice(calls_.end(), with_waiting_);
  }
  begin_each(std::move(due));
}

Ticked::Looked Loops::look() noexcept {
  begin_those_that_may();
  bool held = any_wait_;
  bool moved = false;
  for (const auto& worker : workers_) {
    const Worker::Look found = worker->look();
    held = held || found.held;
    moved = moved || found.moved;
    if (!found.stuck) continue;
    try {
      lend_thread(*worker);
    } catch (const std::bad_alloc&) {
      worker->help_failed();  // the next look tries again
    }
  }
  return held ? Looked::held : moved ? Looked::moved : Looked::quiet;
}

void Loops::begin_those_that_may() noexcept {
  if (!any_wait_) return;
  Wait due;
  {
    const Lock lock{calls_mutex_};
    for (auto one = with_waiting_.begin(); one != with_waiting_.end();) {
      const auto here = one++;
      std::size_t begun = 0;
      for (; !here->waiting.empty() && may_begin(*here, begun); ++begun)
        due.splice(due.end(), here->waiting, here->waiting.begin());
      if (here->waiting.empty()) calls_.splice(calls_.end(), with_waiting_, here);
    }
    any_wait_ = !with_waiting_.empty();
  }
  begin_each(std::move(due));
}

void Loops::lend_thread(Worker& worker) {
  auto helper = std::find_if(helpers_.begin(), helpers_.end(), [](const Helper& one) { return !one.lent; });
  if (helper == helpers_.end()) helper = helpers_.emplace(helper, pool_);
  const auto ready = [&worker, lent = &*helper] {
    worker.help(*lent->room);
    lent->lent = false;
  };
  Strand::Ready task;
  task.emplace_back(ready);
  helper->lent = true;
  helper->strand.submit_ready(std::move(task));
}

}  // namespace pageserver::server
