#include "server/runtime/loops.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <system_error>

namespace pageserver::server {

BlockingPool::Options pool_options(std::size_t processors, std::size_t threads_max) noexcept {
  BlockingPool::Options options;
  options.threads_max = threads_max;
  options.threads_at_once = std::min(std::max<std::size_t>(4, 2 * processors), threads_max);
  options.threads_slow = std::min(8 * processors, threads_max);
  return options;
}

SharedThreads::SharedThreads(std::size_t readers_max, BlockingPool::Options options, Log& log) try
    : ticker(std::chrono::milliseconds(1)), disk(ticker, options), loops(readers_max + 1, ticker, disk, log) {
} catch (const std::system_error& error) {
  if (error.code() != std::errc::resource_unavailable_try_again) throw;
  throw std::runtime_error("the daemon needs " + std::to_string(readers_max + 3) +
                           " threads beside some for itself, and the system gives it fewer (" + error.code().message() +
                           "); lower threads, or raise the limit of threads: pids_limit of a container, TasksMax of a "
                           "service, ulimit -u");
}

Loops::Loops(std::size_t count, Ticker& ticker, BlockingPool& pool, Log& log) : ticker_{ticker}, pool_{pool} {
  for (std::size_t i = 0; i < count; ++i) {
    workers_.push_back(std::make_shared<Worker>("loop " + std::to_string(i), log));
    workers_.back()->be_looked_after(ticker);
  }
  for (const auto& worker : workers_) worker->start();
  ticker_.add(*this);
}

Loops::~Loops() {
  ticker_.remove(*this);
  for (const auto& worker : workers_) worker->stop();
  helpers_.clear();  // each ends, or does not begin any more
  for (const auto& worker : workers_) worker->join();
  // One may have posted to another that was done already.
  for (const auto& worker : workers_) worker->drain();
}

const std::shared_ptr<Worker>& Loops::beside(std::size_t index, std::size_t turn) const noexcept {
  const std::size_t others = workers_.size() - 1;
  return at(others == 0 ? index : index + 1 + turn % others);
}

bool Loops::look() noexcept {
  bool any = false;
  for (const auto& worker : workers_) {
    const Worker::Look found = worker->look();
    any = any || found.active;
    if (!found.stuck) continue;
    try {
      lend_thread(*worker);
    } catch (const std::bad_alloc&) {
      worker->help_failed();  // the next look tries again
    }
  }
  return any;
}

void Loops::lend_thread(Worker& worker) {
  auto helper = std::find_if(helpers_.begin(), helpers_.end(), [](const Helper& one) { return !one.lent; });
  if (helper == helpers_.end()) helper = helpers_.emplace(helper, pool_);
  const auto ready = [&worker, &lent = helper->lent] {
    worker.help();
    lent = false;
  };
  Strand::Ready task;
  task.emplace_back(ready);
  helper->lent = true;
  helper->strand.submit_ready(std::move(task));
}

}  // namespace pageserver::server
