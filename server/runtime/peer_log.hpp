// Lines of the log that peers cause. A peer that causes more of a kind than there may be has the rest counted, so that
// it can fill neither the disk that the log is on nor the time of whoever reads it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <set>
#include <string_view>

#include "base/mutex.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/peers.hpp"

namespace pageserver::server {

/// Thread-safe. Nothing throws: a line that there is no memory for is lost.
class LogLines {
public:
  using Clock = Rate::Clock;

  /// `per_second`: of one peer and kind, in the long run. A hundred times as many at once, and ten times as many of all
  /// peers together. 0: no bound. `log` outlives this.
  LogLines(Log& log, std::uint32_t per_second);

  void info(const std::shared_ptr<Peer>& peer, std::string_view event,
            std::initializer_list<LogField> fields = {}) noexcept {
    write(LogLevel::info, peer, event, fields);
  }
  void warn(const std::shared_ptr<Peer>& peer, std::string_view event,
            std::initializer_list<LogField> fields = {}) noexcept {
    write(LogLevel::warn, peer, event, fields);
  }
  /// Now and then: says how many were left out, each ten seconds at most. `all`: at once, since this is the end.
  void say_left_out(bool all = false) noexcept;

private:
  /// `event` is a literal.
  void write(LogLevel level, const std::shared_ptr<Peer>& peer, std::string_view event,
             std::initializer_list<LogField> fields) noexcept;
  bool may_write(const std::shared_ptr<Peer>& peer, std::string_view event);

  Log& log_;
  const std::uint32_t per_second_;
  Mutex mutex_;
  Rate all_ PAGESERVER_GUARDED_BY(mutex_);
  std::set<std::shared_ptr<Peer>> with_more_ PAGESERVER_GUARDED_BY(mutex_);  ///< whose lines were left out
  Clock::time_point last_said_ PAGESERVER_GUARDED_BY(mutex_){};
};

}  // namespace pageserver::server
