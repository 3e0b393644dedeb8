#include "storage/rados/cluster_health.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <new>
#include <system_error>
#include <thread>

namespace pageserver::storage {
namespace {

using std::chrono::seconds;
// A monitor answers for all of a cluster: a thousand daemons ask it a hundred times a second.
constexpr seconds ask_interval{10};
// So long an answer is expected to take.
constexpr seconds patience{3};
// An answer that is older says so.
constexpr seconds fresh{30};

std::string seconds_text(std::chrono::steady_clock::duration time) {
  return std::to_string(std::chrono::duration_cast<seconds>(time).count()) + " s";
}

}  // namespace

std::string ClusterHealth::text(std::chrono::milliseconds time) {
  Lock lock{mutex_};
  const auto begun = Clock::now();
  if (!wanted_ && (text_.empty() || begun - answered_at_ > ask_interval)) {
    wanted_ = true;
    asked_at_ = begun;
    if (!running_) begin();
    changed_.notify_all();
  }
  if (text_.empty() && time.count() > 0)
    changed_.wait_for(lock, time, [this]() PAGESERVER_REQUIRES(mutex_) { return !text_.empty(); });
  const auto now = Clock::now();
  if (wanted_ && now - asked_at_ > patience)
    return "not known: no monitor has answered for " + seconds_text(now - asked_at_);
  if (text_.empty() || now - answered_at_ <= fresh) return text_;
  return text_ + " (" + seconds_text(now - answered_at_) + " ago)";
}

// The process's signals are for threads that expect them.
void ClusterHealth::begin() {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread{[this] { run(); }}.detach();
    running_ = true;
  } catch (const std::system_error&) {
    wanted_ = false;  // the next call tries again
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void ClusterHealth::run() {
  Lock lock{mutex_};
  for (;;) {
    changed_.wait(lock, [this]() PAGESERVER_REQUIRES(mutex_) { return wanted_; });
    lock.unlock();
    std::string answer;
    try {
      answer = ask();
    } catch (const std::bad_alloc&) {
      // As if nobody had answered.
    }
    lock.lock();
    wanted_ = false;
    if (!answer.empty()) text_ = std::move(answer);
    answered_at_ = Clock::now();
    changed_.notify_all();
  }
}

std::string ClusterHealth::ask() const {
  const char* command = R"({"prefix": "health"})";
  char *said = nullptr, *status = nullptr;
  std::size_t said_bytes = 0, status_bytes = 0;
  const int result = rados_mon_command(cluster_, &command, 1, nullptr, 0, &said, &said_bytes, &status, &status_bytes);
  std::string text{said == nullptr ? "" : said, said == nullptr ? 0 : said_bytes};
  rados_buffer_free(said);
  rados_buffer_free(status);
  if (result < 0) return "not known: " + std::generic_category().message(-result);
  return text.substr(0, text.find('\n'));
}

}  // namespace pageserver::storage
