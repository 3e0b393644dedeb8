#include "server/worker.hpp"

#include <pthread.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include "server/log.hpp"

namespace pageserver::server {

Worker::Worker(std::string name, Log& log)
    : name_(std::move(name)), log_(log), context_(std::make_unique<asio::io_context>(1)) {}

Worker::~Worker() {
  stop();
  join();
}

void Worker::start() {
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), name_.substr(0, 15).c_str());
    run();
  });
}

void Worker::run() {
  thread_id_ = std::this_thread::get_id();
  const auto work = asio::make_work_guard(*context_);
  run_all();
}

void Worker::run_all() {
  for (;;) {
    try {
      context_->run();
      return;
    } catch (const std::exception& error) {
      log_.error("internal error", {{"worker", name_}, {"error", error.what()}});
    }
  }
}

void Worker::stop() { context_->stop(); }

void Worker::join() {
  if (!thread_.joinable()) return;
  thread_.join();
  drain();
}

void Worker::drain() {
  thread_id_ = std::this_thread::get_id();
  context_->restart();
  context_->poll();
}

void Worker::post(std::function<void()> task) { asio::post(*context_, std::move(task)); }

}  // namespace pageserver::server
