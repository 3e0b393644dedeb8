// What a store is served with: of the configuration, and of what all stores share.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "base/memory_share.hpp"
#include "server/config/config.hpp"
#include "server/metrics/figures.hpp"
#include "server/runtime/loops.hpp"
#include "server/stores/recoveries.hpp"

namespace pageserver::server {

struct StoreSettings {
  std::string name;
  std::string path;
  bool read_only = false;
  bool create = false;
  bool on_demand = false;  ///< opened for its first session, closed after its last
  std::uint32_t file_mode = keys::store_mode.value32();
  std::uint64_t size_bytes_max = 0;
  EngineLimits engine;
  std::atomic<std::uint64_t>* forks_bytes = nullptr;    ///< of the whole daemon; outlives the store
  const std::atomic<bool>* abandon_recovery = nullptr;  ///< see EngineOptions
  Figures* figures = nullptr;                           ///< of the whole daemon, or null; outlives the store
  Recoveries* recoveries = nullptr;                     ///< of the whole daemon; outlives the store
  std::uint32_t readers_max = 1;                        ///< so many loops serve its readers
  std::chrono::milliseconds lease_idle_max{0};
  std::chrono::milliseconds resume_linger{0};   ///< for so long a session of an earlier opening may be resumed
  Loops::Disk* disk = nullptr;                  ///< where its image is, as far as that is known
  base::MemoryShare* private_memory = nullptr;  ///< see EngineOptions; both outlive the store
  base::MemoryShare* index_memory = nullptr;
  base::MemoryShare* home_memory = nullptr;
  bool standby = false;  ///< where another daemon has the store: wait for it
  std::chrono::milliseconds home_timeout = keys::home_timeout.duration();
  /// Has the writers' sessions that can go on at another daemon end, and waits for that a while. Null: there are none.
  const std::function<void(const std::string& store)>* let_writers_go = nullptr;
  std::uint32_t lease_line = keys::lease_line.value32();
  std::uint32_t peer_percent = 100;  ///< of `lease_line` and of the private bytes of all forks
};

}  // namespace pageserver::server
