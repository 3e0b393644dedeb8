#include "server/service_watch.hpp"

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

namespace pageserver::server {

namespace {

constexpr std::chrono::milliseconds look_interval{1000};

}  // namespace

struct ServiceWatch::Io {
  explicit Io(asio::io_context& context) : timer(context) {}
  asio::steady_timer timer;
};

ServiceWatch::ServiceWatch(Notifier notifier, Log& log, Catalog& catalog, std::function<Phase()> phase,
                           std::function<std::size_t()> connections)
    : notifier_(std::move(notifier)),
      catalog_(catalog),
      phase_(std::move(phase)),
      connections_(std::move(connections)),
      worker_("service", log),
      readiness_(worker_, catalog_, phase_),
      io_(std::make_unique<Io>(worker_.context())) {
  worker_.after_trouble([this] { look(); });
  worker_.post([this] { look(); });
  worker_.start();
}

ServiceWatch::~ServiceWatch() {
  worker_.stop();
  worker_.join();
}

void ServiceWatch::phase_changed() {
  worker_.post([this] { look(); });
}

void ServiceWatch::look() {
  const Phase phase = phase_();
  if (phase != told_) tell_phase(phase);
  if (phase == Phase::serving) {
    feed_watchdog();
  } else {
    tell_progress();
  }
  look_later();
}

// Half of what the manager waits for, so that one that comes late is no fault.
void ServiceWatch::look_later() {
  std::chrono::microseconds interval = look_interval;
  if (const auto watchdog = notifier_.watchdog()) interval = std::min(interval, *watchdog / 2);
  io_->timer.expires_after(interval);
  io_->timer.async_wait([this](const std::error_code& error) {
    if (!error) look();
  });
}

void ServiceWatch::tell_phase(Phase phase) {
  told_ = phase;
  if (phase == Phase::serving) {
    notifier_.tell("READY=1\n" +
                   status_line("serving " + std::to_string(catalog_.configured_hosts().size()) + " configured stores"));
  } else if (phase == Phase::stopping) {
    notifier_.tell("STOPPING=1\n" + status_line("stopping"));
  }
}

void ServiceWatch::tell_progress() {
  const bool starting = told_ == Phase::starting;
  std::string progress = starting ? "starting" : "stopping: " + std::to_string(connections_()) + " connections";
  const char* separator = starting ? ": " : "; still open: ";
  for (const auto& host : catalog_.configured_hosts()) {
    if (host->is_open() == starting) continue;
    progress += separator;
    progress += starting ? "store " + host->name() + ": " + host->opening() : host->name();
    separator = starting ? "; " : " ";
  }
  if (progress == progress_) return;
  progress_ = progress;
  const auto us = std::chrono::microseconds(extension).count();
  notifier_.tell("EXTEND_TIMEOUT_USEC=" + std::to_string(us) + "\n" + status_line(progress));
}

// The way is that of requests: through the loops and jobs of each store.
void ServiceWatch::feed_watchdog() {
  if (!notifier_.watchdog() || asking_) return;
  asking_ = true;
  readiness_.ask([this](const Readiness::Report& report) {
    asking_ = false;
    if (report.ready) return notifier_.tell("WATCHDOG=1");
    if (phase_() == Phase::serving) notifier_.tell(status_line(report.text(false)));
  });
}

}  // namespace pageserver::server
