// One life of a daemon as those see it who work on its stores: how to reach it, and which errors may be met.
#pragma once

#include <pageserver/error.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace pageserver::test::soak {

/// How a client reaches its store.
enum class Way : std::uint8_t { local, tcp, tls };

/// Shared by the actors, who count steps, and the one who disturbs, who waits for them. Threads: all of it.
class Field {
public:
  std::string socket;
  std::uint16_t port = 0;
  std::uint16_t tls_port = 0;
  std::string tls_ca;  ///< a file
  /// The folder of the disk of few bytes. What pins and forks may hold back (limits.held_bytes) is more than it has, so
  /// that the log that they hold may fill it: then a writer has them given up, and a fork finds no room.
  std::string small_disk;

  std::atomic<bool> stop{false};            ///< actors end at their next step
  std::atomic<bool> ending{false};          ///< connections may break from now on
  std::atomic<bool> no_room{false};         ///< no_space and limit_exceeded may be answered
  std::atomic<bool> pins_go{false};         ///< pins and forks may be given up
  std::atomic<bool> connections_go{false};  ///< connections may be refused or end
  std::atomic<bool> touched{false};         ///< somebody handled the files: errors of the medium may be answered
  std::atomic<std::uint64_t> breaks{0};     ///< leases that were broken, or are being broken
  std::atomic<std::uint64_t> refusals{0}, leases_lost{0}, versions_given_up{0};

  /// Throws Violation unless this error may be met now.
  void judge(const MemoryError& error, std::string_view doing);
  void judge(Errc code, const std::string& text, std::string_view doing);

  void step();
  /// Returns after `steps` more steps, or when a violation was noted. Throws Violation when nothing moves.
  void wait_for_steps(std::uint64_t steps);

  void note_violation(const std::string& text);
  std::string violation() const;

  /// Of a store. `query` has at least one key.
  std::string uri(Way way, std::string_view store, std::string_view query) const;

private:
  /// That such a log has filled that disk is what `text` says.
  bool fills_small_disk(Errc code, const std::string& text, std::string_view doing) const;

  std::atomic<std::uint64_t> steps_{0};
  std::atomic<std::uint64_t> target_{0};
  mutable std::mutex mutex_;
  std::condition_variable reached_;
  std::string violation_;
};

}  // namespace pageserver::test::soak
