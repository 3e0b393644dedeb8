#include "server/runtime/peer_log.hpp"

#include <exception>
#include <utility>
#include <vector>

namespace pageserver::server {

namespace {

constexpr double burst_seconds = 100;
constexpr double peers_at_once = 10;
constexpr std::chrono::seconds say_interval{10};

}  // namespace

LogLines::LogLines(Log& log, std::uint32_t per_second)
    : log_{log},
      per_second_{per_second},
      all_{peers_at_once * burst_seconds * per_second, peers_at_once * per_second} {}

bool LogLines::may_write(const std::shared_ptr<Peer>& peer, std::string_view event) {
  if (per_second_ == 0) return true;
  const auto now = Clock::now();
  Lock lock{peer->mutex_};
  auto found = peer->lines_.find(event);
  if (found == peer->lines_.end())
    found = peer->lines_.emplace(event, Peer::Lines(Rate(burst_seconds * per_second_, per_second_))).first;
  bool may = found->second.rate.take(now);
  lock.unlock();
  const Lock all{mutex_};
  if (may && all_.take(now)) return true;
  with_more_.insert(peer);
  const Lock again{peer->mutex_};
  ++found->second.left_out;
  return false;
}

void LogLines::write(LogLevel level, const std::shared_ptr<Peer>& peer, std::string_view event,
                     std::initializer_list<LogField> fields) noexcept {
  if (!log_.enabled(level)) return;
  try {
    if (may_write(peer, event)) log_.write(level, event, fields);
  } catch (const std::exception&) {
    // No memory to count it.
  }
}

void LogLines::say_left_out(bool all) noexcept {
  try {
    std::set<std::shared_ptr<Peer>> peers;
    {
      const auto now = Clock::now();
      const Lock lock{mutex_};
      if (with_more_.empty() || (!all && now - last_said_ < say_interval)) return;
      last_said_ = now;
      peers.swap(with_more_);
    }
    for (const auto& peer : peers) {
      std::vector<std::pair<std::string_view, std::uint64_t>> left_out;
      {
        const Lock lock{peer->mutex_};
        for (auto& [event, lines] : peer->lines_)
          if (lines.left_out != 0) left_out.emplace_back(event, std::exchange(lines.left_out, 0));
      }
      for (const auto& [event, lines] : left_out)
        log_.info("log lines left out",
                  {{"peer", peer->name()}, {"of", event}, {"lines", lines}, {"peer_lines", per_second_}});
    }
  } catch (const std::exception&) {
    // The next look says it.
  }
}

}  // namespace pageserver::server
